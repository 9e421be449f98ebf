//! How the code of this project is laid out: modules without circles, folders of a size to look over, each with a head
//! that says what it is for, all of them in the map of ARCHITECTURE.md, and names with one meaning each.
//!
//! The sources are read as a compiler would read them, without what only tests see: `source` makes modules of files,
//! `collect` finds the names in one file, `resolve` the places where they are defined, `circles` what leads back to
//! where it began. `claims` looks for the tests that the pages name, `addresses` for clients that
//! are counted by anything but their network. `planted` holds trees with known circles, so that this cannot pass by finding nothing.

mod addresses;
mod circles;
mod claims;
mod collect;
mod folders;
mod map;
mod names;
mod planted;
mod resolve;
mod source;

use std::path::{Path, PathBuf};

use source::Tree;

/// The roots of all crates' own code, programs and libraries each on their own.
const ROOTS: [&str; 10] = [
    "profiles/src/lib.rs",
    "protocol/src/lib.rs",
    "proxy-protocol/src/lib.rs",
    "broker/src/lib.rs",
    "broker/src/main.rs",
    "client-shim/rust/src/lib.rs",
    "kernel-socket/src/lib.rs",
    "bench/src/main.rs",
    "tests/src/lib.rs",
    "tests/src/bin/test-backend/main.rs",
];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn read(root: &str) -> Tree {
    Tree::read(&workspace().join(root))
}

#[test]
fn no_modules_lead_in_a_circle() {
    let mut found = String::new();
    for root in ROOTS {
        for circle in circles::find(&read(root)) {
            found += &format!("{root}: {circle}\n");
        }
    }
    assert!(found.is_empty(), "\n{found}");
}
