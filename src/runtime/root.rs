//! Reads small files of procfs, sysfs and /etc. Whatever cannot be read or understood is `None`, never an error.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Where the file system begins: `/`, or a recorded tree in tests.
#[derive(Clone, Debug)]
pub(crate) struct Root(PathBuf);

/// No file read here is larger; a garbage file must not fill the memory.
const MOST: u64 = 64 * 1024;

impl Root {
    pub fn system() -> Root {
        Root(PathBuf::from("/"))
    }

    #[cfg(test)]
    pub fn at(path: impl Into<PathBuf>) -> Root {
        Root(path.into())
    }

    /// `path` begins with no slash.
    pub fn path(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    pub fn text(&self, path: &str) -> Option<String> {
        text(&self.path(path))
    }

    /// Entries of a folder whose names `keep` accepts, in the order of their names with numbers compared as numbers.
    pub fn entries(&self, folder: &str, keep: impl Fn(&str) -> bool) -> Vec<PathBuf> {
        entries(&self.path(folder), keep)
    }

    /// Available and total memory in bytes.
    pub fn memory(&self) -> Option<(u64, u64)> {
        let text = self.text("proc/meminfo")?;
        let field = |name: &str| {
            let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
            let kib: u64 = rest.trim().trim_end_matches(" kB").parse().ok()?;
            kib.checked_mul(1024)
        };
        match (field("MemAvailable:")?, field("MemTotal:")?) {
            (available, total) if available <= total => Some((available, total)),
            _ => None,
        }
    }
}

/// The file's text without blanks at its ends; device-tree strings end with a zero byte.
///
/// A sensor that is busy fails a read with EAGAIN and answers the next one, so a failed read is tried once more. A file
/// that is missing or not for this user fails again, at the price of a look-up.
pub(crate) fn text(path: &Path) -> Option<String> {
    let bytes = read(path).or_else(|_| read(path)).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!text.is_empty()).then(|| text.to_string())
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    #[cfg(test)]
    busy::fail(path)?;
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub(crate) fn number(path: &Path) -> Option<i64> {
    text(path)?.parse().ok()
}

pub(crate) fn entries(folder: &Path, keep: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let Ok(found) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = found
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(&keep))
        .collect();
    found.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
    found
}

/// Files that fail their next reads with EAGAIN, as a recorded tree cannot: for tests of this thread.
#[cfg(test)]
pub(crate) mod busy {
    use std::cell::RefCell;
    use std::collections::HashMap;
    use std::io::{Error, ErrorKind, Result};
    use std::path::{Path, PathBuf};

    thread_local! {
        static READS: RefCell<HashMap<PathBuf, u32>> = RefCell::default();
    }

    pub fn set(path: PathBuf, reads: u32) {
        READS.with_borrow_mut(|files| files.insert(path, reads));
    }

    pub fn fail(path: &Path) -> Result<()> {
        READS.with_borrow_mut(|files| match files.get_mut(path) {
            Some(reads) if *reads > 0 => {
                *reads -= 1;
                Err(Error::from(ErrorKind::WouldBlock))
            }
            _ => Ok(()),
        })
    }
}
