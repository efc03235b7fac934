//! Compiled images by content hash: compiler, flags, source and every header.

use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

pub struct Cache {
    dir: PathBuf,
}

impl Cache {
    /// `REFLEX_KERNEL_CACHE`, else a folder beside cargo's profile folders, which outlives one build
    /// directory's hash.
    pub fn open(out_dir: &Path) -> Result<Cache, String> {
        let dir = match std::env::var_os("REFLEX_KERNEL_CACHE").filter(|v| !v.is_empty()) {
            Some(dir) => PathBuf::from(dir),
            // OUT_DIR is <target>/<profile>/build/<crate>-<hash>/out.
            None => out_dir.ancestors().nth(4).unwrap_or(out_dir).join("kernel-cache"),
        };
        std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        Ok(Cache { dir })
    }

    pub fn path(&self, key: &str) -> PathBuf {
        self.dir.join(key)
    }
}

pub fn hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().iter().map(|b| format!("{b:02x}")).collect()
}
