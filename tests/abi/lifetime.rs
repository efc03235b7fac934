//! The CPU backend answers misuse of objects as CUDA does: tests/gpu runs the same table.

use crate::support::*;
use std::panic::catch_unwind;

#[test]
fn the_cpu_backend_treats_objects_as_cuda_does() {
    alone("lifetime::the_cpu_backend_treats_objects_as_cuda_does", all_of_them);
}

fn all_of_them() {
    let mut failed = Vec::new();
    for (name, case) in lifetime() {
        if let Err(payload) = catch_unwind(|| case(&Env::cpu())) {
            let text = payload.downcast_ref::<String>().cloned();
            failed.push(format!("{name}: {}", text.unwrap_or_default()));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    let mut names: Vec<_> = lifetime().map(|(name, _)| name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), lifetime().count());
}
