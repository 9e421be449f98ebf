//! Small trees of modules, with circles that must be found and with none.

use std::fs;

use crate::circles::{self, Circle};
use crate::source::Tree;

/// The circles of a crate with these files.
fn circles(files: &[(&str, &str)]) -> Vec<Circle> {
    let folder = tempfile::tempdir().expect("a folder");
    for (path, text) in files {
        let file = folder.path().join(path);
        fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        fs::write(file, text).expect("a file");
    }
    circles::find(&Tree::read(&folder.path().join("lib.rs")))
}

/// Asserts that there is this circle and no other.
#[track_caller]
fn assert_one<const N: usize>(files: &[(&str, &str)], module: &str, children: [&str; N]) -> Circle {
    let mut found = circles(files);
    let shown: Vec<String> = found.iter().map(Circle::to_string).collect();
    assert_eq!(found.len(), 1, "{shown:?}");
    let found = found.remove(0);
    assert_eq!(
        (found.module.as_str(), &*found.children),
        (module, &*children.iter().map(|child| child.to_string()).collect::<Vec<_>>())
    );
    found
}

#[track_caller]
fn assert_none(files: &[(&str, &str)]) {
    let found: Vec<String> = circles(files).iter().map(Circle::to_string).collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn two_files_that_import_each_other() {
    let circle = assert_one(
        &[
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "\nuse crate::b::Right;\npub struct Left(Right);"),
            ("b.rs", "pub struct Right; fn left() -> super::a::Left { todo!() }"),
            ("c.rs", "use crate::{a::Left, b::Right};"),
        ],
        "crate",
        ["a", "b"],
    );
    assert_eq!(circle.arrows.len(), 2);
    assert!(circle.arrows[0].contains("a.rs:2 names crate::b::Right"), "{circle}");
    assert!(circle.arrows[1].contains("b.rs:1 names crate::a::Left"), "{circle}");
}

#[test]
fn three_files_one_after_the_other() {
    assert_one(
        &[
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "use crate::b::B; pub struct A;"),
            ("b.rs", "use crate::c::C; pub struct B;"),
            ("c.rs", "use crate::a::A; pub struct C;"),
        ],
        "crate",
        ["a", "b", "c"],
    );
}

/// No file of one folder and file of the other import each other, but the folders do.
#[test]
fn two_folders() {
    assert_one(
        &[
            ("lib.rs", "mod wide; mod deep;"),
            ("wide/mod.rs", "mod low; mod high;"),
            ("wide/low.rs", "pub struct Low;"),
            ("wide/high.rs", "use crate::deep::inner::most::Most;"),
            ("deep.rs", "pub mod inner;"),
            ("deep/inner.rs", "pub mod most; mod other;"),
            ("deep/inner/most.rs", "pub struct Most;"),
            ("deep/inner/other.rs", "use crate::wide::low::Low;"),
        ],
        "crate",
        ["wide", "deep"],
    );
}

/// By the names that are written, `a` leads to the root alone; the item is `b`'s.
#[test]
fn through_a_re_export() {
    for (root, a) in [
        ("pub use b::Hidden;", "use crate::Hidden;"),
        ("pub use b::Hidden as Shown;", "use crate::Shown;"),
        ("pub use b::*;", "use super::*; struct Has(Hidden);"),
        ("pub use b::g;", "use super as root; fn f() { root::g() }"),
        ("pub use front::Twice; mod front { pub use crate::b::Hidden as Twice; }", "use crate::Twice;"),
    ] {
        let circle = assert_one(
            &[
                ("lib.rs", &format!("mod a; mod b; {root}")),
                ("a.rs", &format!("{a} pub struct A;")),
                ("b.rs", "use crate::a::A; pub struct Hidden; pub fn g() {}"),
            ],
            "crate",
            ["a", "b"],
        );
        assert!(circle.arrows[0].contains("a.rs:1 names crate::b::"), "{circle}");
    }
}

/// `a` names something of `low`, by way of what knows `a`.
#[test]
fn a_re_export_is_not_what_shows_it() {
    assert_none(&[
        ("lib.rs", "mod a; mod front; mod low;"),
        ("a.rs", "use crate::front::X; pub struct A;"),
        ("front.rs", "pub use crate::low::X; use crate::a::A;"),
        ("low.rs", "pub struct X;"),
    ]);
}

#[test]
fn in_the_arguments_of_macros_and_attributes() {
    for text in [
        "fn f() { assert_eq!(1, [crate::b::ONE][0]); }",
        "fn f() { println!(\"{}\", ONE, x = super::b::ONE); }",
        "struct S { #[arg(value_parser = crate::b::parse)] s: u8 }",
        "macro_rules! m { () => { $crate::b::ONE } }",
        "fn f() { use crate::b; }",
        "impl S { fn f(&self) { crate::b::parse(self) } }",
    ] {
        assert_one(
            &[
                ("lib.rs", "mod a; mod b;"),
                ("a.rs", &format!("pub struct A; {text}")),
                ("b.rs", "use crate::a::A; pub const ONE: u8 = 1; pub fn parse() {}"),
            ],
            "crate",
            ["a", "b"],
        );
    }
}

#[test]
fn within_a_folder() {
    assert_one(
        &[
            ("lib.rs", "mod outer { mod a; mod b; }"),
            ("outer/a.rs", "use super::b::B; pub struct A;"),
            ("outer/b.rs", "use super::a::A; pub struct B;"),
        ],
        "crate::outer",
        ["a", "b"],
    );
}

#[test]
fn a_module_and_what_is_in_it_are_one() {
    assert_none(&[
        ("lib.rs", "mod a; use a::inner::Inner; pub struct Top;"),
        ("a.rs", "pub mod inner; use inner::Inner; pub struct A; use crate::Top;"),
        ("a/inner.rs", "use super::A; use crate::{Top, a}; pub struct Inner;"),
    ]);
}

#[test]
fn one_way_is_no_circle() {
    assert_none(&[
        ("lib.rs", "mod low; mod middle; mod high;"),
        ("low.rs", "pub struct Low;"),
        ("middle.rs", "pub use crate::low::Low; use self::Low as Lower; pub struct Middle;"),
        ("high.rs", "use crate::{low, middle::{self, Low}}; struct High(low::Low, middle::Middle);"),
    ]);
}

#[test]
fn code_for_tests_and_other_crates_do_not_count() {
    assert_none(&[
        ("lib.rs", "mod a; mod b; mod http; #[cfg(test)] mod tests;"),
        ("a.rs", "use crate::b::B; pub struct A;"),
        (
            "b.rs",
            "pub struct B; #[cfg(test)] mod tests { use crate::a::A; }
             #[cfg(test)] use crate::a::A; #[cfg(all(test, unix))] fn f() { crate::a::A; }
             impl B { #[cfg(test)] fn f() -> crate::a::A { crate::a::A } }
             use ::a::Other; fn g() { matches!(::http::x(), ::a::X); }",
        ),
        ("http.rs", "use crate::b::B;"),
    ]);
}
