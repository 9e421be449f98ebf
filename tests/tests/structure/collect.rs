//! The names in one module's code: what it defines, what it imports, and every path that it writes, also within the
//! arguments of macros. What only tests see is passed over.

use std::collections::BTreeSet;

use proc_macro2::{Spacing, Span, TokenStream, TokenTree};
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, Macro, Meta, Token, UseTree};

use crate::source::Import;

/// A path as it is written, and on which line.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
}

#[derive(Default)]
pub(crate) struct Names {
    pub(crate) items: BTreeSet<String>,
    pub(crate) imports: Vec<Import>,
    pub(crate) globs: Vec<Named>,
    pub(crate) named: Vec<Named>,
}

impl Names {
    /// Those of a module with these items, without those of the modules in it.
    pub(crate) fn of(items: &[Item]) -> Names {
        let mut names = Names::default();
        for item in items {
            if !matches!(item, Item::Mod(_)) {
                names.items.extend(defined(item));
                names.visit_item(item);
            }
        }
        names
    }

    fn import(&mut self, tree: &UseTree, before: &[String]) {
        match tree {
            UseTree::Path(path) => {
                self.import(&path.tree, &[before, &[path.ident.to_string()]].concat());
            }
            UseTree::Name(name) => self.import_as(&name.ident, &name.ident, before),
            UseTree::Rename(rename) => self.import_as(&rename.ident, &rename.rename, before),
            UseTree::Glob(glob) => {
                self.globs.push(Named { path: before.to_vec(), line: line(glob.star_token.spans[0]) });
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.import(tree, before)),
        }
    }

    fn import_as(&mut self, ident: &syn::Ident, name: &syn::Ident, before: &[String]) {
        let mut path = before.to_vec();
        // `use path::{self, item}` brings in the end of the path.
        if ident != "self" {
            path.push(ident.to_string());
        }
        let name = if name == "self" { path.last().cloned().unwrap_or_default() } else { name.to_string() };
        self.imports.push(Import { name, of: Named { path, line: line(ident.span()) } });
    }

    /// Finds paths where there are only tokens: identifiers with `::` between them.
    fn scan(&mut self, tokens: TokenStream) {
        let mut path: Option<Named> = None;
        // Whether the path goes on, and whether it is one at all: `::http::Uri` is another crate's.
        let (mut goes_on, mut foreign) = (false, false);
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Ident(ident) => {
                    match &mut path {
                        Some(named) if goes_on => named.path.push(ident.to_string()),
                        _ => {
                            self.named.extend(path.take());
                            let named = Named { path: vec![ident.to_string()], line: line(ident.span()) };
                            path = (!foreign).then_some(named);
                        }
                    }
                    (goes_on, foreign) = (false, false);
                }
                TokenTree::Punct(colon) if colon.as_char() == ':' && colon.spacing() == Spacing::Joint => {
                    tokens.next();
                    (goes_on, foreign) = (path.is_some(), path.is_none());
                }
                TokenTree::Group(group) => {
                    self.named.extend(path.take());
                    self.scan(group.stream());
                    (goes_on, foreign) = (false, false);
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {
                    self.named.extend(path.take());
                    (goes_on, foreign) = (false, false);
                }
            }
        }
        self.named.extend(path);
    }
}

fn line(span: Span) -> usize {
    span.start().line
}

/// Visits what is not for tests alone.
macro_rules! visit_unless_for_tests {
    ($($visit:ident: $node:ident),* $(,)?) => {
        $(fn $visit(&mut self, node: &'ast syn::$node) {
            if !is_for_tests(&node.attrs) {
                visit::$visit(self, node);
            }
        })*
    };
}

impl<'ast> Visit<'ast> for Names {
    visit_unless_for_tests! {
        visit_arm: Arm,
        visit_expr_block: ExprBlock,
        visit_field: Field,
        visit_field_value: FieldValue,
        visit_impl_item_const: ImplItemConst,
        visit_impl_item_fn: ImplItemFn,
        visit_item_const: ItemConst,
        visit_item_enum: ItemEnum,
        visit_item_fn: ItemFn,
        visit_item_impl: ItemImpl,
        visit_item_macro: ItemMacro,
        visit_item_mod: ItemMod,
        visit_item_static: ItemStatic,
        visit_item_struct: ItemStruct,
        visit_item_trait: ItemTrait,
        visit_item_type: ItemType,
        visit_local: Local,
        visit_stmt_macro: StmtMacro,
        visit_trait_item_fn: TraitItemFn,
        visit_variant: Variant,
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !is_for_tests(&item.attrs) && item.leading_colon.is_none() {
            self.import(&item.tree, &[]);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if let (None, Some(first)) = (&path.leading_colon, path.segments.first()) {
            let line = line(first.ident.span());
            let path = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.named.push(Named { path, line });
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, node: &'ast Macro) {
        self.scan(node.tokens.clone());
        visit::visit_macro(self, node);
    }

    fn visit_meta_list(&mut self, list: &'ast syn::MetaList) {
        self.scan(list.tokens.clone());
    }
}

fn defined(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}

/// Whether something is left out of every build that is not a test's.
pub(crate) fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) if list.path.is_ident("cfg") => {
            list.parse_args().is_ok_and(|meta| needs_test(&meta))
        }
        _ => false,
    })
}

fn needs_test(meta: &Meta) -> bool {
    match meta {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) => {
            let parts = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
            let parts = parts.map(|parts| parts.iter().map(needs_test).collect()).unwrap_or_else(|_| vec![]);
            (list.path.is_ident("all") && parts.contains(&true))
                || (list.path.is_ident("any") && !parts.is_empty() && !parts.contains(&false))
        }
        Meta::NameValue(_) => false,
    }
}
