//! Names of types that stand for several things.
//!
//! Associated types have the names that their traits give them, and are not counted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::Item;

use crate::collect::is_for_tests;
use crate::source::Tree;
use crate::workspace;

/// The crates that people read together. The demo stands for a program beside the broker.
const ROOTS: [&str; 4] =
    ["protocol/src/lib.rs", "broker/src/lib.rs", "broker/src/main.rs", "client-shim/rust/src/lib.rs"];
const APART: &str = "broker/src/demo";

/// So many names may be defined more than once: `Command`, `Event` and the like stand once in each machine, and users
/// of the shim know its types by the shortest names there are.
const MOST: usize = 24;

#[test]
fn few_names_of_types_have_several_meanings() {
    let roots = ROOTS.map(|root| workspace().join(root));
    let repeated = repeated(&roots, &workspace().join(APART));
    let shown: String = repeated
        .iter()
        .map(|(name, files)| {
            let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
            format!("{name}: {}\n", files.join(", "))
        })
        .collect();
    assert!(repeated.len() <= MOST, "{} names have several meanings, {MOST} may:\n{shown}", repeated.len());
}

/// The names that are defined more than once in these crates, with the files of their definitions.
fn repeated(roots: &[PathBuf], apart: &Path) -> BTreeMap<String, Vec<PathBuf>> {
    let mut names = BTreeMap::<String, Vec<PathBuf>>::new();
    for root in roots {
        let tree = Tree::read(root);
        // A file with modules inside is the file of several.
        let files: BTreeSet<PathBuf> =
            tree.modules.iter().map(|module| tree.folder.join(&module.file)).collect();
        for file in files.into_iter().filter(|file| !file.starts_with(apart)) {
            let text = fs::read_to_string(&file).expect("a file that has been read before");
            let parsed = syn::parse_file(&text).expect("a file that has been parsed before");
            add_types(&parsed.items, &file, &mut names);
        }
    }
    names.retain(|_, files| files.len() > 1);
    names
}

fn add_types(items: &[Item], file: &Path, names: &mut BTreeMap<String, Vec<PathBuf>>) {
    for item in items {
        let (attributes, ident) = match item {
            Item::Enum(item) => (&item.attrs, &item.ident),
            Item::Struct(item) => (&item.attrs, &item.ident),
            Item::Trait(item) => (&item.attrs, &item.ident),
            Item::Type(item) => (&item.attrs, &item.ident),
            Item::Union(item) => (&item.attrs, &item.ident),
            Item::Mod(module) => {
                if let (false, Some((_, items))) = (is_for_tests(&module.attrs), &module.content) {
                    add_types(items, file, names);
                }
                continue;
            }
            // What a macro is given may be definitions.
            Item::Macro(called) => {
                if let Ok(given) = called.mac.parse_body::<syn::File>() {
                    add_types(&given.items, file, names);
                }
                continue;
            }
            _ => continue,
        };
        if !is_for_tests(attributes) {
            names.entry(ident.to_string()).or_default().push(file.to_owned());
        }
    }
}

/// Every kind of type, in another file, another crate and a module of the same file; and what is not to be counted.
#[test]
fn planted_names_are_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = [
        ("one/lib.rs", "mod a; mod apart; pub struct Across; struct Within; mod inner { enum Within {} }"),
        ("one/a.rs", "pub trait Beside {} type Alias = u8; struct Once; struct Said; #[cfg(test)] mod tests { struct Once; }"),
        ("one/apart.rs", "struct Once; struct Apart; pub mod deeper { struct Apart; }"),
        (
            "two/lib.rs",
            "enum Across {} struct Beside; struct Alias; #[cfg(test)] struct Once; words! { pub enum Said { A = \"a\", } }
             fn f() {} impl Iterator for Across { type Item = u8; } impl Iterator for Beside { type Item = u8; }",
        ),
    ];
    for (path, text) in files {
        let file = folder.path().join(path);
        fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        fs::write(file, text).expect("a file");
    }
    let roots = ["one/lib.rs", "two/lib.rs"].map(|root| folder.path().join(root));
    let found = repeated(&roots, &folder.path().join("one/apart.rs"));
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(names, ["Across", "Alias", "Beside", "Said", "Within"]);
    assert_eq!(found["Across"], roots);
    assert_eq!(found["Within"], [roots[0].clone(), roots[0].clone()]);
}
