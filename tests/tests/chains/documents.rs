//! What users copy.

use std::fs;
use std::path::Path;

fn document(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the example `name`.
pub(crate) fn example(name: &str) -> String {
    document(&format!("examples/{name}.toml"))
}

/// Returns the two setups of a section of the page for migrating: another program's, and the same for Steadfast.
pub(crate) fn setups(heading: &str) -> [String; 2] {
    let page = document("migrating.md");
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).expect("a section with this heading");
    let blocks: Vec<_> = section.split("```").skip(1).step_by(2).take(2).collect();
    let [theirs, ours] = [blocks[0], blocks[1].strip_prefix("toml").expect("Steadfast's is the second")];
    [theirs, ours].map(str::to_owned)
}

/// Returns `text` with each of these replaced, all of which are in it.
pub(crate) fn with(text: &str, places: &[(&str, String)]) -> String {
    places.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from:?} stands in\n{text}");
        text.replace(from, to)
    })
}
