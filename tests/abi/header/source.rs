//! What of the sources is the C interface: every public item whose name begins with `reflex_` or `REFLEX_`.

use super::types::Type;
use crate::paths::root;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use syn::{Attribute, Expr, Fields, Visibility};

/// Where an item stands below `src`: `["ops", "norm"]`.
pub type Room = Vec<String>;

pub struct Item {
    pub name: String,
    pub doc: String,
    pub room: Room,
    pub kind: Kind,
}

pub enum Kind {
    Constant(Type),
    /// A number with a name of its own.
    Integer(Type),
    Handle,
    Alias(Type),
    Struct(Vec<Field>),
    Function {
        returns: Option<Type>,
        arguments: Vec<(String, Type)>,
    },
}

pub struct Field {
    pub name: String,
    pub ty: Type,
    pub doc: String,
}

#[derive(Default)]
pub struct Sources {
    /// In the order of their files' names, and of each file.
    pub items: Vec<Item>,
    /// The first paragraph that a file says of itself, in one line.
    pub intros: BTreeMap<Room, String>,
    /// Names of the types that are not the interface's.
    pub private_types: BTreeSet<String>,
}

impl Item {
    /// Names of the types that C has to know before this one.
    pub fn uses(&self) -> BTreeSet<&str> {
        let types: Vec<&Type> = match &self.kind {
            Kind::Constant(_) | Kind::Integer(_) | Kind::Handle => vec![],
            Kind::Alias(ty) => vec![ty],
            Kind::Struct(fields) => fields.iter().map(|field| &field.ty).collect(),
            Kind::Function { returns, arguments } => returns.iter().chain(arguments.iter().map(|(_, ty)| ty)).collect(),
        };
        types.into_iter().map(Type::name).collect()
    }
}

/// Every file with code, but those that only list modules: cbindgen follows these, and would see every item twice.
pub fn files() -> Vec<PathBuf> {
    let mut found = all_files(&root().join("src"));
    found.retain(|path| !path.ends_with("src/lib.rs") && !path.ends_with("mod.rs"));
    found
}

fn all_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("src");
    let paths = entries.map(|entry| entry.expect("entry").path());
    let mut found: Vec<PathBuf> = paths
        .flat_map(|path| if path.is_dir() { all_files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    // A module's own file before those in its folder.
    found.sort_by_key(|path| path.with_extension(""));
    found
}

fn room(path: &Path) -> Room {
    let below = path
        .strip_prefix(root().join("src"))
        .expect("a file of src")
        .with_extension("");
    let mut room: Room = below
        .iter()
        .map(|name| name.to_str().expect("UTF-8").to_string())
        .collect();
    if room.last().is_some_and(|name| name == "mod" || name == "lib") {
        room.pop();
    }
    room
}

/// The text of `///` or `//!`, without the space that follows these.
fn doc(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| {
        let syn::Meta::NameValue(pair) = &attribute.meta else {
            return None;
        };
        let Expr::Lit(literal) = &pair.value else { return None };
        let syn::Lit::Str(text) = &literal.lit else { return None };
        let text = text.value();
        let is_doc = pair.path.is_ident("doc");
        is_doc.then(|| text.strip_prefix(' ').unwrap_or(&text).to_string())
    });
    lines.collect::<Vec<_>>().join("\n").trim().to_string()
}

/// Whether it has `#[repr(..)]` of this kind.
fn is_repr(attributes: &[Attribute], kind: &str) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("repr") && attribute.parse_args::<syn::Ident>().is_ok_and(|name| name == kind)
    })
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

fn fields_of(item: &syn::ItemStruct, fields: &syn::FieldsNamed) -> Vec<Field> {
    let field = |field: &syn::Field| {
        let name = field.ident.as_ref().expect("a name").to_string();
        assert!(is_public(&field.vis), "{}.{name} is not public", item.ident);
        let (ty, doc) = (Type::of(&field.ty), doc(&field.attrs));
        Field { name, ty, doc }
    };
    fields.named.iter().map(field).collect()
}

fn struct_kind(item: &syn::ItemStruct) -> Kind {
    match &item.fields {
        Fields::Named(fields) => {
            assert!(is_repr(&item.attrs, "C"), "{} has no #[repr(C)]", item.ident);
            Kind::Struct(fields_of(item, fields))
        }
        Fields::Unnamed(fields) if is_public(&fields.unnamed[0].vis) => {
            assert!(is_repr(&item.attrs, "transparent"), "{} is not transparent", item.ident);
            Kind::Integer(Type::of(&fields.unnamed[0].ty))
        }
        _ => Kind::Handle,
    }
}

fn function_kind(signature: &syn::Signature) -> Kind {
    let argument = |input: &syn::FnArg| {
        let syn::FnArg::Typed(typed) = input else {
            panic!("{} takes self", signature.ident)
        };
        let syn::Pat::Ident(name) = &*typed.pat else {
            panic!("an argument of {} has no name", signature.ident)
        };
        (name.ident.to_string(), Type::of(&typed.ty))
    };
    Kind::Function {
        returns: match &signature.output {
            syn::ReturnType::Default => None,
            syn::ReturnType::Type(_, ty) => Some(Type::of(ty)),
        },
        arguments: signature.inputs.iter().map(argument).collect(),
    }
}

/// The item of the interface that it is, if it is one.
fn item(item: &syn::Item, room: &Room) -> Option<Item> {
    let (name, visibility, attributes) = match item {
        syn::Item::Const(i) => (&i.ident, &i.vis, &i.attrs),
        syn::Item::Fn(i) => (&i.sig.ident, &i.vis, &i.attrs),
        syn::Item::Struct(i) => (&i.ident, &i.vis, &i.attrs),
        syn::Item::Type(i) => (&i.ident, &i.vis, &i.attrs),
        _ => return None,
    };
    let name = name.to_string();
    if !is_public(visibility) || !(name.starts_with("reflex_") || name.starts_with("REFLEX_")) {
        return None;
    }
    Some(Item {
        kind: match item {
            syn::Item::Const(i) => Kind::Constant(Type::of(&i.ty)),
            syn::Item::Fn(i) => function_kind(&i.sig),
            syn::Item::Struct(i) => struct_kind(i),
            syn::Item::Type(i) => Kind::Alias(Type::of(&i.ty)),
            _ => unreachable!("refused above"),
        },
        doc: doc(attributes),
        room: room.clone(),
        name,
    })
}

/// Names of types anywhere in a text, in its macros too.
fn types_in(text: &str, names: &mut BTreeSet<String>) {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    for line in code {
        let mut words = line.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        while let Some(word) = words.next() {
            if ["struct", "enum", "union", "type"].contains(&word) {
                names.extend(words.next().map(str::to_string));
            }
        }
    }
    // The tag is CUDA's, and meant to be.
    names.retain(|name| name.starts_with(|c: char| c.is_ascii_uppercase()) && name != "CUstream_st");
}

impl Sources {
    pub fn add(&mut self, room: Room, text: &str) {
        let file = syn::parse_file(text).expect("Rust");
        types_in(text, &mut self.private_types);
        self.items.extend(file.items.iter().filter_map(|i| item(i, &room)));
        let intro = doc(&file.attrs);
        let paragraph = intro.split("\n\n").next().unwrap_or_default();
        self.intros.insert(room, paragraph.replace('\n', " "));
    }
}

/// What all of `src` holds.
pub fn read() -> Sources {
    let mut sources = Sources::default();
    for path in all_files(&root().join("src")) {
        sources.add(room(&path), &std::fs::read_to_string(&path).expect("a source"));
    }
    sources
}
