//! Profiles: the clients of known protocols, on the libraries that people use, notice nothing of a backend's end.
//!
//! Servers and clients are real programs (`third_party/profiles`) that speak the same words in each protocol, so that each scene
//! is written once. What they tell is joined: no client has seen its connection end, each request was answered once, and was
//! handled more than once only where the broker says so.

#[path = "../peers/mod.rs"]
mod peers;

mod books;
mod controls;
mod crew;
mod eth;
mod graphql;
mod lines;
mod ocpp;
mod pair;
mod rpc_websockets;
mod scenes;
mod server;
mod socket_io;
mod world;
