//! Entry points of the kernel images, from the images themselves.

use goblin::elf::{Elf, sym};
use std::fmt::Write;

/// An entry point of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    /// Bytes of its machine code; 0 in PTX.
    pub code: u64,
}

/// In the order of their names.
pub fn of(image: &[u8], ptx: bool) -> Result<Vec<Entry>, String> {
    let mut entries = if ptx { of_ptx(image) } else { of_cubin(image)? };
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    match entries.is_empty() {
        true => Err("no entry points".into()),
        false => Ok(entries),
    }
}

fn of_cubin(image: &[u8]) -> Result<Vec<Entry>, String> {
    /// STO_CUDA_ENTRY of a symbol's `st_other`: a kernel, not a function that one calls.
    const ENTRY: u8 = 0x10;
    let elf = Elf::parse(image).map_err(|e| e.to_string())?;
    let entries = elf
        .syms
        .iter()
        .filter(|s| s.st_type() == sym::STT_FUNC && s.st_shndx != 0 && s.st_other & ENTRY != 0);
    let named = entries.map(|s| Entry {
        name: elf.strtab.get_at(s.st_name).unwrap_or("?").to_string(),
        code: s.st_size,
    });
    Ok(named.collect())
}

fn of_ptx(image: &[u8]) -> Vec<Entry> {
    let text = String::from_utf8_lossy(image);
    let names = text.lines().filter_map(|line| {
        let (_, name) = line.split_once(".entry ")?;
        Some(
            name.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .next()?
                .to_string(),
        )
    });
    names.map(|name| Entry { name, code: 0 }).collect()
}

/// The table of kernel files and their entry points. `all` has architecture, file and entries of each image; every architecture has to have
/// the same ones.
pub fn rust(all: &[(String, &str, Vec<Entry>)]) -> Result<String, String> {
    let mut text = String::from("pub(crate) const ENTRIES: &[(&str, &[&str])] = &[\n");
    let mut files: Vec<&str> = all.iter().map(|(_, file, _)| *file).collect();
    files.sort_unstable();
    files.dedup();
    for file in files {
        let mut of_file = all.iter().filter(|(_, f, _)| *f == file);
        let names = |entries: &[Entry]| entries.iter().map(|e| e.name.clone()).collect::<Vec<_>>();
        let (first_arch, _, first) = of_file.next().unwrap();
        for (arch, _, entries) in of_file {
            let (a, b) = (names(first), names(entries));
            let odd = a
                .iter()
                .filter(|n| !b.contains(n))
                .chain(b.iter().filter(|n| !a.contains(n)));
            let odd: Vec<&str> = odd.map(String::as_str).collect();
            if !odd.is_empty() {
                return Err(format!(
                    "kernel file {file}: the images for {first_arch} and {arch} differ in {}",
                    odd.join(", ")
                ));
            }
        }
        writeln!(text, "    ({file:?}, &{:?}),", names(first)).unwrap();
    }
    text.push_str("];\n");
    Ok(text)
}
