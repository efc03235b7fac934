//! `include/reflex/api.json`: the C ABI as data, for bindings and tests. `tests/abi/header` writes it.

use crate::paths;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub struct Api {
    pub version: String,
    /// Offsets and sizes are those of targets with pointers of 8 bytes.
    pub pointer_size: u64,
    /// In the order of the header.
    pub chapters: Vec<Chapter>,
    pub handles: Vec<Handle>,
    pub aliases: Vec<Alias>,
    pub integers: Vec<Integer>,
    pub constants: Vec<Constant>,
    pub structs: Vec<Struct>,
    pub functions: Vec<Function>,
    pub ops: Vec<Op>,
}

#[derive(Serialize, Deserialize)]
pub struct Chapter {
    /// What items give as their chapter.
    pub name: String,
    pub title: String,
    pub doc: String,
}

/// A type that C knows by pointers alone.
#[derive(Serialize, Deserialize)]
pub struct Handle {
    pub name: String,
    pub chapter: String,
    pub doc: String,
}

/// Another name of a type of C.
#[derive(Serialize, Deserialize)]
pub struct Alias {
    pub name: String,
    #[serde(rename = "type")]
    pub ty: String,
    pub chapter: String,
    pub doc: String,
}

/// A number with names for its values. Of a set of bits the values may be or-ed.
#[derive(Serialize, Deserialize)]
pub struct Integer {
    pub name: String,
    #[serde(rename = "type")]
    pub ty: String,
    /// Names of the constants of this type.
    pub constants: Vec<String>,
    pub chapter: String,
    pub doc: String,
}

#[derive(Serialize, Deserialize)]
pub struct Constant {
    pub name: String,
    /// An integer of C, or one of `integers`.
    #[serde(rename = "type")]
    pub ty: String,
    pub value: i64,
    pub chapter: String,
    pub doc: String,
}

#[derive(Serialize, Deserialize)]
pub struct Struct {
    pub name: String,
    pub size: u64,
    pub align: u64,
    pub fields: Vec<Field>,
    pub chapter: String,
    pub doc: String,
}

impl Struct {
    /// Grows with the library: its first field is the size that the caller knows.
    pub fn is_versioned(&self) -> bool {
        self.fields.first().is_some_and(|field| field.name == "struct_size")
    }
}

#[derive(Serialize, Deserialize)]
pub struct Field {
    pub name: String,
    /// As C writes the type without a name: `char[128]`.
    #[serde(rename = "type")]
    pub ty: String,
    pub offset: u64,
    pub size: u64,
    pub doc: String,
}

#[derive(Serialize, Deserialize)]
pub struct Function {
    pub name: String,
    pub returns: String,
    pub arguments: Vec<Argument>,
    pub chapter: String,
    pub doc: String,
}

#[derive(Serialize, Deserialize)]
pub struct Argument {
    pub name: String,
    #[serde(rename = "type")]
    pub ty: String,
}

#[derive(Serialize, Deserialize)]
pub struct Op {
    pub name: String,
    /// Name of the struct of its operands.
    pub params: String,
    pub functions: OpFunctions,
}

/// Names of an op's functions.
#[derive(Serialize, Deserialize)]
pub struct OpFunctions {
    pub run: String,
    pub supported: String,
    pub selected_kernel: String,
    /// Of ops that may need scratch.
    pub workspace_size: Option<String>,
}

/// What is committed.
pub fn committed() -> Api {
    let text = std::fs::read_to_string(paths::api()).expect("api.json");
    serde_json::from_str(&text).expect("the members of api.json")
}
