//! The shared library exports what the committed list and the header say, and nothing else.

use crate::{api, paths};
use std::collections::BTreeSet;

/// Functions that the shared library defines for others.
fn exported() -> BTreeSet<String> {
    let bytes = std::fs::read(paths::shared_library()).expect("the shared library beside the test");
    let elf = goblin::elf::Elf::parse(&bytes).expect("an ELF file");
    elf.dynsyms
        .iter()
        .filter(|symbol| symbol.st_shndx != 0 && symbol.st_bind() != goblin::elf::sym::STB_LOCAL)
        .map(|symbol| elf.dynstrtab.get_at(symbol.st_name).expect("a name").to_string())
        .collect()
}

/// Functions that the header declares.
pub fn declared() -> BTreeSet<String> {
    let header = std::fs::read_to_string(paths::header()).expect("the header");
    let code: String = header
        .lines()
        .filter(|line| {
            !["//", "/*", "*"]
                .iter()
                .any(|start| line.trim_start().starts_with(start))
        })
        .collect::<Vec<_>>()
        .join(" ");
    code.split('(')
        .filter_map(|head| head.split([' ', '*', ';', '}']).next_back())
        .filter(|name| name.starts_with("reflex_"))
        .map(str::to_string)
        .collect()
}

#[test]
fn library_header_and_list_agree() {
    let path = paths::root().join("tests/abi/exports.txt");
    let exported = exported();
    if std::env::var_os("REFLEX_UPDATE_HEADER").is_some() {
        let text: String = exported.iter().map(|name| format!("{name}\n")).collect();
        std::fs::write(&path, text).expect("write");
        // The header is being written by another test just now.
        return;
    }
    let listed: BTreeSet<String> = std::fs::read_to_string(&path)
        .expect("tests/abi/exports.txt")
        .lines()
        .map(str::to_string)
        .collect();
    assert_eq!(
        exported, listed,
        "the library's exports (left) and tests/abi/exports.txt"
    );
    assert_eq!(
        declared(),
        listed,
        "the header's functions (left) and tests/abi/exports.txt"
    );
    let in_json: BTreeSet<String> = api::committed()
        .functions
        .into_iter()
        .map(|function| function.name)
        .collect();
    assert_eq!(in_json, listed, "api.json's functions (left) and tests/abi/exports.txt");
    assert!(listed.iter().all(|name| name.starts_with("reflex_")));
}

#[test]
fn no_cuda_library_is_linked_and_the_soname_is_versioned() {
    let bytes = std::fs::read(paths::shared_library()).expect("the shared library beside the test");
    let elf = goblin::elf::Elf::parse(&bytes).expect("an ELF file");
    assert_eq!(elf.soname, Some("libreflex_infer.so.0.1"));
    for library in &elf.libraries {
        assert!(
            !["cuda", "nvrtc", "nvidia", "cublas"]
                .iter()
                .any(|word| library.contains(word)),
            "needs {library}"
        );
    }
}

/// Everything an op's name promises is there.
#[test]
fn an_op_is_found_by_its_name() {
    let root = paths::root();
    let declared = declared();
    let named = |suffix: &str| declared.iter().filter(|name| name.ends_with(suffix)).count();
    assert_eq!(
        named("_supported"),
        reflex_infer::OPS.len(),
        "ops in the header and in the registry"
    );
    for op in reflex_infer::OPS {
        let known = ["", "_supported", "_selected_kernel", "_workspace_size"]
            .map(|suffix| format!("reflex_{}{suffix}", op.name));
        let functions: Vec<&str> = known
            .iter()
            .map(String::as_str)
            .filter(|name| declared.contains(*name))
            .collect();
        assert_eq!(functions, op.functions, "{}", op.name);
        let file = op.module;
        let kernel = root.join(format!("kernels/{file}.cu")).is_file() || root.join(format!("kernels/{file}")).is_dir();
        assert!(kernel, "kernels/{file}");
        assert!(root.join(format!("cases/{file}.txt")).is_file(), "cases/{file}.txt");
        for folder in ["src/ops", "src/cpu", "tests/cpu", "tests/support/cases"] {
            assert!(
                root.join(format!("{folder}/{file}.rs")).is_file()
                    || root.join(format!("{folder}/{file}/mod.rs")).is_file(),
                "{folder}/{file}.rs"
            );
        }
    }
}
