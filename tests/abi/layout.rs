//! Structs have the same layout in Rust, C, C++ and `api.json`, and the headers compile alone, without a warning.

mod api;
mod compiler;
#[allow(dead_code)]
mod paths;

use api::Api;
use compiler::compile_text;
use reflex_infer::*;
use std::mem::offset_of;

/// What Rust's compiler makes of a struct: size, alignment, and offset and size of each field.
struct InRust {
    name: &'static str,
    size: usize,
    align: usize,
    fields: Vec<(&'static str, usize, usize)>,
}

fn size_of_field<S, F>(_: fn(&S) -> &F) -> usize {
    size_of::<F>()
}

macro_rules! structs {
    ($($name:ident { $($field:ident),* })*) => {
        fn structs_in_rust() -> Vec<InRust> {
            vec![$(InRust {
                name: stringify!($name),
                size: size_of::<$name>(),
                align: align_of::<$name>(),
                fields: vec![$((
                    stringify!($field),
                    offset_of!($name, $field),
                    size_of_field(|value: &$name| &value.$field),
                )),*],
            }),*]
        }
    };
}

macro_rules! constants {
    ($($name:ident $(. $number:tt)?;)*) => {
        fn constants_in_rust() -> Vec<(&'static str, i64)> {
            vec![$((stringify!($name), i64::from($name $(. $number)?))),*]
        }
    };
}

include!("structs.rs");

/// Compiles `include` of a header, twice, and `body` behind it.
fn compile(language: &str, standard: &str, header: &str, body: &str) {
    // Twice: the include guard works.
    let include = format!("#include <reflex/{header}>\n");
    compile_text(language, standard, &[], &format!("{include}{include}{body}\n"));
}

#[test]
fn rust_has_the_layouts_of_api_json() {
    let api = api::committed();
    let in_rust: Vec<_> = structs_in_rust()
        .into_iter()
        .map(|s| (s.name.to_string(), s.size as u64, s.align as u64, fields_in_rust(&s)))
        .collect();
    let in_json: Vec<_> = api
        .structs
        .iter()
        .map(|s| {
            let fields = s.fields.iter().map(|f| (f.name.clone(), f.offset, f.size));
            (s.name.clone(), s.size, s.align, fields.collect())
        })
        .collect();
    assert_eq!(in_rust, in_json, "Rust (left) and api.json");
    assert_eq!(size_of::<usize>() as u64, api.pointer_size);
}

fn fields_in_rust(structure: &InRust) -> Vec<(String, u64, u64)> {
    let field = |&(name, offset, size): &(&str, usize, usize)| (name.to_string(), offset as u64, size as u64);
    structure.fields.iter().map(field).collect()
}

#[test]
fn rust_has_the_constants_of_api_json() {
    let api = api::committed();
    let in_json: Vec<_> = api
        .constants
        .iter()
        .map(|constant| (constant.name.as_str(), constant.value))
        .collect();
    assert_eq!(constants_in_rust(), in_json, "Rust (left) and api.json");
}

/// Bytes that no field names would reach the library unset, where "the tail is zero" is asked of them.
#[test]
fn no_struct_has_padding() {
    for structure in api::committed().structs {
        let mut end = 0;
        for field in &structure.fields {
            assert_eq!(field.offset, end, "padding before {}.{}", structure.name, field.name);
            end = field.offset + field.size;
        }
        assert_eq!(structure.size, end, "padding at the end of {}", structure.name);
    }
}

/// Sizes, offsets and values of `api.json` as assertions in C.
fn assertions(api: &Api) -> String {
    let mut text = String::new();
    for structure in &api.structs {
        let name = &structure.name;
        text.push_str(&format!("CHECK(sizeof({name}) == {}, \"{name}\");\n", structure.size));
        for field in &structure.fields {
            let (field, offset, size) = (&field.name, field.offset, field.size);
            text.push_str(&format!(
                "CHECK(offsetof({name}, {field}) == {offset}, \"{name}.{field}\");\n"
            ));
            text.push_str(&format!(
                "CHECK(sizeof((({name} *)0)->{field}) == {size}, \"{name}.{field}\");\n"
            ));
        }
    }
    for constant in &api.constants {
        text.push_str(&format!("CHECK({0} == {1}, \"{0}\");\n", constant.name, constant.value));
    }
    text
}

/// What a function is, without a parameter's name: a compiler takes it beside the header's own where both say the same.
fn prototypes(api: &Api) -> String {
    let prototype = |function: &api::Function| {
        let types: Vec<&str> = function.arguments.iter().map(|argument| argument.ty.as_str()).collect();
        let types = if types.is_empty() {
            "void".to_string()
        } else {
            types.join(", ")
        };
        format!("{} {}({types});\n", function.returns, function.name)
    };
    api.functions.iter().map(prototype).collect()
}

/// Types of fields and names, which C++ can compare.
fn same_types(api: &Api) -> String {
    let mut text = String::from("#include <type_traits>\n");
    let mut same = |left: String, right: &str| {
        text.push_str(&format!(
            "static_assert(std::is_same<{left}, {right}>::value, \"{left}\");\n"
        ));
    };
    for structure in &api.structs {
        for field in &structure.fields {
            same(format!("decltype({}::{})", structure.name, field.name), &field.ty);
        }
    }
    for integer in &api.integers {
        same(integer.name.clone(), &integer.ty);
    }
    for alias in &api.aliases {
        same(alias.name.clone(), &alias.ty);
    }
    text
}

#[test]
fn c_and_cpp_have_the_layouts_of_api_json() {
    let api = api::committed();
    let (checks, prototypes) = (assertions(&api), prototypes(&api));
    compile(
        "c",
        "c11",
        "infer.h",
        &format!("#define CHECK _Static_assert\n{checks}{prototypes}"),
    );
    compile(
        "cpp",
        "c++17",
        "infer.h",
        &format!(
            "{}#define CHECK static_assert\n{checks}extern \"C\" {{\n{prototypes}}}\n",
            same_types(&api)
        ),
    );
}

/// In C++ each struct that grows has a name that sets its size.
#[test]
fn cpp_has_an_alias_for_each_versioned_struct() {
    let api = api::committed();
    let mut text = String::from("#include <type_traits>\n");
    for structure in api.structs.iter().filter(|structure| structure.is_versioned()) {
        let name = &structure.name;
        let alias = name.replace("reflex_", "reflex::");
        text.push_str(&format!(
            "static_assert(std::is_base_of<{name}, {alias}>::value, \"{name}\");\n"
        ));
    }
    assert!(text.contains("reflex::norm_params"));
    compile("cpp", "c++17", "infer.hpp", &text);
}

#[test]
fn headers_compile_alone() {
    compile("c", "c99", "infer.h", "");
    compile("cpp", "c++11", "infer.h", "");
    compile("cpp", "c++17", "infer.hpp", "");
    compile("cpp", "c++20", "infer.hpp", "");
    for standard in ["c++17", "c++20"] {
        let text = "#include <reflex/infer.hpp>\n";
        compile_text("cpp", standard, &["-fno-exceptions", "-fno-rtti"], text);
    }
}

/// With exceptions and without: of any array of products, but none that is gone before the call.
#[test]
fn cpp_code_can_set_products() {
    let text = r#"
        #include <reflex/infer.hpp>
        #include <type_traits>

        void set(reflex_matmul_params &p, const reflex_matmul_product *some) {
            reflex_matmul_product two[2] = {};
            reflex::matmul_product three[3];
            two[0].weight = three[2].weight = reflex::weight(reflex_tensor{});
            reflex::set_products(p, two);
            reflex::set_products(p, three);
            reflex::set_products(p, three, 1);
            reflex::set_products(p, some, 2);
        }

        template <typename Products, typename = void> struct takes : std::false_type {};
        template <typename Products>
        struct takes<Products, decltype(reflex::set_products(std::declval<reflex_matmul_params &>(), std::declval<Products>()))>
            : std::true_type {};
        static_assert(takes<reflex_matmul_product (&)[2]>::value, "an array");
        static_assert(takes<const reflex::matmul_product (&)[1]>::value, "of zeroed products");
        static_assert(!takes<reflex_matmul_product (&&)[2]>::value, "a temporary");
        static_assert(sizeof(reflex::matmul_product) == sizeof(reflex_matmul_product), "the same stride");
    "#;
    for options in [&[][..], &["-fno-exceptions", "-fno-rtti"]] {
        compile_text("cpp", "c++17", options, text);
    }
}

/// Initialisers, and every function has an address.
#[test]
fn c_code_can_name_everything() {
    let names: Vec<String> = api::committed()
        .functions
        .into_iter()
        .map(|function| function.name)
        .collect();
    let addresses: String = names.iter().map(|n| format!("    (any_function){n},\n")).collect();
    let header = std::fs::read_to_string(paths::header()).expect("the header");
    let values: String = header
        .lines()
        .filter_map(|line| line.strip_prefix("#define ")?.split_once("_INIT {"))
        .enumerate()
        .map(|(i, (name, _))| {
            format!("{0} value_{i} = {name}_INIT;\nint check_{i}(void) {{ return value_{i}.struct_size == sizeof({0}); }}\n", name.to_lowercase())
        })
        .collect();
    assert!(values.contains("reflex_norm_params value_"));
    let body = format!(
        "typedef void (*any_function)(void);\nany_function all[];\n{values}\nany_function all[] = {{\n{addresses}}};"
    );
    // Casting a function's type is what -Wextra's cast-function-type is for; here it is the point.
    compile(
        "c",
        "c11",
        "infer.h",
        &format!("#pragma GCC diagnostic ignored \"-Wcast-function-type\"\n{body}")
            .replace("any_function all[];\n", ""),
    );
}
