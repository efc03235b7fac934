//! `include/reflex/infer.h`, `api.json`, the aliases of `infer.hpp` and `tests/abi/structs.rs` are what the sources say.

mod chapters;
mod data;
mod source;
mod text;
mod types;

use crate::api::Api;
use crate::paths;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// The files that follow from the sources, and what they have to hold.
struct Generated {
    api: Api,
    files: [(PathBuf, String); 4],
}

fn generate() -> Generated {
    let sources = source::read();
    let declarations = text::declarations(&sources);
    let chapters = chapters::chapters(&sources);
    let api = data::api(&chapters, &sources, &declarations);
    let json = serde_json::to_string_pretty(&api).expect("JSON") + "\n";
    let hpp = paths::root().join("include/reflex/infer.hpp");
    let with_aliases = data::with_aliases(&std::fs::read_to_string(&hpp).expect("infer.hpp"), &api);
    Generated {
        files: [
            (paths::header(), text::header(&chapters, &declarations)),
            (paths::api(), json),
            (hpp, with_aliases),
            (paths::root().join("tests/abi/structs.rs"), data::rust_names(&api)),
        ],
        api,
    }
}

/// Names of the types in the sources that are not the ABI's.
pub fn private_types() -> BTreeSet<String> {
    source::read().private_types
}

#[test]
fn header_matches_the_sources() {
    for (path, generated) in generate().files {
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        if committed == generated {
            continue;
        }
        let update = std::env::var_os("REFLEX_UPDATE_HEADER").is_some();
        assert!(
            update,
            "{} differs from the sources: run ./dev header and commit it",
            path.strip_prefix(paths::root()).expect("a file of ours").display()
        );
        std::fs::write(&path, generated).expect("write");
    }
}

#[test]
fn everything_public_has_a_comment() {
    let missing = data::undocumented(&generate().api);
    assert!(missing.is_empty(), "without a comment: {}", missing.join(", "));
}
