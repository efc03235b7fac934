//! Writes the table of kernel images that `src/cuda/images.rs` includes.

use crate::compile::Image;
use flate2::{Compression, write::DeflateEncoder};
use std::fmt::Write;
use std::io::Write as _;
use std::path::Path;

pub fn write(images: &[Image], out_dir: &Path) -> Result<(), String> {
    let mut text = String::from("pub(crate) static IMAGES: &[KernelImage] = &[\n");
    for (index, image) in images.iter().enumerate() {
        // The driver wants PTX ended by a zero byte.
        let local = out_dir.join(format!("image-{index}"));
        let mut bytes = std::fs::read(&image.path).map_err(|e| format!("{}: {e}", image.path.display()))?;
        if image.arch.ptx && bytes.last() != Some(&0) {
            bytes.push(0);
        }
        let mut deflated = DeflateEncoder::new(Vec::new(), Compression::default());
        deflated.write_all(&bytes).map_err(|e| e.to_string())?;
        let deflated = deflated.finish().map_err(|e| e.to_string())?;
        std::fs::write(&local, deflated).map_err(|e| format!("{}: {e}", local.display()))?;
        writeln!(
            text,
            "    KernelImage {{ file: {:?}, sm: {}, suffix: {:?}, ptx: {}, size: {}, deflated: include_bytes!(concat!(env!(\"OUT_DIR\"), \"/image-{index}\")) }},",
            image.file,
            image.arch.sm,
            image.arch.suffix,
            image.arch.ptx,
            bytes.len()
        )
        .unwrap();
    }
    text.push_str("];\n");
    let mut archs: Vec<String> = images
        .iter()
        .map(|i| {
            format!(
                "{}{}{}",
                i.arch.sm,
                i.arch.suffix,
                if i.arch.ptx { "-virtual" } else { "" }
            )
        })
        .collect();
    archs.dedup();
    println!("cargo:rustc-env=REFLEX_BUILT_ARCHS={}", archs.join(";"));
    save(out_dir, &text)
}

pub fn write_empty(out_dir: &Path) -> Result<(), String> {
    println!("cargo:rustc-env=REFLEX_BUILT_ARCHS=");
    println!("cargo:rustc-env=REFLEX_NVRTC_VERSION=");
    save(out_dir, "pub(crate) static IMAGES: &[KernelImage] = &[];\n")
}

fn save(out_dir: &Path, text: &str) -> Result<(), String> {
    let path = out_dir.join("kernel_images.rs");
    std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))
}
