//! What the end-to-end tests stand on: real processes, real sockets on loopback, frames made by hand.
//!
//! A test starts [`Backend`]s (the `test-backend` binary of this crate) and a [`Broker`] (the real `steadfast`
//! binary) in front of them, talks to it with [`Client`]s, and compares what the client saw with what each
//! backend wrote into its [`journal`]. Every wait is for a condition ([`wait`]); every process ends with the
//! value that stands for it, also when the test panics, and then its output is printed.
//!
//! A failed expectation panics in here: this crate is for tests only.

pub mod admin;
pub mod backend;
pub mod binary;
pub mod broker;
pub mod client;
pub mod control_group;
pub mod dns;
pub mod frame;
pub mod http;
pub mod installed_proxy;
pub mod journal;
pub mod loopback;
pub mod network;
pub mod origin;
pub mod payload;
pub mod pki;
pub mod process;
pub mod proxy;
pub mod recorder;
pub mod sequence;
pub mod service;
pub mod shim;
pub mod skipped;
pub mod stream;
pub mod tls;
pub mod upgrade;
pub mod wait;
pub mod wire;

pub use backend::Backend;
pub use broker::Broker;
pub use client::{Client, Incoming};
pub use frame::Frame;
pub use upgrade::Upgrade;
