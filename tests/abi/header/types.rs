//! Types of the C interface: as Rust writes them, as C does, and their sizes by the rules of `repr(C)`.

use std::collections::BTreeMap;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Type {
    /// A name of the interface, or of a type that C has by itself.
    Named(String),
    Pointer {
        to: Box<Type>,
        constant: bool,
    },
    Array(Box<Type>, u64),
}

/// Rust's name, C's, and the size, which is the alignment too.
const PRIMITIVES: [(&str, &str, u64); 13] = [
    ("i8", "int8_t", 1),
    ("u8", "uint8_t", 1),
    ("i16", "int16_t", 2),
    ("u16", "uint16_t", 2),
    ("i32", "int32_t", 4),
    ("u32", "uint32_t", 4),
    ("i64", "int64_t", 8),
    ("u64", "uint64_t", 8),
    ("usize", "size_t", POINTER_SIZE),
    ("f32", "float", 4),
    ("f64", "double", 8),
    ("c_char", "char", 1),
    ("c_void", "void", 0),
];

pub const POINTER_SIZE: u64 = 8;

impl Type {
    pub fn of(ty: &syn::Type) -> Type {
        match ty {
            syn::Type::Path(path) => Type::Named(path.path.segments.last().expect("a name").ident.to_string()),
            syn::Type::Ptr(pointer) => Type::Pointer {
                to: Box::new(Type::of(&pointer.elem)),
                constant: pointer.const_token.is_some(),
            },
            syn::Type::Array(array) => {
                let syn::Expr::Lit(syn::ExprLit {
                    lit: syn::Lit::Int(length),
                    ..
                }) = &array.len
                else {
                    panic!("the length of an array in the C interface is written as a number");
                };
                Type::Array(
                    Box::new(Type::of(&array.elem)),
                    length.base10_parse().expect("a length"),
                )
            }
            _ => panic!("the C interface knows names, raw pointers and arrays: what is this type?"),
        }
    }

    /// As C writes it without the name of a variable.
    pub fn in_c(&self) -> String {
        match self {
            Type::Named(name) if name == "CUstream_st" => "struct CUstream_st".to_string(),
            Type::Named(name) => match PRIMITIVES.iter().find(|(rust, ..)| rust == name) {
                Some((_, c, _)) => c.to_string(),
                None => name.clone(),
            },
            Type::Pointer { to, constant } => {
                let inner = to.in_c();
                match (&**to, constant) {
                    (Type::Pointer { .. }, true) => format!("{inner}const *"),
                    (Type::Pointer { .. }, false) => format!("{inner}*"),
                    (_, true) => format!("const {inner} *"),
                    (_, false) => format!("{inner} *"),
                }
            }
            Type::Array(of, length) => {
                // The outermost length stands first.
                let inner = of.in_c();
                let at = inner.find('[').unwrap_or(inner.len());
                format!("{}[{length}]{}", &inner[..at], &inner[at..])
            }
        }
    }

    /// The name of the interface that it is made of.
    pub fn name(&self) -> &str {
        match self {
            Type::Named(name) => name,
            Type::Pointer { to, .. } => to.name(),
            Type::Array(of, _) => of.name(),
        }
    }

    /// Size and alignment; `known` are those of the interface's own types.
    pub fn layout(&self, known: &BTreeMap<String, (u64, u64)>) -> (u64, u64) {
        match self {
            Type::Pointer { .. } => (POINTER_SIZE, POINTER_SIZE),
            Type::Array(of, length) => {
                let (size, align) = of.layout(known);
                (size * length, align)
            }
            Type::Named(name) => match PRIMITIVES.iter().find(|(rust, ..)| rust == name) {
                Some(&(_, _, size)) => (size, size),
                None => *known
                    .get(name)
                    .unwrap_or_else(|| panic!("the size of {name} is not known")),
            },
        }
    }
}

/// Offsets and sizes of fields, and size and alignment of their struct.
pub fn layout_of_struct<'a>(
    fields: impl Iterator<Item = &'a Type>,
    known: &BTreeMap<String, (u64, u64)>,
) -> (Vec<(u64, u64)>, (u64, u64)) {
    let (mut places, mut end, mut widest) = (Vec::new(), 0u64, 1);
    for field in fields {
        let (size, align) = field.layout(known);
        let offset = end.next_multiple_of(align);
        places.push((offset, size));
        end = offset + size;
        widest = widest.max(align);
    }
    (places, (end.next_multiple_of(widest), widest))
}

#[cfg(test)]
fn parse(text: &str) -> Type {
    Type::of(&syn::parse_str(text).expect("a type"))
}

#[test]
fn types_are_written_as_c_writes_them() {
    for (rust, c) in [
        ("u32", "uint32_t"),
        ("*const c_char", "const char *"),
        ("*mut *const std::ffi::c_char", "const char **"),
        ("*const *mut reflex_graph", "reflex_graph *const *"),
        ("*mut CUstream_st", "struct CUstream_st *"),
        ("[[f32; 3]; 2]", "float[2][3]"),
        ("[*const reflex_tensor; 4]", "const reflex_tensor *[4]"),
    ] {
        assert_eq!(parse(rust).in_c(), c, "{rust}");
    }
}

#[test]
fn layouts_follow_the_rules_of_repr_c() {
    let known = BTreeMap::from([("reflex_pair".to_string(), (16, 8))]);
    let fields = ["u8", "u16", "reflex_pair", "[c_char; 3]", "usize", "f32"].map(parse);
    let (places, whole) = layout_of_struct(fields.iter(), &known);
    assert_eq!(places, [(0, 1), (2, 2), (8, 16), (24, 3), (32, 8), (40, 4)]);
    assert_eq!(whole, (48, 8));
}
