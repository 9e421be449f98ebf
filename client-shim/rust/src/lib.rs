//! Both ends of `steadfast.v1`, for tokio.
//!
//! - [`client`]: a connection to a Steadfast broker that outlives its sockets. It resumes its session,
//!   repeats what the broker does not have, and tells what became of each message.
//! - [`service`]: sessions behind a broker's pool with `ack = "shim"`. A service says what it has consumed,
//!   what the client gets for it and which state is left, in one step; when it dies, another one goes on
//!   from there.
//!
//! What is promised, and what is not, is in the broker's `docs/protocol.md`. The decisions are made by the
//! machines of [`steadfast_protocol::steadfast_v1`]; here are sockets, time and randomness.

pub mod client;
mod message;
pub mod service;
mod wire;

pub use message::Message;
/// A session's name.
pub use steadfast_protocol::steadfast_v1::SessionId;
pub use steadfast_protocol::websocket::close_code::CloseCode;

/// The examples of the README are compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
