//! The kernel images that the build embedded, and which of them a device can run.

use crate::abi::{Error, REFLEX_INTERNAL, Result};
use flate2::read::DeflateDecoder;
use std::io::Read;

/// One kernel file compiled for one architecture.
#[derive(Debug)]
pub(crate) struct KernelImage {
    /// Stem of the kernel file: `norm`.
    pub file: &'static str,
    pub sm: u32,
    pub suffix: &'static str,
    pub ptx: bool,
    /// Bytes of the cubin or PTX.
    size: usize,
    deflated: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/kernel_images.rs"));

/// SMs of the Tegra line: their machine code is not promised to run on the desktop chips of the same
/// generation, nor the other way round.
const TEGRA: [u32; 5] = [72, 87, 101, 110, 88];

impl KernelImage {
    /// How well the image fits a device, higher is better; `None` when it cannot run there.
    fn fit(&self, sm: u32) -> Option<u32> {
        let same_major = self.sm / 10 == sm / 10;
        let exact = self.sm == sm;
        let runs = match (self.ptx, self.suffix) {
            (_, "a") => exact,
            (_, "f") => same_major && self.sm <= sm,
            (true, _) => self.sm <= sm,
            (false, _) if TEGRA.contains(&self.sm) || TEGRA.contains(&sm) => exact,
            (false, _) => same_major && self.sm <= sm,
        };
        let kind = match (self.ptx, self.suffix) {
            (false, "a") => 3000,
            (false, _) => 2000,
            (true, "a" | "f") => 1000,
            (true, _) => 0,
        };
        runs.then_some(kind + self.sm)
    }

    /// What it was compiled for, as `REFLEX_CUDA_ARCHS` writes it.
    pub fn target(&self) -> String {
        format!("{}{}{}", self.sm, self.suffix, if self.ptx { "-virtual" } else { "" })
    }

    /// What cuLibraryLoadData takes, which reads cubins as 64-bit words.
    pub fn inflate(&self) -> Result<Vec<u64>> {
        let mut words = vec![0u64; self.size.div_ceil(8)];
        // SAFETY: bytes of the vector.
        let bytes = unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast::<u8>(), self.size) };
        DeflateDecoder::new(self.deflated).read_exact(bytes).map_err(|e| {
            Error::new(
                REFLEX_INTERNAL,
                format!("the image of kernel file {} is damaged: {e}", self.file),
            )
        })?;
        Ok(words)
    }

    /// Whether `pdl_wait` of the kernels waits in this code. It does not in PTX for an older GPU, wherever that runs.
    pub fn waits_for_earlier_launches(&self) -> bool {
        self.sm >= 90
    }

    pub fn has_clusters(&self) -> bool {
        self.sm >= 90
    }

    /// The products of warpgroups: those of SM 9.0 and of no other.
    pub fn has_wgmma(&self) -> bool {
        self.sm == 90 && self.suffix == "a"
    }
}

/// The image of `file` that suits a device best.
pub(super) fn best(file: &str, sm: u32) -> Option<&'static KernelImage> {
    best_up_to(file, sm, u32::MAX)
}

/// The same of those that were compiled for an SM up to `newest`.
pub(super) fn best_up_to(file: &str, sm: u32, newest: u32) -> Option<&'static KernelImage> {
    IMAGES
        .iter()
        .filter(|image| image.file == file && image.sm <= newest)
        .filter_map(|image| image.fit(sm).map(|fit| (fit, image)))
        .max_by_key(|(fit, _)| *fit)
        .map(|(_, image)| image)
}

/// Kernel files in the order of their first image.
pub(super) fn files() -> Vec<&'static str> {
    let mut files: Vec<&str> = IMAGES.iter().map(|image| image.file).collect();
    files.sort_unstable();
    files.dedup();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(sm: u32, suffix: &'static str, ptx: bool) -> KernelImage {
        KernelImage {
            file: "x",
            sm,
            suffix,
            ptx,
            size: 0,
            deflated: &[],
        }
    }

    #[test]
    fn machine_code_runs_within_its_major() {
        assert!(image(80, "", false).fit(86).is_some());
        assert!(image(86, "", false).fit(80).is_none());
        assert!(image(80, "", false).fit(90).is_none());
        assert!(image(90, "a", false).fit(90).is_some());
        assert!(image(90, "a", false).fit(91).is_none());
    }

    #[test]
    fn code_for_older_devices_does_not_wait_for_earlier_launches() {
        assert!(image(90, "a", false).waits_for_earlier_launches());
        assert!(image(90, "", true).waits_for_earlier_launches());
        assert!(!image(87, "", true).waits_for_earlier_launches());
    }

    #[test]
    fn tegra_code_runs_on_its_own_chip_alone() {
        assert!(image(87, "", false).fit(87).is_some());
        assert!(image(87, "", false).fit(89).is_none());
        assert!(image(80, "", false).fit(87).is_none());
    }

    #[test]
    fn ptx_runs_on_everything_later_and_loses_to_machine_code() {
        assert!(image(80, "", true).fit(120).is_some());
        assert!(image(87, "", true).fit(80).is_none());
        assert!(image(87, "", true).fit(87) < image(87, "", false).fit(87));
        assert!(image(80, "", true).fit(90) < image(87, "", true).fit(90));
    }
}
