//! ptxas's resource report: registers, shared memory and spills of every kernel.

use crate::compile::Image;
use std::fmt::Write;
use std::path::Path;

/// Kernels that may spill, by name, with the reason beside them in `kernels/spills.txt`.
fn allowed(root: &Path) -> Vec<String> {
    std::fs::read_to_string(root.join("kernels/spills.txt"))
        .unwrap_or_default()
        .lines()
        .map(|line| line.split('#').next().unwrap().trim().to_string())
        .filter(|line| !line.is_empty())
        .collect()
}

/// Writes `kernel-resources.tsv` beside the image table; a spill that is not listed fails the build.
pub fn report(images: &[Image], out_dir: &Path, root: &Path) -> Result<(), String> {
    let allowed = allowed(root);
    let mut table = String::from("arch\tfile\tkernel\tregisters\tstatic_shared\tstack\tspill_stores\tspill_loads\n");
    let mut spills = Vec::new();
    for image in images.iter().filter(|image| !image.arch.ptx) {
        let log = std::fs::read_to_string(image.path.with_extension("log")).unwrap_or_default();
        let mut kernel = String::new();
        let (mut stack, mut stores, mut loads) = (0, 0, 0);
        for line in log.lines() {
            if let Some(rest) = line.split("Compiling entry function '").nth(1) {
                kernel = rest.split('\'').next().unwrap_or("").to_string();
                (stack, stores, loads) = (0, 0, 0);
            } else if line.contains("bytes stack frame") {
                stack = number_before(line, " bytes stack frame");
                stores = number_before(line, " bytes spill stores");
                loads = number_before(line, " bytes spill loads");
            } else if line.contains("Used ") && line.contains(" registers") && !kernel.is_empty() {
                let registers = number_before(line, " registers");
                let shared = number_before(line, " bytes smem");
                let arch = image.arch.flag();
                let file = &image.file;
                writeln!(
                    table,
                    "{arch}\t{file}\t{kernel}\t{registers}\t{shared}\t{stack}\t{stores}\t{loads}"
                )
                .unwrap();
                if stores + loads > 0 && !allowed.contains(&kernel) {
                    spills.push(format!(
                        "{kernel} ({arch}): {stores} bytes stored, {loads} bytes loaded"
                    ));
                }
                kernel.clear();
            }
        }
    }
    let path = out_dir.join("kernel-resources.tsv");
    std::fs::write(&path, table).map_err(|e| format!("{}: {e}", path.display()))?;
    if spills.is_empty() {
        Ok(())
    } else {
        Err(format!(
            "kernels spill registers (list one in kernels/spills.txt with a reason, or mend it):\n{}",
            spills.join("\n")
        ))
    }
}

fn number_before(line: &str, marker: &str) -> u64 {
    line.split(marker)
        .next()
        .filter(|head| head.len() < line.len())
        .and_then(|head| head.rsplit(|c: char| !c.is_ascii_digit()).next())
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}
