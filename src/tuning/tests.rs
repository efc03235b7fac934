//! Tables, and what is asked of them by name.

use super::*;
use std::collections::BTreeMap;
use std::path::Path;

/// The files of the tables, and what they hold.
const TABLES: [(&str, &Tuning); 3] = [
    ("data_center.rs", &data_center::DATA_CENTER),
    ("orin.rs", &orin::ORIN),
    ("thor.rs", &thor::THOR),
];

#[test]
fn a_device_gets_the_table_of_its_class() {
    let is = |sm, integrated, table: &'static Tuning| std::ptr::eq(Tuning::of(sm, integrated), table);
    assert!(is(87, true, &orin::ORIN));
    assert!(is(110, true, &thor::THOR) && is(110, false, &thor::THOR));
    for (sm, integrated) in [
        (75, false),
        (86, false),
        (87, false),
        (90, false),
        (120, false),
        (121, true),
        (72, true),
    ] {
        assert!(is(sm, integrated, &data_center::DATA_CENTER), "sm_{sm}");
    }
}

#[test]
fn every_number_of_every_table_is_allowed() {
    for (file, table) in TABLES {
        for parameter in PARAMETERS {
            for &number in (parameter.numbers)(&mut { *table }).iter() {
                assert!(parameter.allows(number), "{file}: {} is {number}", parameter.name);
            }
        }
    }
}

/// The numbers and the source of each entry by its name. `reflex-bench tune` rewrites such lines: `name: numbers, // source`, in the group
/// that they belong to.
fn lines_of(file: &str) -> BTreeMap<String, (String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tuning").join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = BTreeMap::new();
    let mut group = "";
    for line in text.lines() {
        if let Some((name, _)) = line.strip_prefix("    ").and_then(|l| l.split_once(": ")) {
            if line.ends_with('{') {
                group = name;
            } else if let Some((entry, source)) = line.split_once(", // ") {
                let (field, numbers) = entry.trim().split_once(": ").unwrap();
                assert!(!source.trim().is_empty(), "{file}: {line}");
                lines.insert(format!("{group}.{field}"), (numbers.to_string(), source.to_string()));
            }
        }
    }
    lines
}

#[test]
fn each_number_stands_on_a_line_with_its_source() {
    for (file, table) in TABLES {
        let lines = lines_of(file);
        for parameter in PARAMETERS {
            let written = match (parameter.numbers)(&mut { *table }) {
                [number] => number.to_string(),
                numbers => format!("{numbers:?}"),
            };
            let found = lines.get(parameter.name).map(|(numbers, _)| numbers);
            assert_eq!(found, Some(&written), "{file}: {}", parameter.name);
        }
        assert_eq!(lines.len(), PARAMETERS.len(), "{file}");
    }
}

/// Every file has all numbers, since the bench rewrites them line by line: those of another file are no copies that go their own way.
#[test]
fn inherited_numbers_are_those_of_data_center() {
    let from = lines_of("data_center.rs");
    for file in ["orin.rs", "thor.rs"] {
        for (name, (numbers, source)) in lines_of(file) {
            if source == "not measured there: the value of data_center" {
                assert_eq!(numbers, from[&name].0, "{file}: {name}");
            }
        }
    }
}

#[test]
fn numbers_are_set_by_name() {
    let table = Tuning::default();
    let tuned = |text| Overrides::parse(text).unwrap().apply(&table);
    assert_eq!(tuned(""), table);
    let mut expected = table;
    expected.matmul.warps = 4;
    expected.matmul.in_clusters[1] = 900;
    assert_ne!(expected, table);
    assert_eq!(tuned("matmul.warps=4, matmul.in_clusters.1=900,"), expected);
    for (text, words) in [
        ("matmul.warps", "expected name=number"),
        (
            "matmul.warp=4",
            "sets matmul.warp, expected one of matmul.wide_many_sms, ",
        ),
        ("warps=4", "expected one of"),
        ("matmul.warps.0=4", "expected one of"),
        (
            "matmul.warps=9",
            "sets matmul.warps to \"9\", expected a whole number from 1 to 8",
        ),
        ("matmul.warps=", "expected a whole number"),
        ("matmul.warps=4.5", "expected a whole number"),
        ("matmul.shared_panels=6", "expected a multiple of 4 from 4 to 12"),
        (
            "matmul.in_clusters=1",
            "expected matmul.in_clusters.0 to matmul.in_clusters.7",
        ),
        ("matmul.in_clusters.8=1", "expected one of"),
    ] {
        let error = Overrides::parse(text).err().expect(text);
        assert!(error.message.contains(words), "{text}: {}", error.message);
    }
}

/// What `reflex-bench tune` knows of the entries.
const LIST: &str = "benches/reflex-bench/src/tuning.inc";

#[test]
fn the_bench_has_the_list_of_the_entries() {
    let mut expected = String::from(
        "// Name, how many numbers, least, most and step of one, options of `ops` for the cases that it can change, and what is tried.\n\
         // Written by `REFLEX_UPDATE_TUNING=1 cargo test --lib tuning` from src/tuning/mod.rs.\n",
    );
    for parameter in PARAMETERS {
        let count = (parameter.numbers)(&mut Tuning::default()).len();
        let tries: Vec<String> = parameter.tries.iter().map(i64::to_string).collect();
        let cases = match parameter.cases {
            [_, ""] => String::new(),
            [op, of_op] => format!("{op} {of_op}"),
        };
        assert!(
            parameter.tries.iter().all(|&n| parameter.allows(n)),
            "{}",
            parameter.name
        );
        assert_eq!(cases.is_empty(), tries.is_empty(), "{}", parameter.name);
        expected += &format!(
            "{{\"{}\", {count}, {}, {}, {}, \"{cases}\", {{{}}}}},\n",
            parameter.name,
            parameter.range.start(),
            parameter.range.end(),
            parameter.step,
            tries.join(", ")
        );
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(LIST);
    if std::env::var_os("REFLEX_UPDATE_TUNING").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(&path).unwrap_or_default(),
        expected,
        "{LIST} is another: REFLEX_UPDATE_TUNING=1 cargo test --lib tuning"
    );
}
