//! Why a connection came to nothing.

use http::StatusCode;

use super::End;

/// Why a connection did not become a session.
#[derive(Debug)]
pub enum HandshakeError {
    /// It is no WebSocket upgrade, or was broken off.
    NoUpgrade(String),
    /// It was refused with this status.
    Refused(StatusCode),
    /// It took too long. A health check that opens a WebSocket and goes away looks like this, or the next.
    Timeout,
    /// No session has come.
    NoSession(End),
}

impl std::fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            HandshakeError::NoUpgrade(why) => write!(f, "this is no WebSocket upgrade: {why}"),
            HandshakeError::Refused(status) => write!(f, "the upgrade was refused with {status}"),
            HandshakeError::Timeout => f.write_str("no session came in time"),
            HandshakeError::NoSession(end) => write!(f, "no session came: {end}"),
        }
    }
}

impl std::error::Error for HandshakeError {}
