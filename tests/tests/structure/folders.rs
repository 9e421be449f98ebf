//! Folders: how many files lie in one, and the head that says what it is for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::read;
use crate::source::Tree;

/// The crates that are the product.
const PRODUCT: [&str; 6] = [
    "profiles/src/lib.rs",
    "protocol/src/lib.rs",
    "proxy-protocol/src/lib.rs",
    "broker/src/lib.rs",
    "client-shim/rust/src/lib.rs",
    "kernel-socket/src/lib.rs",
];

/// More than this in one folder nobody looks over.
const FILES_MAX: usize = 20;

/// At the root of the broker, where one begins to read.
const ROOT_FILES_MAX: usize = 10;

/// The files of product code by their folders.
fn files(tree: &Tree) -> BTreeMap<&Path, BTreeSet<&Path>> {
    let mut folders: BTreeMap<&Path, BTreeSet<&Path>> = BTreeMap::new();
    for module in &tree.modules {
        let folder = module.file.parent().expect("a folder");
        folders.entry(folder).or_default().insert(&module.file);
    }
    folders
}

/// Each folder, apart from that of the root, with the text of its head.
fn heads(tree: &Tree) -> BTreeMap<PathBuf, &str> {
    let mut heads = BTreeMap::new();
    for folder in files(tree).keys() {
        let of = |module: &&crate::source::Module| {
            module.file == folder.join("mod.rs") || module.file == folder.with_extension("rs")
        };
        if let Some(module) = tree.modules.iter().find(of) {
            heads.insert(folder.to_path_buf(), module.head.as_str());
        }
    }
    heads
}

/// Sentences of a text: what ends in a full stop, at the end of a line or before a space.
fn sentences(text: &str) -> usize {
    let ends = |pair: &[char]| matches!(pair, ['.' | '!' | '?', next] if next.is_whitespace());
    text.chars().chain(['\n']).collect::<Vec<_>>().windows(2).filter(|pair| ends(pair)).count()
}

#[test]
fn no_folder_has_too_many_files() {
    for root in PRODUCT {
        let tree = read(root);
        for (folder, files) in files(&tree) {
            assert!(files.len() <= FILES_MAX, "{root}: {} has {} files", folder.display(), files.len());
        }
    }
}

#[test]
fn few_files_lie_at_the_root_of_the_broker() {
    let tree = read("broker/src/lib.rs");
    let there =
        std::fs::read_dir(&tree.folder).expect("the root").map(|entry| entry.expect("an entry").path());
    let there: Vec<_> = there.filter(|path| path.is_file()).collect();
    assert!(there.contains(&tree.folder.join("lib.rs")), "{} is looked at", tree.folder.display());
    assert!(there.len() <= ROOT_FILES_MAX, "{there:?}");
}

#[test]
fn every_folder_says_what_it_is_for() {
    let mut short = Vec::new();
    for root in ["protocol/src/lib.rs", "broker/src/lib.rs"] {
        let tree = read(root);
        let heads = heads(&tree);
        assert_eq!(heads.len(), files(&tree).len() - 1, "each folder but the root's has a head");
        for (folder, head) in heads {
            if sentences(head) < 2 {
                short.push(format!("{root}: {}: {head}", folder.display()));
            }
        }
    }
    assert!(short.is_empty(), "heads of less than two sentences:\n{}", short.join("\n"));
}

#[test]
fn sentences_are_counted() {
    assert_eq!(sentences("no sentence"), 0);
    assert_eq!(sentences(" One of `steadfast.v1` and 1.5"), 0);
    assert_eq!(sentences(" One."), 1);
    assert_eq!(sentences(" One of\n two lines.\n\n Two: `a.rs`."), 2);
}
