//! Circles: children of one module that lead to each other, each child with all that is in it.
//!
//! A module and what is in it are one, so nothing that they name of each other counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Formatter};

use crate::resolve::definitions;
use crate::source::{Id, Tree};

pub(crate) struct Circle {
    /// Whose children they are.
    pub(crate) module: String,
    pub(crate) children: Vec<String>,
    /// Who names what, and where.
    pub(crate) arrows: Vec<String>,
}

/// Of one module: from child to child, with who names what.
type Arrows = BTreeMap<(Id, Id), BTreeMap<Naming, usize>>;

/// A module names another, or an item of it. Where it does so first, is its line.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Naming {
    by: Id,
    definer: Id,
    item: Option<String>,
}

/// All circles of a crate.
pub(crate) fn find(tree: &Tree) -> Vec<Circle> {
    let mut circles = Vec::new();
    for (module, arrows) in arrows(tree) {
        let children: BTreeSet<Id> = arrows.keys().flat_map(|(from, to)| [*from, *to]).collect();
        let reached: BTreeMap<Id, BTreeSet<Id>> =
            children.iter().map(|child| (*child, reached(&arrows, *child))).collect();
        let mut seen = BTreeSet::new();
        for child in children {
            let leads_back = |other: &&Id| reached[*other].contains(&child);
            let members: BTreeSet<Id> = reached[&child].iter().filter(leads_back).copied().collect();
            if members.contains(&child) && seen.insert(members.clone()) {
                circles.push(circle(tree, module, &members, &arrows));
            }
        }
    }
    circles
}

/// Which child of the root leads to which, by their names.
pub(crate) fn wings(tree: &Tree) -> BTreeSet<(String, String)> {
    let name = |id: Id| tree.modules[id].path.trim_start_matches("crate::").to_owned();
    let arrows = arrows(tree).remove(&0).unwrap_or_default();
    arrows.into_keys().map(|(from, to)| (name(from), name(to))).collect()
}

fn circle(tree: &Tree, module: Id, members: &BTreeSet<Id>, arrows: &Arrows) -> Circle {
    let path = tree.modules[module].path.clone();
    let name = |id: &Id| tree.modules[*id].path[path.len() + 2..].to_owned();
    let within = arrows.iter().filter(|((from, to), _)| members.contains(from) && members.contains(to));
    let arrow = |((from, to), named): (&(Id, Id), &BTreeMap<Naming, usize>)| {
        let named: Vec<_> = named.iter().map(|(naming, line)| who_names_what(tree, naming, *line)).collect();
        format!("{} -> {}:\n        {}", name(from), name(to), named.join("\n        "))
    };
    Circle { children: members.iter().map(name).collect(), arrows: within.map(arrow).collect(), module: path }
}

/// Those that can be reached from a child by one arrow or more.
fn reached(arrows: &Arrows, child: Id) -> BTreeSet<Id> {
    let mut reached = BTreeSet::new();
    let mut next = vec![child];
    while let Some(from) = next.pop() {
        for (_, to) in arrows.keys().filter(|(of, _)| *of == from) {
            if reached.insert(*to) {
                next.push(*to);
            }
        }
    }
    reached
}

/// The arrows between each module's children.
fn arrows(tree: &Tree) -> BTreeMap<Id, Arrows> {
    let mut all: BTreeMap<Id, Arrows> = BTreeMap::new();
    for (id, module) in tree.modules.iter().enumerate() {
        let imported = module.imports.iter().map(|import| &import.of);
        for named in imported.chain(&module.globs).chain(&module.named) {
            for (definer, item) in definitions(tree, id, &named.path) {
                if let Some((of, from, to)) = parting(tree, id, definer) {
                    let arrow = all.entry(of).or_default().entry((from, to)).or_default();
                    let line = arrow.entry(Naming { by: id, definer, item }).or_insert(named.line);
                    *line = named.line.min(*line);
                }
            }
        }
    }
    all
}

/// The nearest module that holds both, and which of its children do; `None` if one of the two holds the other.
fn parting(tree: &Tree, from: Id, to: Id) -> Option<(Id, Id, Id)> {
    let (mut from, mut to) = (tree.line(from), tree.line(to));
    let mut common = None;
    while !from.is_empty() && from.last() == to.last() {
        common = from.pop();
        to.pop();
    }
    Some((common?, *from.last()?, *to.last()?))
}

fn who_names_what(tree: &Tree, naming: &Naming, line: usize) -> String {
    let file = tree.modules[naming.by].file.display();
    let definer = &tree.modules[naming.definer].path;
    match &naming.item {
        Some(item) => format!("{file}:{line} names {definer}::{item}"),
        None => format!("{file}:{line} names {definer}"),
    }
}

impl Display for Circle {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "in {}, a circle of {}", self.module, self.children.join(", "))?;
        self.arrows.iter().try_for_each(|arrow| write!(f, "\n    {arrow}"))
    }
}
