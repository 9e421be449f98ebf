//! Whether the tests that the pages name are there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::workspace;

/// Pages whose claims name their tests.
const PAGES: [&str; 2] = ["docs/guarantees.md", "docs/security.md"];

/// Where tests are.
const FOLDERS: [&str; 8] = [
    "profiles",
    "protocol",
    "proxy-protocol",
    "broker",
    "client-shim/rust",
    "tests",
    "bench",
    "kernel-socket",
];

/// The names of all functions of the Rust files below `folder`.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            if !entry.ends_with("target") && !entry.ends_with("node_modules") {
                functions(&entry, found);
            }
        } else if entry.extension().is_some_and(|end| end == "rs") {
            let text = fs::read_to_string(&entry).expect("a source");
            let names = text.split("fn ").skip(1).map(|rest| rest.split(|c: char| !is_of_name(c)).next());
            found.extend(names.flatten().map(str::to_owned));
        }
    }
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The tests that a page names: what stands between two backquotes, has a path in front, and no capital.
fn named(page: &str) -> Vec<String> {
    let quoted = page.split('`').skip(1).step_by(2);
    let plain = |text: &&str| text.chars().all(|c| is_of_name(c) || ":/".contains(c)) && text.contains("::");
    let lower = |text: &&str| !text.chars().any(|c| c.is_ascii_uppercase());
    quoted.filter(plain).filter(lower).map(str::to_owned).collect()
}

#[test]
fn the_tests_that_the_pages_name_are_there() {
    let mut all = BTreeSet::new();
    FOLDERS.iter().for_each(|folder| functions(&workspace().join(folder), &mut all));
    for page in PAGES {
        let text = fs::read_to_string(workspace().join(page)).expect("a page");
        let named = named(&text);
        assert!(named.len() > 10, "{page} names {} tests", named.len());
        let gone = |name: &&String| name.rsplit("::").next().is_some_and(|last| !all.contains(last));
        let gone: Vec<&String> = named.iter().filter(gone).collect();
        assert!(gone.is_empty(), "{page} names tests that are not there: {gone:#?}");
    }
}

#[test]
fn a_test_that_is_gone_is_found() {
    assert_eq!(
        named("by `broker/a::b_c` and `tests/d::e`, not `f::G` or `h`"),
        ["broker/a::b_c", "tests/d::e"]
    );
}
