//! Writes the table of kernel images that `src/cuda/images.rs` includes.

use crate::compile::Images;
use flate2::{Compression, write::DeflateEncoder};
use std::fmt::Write;
use std::io::Write as _;
use std::path::Path;

pub fn write(images: &Images, out_dir: &Path) -> Result<(), String> {
    let mut text = String::from("pub(crate) static IMAGES: &[KernelImage] = &[\n");
    for (index, image) in images.list.iter().enumerate() {
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
    let mut archs: Vec<String> = images.list.iter().map(|i| i.arch.name()).collect();
    archs.dedup();
    tell(&archs.join(";"), &images.compiler, "");
    save(out_dir, "kernel_images.rs", &text)
}

pub fn write_empty(out_dir: &Path, why: &str) -> Result<(), String> {
    tell("", "", why);
    save(
        out_dir,
        "kernel_entries.rs",
        "pub(crate) const ENTRIES: &[(&str, &[&str])] = &[];\n",
    )?;
    save(
        out_dir,
        "kernel_images.rs",
        "pub(crate) static IMAGES: &[KernelImage] = &[];\n",
    )
}

/// What `reflex_get_build_info` answers.
fn tell(archs: &str, nvrtc: &str, no_kernels: &str) {
    println!("cargo:rustc-env=REFLEX_BUILT_ARCHS={archs}");
    println!("cargo:rustc-env=REFLEX_NVRTC_VERSION={nvrtc}");
    println!("cargo:rustc-env=REFLEX_NO_KERNELS={no_kernels}");
}

fn save(out_dir: &Path, name: &str, text: &str) -> Result<(), String> {
    let path = out_dir.join(name);
    std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))
}
