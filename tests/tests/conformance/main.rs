//! What RFC 6455 and RFC 7692 ask of the two ends comes out through the broker as it does without it.
//!
//! `cases` runs our own cases, which are data (`tests/conformance/cases/`); `autobahn` runs Autobahn's.

#[path = "../peers/mod.rs"]
mod peers;

mod autobahn;
mod case;
mod cases;
mod conversation;
mod reference;
