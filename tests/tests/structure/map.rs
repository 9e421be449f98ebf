//! The code map in ARCHITECTURE.md: it names every folder of code, and nothing that is not there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{ROOTS, circles, read, workspace};

const BEGINS: &str = "\n## Code map\n";

/// One part of the map: a folder, and those that its table names, from there on.
struct Part<'a> {
    folder: &'a str,
    rows: Vec<&'a str>,
}

/// The parts of a text that begins with the map.
fn parts(map: &str) -> Vec<Part<'_>> {
    let parts = map.split("\n### `").skip(1).filter_map(|part| part.split_once('`'));
    parts.map(|(folder, text)| Part { folder, rows: rows(text) }).collect()
}

/// The first cell of each row, as far as it is a name.
fn rows(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .map(|(name, _)| name)
        .collect()
}

/// What is set as code and is a path.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    let codes = text.split('`').skip(1).step_by(2);
    codes.filter(|code| code.contains('/') && !code.starts_with('/') && !code.contains(char::is_whitespace))
}

/// The folders that these parts name.
fn named(parts: &[Part<'_>]) -> BTreeSet<PathBuf> {
    let of_part = |part: &Part<'_>| {
        let folder = PathBuf::from(part.folder);
        part.rows.iter().map(|row| clean(&folder.join(row))).collect::<Vec<_>>()
    };
    parts.iter().flat_map(of_part).collect()
}

/// Without `.` at its end.
fn clean(path: &Path) -> PathBuf {
    path.components().collect()
}

/// The folders in which code lies that is not for tests alone.
fn folders() -> BTreeSet<PathBuf> {
    let of_root = |root: &&str| {
        let folder = Path::new(*root).parent().expect("a root lies in a folder").to_owned();
        let files = read(root).modules.into_iter().map(|module| module.file);
        files.map(|file| clean(&folder.join(file.parent().expect("a folder")))).collect::<Vec<_>>()
    };
    ROOTS.iter().flat_map(of_root).collect()
}

fn architecture() -> String {
    fs::read_to_string(workspace().join("ARCHITECTURE.md")).expect("the page")
}

fn map(page: &str) -> &str {
    page.split_once(BEGINS).expect("the page has a map").1
}

#[test]
fn every_folder_of_code_is_in_the_map() {
    let page = architecture();
    let named = named(&parts(map(&page)));
    let missing: Vec<_> = folders().into_iter().filter(|folder| !named.contains(folder)).collect();
    assert!(missing.is_empty(), "the map lacks {missing:?}");
}

#[test]
fn whatever_the_map_names_is_there() {
    let page = architecture();
    let map = map(&page);
    let parts = parts(map);
    assert!(parts.len() > 5 && parts.iter().all(|part| !part.rows.is_empty()), "the map's parts are found");
    let folders: Vec<_> = named(&parts).into_iter().filter(|path| !workspace().join(path).is_dir()).collect();
    assert!(folders.is_empty(), "the map names folders that are not there: {folders:?}");
    // A path in the text begins at the workspace, or at the folder of its part.
    let mut gone = Vec::new();
    for part in map.split("\n### `") {
        let folder = part.split_once('`').map_or("", |(folder, _)| folder);
        let known =
            |path: &&str| workspace().join(path).exists() || workspace().join(folder).join(path).exists();
        gone.extend(paths(&format!("`{part}")).filter(|path| !known(path)).map(str::to_owned));
    }
    assert!(gone.is_empty(), "the map names what is not there: {gone:?}");
}

/// The map says in which order the broker's folders stand, the lowest first.
#[test]
fn the_wings_of_the_broker_lead_downwards() {
    let page = architecture();
    let after = |text| map(&page).split_once(text).expect("the map says the order").1;
    let order = after("From the bottom to the top:");
    let order = order.split_once("\n\n").expect("a paragraph").0;
    let order: Vec<_> = order.split('`').skip(1).step_by(2).collect();
    let place = |name: &str| order.iter().position(|wing| *wing == name);
    let wings = circles::wings(&read("broker/src/lib.rs"));
    assert!(!wings.is_empty(), "the broker has wings");
    let wrong: Vec<_> =
        wings.iter().filter(|(from, to)| place(to).is_none() || place(from) <= place(to)).collect();
    assert!(wrong.is_empty(), "these lead upwards, or are not in the order: {wrong:?}");
}

#[test]
fn a_map_is_read_by_its_rows() {
    let text = "Words.\n\n### `a/src`\n\n| folder | what |\n| --- | --- |\n| `.` | `x/y` and z |\n| `b/c` | d |\n\n### `e`\n\n| `f` | |\n";
    let parts = parts(text);
    assert_eq!(parts.iter().map(|part| part.folder).collect::<Vec<_>>(), ["a/src", "e"]);
    let expected = ["a/src", "a/src/b/c", "e/f"].map(PathBuf::from);
    assert_eq!(named(&parts), BTreeSet::from(expected));
    assert_eq!(paths(text).collect::<Vec<_>>(), ["a/src", "x/y", "b/c"]);
}
