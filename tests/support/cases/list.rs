//! Reads `cases/<op>.txt`: problems of an op, one a line. `cases/README.md` describes the form; reflex-bench has a reader of its own.

use super::super::blocks::WEIGHTS;
use reflex_infer::*;
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

/// What is run: a part that takes half a minute, or everything.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Tier {
    Smoke,
    Full,
}

impl FromStr for Tier {
    type Err = String;

    fn from_str(text: &str) -> Result<Tier, String> {
        match text {
            "smoke" => Ok(Tier::Smoke),
            "full" => Ok(Tier::Full),
            _ => Err(format!("tier {text}: expected smoke or full")),
        }
    }
}

/// Keys of an op in the order in which descriptors show them; a key without a default has to be given.
type Keys = Vec<(String, Option<String>)>;

/// One problem: a value for every key of its op.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Descriptor {
    pub op: String,
    pub tier: Tier,
    values: Vec<(String, String)>,
    shown: String,
}

/// The words that differ from the defaults. It is a test's name, a benchmark's row, and what repeats the case alone.
impl fmt::Display for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Descriptor {
    fn new(op: &str, tier: Tier, keys: &Keys, given: &HashMap<String, String>) -> Result<Descriptor, String> {
        if let Some(key) = given.keys().find(|key| !keys.iter().any(|(known, _)| known == *key)) {
            return Err(format!("{op} has no key {key}"));
        }
        let (mut values, mut shown) = (Vec::new(), op.to_string());
        for (key, default) in keys {
            let value = given.get(key).or(default.as_ref());
            let value = value.ok_or_else(|| format!("{key} is not given"))?;
            if Some(value) != default.as_ref() {
                shown += &format!(" {key}={value}");
            }
            values.push((key.clone(), value.clone()));
        }
        // Of a name with one word alone nobody would see that it is a problem's.
        if let (true, Some((key, value))) = (shown == op, values.first()) {
            shown += &format!(" {key}={value}");
        }
        let op = op.to_string();
        Ok(Descriptor {
            op,
            tier,
            values,
            shown,
        })
    }

    /// The value of a key that the op has.
    #[track_caller]
    pub fn text(&self, key: &str) -> &str {
        let found = self.values.iter().find(|(known, _)| known == key);
        &found
            .unwrap_or_else(|| panic!("cases/{}.txt has no key {key}", self.op))
            .1
    }

    #[track_caller]
    fn parsed<T>(&self, key: &str, value: Option<T>, expected: &str) -> T {
        value.unwrap_or_else(|| panic!("{self}: {key}={}: expected {expected}", self.text(key)))
    }

    #[track_caller]
    pub fn number<T: FromStr>(&self, key: &str) -> T {
        self.parsed(key, self.text(key).parse().ok(), "a number")
    }

    /// The same, or what a word stands for.
    #[track_caller]
    pub fn number_or<T: FromStr>(&self, key: &str, word: &str, meant: T) -> T {
        if self.text(key) == word {
            meant
        } else {
            self.number(key)
        }
    }

    #[track_caller]
    pub fn flag(&self, key: &str) -> bool {
        let value = match self.text(key) {
            "0" => Some(false),
            "1" => Some(true),
            _ => None,
        };
        self.parsed(key, value, "0 or 1")
    }

    /// The entry that the value names.
    #[track_caller]
    pub fn one_of<T: Copy>(&self, key: &str, names: &[(&str, T)]) -> T {
        let found = names.iter().find(|(name, _)| *name == self.text(key));
        let known: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
        self.parsed(key, found.map(|entry| entry.1), &known.join(", "))
    }

    #[track_caller]
    pub fn dtype(&self, key: &str) -> reflex_dtype {
        self.parsed(key, dtype_named(self.text(key)), "the name of a type")
    }

    /// `none` for an operand that is absent.
    #[track_caller]
    pub fn optional_dtype(&self, key: &str) -> Option<reflex_dtype> {
        match self.text(key) {
            "none" => None,
            _ => Some(self.dtype(key)),
        }
    }

    /// `7/8/20x130/0..4`: numbers, the third of them 130 times, then those from 0 to 3; `none` for no number.
    #[track_caller]
    pub fn list<T: FromStr + Clone>(&self, key: &str) -> Vec<T> {
        let item = |text: &str| -> Option<Vec<T>> {
            if let Some((first, end)) = text.split_once("..") {
                let range = first.parse::<i64>().ok()?..end.parse().ok()?;
                return range.map(|value| value.to_string().parse().ok()).collect();
            }
            let (value, count) = text.split_once('x').unwrap_or((text, "1"));
            Some(vec![value.parse::<T>().ok()?; count.parse().ok()?])
        };
        match self.text(key) {
            "none" => Vec::new(),
            text => {
                let items: Option<Vec<Vec<T>>> = text.split('/').map(item).collect();
                self.parsed(key, items, "numbers with / between them").concat()
            }
        }
    }

    /// Elements in units of a format: `512+3b` is 512 and three blocks of it; types without blocks count 32.
    #[track_caller]
    pub fn elements(&self, key: &str, format: reflex_dtype) -> i64 {
        let block = i64::from(reflex_dtype_block_elements(format)).max(32);
        let term = |text: &str| match text.strip_suffix('b') {
            Some(blocks) => Some(blocks.parse::<i64>().ok()? * block),
            None => text.parse().ok(),
        };
        let sum: Option<i64> = self.text(key).split('+').map(term).sum();
        self.parsed(key, sum, "numbers of elements or blocks (3b) with + between them")
    }
}

/// By the name that reflex_dtype_name gives it, in small letters.
pub fn dtype_named(name: &str) -> Option<reflex_dtype> {
    let named = |dtype: &reflex_dtype| super::super::blocks::dtype_name(*dtype) == name;
    let others = [REFLEX_DTYPE_I32, REFLEX_DTYPE_ACT_I8];
    WEIGHTS.into_iter().chain(others).find(named)
}

/// A word: some keys, and the values that they take together, one set after the other.
type Word = (Vec<String>, Vec<Vec<String>>);

fn word(text: &str, sets: &HashMap<String, String>) -> Result<Word, String> {
    let (keys, values) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` is no key=value"))?;
    let keys: Vec<String> = keys.split(',').map(str::to_string).collect();
    let mut all = Vec::new();
    for value in values.split('|') {
        let value = match value.strip_prefix('$') {
            Some(set) => sets.get(set).ok_or_else(|| format!("there is no set ${set}"))?,
            None => value,
        };
        for value in value.split('|') {
            let together: Vec<String> = value.split(',').map(str::to_string).collect();
            if together.len() != keys.len() || together.iter().any(String::is_empty) {
                return Err(format!("`{text}`: {value} is no value for {}", keys.join(" and ")));
            }
            all.push(together);
        }
    }
    Ok((keys, all))
}

/// The sets that every list has: the formats in blocks, those of 32 and of 256 elements, and all types of weights.
fn sets_of_formats() -> HashMap<String, String> {
    let elements = |dtype: reflex_dtype| reflex_dtype_block_elements(dtype);
    let named = |wanted: &dyn Fn(u32) -> bool| {
        let names = WEIGHTS.into_iter().filter(|&dtype| wanted(elements(dtype)));
        names
            .map(super::super::blocks::dtype_name)
            .collect::<Vec<_>>()
            .join("|")
    };
    let set = |name: &str, wanted: &dyn Fn(u32) -> bool| (name.to_string(), named(wanted));
    HashMap::from([
        set("weights", &|_| true),
        set("blocks", &|n| n > 1),
        set("small", &|n| n == 32),
        set("large", &|n| n == 256),
    ])
}

/// `$a-$b` is what stands in the set a and not in b; anything else stays as it is.
fn difference(values: &str, sets: &HashMap<String, String>) -> Result<String, String> {
    let Some((all, without)) = values.strip_prefix('$').and_then(|rest| rest.split_once("-$")) else {
        return Ok(values.to_string());
    };
    let set = |name: &str| sets.get(name).ok_or_else(|| format!("there is no set ${name}"));
    let without: Vec<&str> = set(without)?.split('|').collect();
    let rest: Vec<&str> = set(all)?.split('|').filter(|value| !without.contains(value)).collect();
    Ok(rest.join("|"))
}

/// Every combination of the words' values, the last word changing fastest.
fn product(words: &[Word]) -> Result<Vec<HashMap<String, String>>, String> {
    let mut out = vec![HashMap::new()];
    for (keys, values) in words {
        if let Some(key) = keys.iter().find(|key| out[0].contains_key(*key)) {
            return Err(format!("{key} is given twice"));
        }
        let with = |base: &HashMap<String, String>| -> Vec<HashMap<String, String>> {
            let extended = values.iter().map(|together| {
                let mut map = base.clone();
                map.extend(keys.iter().cloned().zip(together.iter().cloned()));
                map
            });
            extended.collect()
        };
        out = out.iter().flat_map(with).collect();
    }
    Ok(out)
}

/// The problems of one op.
pub struct List {
    op: String,
    keys: Keys,
    sets: HashMap<String, String>,
    pub cases: Vec<Descriptor>,
    /// Where in `cases` a name stands.
    places: HashMap<String, usize>,
}

impl List {
    /// Panics with file and line where something is wrong: it is a mistake in the repository.
    pub fn parse(op: &str, text: &str) -> List {
        let mut list = List {
            op: op.to_string(),
            keys: Keys::new(),
            sets: sets_of_formats(),
            cases: Vec::new(),
            places: HashMap::new(),
        };
        let mut section: Option<(Tier, Vec<Word>)> = None;
        for (number, line) in text.lines().enumerate() {
            let code = line.split('#').next().unwrap_or_default().trim();
            if code.is_empty() {
                continue;
            }
            // What follows is not for problems: see `bounds`.
            if code == "[bounds]" {
                break;
            }
            list.line(code, &mut section)
                .unwrap_or_else(|what| panic!("cases/{op}.txt, line {}: {what}", number + 1));
        }
        list
    }

    fn line(&mut self, code: &str, section: &mut Option<(Tier, Vec<Word>)>) -> Result<(), String> {
        let Some(head) = code.strip_prefix('[') else {
            let (tier, shared) = section.as_ref().ok_or("a problem before [smoke] or [full]")?;
            let (tier, shared) = (*tier, shared.clone());
            for case in self.expand(tier, &shared, code)? {
                self.add(case)?;
            }
            return Ok(());
        };
        let head = head.strip_suffix(']').ok_or("a heading without ]")?;
        let mut words = head.split_whitespace();
        match words.next().unwrap_or_default() {
            "defaults" => {
                for text in words {
                    self.keys.push(match text.split_once('=') {
                        Some((key, value)) => (key.to_string(), Some(value.to_string())),
                        None => (text.to_string(), None),
                    });
                }
            }
            "set" => {
                let text = words.next().unwrap_or_default();
                let (name, values) = text.split_once('=').ok_or("a set without =")?;
                let values = difference(values, &self.sets)?;
                self.sets.insert(name.to_string(), values);
            }
            tier => {
                let words: Result<Vec<Word>, String> = words.map(|text| word(text, &self.sets)).collect();
                *section = Some((tier.parse()?, words?));
            }
        }
        Ok(())
    }

    /// A line under a heading, whose words it may replace.
    fn expand(&self, tier: Tier, shared: &[Word], line: &str) -> Result<Vec<Descriptor>, String> {
        let own: Result<Vec<Word>, String> = line.split_whitespace().map(|text| word(text, &self.sets)).collect();
        let own = own?;
        let given = |key: &String| own.iter().any(|(keys, _)| keys.contains(key));
        let replaced = |word: &Word| word.0.iter().all(given);
        let words: Vec<Word> = shared
            .iter()
            .filter(|word| !replaced(word))
            .chain(&own)
            .cloned()
            .collect();
        let all = product(&words)?;
        all.iter()
            .map(|given| Descriptor::new(&self.op, tier, &self.keys, given))
            .collect()
    }

    /// What stands in both tiers is of smoke, and once there.
    fn add(&mut self, case: Descriptor) -> Result<(), String> {
        match self.places.get(&case.shown).map(|&at| &mut self.cases[at]) {
            Some(known) if known.tier == case.tier => return Err(format!("`{case}` is there already")),
            Some(known) => known.tier = Tier::Smoke,
            None => {
                self.places.insert(case.shown.clone(), self.cases.len());
                self.cases.push(case);
            }
        }
        Ok(())
    }

    /// A descriptor that somebody typed, which need not be in the list.
    pub fn read(&self, words: &str) -> Result<Vec<Descriptor>, String> {
        self.expand(Tier::Smoke, &[], words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "
        # of a trial op
        [defaults kind rows=3 n=8 x=f32 lengths=none]
        [set floats=f32|f16]
        [smoke kind=a]
        rows=1 # alone
        [full kind=a|b]
        rows,n=1,8|2,9 x=$floats|bf16
        kind=c lengths=1/-2/7x3/0..2
    ";

    fn names(list: &List) -> Vec<String> {
        list.cases
            .iter()
            .map(|case| format!("{case} {:?}", case.tier))
            .collect()
    }

    #[test]
    fn lines_are_products_of_their_axes() {
        let list = List::parse("trial", LIST);
        let mut want = vec!["trial kind=a rows=1 Smoke".to_string()];
        for kind in ["a", "b"] {
            for shape in ["rows=1", "rows=2 n=9"] {
                for x in ["", " x=f16", " x=bf16"] {
                    want.push(format!("trial kind={kind} {shape}{x} Full"));
                }
            }
        }
        // In both tiers: once, and of smoke.
        want.retain(|name| name != "trial kind=a rows=1 Full");
        want.push("trial kind=c lengths=1/-2/7x3/0..2 Full".into());
        assert_eq!(names(&list), want);
        let last = &list.cases[list.cases.len() - 1];
        assert_eq!(last.list::<i32>("lengths"), [1, -2, 7, 7, 7, 0, 1]);
        assert_eq!((last.number::<i64>("rows"), last.dtype("x")), (3, REFLEX_DTYPE_F32));
        assert_eq!(list.read("kind=d n=5").unwrap()[0].to_string(), "trial kind=d n=5");
        let defaults = List::parse("trial", "[defaults n=1 m=2]\n[full]\nm=2");
        assert_eq!(names(&defaults), ["trial n=1 Full"]);
    }

    #[test]
    fn elements_may_be_blocks() {
        let list = List::parse("trial", "[defaults k=512+3b]\n[full]\nk=512+3b\nk=2b");
        assert_eq!(list.cases[0].elements("k", REFLEX_DTYPE_Q4_K), 512 + 768);
        assert_eq!(list.cases[1].elements("k", REFLEX_DTYPE_Q4_0), 64);
        assert_eq!(list.cases[1].elements("k", REFLEX_DTYPE_F16), 64);
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        for (text, what) in [
            ("rows=1", "line 1: a problem before [smoke] or [full]"),
            ("[defaults n=1]\n[full]\nm=2", "line 3: trial has no key m"),
            (
                "[defaults n]\n[full]\n\n[smoke]\n[full]\n[defaults m=1]\nm=2",
                "line 7: n is not given",
            ),
            (
                "[defaults n=1]\n[full]\nn=2\nn=1|2",
                "line 4: `trial n=2` is there already",
            ),
            (
                "[defaults n=1 m=1]\n[full]\nn,m=2",
                "line 3: `n,m=2`: 2 is no value for n and m",
            ),
            ("[defaults n=1 m=1]\n[full n,m=3,4]\nn=2", "line 3: n is given twice"),
            ("[defaults n=1]\n[full]\nn=$all", "line 3: there is no set $all"),
            ("[defaults n=1]\n[fast]", "line 2: tier fast: expected smoke or full"),
        ] {
            let failed = std::panic::catch_unwind(|| List::parse("trial", text).cases.len());
            let message = *failed.expect_err(text).downcast::<String>().expect("a text");
            assert_eq!(message, format!("cases/trial.txt, {what}"));
        }
    }
}
