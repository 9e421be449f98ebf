//! `steadfast.v1`: what the broker says to services and clients that link the shim, and they to it.
//!
//! `docs/protocol.md` is its specification. Here are its two codecs, and the machines of the two ends that
//! are not the broker; the broker's own part is in [`crate::session`].

use crate::websocket::close_code::CloseCode;

pub(crate) mod assembler;
pub mod client;
pub mod client_wire;
pub(crate) mod kind_byte;
pub mod service;
pub mod service_wire;

/// The largest number on the wire: JavaScript counts exactly up to there.
pub const NUMBER_MAX: u64 = (1 << 53) - 1;

/// A session's name: 16 bytes, in headers and texts 32 hex digits.
pub type SessionId = [u8; 16];

/// A Close with this code says that the peer has broken `steadfast.v1`; the reason begins with the
/// name of the breach.
pub const CLOSE_BREACH: CloseCode = CloseCode(4400);

/// A Close with this code says that the token of a resume has been replaced by a newer one.
pub const CLOSE_STALE: CloseCode = CloseCode(4401);

/// A Close with this code says that the session goes on elsewhere: a client's on another connection
/// (`superseded`), a service's at another backend (`fenced`).
pub const CLOSE_SUPERSEDED: CloseCode = CloseCode(4409);
