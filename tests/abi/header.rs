//! `include/reflex/infer.h` is what the sources say.

use crate::paths::{header, root};
use std::path::{Path, PathBuf};

/// cbindgen's output plus an initialiser for every params struct.
fn generate() -> String {
    let config = cbindgen::Config::from_file(root().join("cbindgen.toml")).expect("cbindgen.toml");
    let bindings = cbindgen::Builder::new().with_config(config);
    let bindings = sources(&root().join("src"))
        .into_iter()
        .fold(bindings, |b, path| b.with_src(path))
        .generate()
        .expect("cbindgen");
    let mut bytes = Vec::new();
    bindings.write(&mut bytes);
    let text = String::from_utf8(bytes).expect("UTF-8");
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

/// Without the files that only list modules: cbindgen follows those, and would see every item twice.
fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(dir)
        .expect("src")
        .map(|e| e.expect("entry").path())
        .flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] })
        .filter(|path| {
            path.extension().is_some_and(|e| e == "rs") && !path.ends_with("src/lib.rs") && !path.ends_with("mod.rs")
        })
        .collect();
    found.sort();
    found
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

#[test]
fn macros_are_named_after_the_library() {
    let text = std::fs::read_to_string(header()).expect("infer.h");
    let macros = text.lines().filter_map(|l| l.strip_prefix("#define "));
    for name in macros.map(|l| l.split([' ', '(']).next().unwrap_or(l)) {
        assert!(name.starts_with("REFLEX_"), "{name}");
    }
}
