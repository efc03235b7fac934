//! What the headers declare is named after the library, so that it meets nothing of the program that includes them.

use crate::compiler::compile_text;
use crate::header::private_types;
use crate::paths;
use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};
use tree_sitter::{Node, Parser, Tree};

fn parse(text: &str) -> Tree {
    let mut parser = Parser::new();
    let language = tree_sitter_cpp::LANGUAGE.into();
    parser.set_language(&language).expect("the C++ grammar");
    let tree = parser.parse(text, None).expect("a tree");
    assert!(!tree.root_node().has_error(), "{}", tree.root_node().to_sexp());
    tree
}

/// Kind and name of everything that a text declares at file scope or as a tag or enumerator: `("tag", "reflex_tensor")`.
fn declared(text: &str) -> BTreeSet<(&'static str, String)> {
    fn visit(node: Node, text: &str, names: &mut BTreeSet<(&'static str, String)>) {
        let mut add = |kind, name: Node| {
            names.insert((kind, text[name.byte_range()].to_string()));
        };
        let name = node.child_by_field_name("name");
        match node.kind() {
            "preproc_def" | "preproc_function_def" => add("macro", name.expect("a macro has a name")),
            "struct_specifier" | "union_specifier" | "class_specifier" | "enum_specifier" => {
                if let Some(name) = name {
                    add("tag", name);
                }
            }
            "enumerator" => add("enumerator", name.expect("an enumerator has a name")),
            "alias_declaration" => add("typedef", name.expect("an alias has a name")),
            "type_definition" | "declaration" => {
                let kind = if node.kind() == "declaration" {
                    "function"
                } else {
                    "typedef"
                };
                for declarator in node.children_by_field_name("declarator", &mut node.walk()) {
                    add(kind, innermost(declarator));
                }
            }
            // Names of their own scope.
            "parameter_list" => return,
            _ => {}
        }
        for child in node.children(&mut node.walk()) {
            visit(child, text, names);
        }
    }
    /// The name in `*name(..)`, `name[4]` or `name = 1`.
    fn innermost(declarator: Node) -> Node {
        let inner = match declarator.kind() {
            "parenthesized_declarator" => declarator.named_child(0),
            _ => declarator.child_by_field_name("declarator"),
        };
        inner.map_or(declarator, innermost)
    }
    let mut names = BTreeSet::new();
    visit(parse(text).root_node(), text, &mut names);
    names
}

fn read(header: &str) -> String {
    std::fs::read_to_string(paths::root().join("include/reflex").join(header)).expect("a header")
}

/// What the compiler's preprocessor makes of a text.
fn preprocessed(language: &str, options: &[&str], text: &str) -> String {
    let mut child = Command::new(if language == "c" { "cc" } else { "c++" })
        .args(["-E", "-x", if language == "c" { "c" } else { "c++" }, "-I"])
        .arg(paths::root().join("include"))
        .args(options)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a C compiler");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(text.as_bytes()).expect("write");
    drop(input);
    let output = child.wait_with_output().expect("the compiler's output");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The lines that a compiler reads in one of the headers itself, without those of what it includes.
fn own_lines(language: &str, options: &[&str], header: &str) -> String {
    let text = preprocessed(language, options, &format!("#include <reflex/{header}>\n"));
    let (mut own, mut ours) = (String::new(), false);
    for line in text.lines() {
        match line.strip_prefix("# ") {
            // `# 12 "/path/infer.h" 1`
            Some(marker) => ours = marker.contains(&format!("/reflex/{header}\"")),
            None if ours => own.extend([line, "\n"]),
            None => {}
        }
    }
    own
}

fn is_ours(name: &str) -> bool {
    name.starts_with("reflex_") || name.starts_with("REFLEX_")
}

#[test]
fn the_parser_of_headers_sees_every_kind() {
    let text = "#define A 1\n#define B(x) x\nstruct C;\nunion D { int d; };\nenum E { F, G = 2 };\ntypedef unsigned H;\n\
        typedef struct I { int i; } *J;\ntypedef void (*K)(int k);\nint L(void);\nconst char *M(int m);\nextern int N[4];\n\
        static const int O = 1;\n#ifdef A\nint P(struct Q *q);\n#endif\nextern \"C\" {\nint R(void);\n}\nusing S = int;\n";
    let found: BTreeSet<String> = declared(text).into_iter().map(|(_, name)| name).collect();
    let wanted = "ABCDEFGHIJKLMNOPRS".chars().map(String::from);
    // Q is declared inside a list of parameters, where it means nothing outside.
    assert_eq!(found, wanted.collect());
}

#[test]
fn everything_in_the_c_header_begins_with_reflex() {
    for language in ["c", "cpp"] {
        let names = declared(&own_lines(language, &[], "infer.h"));
        let count = |wanted: &str| names.iter().filter(|(kind, _)| *kind == wanted).count();
        assert!(count("typedef") > 20 && count("tag") > 20 && count("function") > 60);
        let foreign: Vec<_> = names
            .iter()
            .filter(|(kind, name)| !is_ours(name) && (*kind, name.as_str()) != ("tag", "CUstream_st"))
            .collect();
        assert!(foreign.is_empty(), "{language}: {foreign:?}");
    }
}

#[test]
fn the_cpp_header_has_namespace_reflex_alone() {
    for options in [&[][..], &["-fno-exceptions"]] {
        let text = own_lines("cpp", options, "infer.hpp");
        let tree = parse(&text);
        let root = tree.root_node();
        assert!(root.named_child_count() > 0);
        for node in root.named_children(&mut root.walk()) {
            let name = node.child_by_field_name("name").map(|name| &text[name.byte_range()]);
            assert_eq!((node.kind(), name), ("namespace_definition", Some("reflex")));
        }
    }
}

/// Names of the macros that are defined after a text.
fn macros(language: &str, text: &str) -> BTreeSet<String> {
    preprocessed(language, &["-dM"], text)
        .lines()
        .filter_map(|line| line.strip_prefix("#define ")?.split([' ', '(']).next())
        .map(str::to_string)
        .collect()
}

/// What the compiler sees: every macro but those of the standard headers that ours include.
#[test]
fn headers_define_no_macro_of_another_name() {
    for (language, header) in [("c", "infer.h"), ("cpp", "infer.h"), ("cpp", "infer.hpp")] {
        let mut standard: String = ["infer.h", header]
            .map(read)
            .iter()
            .flat_map(|text| text.lines())
            .filter(|line| line.starts_with("#include <") && !line.contains("reflex/"))
            .map(|line| format!("{line}\n"))
            .collect();
        let before = macros(language, &standard);
        standard.push_str(&format!("#include <reflex/{header}>\n"));
        let after = macros(language, &standard);
        let ours: Vec<&String> = after.difference(&before).collect();
        assert!(ours.len() > 50, "{language} {header}: {}", ours.len());
        let foreign: Vec<_> = ours.into_iter().filter(|name| !name.starts_with("REFLEX_")).collect();
        assert!(foreign.is_empty(), "{language} {header}: {foreign:?}");
    }
}

/// A program with types of any of the library's private names, before or after the headers.
#[test]
fn programs_keep_their_own_names() {
    let names = private_types();
    for known in ["Rotation", "Step", "Workspace", "View", "Dtype", "MatmulPlan"] {
        assert!(names.contains(known), "{known}");
    }
    let types: String = names.iter().map(|name| format!("typedef int {name};\n")).collect();
    for (language, standard, header) in [
        ("c", "c99", "infer.h"),
        ("c", "c11", "infer.h"),
        ("cpp", "c++11", "infer.h"),
        ("cpp", "c++17", "infer.hpp"),
    ] {
        let include = format!("#include <reflex/{header}>\n");
        compile_text(language, standard, &[], &format!("{types}{include}"));
        compile_text(language, standard, &[], &format!("{include}{types}"));
    }
}

/// The version in the header is Cargo.toml's and the library's, and a number for `#if`.
#[test]
fn the_version_is_known_to_the_preprocessor() {
    let cargo = [
        env!("CARGO_PKG_VERSION_MAJOR"),
        env!("CARGO_PKG_VERSION_MINOR"),
        env!("CARGO_PKG_VERSION_PATCH"),
    ];
    let [major, minor, patch] = cargo;
    let text = format!(
        "#include <reflex/infer.h>\n#if REFLEX_VERSION_MAJOR != {major} || REFLEX_VERSION_MINOR != {minor} || \
         REFLEX_VERSION_PATCH != {patch}\n#error \"another version\"\n#endif\n\
         #if !defined(REFLEX_VERSION_MAJOR) || !defined(REFLEX_VERSION_MINOR) || !defined(REFLEX_VERSION_PATCH)\n\
         #error \"no version\"\n#endif\n"
    );
    compile_text("c", "c99", &[], &text);
    compile_text("cpp", "c++11", &[], &text);
    let built = reflex_infer::reflex_get_build_info().version;
    // SAFETY: a static string.
    let built = unsafe { std::ffi::CStr::from_ptr(built) };
    assert_eq!(built.to_str(), Ok(cargo.join(".").as_str()));
    assert_eq!(built.to_str(), Ok(env!("CARGO_PKG_VERSION")));
}
