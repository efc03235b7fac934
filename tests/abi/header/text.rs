//! The header's text: cbindgen's declarations, in chapters.

use super::chapters::{Chapter, Section};
use super::source::{self, Kind, Sources};
use crate::paths::root;
use std::collections::BTreeMap;

const WIDTH: usize = 120;

/// cbindgen's output: what stands in front of the first declaration, and each declaration with its comment, by name.
pub struct Declarations {
    preamble: String,
    blocks: BTreeMap<String, String>,
}

/// Fields that mean the same in every struct, said once.
pub const CONVENTIONS: [(&str, &str); 3] = [
    (
        "struct_size",
        "The caller sets it to `sizeof` of the struct that it was compiled with, as `REFLEX_<STRUCT>_INIT` does in C and `reflex::params` in C++.",
    ),
    ("workspace_size", "Bytes of `workspace`."),
    ("reserved", "The caller leaves it 0."),
];

/// The comment on a field that has none of its own.
pub fn convention(field: &str) -> Option<&'static str> {
    // A second reserved field is `reserved2`.
    let name = field.trim_end_matches(|c: char| c.is_ascii_digit());
    CONVENTIONS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, text)| *text)
}

/// The name that a declaration of cbindgen's introduces.
fn declared_name(code: &str) -> &str {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let first = |text: &'_ str| text.find(|c| !is_name(c)).unwrap_or(text.len());
    if let Some(rest) = code.strip_prefix("#define ") {
        return &rest[..first(rest)];
    }
    let end = match code.strip_prefix("typedef ") {
        // The last word.
        Some(_) => code.trim_end_matches(';').len(),
        None => code
            .find('(')
            .unwrap_or_else(|| panic!("what does cbindgen declare here?\n{code}")),
    };
    let start = code[..end].rfind(|c| !is_name(c)).map_or(0, |at| at + 1);
    &code[start..end]
}

pub fn declarations(sources: &Sources) -> Declarations {
    let mut config = cbindgen::Config::from_file(root().join("cbindgen.toml")).expect("cbindgen.toml");
    // A private type with a public associated constant would be declared, too.
    config.export.exclude.extend(sources.private_types.iter().cloned());
    let after = config.after_includes.clone().expect("after_includes");
    let bindings = cbindgen::Builder::new().with_config(config);
    let bindings = source::files()
        .into_iter()
        .fold(bindings, |b, path| b.with_src(path))
        .generate()
        .expect("cbindgen");
    let mut bytes = Vec::new();
    bindings.write(&mut bytes);
    let text = String::from_utf8(bytes).expect("UTF-8");
    let at = text.find(after.trim_end()).expect("after_includes") + after.trim_end().len();
    let (preamble, rest) = text.split_at(at);
    let guard = rest.rfind("#endif").expect("the include guard");
    let mut blocks = BTreeMap::new();
    for block in rest[..guard]
        .split("\n\n")
        .map(str::trim)
        .filter(|block| !block.is_empty())
    {
        let code: Vec<&str> = block.lines().filter(|line| !line.starts_with("//")).collect();
        let name = declared_name(&code.join("\n")).to_string();
        let before = blocks.insert(name.clone(), block.to_string());
        assert!(before.is_none(), "cbindgen declares {name} twice");
    }
    for item in &sources.items {
        assert!(blocks.contains_key(&item.name), "cbindgen does not see {}", item.name);
    }
    for name in blocks.keys() {
        let ours = sources.items.iter().any(|item| item.name == *name);
        assert!(
            ours,
            "cbindgen declares {name}, which is no public item of a file of src"
        );
    }
    Declarations {
        preamble: preamble.to_string(),
        blocks,
    }
}

impl Declarations {
    /// The number that a constant is.
    pub fn value(&self, constant: &str) -> i64 {
        let block = &self.blocks[constant];
        let value = block.rsplit(' ').next().and_then(|word| word.parse().ok());
        value.unwrap_or_else(|| panic!("the value of {constant} is not written as one number: {block}"))
    }
}

/// Lines that fit: the first begins with `first`, others with `others`.
pub fn wrapped(text: &str, first: &str, others: &str) -> String {
    lines_of(text.split_whitespace().map(str::to_string), first, others)
}

fn lines_of(words: impl Iterator<Item = String>, first: &str, others: &str) -> String {
    let (mut lines, mut line, mut start) = (String::new(), first.to_string(), first.len());
    for word in words {
        if line.len() > start && line.len() + 1 + word.len() > WIDTH {
            lines.push_str(line.trim_end());
            lines.push('\n');
            (line, start) = (others.to_string(), others.len());
        }
        if line.len() > start {
            line.push(' ');
        }
        line.push_str(&word);
    }
    lines + line.trim_end() + "\n"
}

/// Names and purpose of a chapter in one line. An op's file begins with both: "The op `add`: the sum of two tensors."
fn summary(chapter: &Chapter) -> String {
    let op = chapter.intro.strip_prefix("The op ");
    match op
        .or(chapter.intro.strip_prefix("The ops "))
        .and_then(|text| text.split_once(": "))
    {
        Some((names, purpose)) => format!("{}: {purpose}", names.replace('`', "")),
        None => format!("{}: {}", chapter.title, chapter.intro),
    }
}

fn contents(chapters: &[Chapter]) -> String {
    let mut text = String::from(" *\n * Contents\n *\n");
    for (i, chapter) in chapters.iter().enumerate() {
        let number = i + 1;
        text.push_str(&wrapped(&summary(chapter), &format!(" * {number:>4}  "), " *       "));
        if !is_divided(chapter) {
            continue;
        }
        let last = chapter.sections.len() - 1;
        let names = chapter.sections.iter().enumerate().map(|(j, section)| {
            let end = if j == last { "" } else { "," };
            format!("{number}.{} {}{end}", j + 1, section.name)
        });
        text.push_str(&lines_of(names, " *       ", " *       "));
    }
    text.push_str(" *\n");
    text.push_str(&wrapped(
        "Every struct that has one of these fields means the same by it:",
        " * ",
        " * ",
    ));
    for (field, meaning) in CONVENTIONS {
        text.push_str(&wrapped(&format!("`{field}`: {meaning}"), " *   ", " *     "));
    }
    text
}

/// Whether it is a folder, whose files are its sections.
fn is_divided(chapter: &Chapter) -> bool {
    chapter.sections.iter().all(|section| section.room[0] == chapter.name)
}

fn chapter_head(number: usize, chapter: &Chapter) -> String {
    format!(
        "/* {}\n{} *\n{} */\n",
        "=".repeat(WIDTH - 3),
        wrapped(&format!("{number}. {}", chapter.title), " * ", " * "),
        wrapped(&chapter.intro, " * ", " * "),
    )
}

fn section_head(number: &str, section: &Section) -> String {
    let title = format!("{number} {}", section.name);
    format!(
        "/* {}\n{}{} */\n",
        "-".repeat(WIDTH - 3),
        wrapped(&title, " * ", " * "),
        wrapped(&section.intro, " * ", " * "),
    )
}

/// The version for `#if`.
fn version() -> String {
    format!(
        "/* The version of this header; reflex_get_build_info tells the library's. */\n\
         #define REFLEX_VERSION_MAJOR {}\n#define REFLEX_VERSION_MINOR {}\n#define REFLEX_VERSION_PATCH {}\n",
        env!("CARGO_PKG_VERSION_MAJOR"),
        env!("CARGO_PKG_VERSION_MINOR"),
        env!("CARGO_PKG_VERSION_PATCH"),
    )
}

/// Zeroes a struct and sets its size, in C.
fn initialiser(name: &str) -> String {
    format!(
        "\n#ifndef __cplusplus\n#define {}_INIT {{ .struct_size = sizeof({name}) }}\n#endif\n",
        name.to_uppercase()
    )
}

fn section_text(section: &Section, declarations: &Declarations) -> String {
    let mut text = String::new();
    if section.room == ["abi", "build_info"] {
        text.push_str(&version());
        text.push('\n');
    }
    for item in &section.items {
        text.push_str(&declarations.blocks[&item.name]);
        text.push('\n');
        if let Kind::Struct(fields) = &item.kind
            && fields.first().is_some_and(|field| field.name == "struct_size")
        {
            text.push_str(&initialiser(&item.name));
        }
        text.push('\n');
    }
    text
}

pub fn header(chapters: &[Chapter], declarations: &Declarations) -> String {
    let end = declarations.preamble.find(" */").expect("the comment in front");
    let (comment, includes) = declarations.preamble.split_at(end);
    let mut text = format!("{comment}{}{includes}\n\n", contents(chapters));
    text.push_str("#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n");
    for (i, chapter) in chapters.iter().enumerate() {
        text.push_str(&chapter_head(i + 1, chapter));
        text.push('\n');
        for (j, section) in chapter.sections.iter().enumerate() {
            if is_divided(chapter) {
                text.push_str(&section_head(&format!("{}.{}", i + 1, j + 1), section));
                text.push('\n');
            }
            text.push_str(&section_text(section, declarations));
        }
    }
    text.push_str("#ifdef __cplusplus\n}  // extern \"C\"\n#endif\n\n#endif  /* REFLEX_INFER_H */\n");
    text
}
