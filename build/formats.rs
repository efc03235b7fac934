//! Reads `kernels/formats.def`, and writes from it what Rust and the kernels need of every format.

use crate::xmacro;
use std::fmt::Write;
use std::path::Path;

/// A row of `REFLEX_BLOCK_FORMATS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// `Q4_K`.
    pub number_name: String,
    /// `q4_k`.
    pub name: String,
    pub ggml: u32,
    pub elements: u32,
    pub bytes: u32,
    pub bits: u32,
    pub group: u32,
    /// `F16(0, 0.0066) F16(2, 0.033)`.
    pub scales: String,
}

/// A row of `REFLEX_INT8_GROUPS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub kernel: String,
    /// As `Format::number_name`.
    pub formats: Vec<String>,
}

/// The text of `kernels/formats.def`.
pub fn parse(text: &str) -> Result<(Vec<Format>, Vec<Group>), String> {
    let mut formats: Vec<Format> = Vec::new();
    for row in xmacro::rows("kernels/formats.def", text, "REFLEX_BLOCK_FORMATS")? {
        let wrong = |what: &str| format!("kernels/formats.def: X({}): {what}", row.join(", "));
        let [number_name, name, numbers @ .., scales] = row.as_slice() else {
            return Err(wrong("expected 8 columns"));
        };
        let numbers: Vec<u32> = numbers
            .iter()
            .map(|n| n.parse().map_err(|_| wrong(&format!("`{n}` is no number"))))
            .collect::<Result<_, _>>()?;
        let [ggml, elements, bytes, bits, group] = numbers[..] else {
            return Err(wrong("expected 8 columns"));
        };
        if name != &number_name.to_lowercase() {
            return Err(wrong("name is not NAME in small letters"));
        }
        if !matches!(elements, 32 | 256) || !matches!(group, 16 | 32) || !(1..=8).contains(&bits) {
            return Err(wrong(
                "expected ELEMENTS of 32 or 256, BITS of 1 to 8, GROUP of 16 or 32",
            ));
        }
        if formats.iter().any(|f| f.name == *name || f.ggml == ggml) {
            return Err(wrong("a row above has this name or this number of ggml's"));
        }
        formats.push(Format {
            number_name: number_name.clone(),
            name: name.clone(),
            ggml,
            elements,
            bytes,
            bits,
            group,
            scales: scales.clone(),
        });
    }
    let mut groups: Vec<Group> = Vec::new();
    for row in xmacro::rows("kernels/formats.def", text, "REFLEX_INT8_GROUPS")? {
        let wrong = |what: &str| format!("kernels/formats.def: X({}): {what}", row.join(", "));
        let [kernel, names @ ..] = row.as_slice() else {
            return Err(wrong("expected a kernel's name and formats"));
        };
        if names.is_empty() || names.iter().any(|n| formats.iter().all(|f| f.number_name != *n)) {
            return Err(wrong("expected a kernel's name and formats of REFLEX_BLOCK_FORMATS"));
        }
        if groups.iter().any(|g| g.kernel == *kernel) {
            return Err(wrong("a row above has this kernel"));
        }
        groups.push(Group {
            kernel: kernel.clone(),
            formats: names.to_vec(),
        });
    }
    Ok((formats, groups))
}

/// Two macros that hand the rows to another one, as X macros of C do.
pub fn rust(formats: &[Format], groups: &[Group]) -> String {
    let mut text = String::from(
        "/// Calls a macro with a row for each block format: the type inside the library, the names of its types and kernels, the number in C,\n\
         /// the names of the native and of the packed type, ggml's number, elements and bytes of a block, bits of a quant, the elements that\n\
         /// share a scale, and where scales lie.\n\
         #[allow(unused_macros)]\nmacro_rules! block_formats {\n    ($then:ident) => {\n        $then! {\n",
    );
    for f in formats {
        let (number_name, name) = (&f.number_name, &f.name);
        writeln!(
            text,
            "            {{ {number_name} {name} {name:?} REFLEX_DTYPE_{number_name} c\"{number_name}\" c\"{number_name}_PACKED\" \
             {} {} {} {} {} [{}] }}",
            f.ggml, f.elements, f.bytes, f.bits, f.group, f.scales
        )
        .unwrap();
    }
    text.push_str(
        "        }\n    };\n}\n\n\
         /// Calls a macro with a row for each group of formats that share kernels of int8 products: its kernels' name, its formats.\n\
         #[allow(unused_macros)]\nmacro_rules! int8_groups {\n    ($then:ident) => {\n        $then! {\n",
    );
    for group in groups {
        let formats = group.formats.join(" ");
        writeln!(text, "            {{ {:?} {formats} }}", group.kernel).unwrap();
    }
    text.push_str("        }\n    };\n}\n");
    text
}

/// The kernel files that differ in a format alone: names and texts.
pub fn kernel_files(formats: &[Format]) -> Vec<(String, String)> {
    let file = |f: &Format| {
        let text = format!("#include \"matmul/kernels.cuh\"\n\nREFLEX_MATMUL_KERNELS({})\n", f.name);
        (format!("matmul_{}.cu", f.name), text)
    };
    formats.iter().map(file).collect()
}

/// Writes `formats.rs` and `kernels/*.cu` into `out_dir`; the groups are for those that write more.
pub fn write(root: &Path, out_dir: &Path) -> Result<Vec<Group>, String> {
    let path = root.join("kernels/formats.def");
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let (formats, groups) = parse(&text)?;
    let save = |path: &Path, text: &str| std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()));
    save(&out_dir.join("formats.rs"), &rust(&formats, &groups))?;
    let folder = out_dir.join("kernels");
    // Nothing of formats that are gone.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    kernel_files(&formats)
        .iter()
        .try_for_each(|(name, text)| save(&folder.join(name), text))?;
    Ok(groups)
}
