//! Kernels and the code that asks for them. That each kernel which the library asks for is in every image of its file is settled while the
//! library is compiled (`Kernel::new`); here: that nothing is in the images which nobody asks for.

use crate::paths;

include!(concat!(env!("OUT_DIR"), "/kernel_entries.rs"));

/// Those of `names` that a program does not hold, as text that ends in a zero byte. Images are kept deflated: their own names do not count.
fn not_held<'a>(program: &[u8], names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut held = std::collections::HashSet::new();
    let start = b"reflex_";
    for at in memchr_all(program, start) {
        let rest = &program[at..];
        let end = rest.iter().position(|c| !c.is_ascii_alphanumeric() && *c != b'_');
        if let Some(end) = end.filter(|&end| rest[end] == 0) {
            held.insert(&rest[..end]);
        }
    }
    names
        .into_iter()
        .filter(|name| !held.contains(name.as_bytes()))
        .collect()
}

fn memchr_all<'a>(text: &'a [u8], start: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let windows = text.windows(start.len()).enumerate();
    windows.filter(move |(_, window)| *window == start).map(|(at, _)| at)
}

#[test]
#[cfg_attr(not(reflex_kernels), ignore = "this build has no kernels")]
fn every_kernel_of_the_images_is_one_that_the_library_asks_for() {
    let library = std::fs::read(paths::shared_library()).expect("the shared library beside the test");
    let names = ENTRIES.iter().flat_map(|(_, names)| names.iter().copied());
    let dead = not_held(&library, names.clone());
    assert!(dead.is_empty(), "nothing in src/ops launches these kernels: {dead:?}");
    assert!(names.count() > 200, "the images have few kernels");
    // The look finds a kernel that nobody asks for: one of another name, and one that is only the beginning or the end of a name.
    let others = ["reflex_add_vec", "add_vec8", "reflex_add_vec88"];
    assert_eq!(not_held(&library, others), others);
}
