//! The interface as data: `include/reflex/api.json`, and what of other files follows from it.

use super::chapters::Chapter;
use super::source::{Item, Kind, Sources};
use super::text::{Declarations, convention, wrapped};
use super::types::{POINTER_SIZE, Type, layout_of_struct};
use crate::api::{
    Alias, Api, Argument, Chapter as ChapterData, Constant, Field, Function, Handle, Integer, Op, OpFunctions, Struct,
};
use std::collections::BTreeMap;

/// Size and alignment of the types that the interface defines.
fn layouts(items: &[&Item]) -> BTreeMap<String, (u64, u64)> {
    let mut known = BTreeMap::new();
    // In the order of C: what a struct holds stands before it.
    for item in items {
        let layout = match &item.kind {
            Kind::Integer(ty) | Kind::Alias(ty) => ty.layout(&known),
            Kind::Struct(fields) => layout_of_struct(fields.iter().map(|field| &field.ty), &known).1,
            Kind::Constant(_) | Kind::Handle | Kind::Function { .. } => continue,
        };
        known.insert(item.name.clone(), layout);
    }
    known
}

/// The ops of the registry, with the params that their functions take.
fn ops(functions: &[Function]) -> Vec<Op> {
    let op = |op: &reflex_infer::OpEntry| {
        let [run, supported, selected_kernel, ref others @ ..] = *op.functions else {
            panic!("the op {} has not all of its functions", op.name);
        };
        let function = functions.iter().find(|function| function.name == run);
        let function = function.unwrap_or_else(|| panic!("{run}, which the registry names, is no function"));
        let params = function.arguments.iter().find(|argument| argument.name == "params");
        let params = &params.unwrap_or_else(|| panic!("{run} takes no params")).ty;
        Op {
            name: op.name.to_string(),
            params: params.trim_start_matches("const ").trim_end_matches(" *").to_string(),
            functions: OpFunctions {
                run: run.to_string(),
                supported: supported.to_string(),
                selected_kernel: selected_kernel.to_string(),
                workspace_size: others.first().map(|name| name.to_string()),
            },
        }
    };
    reflex_infer::OPS.iter().map(op).collect()
}

fn struct_data(
    item: &Item,
    fields: &[super::source::Field],
    known: &BTreeMap<String, (u64, u64)>,
    chapter: &str,
) -> Struct {
    let (places, (size, align)) = layout_of_struct(fields.iter().map(|field| &field.ty), known);
    let field = |(field, (offset, size)): (&super::source::Field, (u64, u64))| Field {
        name: field.name.clone(),
        ty: field.ty.in_c(),
        offset,
        size,
        doc: match field.doc.as_str() {
            "" => convention(&field.name).unwrap_or_default().to_string(),
            doc => doc.to_string(),
        },
    };
    Struct {
        name: item.name.clone(),
        size,
        align,
        fields: fields.iter().zip(places).map(field).collect(),
        chapter: chapter.to_string(),
        doc: item.doc.clone(),
    }
}

pub fn api(chapters: &[Chapter], sources: &Sources, declarations: &Declarations) -> Api {
    let mut api = Api {
        version: env!("CARGO_PKG_VERSION").to_string(),
        pointer_size: POINTER_SIZE,
        chapters: Vec::new(),
        handles: Vec::new(),
        aliases: Vec::new(),
        integers: Vec::new(),
        constants: Vec::new(),
        structs: Vec::new(),
        functions: Vec::new(),
        ops: Vec::new(),
    };
    let in_order: Vec<&Item> = chapters.iter().flat_map(Chapter::items).collect();
    let known = layouts(&in_order);
    for chapter in chapters {
        let name = &chapter.name;
        api.chapters.push(ChapterData {
            name: name.clone(),
            title: chapter.title.clone(),
            doc: chapter.intro.clone(),
        });
        for item in chapter.items() {
            add(&mut api, item, name, sources, &known, declarations);
        }
    }
    api.ops = ops(&api.functions);
    api
}

fn add(
    api: &mut Api,
    item: &Item,
    chapter: &str,
    sources: &Sources,
    known: &BTreeMap<String, (u64, u64)>,
    declarations: &Declarations,
) {
    let (name, doc, chapter) = (item.name.clone(), item.doc.clone(), chapter.to_string());
    match &item.kind {
        Kind::Handle => api.handles.push(Handle { name, chapter, doc }),
        Kind::Alias(ty) => api.aliases.push(Alias {
            name,
            ty: ty.in_c(),
            chapter,
            doc,
        }),
        Kind::Integer(ty) => {
            let is_of_type = |other: &&Item| matches!(&other.kind, Kind::Constant(of) if of.name() == name);
            let constants = sources.items.iter().filter(is_of_type).map(|other| other.name.clone());
            api.integers.push(Integer {
                constants: constants.collect(),
                ty: ty.in_c(),
                name,
                chapter,
                doc,
            });
        }
        Kind::Constant(ty) => api.constants.push(Constant {
            ty: ty.in_c(),
            value: declarations.value(&name),
            name,
            chapter,
            doc,
        }),
        Kind::Struct(fields) => api.structs.push(struct_data(item, fields, known, &chapter)),
        Kind::Function { returns, arguments } => {
            let argument = |(name, ty): &(String, Type)| Argument {
                name: name.clone(),
                ty: ty.in_c(),
            };
            api.functions.push(Function {
                name,
                returns: returns.as_ref().map_or("void".to_string(), Type::in_c),
                arguments: arguments.iter().map(argument).collect(),
                chapter,
                doc,
            });
        }
    }
}

/// `tests/abi/structs.rs`: the names with which `tests/abi/layout.rs` asks Rust's compiler for the same numbers.
pub fn rust_names(api: &Api) -> String {
    let mut text = String::from(
        "// Every struct and constant of the C interface, by `./dev header`; do not edit.\n\nstructs! {\n",
    );
    for structure in &api.structs {
        let fields: Vec<&str> = structure.fields.iter().map(|field| field.name.as_str()).collect();
        let fields = fields.join(", ");
        let fields = wrapped(&fields, "        ", "        ");
        text.push_str(&format!("    {} {{\n{fields}    }}\n", structure.name));
    }
    text.push_str("}\n\nconstants! {\n");
    for constant in &api.constants {
        let is_integer = api.integers.iter().any(|integer| integer.name == constant.ty);
        text.push_str(&format!(
            "    {}{};\n",
            constant.name,
            if is_integer { ".0" } else { "" }
        ));
    }
    text + "}\n"
}

const ALIASES: (&str, &str) = ("/* Written by ./dev header: */\n", "/* Up to here. */\n");

/// `infer.hpp` with an alias for each struct that begins with `struct_size`.
pub fn with_aliases(hpp: &str, api: &Api) -> String {
    let (start, end) = ALIASES;
    let (before, rest) = hpp
        .split_once(start)
        .unwrap_or_else(|| panic!("infer.hpp has no line {start}"));
    let (_, after) = rest
        .split_once(end)
        .unwrap_or_else(|| panic!("infer.hpp has no line {end}"));
    let alias = |structure: &Struct| {
        let name = structure.name.strip_prefix("reflex_").expect("the library's prefix");
        format!("using {name} = params<{}>;\n", structure.name)
    };
    let aliases: String = api
        .structs
        .iter()
        .filter(|structure| structure.is_versioned())
        .map(alias)
        .collect();
    format!("{before}{start}{aliases}{end}{after}")
}

/// Everything that has no comment, by name.
pub fn undocumented(api: &Api) -> Vec<String> {
    let documented = |name: &str, doc: &str| (name.to_string(), doc.trim().is_empty());
    let mut all = Vec::new();
    all.extend(api.handles.iter().map(|i| documented(&i.name, &i.doc)));
    all.extend(api.aliases.iter().map(|i| documented(&i.name, &i.doc)));
    all.extend(api.integers.iter().map(|i| documented(&i.name, &i.doc)));
    all.extend(api.constants.iter().map(|i| documented(&i.name, &i.doc)));
    all.extend(api.functions.iter().map(|i| documented(&i.name, &i.doc)));
    for structure in &api.structs {
        all.push(documented(&structure.name, &structure.doc));
        let field = |field: &Field| documented(&format!("{}.{}", structure.name, field.name), &field.doc);
        all.extend(structure.fields.iter().map(field));
    }
    all.into_iter()
        .filter(|(_, is_missing)| *is_missing)
        .map(|(name, _)| name)
        .collect()
}

#[test]
fn what_has_no_comment_is_named() {
    let text = r#"{"version": "", "pointer_size": 8, "chapters": [], "aliases": [], "integers": [], "ops": [], "constants": [],
        "handles": [{"name": "reflex_a", "chapter": "", "doc": ""}],
        "structs": [{"name": "reflex_b", "size": 4, "align": 4, "chapter": "", "doc": "There.", "fields": [
            {"name": "there", "type": "char", "offset": 0, "size": 1, "doc": "Yes."},
            {"name": "missing", "type": "char", "offset": 1, "size": 1, "doc": ""}]}],
        "functions": [{"name": "reflex_c", "returns": "void", "arguments": [], "chapter": "", "doc": " "}]}"#;
    let api = serde_json::from_str(text).expect("an interface");
    assert_eq!(undocumented(&api), ["reflex_a", "reflex_c", "reflex_b.missing"]);
}
