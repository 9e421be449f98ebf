//! How a session left this service.

use steadfast_protocol::steadfast_v1::CLOSE_SUPERSEDED;
use steadfast_protocol::steadfast_v1::service::Breach;
use steadfast_protocol::websocket::close_code::CloseCode;

/// Why a session is not here any more. What is not known to be applied may be lost; then the next service
/// does not know of it either.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It goes on at another service, by plan (1001).
    Left,
    /// It goes on at another service, which the broker took this one to be unfit for (4409).
    Fenced,
    /// The broker has closed it: the client's own Close, or the end of the session.
    Closed {
        /// The Close's code; 1005 when it had none.
        code: CloseCode,
        /// Its reason.
        reason: String,
    },
    /// This service has closed it.
    Asked,
    /// The connection has ended without a Close, and the session goes on elsewhere, if anywhere.
    Lost {
        /// What the system said, if it was an error.
        error: Option<String>,
    },
    /// The broker breaks the protocol.
    Breach(Breach),
}

impl End {
    /// By a Close of the broker's.
    pub(super) fn by_close(code: CloseCode, reason: String) -> End {
        match code {
            CloseCode::GOING_AWAY => End::Left,
            CLOSE_SUPERSEDED => End::Fenced,
            _ => End::Closed { code, reason },
        }
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            End::Left => f.write_str("it goes on at another service, by plan"),
            End::Fenced => f.write_str("it goes on at another service"),
            End::Closed { code, reason } if reason.is_empty() => write!(f, "closed with {code}"),
            End::Closed { code, reason } => write!(f, "closed with {code}: {reason}"),
            End::Asked => f.write_str("this service closed it"),
            End::Lost { error: None } => f.write_str("the broker's connection ended"),
            End::Lost { error: Some(error) } => write!(f, "the broker's connection broke: {error}"),
            End::Breach(breach) => breach.fmt(f),
        }
    }
}

/// The session is not at this service any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended(
    /// How it left; `None`: it is being closed by this service.
    pub Option<End>,
);

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Some(end) => write!(f, "the session is not here any more: {end}"),
            None => f.write_str("this service is closing the session"),
        }
    }
}

impl std::error::Error for Ended {}
