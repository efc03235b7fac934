//! The Jetson readers on trees of real boards, whole and damaged: see tests/system/trees/README.md.

mod boards;
mod damage;
mod readings;

use super::reading::*;
use super::telemetry::*;
use crate::runtime::root::Root;
use std::ffi::{CStr, c_char};
use std::path::{Path, PathBuf};

const AGX_ORIN: &str = "agx-orin-64gb-jp6.2.1";
const ORIN_NANO_SUPER: &str = "orin-nano-8gb-jp7.2.1-maxn-super";
const ORIN_NANO_OLD_FIRMWARE: &str = "orin-nano-8gb-jp7.2.0-without-super-firmware";
const THOR_IDLE: &str = "thor-t5000-jp7.0";
const THOR_OVER_CURRENT: &str = "thor-t5000-jp7.1-over-current";
const THOR_LOCKED: &str = "thor-t5000-jp7.2.0";
const T2000: &str = "thor-t2000-announced";

fn tree(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/system/trees")
        .join(name)
}

fn read(name: &str) -> reflex_telemetry {
    Probe::at(Root::at(tree(name))).read()
}

fn text(field: &[c_char]) -> &str {
    unsafe { CStr::from_ptr(field.as_ptr()) }.to_str().expect("UTF-8")
}

#[track_caller]
fn near(value: f32, want: f64) {
    assert!(
        (f64::from(value) - want).abs() < 1e-4 * want.abs().max(1.0),
        "{value}, expected {want}"
    );
}

/// A copy of a tree that a test may damage; gone with its owner.
struct Copy(PathBuf);

impl Copy {
    fn of(name: &str) -> Copy {
        let copy = Copy::empty();
        let from = tree(name);
        for file in files(&from) {
            let to = copy.0.join(file.strip_prefix(&from).unwrap());
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(&file, to).unwrap();
        }
        copy
    }

    /// A board that tells nothing yet.
    fn empty() -> Copy {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("reflex-tree-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Copy(folder)
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn remove(&self, path: &str) {
        let path = self.0.join(path);
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap();
        } else {
            std::fs::remove_file(path).unwrap();
        }
    }

    fn root(&self) -> Root {
        Root::at(&self.0)
    }

    fn read(&self) -> reflex_telemetry {
        Probe::at(self.root()).read()
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .collect();
    found.sort();
    found
}

#[test]
fn texts_are_cut_at_characters() {
    let mut field = [1 as c_char; 8];
    set_text(&mut field, "1234567890");
    assert_eq!(text(&field), "1234567");
    set_text(&mut field, "12345äö");
    assert_eq!(text(&field), "12345ä");
    set_text(&mut field, "123456ä");
    assert_eq!(text(&field), "123456");
    set_text(&mut field, "");
    assert_eq!(text(&field), "");
}
