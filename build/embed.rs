//! Writes the table of kernel images that `src/cuda/images.rs` includes.

use crate::compile::Image;
use std::fmt::Write;
use std::path::Path;

pub fn write(images: &[Image], out_dir: &Path) -> Result<(), String> {
    let mut text = String::from("pub(crate) static IMAGES: &[KernelImage] = &[\n");
    for (index, image) in images.iter().enumerate() {
        // The driver wants a cubin 8-byte aligned and PTX ended by a zero byte.
        let local = out_dir.join(format!("image-{index}"));
        let mut bytes = std::fs::read(&image.path).map_err(|e| format!("{}: {e}", image.path.display()))?;
        if image.arch.ptx && bytes.last() != Some(&0) {
            bytes.push(0);
        }
        std::fs::write(&local, &bytes).map_err(|e| format!("{}: {e}", local.display()))?;
        writeln!(
            text,
            "    KernelImage {{ file: {:?}, sm: {}, suffix: {:?}, ptx: {}, bytes: &Aligned(*include_bytes!(concat!(env!(\"OUT_DIR\"), \"/image-{index}\"))).0 }},",
            image.file, image.arch.sm, image.arch.suffix, image.arch.ptx
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
