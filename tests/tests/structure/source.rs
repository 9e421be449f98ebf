//! The modules of a crate, as their files declare them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::{Attribute, Expr, ExprLit, Item, ItemMod, Lit, Meta};

use crate::collect::{Named, Names, is_for_tests};

/// A module, by its place in [`Tree::modules`].
pub(crate) type Id = usize;

pub(crate) struct Module {
    /// As it is written in paths: `crate::a::b`.
    pub(crate) path: String,
    /// Its file, from the folder of the root on.
    pub(crate) file: PathBuf,
    /// The text of its `//!`.
    pub(crate) head: String,
    pub(crate) parent: Option<Id>,
    pub(crate) children: BTreeMap<String, Id>,
    /// What it defines, apart from modules.
    pub(crate) items: BTreeSet<String>,
    pub(crate) imports: Vec<Import>,
    /// Paths of imports whose names are not listed: `use path::*`.
    pub(crate) globs: Vec<Named>,
    /// Every other path in its code.
    pub(crate) named: Vec<Named>,
}

/// A name that an import brings in.
pub(crate) struct Import {
    pub(crate) name: String,
    pub(crate) of: Named,
}

/// A crate's modules, the root first, without those for tests.
pub(crate) struct Tree {
    /// Where the root is.
    pub(crate) folder: PathBuf,
    pub(crate) modules: Vec<Module>,
}

impl Tree {
    pub(crate) fn read(root: &Path) -> Tree {
        let (folder, file) = root.parent().zip(root.file_name()).expect("a root lies in a folder");
        let mut tree = Tree { folder: folder.to_owned(), modules: Vec::new() };
        tree.read_file("crate".into(), Path::new(file), Path::new(""), None);
        tree
    }

    /// The modules from this one up to the root, itself first.
    pub(crate) fn line(&self, id: Id) -> Vec<Id> {
        std::iter::successors(Some(id), |id| self.modules[*id].parent).collect()
    }

    /// `folder`: where its children's files are.
    fn read_file(&mut self, path: String, file: &Path, folder: &Path, parent: Option<Id>) -> Id {
        let whole = self.folder.join(file);
        let text = fs::read_to_string(&whole).unwrap_or_else(|error| panic!("{}: {error}", whole.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", whole.display()));
        self.add(path, file, head(&parsed.attrs), &parsed.items, folder, parent)
    }

    fn add(
        &mut self,
        path: String,
        file: &Path,
        head: String,
        items: &[Item],
        folder: &Path,
        parent: Option<Id>,
    ) -> Id {
        let id = self.modules.len();
        let Names { items: defined, imports, globs, named } = Names::of(items);
        self.modules.push(Module {
            path,
            file: file.to_owned(),
            head,
            parent,
            children: BTreeMap::new(),
            items: defined,
            imports,
            globs,
            named,
        });
        for item in items {
            if let Item::Mod(child) = item
                && !is_for_tests(&child.attrs)
            {
                let name = child.ident.to_string();
                let child = self.read_child(id, child, folder);
                self.modules[id].children.insert(name, child);
            }
        }
        id
    }

    fn read_child(&mut self, parent: Id, child: &ItemMod, folder: &Path) -> Id {
        let elsewhere = child.attrs.iter().any(|attribute| attribute.path().is_ident("path"));
        assert!(!elsewhere, "files are looked for where they belong, not by #[path]");
        let name = child.ident.to_string();
        let path = format!("{}::{name}", self.modules[parent].path);
        let own_folder = folder.join(&name);
        if let Some((_, items)) = &child.content {
            let file = self.modules[parent].file.clone();
            return self.add(path, &file, head(&child.attrs), items, &own_folder, Some(parent));
        }
        let beside = folder.join(format!("{name}.rs"));
        let file = if self.folder.join(&beside).exists() { beside } else { own_folder.join("mod.rs") };
        self.read_file(path, &file, &own_folder, Some(parent))
    }
}

fn head(attributes: &[Attribute]) -> String {
    attributes.iter().filter_map(doc).collect::<Vec<_>>().join("\n")
}

fn doc(attribute: &Attribute) -> Option<String> {
    match &attribute.meta {
        Meta::NameValue(meta) if meta.path.is_ident("doc") => match &meta.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}
