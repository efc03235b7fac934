//! `include/reflex/infer.h` is what the sources say.

use crate::paths::{header, root};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// cbindgen's output plus the version and an initialiser for every params struct.
fn generate() -> String {
    let mut config = cbindgen::Config::from_file(root().join("cbindgen.toml")).expect("cbindgen.toml");
    // A private type with a public associated constant would be declared, too.
    config.export.exclude.extend(private_types());
    let bindings = cbindgen::Builder::new().with_config(config);
    let bindings = sources()
        .into_iter()
        .fold(bindings, |b, path| b.with_src(path))
        .generate()
        .expect("cbindgen");
    let mut bytes = Vec::new();
    bindings.write(&mut bytes);
    let mut text = String::from_utf8(bytes).expect("UTF-8");
    // Left where constants of private types were.
    while text.contains("\n\n\n") {
        text = text.replace("\n\n\n", "\n\n");
    }
    let includes = "#include <stdint.h>\n";
    let at = text.find(includes).expect("includes") + includes.len();
    text.insert_str(at, &version());
    let mut initialisers = String::from(
        "/* Initialisers for C: `reflex_norm_params p = REFLEX_NORM_PARAMS_INIT;`. C++ has reflex/infer.hpp. */\n",
    );
    for name in text
        .lines()
        .filter_map(|l| l.strip_prefix("typedef struct "))
        .filter_map(|l| l.strip_suffix(" {"))
    {
        if struct_body(&text, name).contains("uint32_t struct_size;") {
            initialisers.push_str(&format!(
                "#define {}_INIT {{ .struct_size = sizeof({name}) }}\n",
                name.to_uppercase()
            ));
        }
    }
    let marker = "#ifdef __cplusplus\nextern \"C\" {";
    let at = text.find(marker).expect("functions");
    format!(
        "{}#ifndef __cplusplus\n{initialisers}#endif\n\n{}",
        &text[..at],
        &text[at..]
    )
}

fn struct_body<'a>(text: &'a str, name: &str) -> &'a str {
    let start = text.find(&format!("typedef struct {name} {{")).unwrap_or(0);
    let end = text[start..].find('}').map_or(text.len(), |e| start + e);
    &text[start..end]
}

/// The version for `#if`.
fn version() -> String {
    format!(
        "\n/* The version of this header; reflex_get_build_info tells the library's. */\n\
         #define REFLEX_VERSION_MAJOR {}\n#define REFLEX_VERSION_MINOR {}\n#define REFLEX_VERSION_PATCH {}\n",
        env!("CARGO_PKG_VERSION_MAJOR"),
        env!("CARGO_PKG_VERSION_MINOR"),
        env!("CARGO_PKG_VERSION_PATCH"),
    )
}

/// Without the files that only list modules: cbindgen follows those, and would see every item twice.
fn sources() -> Vec<PathBuf> {
    fn rust_files(dir: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(dir).expect("src");
        entries
            .map(|e| e.expect("entry").path())
            .flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] })
            .collect()
    }
    let mut found = rust_files(&root().join("src"));
    found.retain(|path| {
        path.extension().is_some_and(|e| e == "rs") && !path.ends_with("src/lib.rs") && !path.ends_with("mod.rs")
    });
    found.sort();
    found
}

/// Names of the types in the sources that are not the ABI's.
pub fn private_types() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for path in sources() {
        let text = std::fs::read_to_string(&path).expect("a source");
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            let mut words = line.split(|c: char| !(c.is_alphanumeric() || c == '_'));
            while let Some(word) = words.next() {
                if ["struct", "enum", "union", "type"].contains(&word) {
                    names.extend(words.next().map(str::to_string));
                }
            }
        }
    }
    // The tag is CUDA's, and meant to be.
    names.retain(|name| name.starts_with(|c: char| c.is_ascii_uppercase()) && name != "CUstream_st");
    names
}

#[test]
fn header_matches_the_sources() {
    let path = header();
    let generated = generate();
    if std::env::var_os("REFLEX_UPDATE_HEADER").is_some() {
        std::fs::write(&path, generated).expect("write");
        return;
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "include/reflex/infer.h differs from the sources: run ./dev header and commit it"
    );
}
