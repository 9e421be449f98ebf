//! Programs of other people, and the broker in front of them.

#![allow(dead_code, reason = "the test programs that share this use a part each")]

pub(crate) mod browser;
pub(crate) mod relay;
pub(crate) mod server;
pub(crate) mod tools;
