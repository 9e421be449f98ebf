//! Where the names in a module lead: through imports, re-exports and globs to the modules that define them.

use std::collections::BTreeSet;

use crate::source::{Id, Tree};

/// Re-exports of re-exports that are followed; imports that lead to each other end here.
const STEPS: usize = 16;

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Definition {
    Module(Id),
    /// An item of this module, with its name there.
    Item(Id, String),
}

/// What a path names in module `from`: each item by the module that defines it and its name there, a module by itself
/// and no name. None if the path leads out of the crate, several if it stands for several things.
pub(crate) fn definitions(tree: &Tree, from: Id, path: &[String]) -> Vec<(Id, Option<String>)> {
    let found = resolve(tree, from, path, STEPS);
    let definition = |found| match found {
        Definition::Module(id) => (id, None),
        Definition::Item(id, name) => (id, Some(name)),
    };
    found.into_iter().map(definition).collect()
}

fn resolve(tree: &Tree, from: Id, path: &[String], steps: usize) -> BTreeSet<Definition> {
    let Some((first, rest)) = path.split_first() else { return BTreeSet::new() };
    let found = match first.as_str() {
        "crate" => BTreeSet::from([Definition::Module(0)]),
        "self" => BTreeSet::from([Definition::Module(from)]),
        "super" => tree.modules[from].parent.map(Definition::Module).into_iter().collect(),
        name => look_up(tree, from, name, steps),
    };
    walk(tree, found, rest, steps)
}

fn walk(tree: &Tree, found: BTreeSet<Definition>, rest: &[String], steps: usize) -> BTreeSet<Definition> {
    let Some((next, rest)) = rest.split_first() else { return found };
    let module = found.iter().find_map(|found| match found {
        Definition::Module(id) => Some(*id),
        Definition::Item(..) => None,
    });
    // What follows an item is a part of it: a variant, a function of a type.
    let Some(module) = module else { return found };
    let mut inner = match next.as_str() {
        "super" => tree.modules[module].parent.map(Definition::Module).into_iter().collect(),
        "self" => BTreeSet::from([Definition::Module(module)]),
        name => look_up(tree, module, name, steps),
    };
    if inner.is_empty() {
        // A macro may define it.
        inner = BTreeSet::from([Definition::Item(module, next.clone())]);
    }
    walk(tree, inner, rest, steps)
}

/// What a name stands for in a module.
fn look_up(tree: &Tree, id: Id, name: &str, steps: usize) -> BTreeSet<Definition> {
    let module = &tree.modules[id];
    let mut found = BTreeSet::new();
    found.extend(module.children.get(name).copied().map(Definition::Module));
    found.extend(module.items.contains(name).then(|| Definition::Item(id, name.to_owned())));
    let Some(steps) = steps.checked_sub(1) else { return found };
    for import in module.imports.iter().filter(|import| import.name == name) {
        // `use http::Uri` beside a module of that name is another crate's.
        if import.of.path.len() > 1 || import.of.path[0] != name {
            found.extend(resolve(tree, id, &import.of.path, steps));
        }
    }
    if found.is_empty() {
        for glob in &module.globs {
            for of in resolve(tree, id, &glob.path, steps) {
                if let Definition::Module(of) = of
                    && of != id
                {
                    found.extend(look_up(tree, of, name, steps));
                }
            }
        }
    }
    found
}
