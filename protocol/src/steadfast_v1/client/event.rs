//! What the application is told: what became of a connection, of the session, and how it ended.

use std::ops::RangeInclusive;

use crate::steadfast_v1::CLOSE_SUPERSEDED;
use crate::steadfast_v1::client_wire::Reason;
use crate::websocket::close_code::CloseCode;

use super::Breach;

/// What the application should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// There is a connection, and the session goes on.
    Resumed,
    /// There is a connection, and a session that is new.
    Fresh {
        /// Why it is not the one before.
        reason: Reason,
        /// Ids of messages that were written and are not known to be committed: the service may have
        /// acted on them, or not. They are not sent again.
        unknown: Option<RangeInclusive<u64>>,
    },
    /// The broker, or behind it the service, has more of the messages; these are ids.
    Progress {
        /// The broker has everything up to here.
        received: u64,
        /// The service has committed everything up to here.
        committed: u64,
    },
    /// The connection, or the attempt at one, has come to nothing. There will be another.
    Lost(Loss),
    /// It is over; the last event.
    Closed(End),
}

/// Why a connection came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// It could not be made.
    Unreachable,
    /// The server does not agree on `steadfast.v1`.
    Incompatible,
    /// It was not there, or not welcomed, in time.
    Timeout,
    /// The broker has said nothing for too long.
    Silent,
    /// It ended without a Close.
    Ended,
    /// It ended with a Close after which a client comes back.
    Closed(CloseCode),
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Loss::Unreachable => f.write_str("the connection could not be made"),
            Loss::Incompatible => f.write_str("the server does not speak steadfast.v1"),
            Loss::Timeout => f.write_str("the broker did not answer in time"),
            Loss::Silent => f.write_str("the broker has said nothing for too long"),
            Loss::Ended => f.write_str("the connection ended without a Close"),
            Loss::Closed(code) => write!(f, "the broker closed with {code}"),
        }
    }
}

/// How it ended, and what is in the unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Why.
    pub cause: Cause,
    /// Ids of messages that were written and are not known to be committed.
    pub unknown: Option<RangeInclusive<u64>>,
    /// Ids of messages that were not written.
    pub unsent: Option<RangeInclusive<u64>>,
}

/// Why a client's work is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The application closed it.
    Asked,
    /// The broker closed it for good.
    Closed {
        /// The Close's code; 1005 when it had none.
        code: CloseCode,
        /// Its reason.
        reason: String,
    },
    /// The broker breaks the protocol.
    Breach(Breach),
    /// There was no connection for too long.
    GaveUp,
}

impl Cause {
    /// Another client has taken the session over, with a copy of this one's token.
    pub fn is_superseded(&self) -> bool {
        matches!(self, Cause::Closed { code: CLOSE_SUPERSEDED, .. })
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Cause::Asked => f.write_str("the application closed it"),
            Cause::Closed { code, reason } if reason.is_empty() => write!(f, "the broker closed with {code}"),
            Cause::Closed { code, reason } => write!(f, "the broker closed with {code}: {reason}"),
            Cause::Breach(breach) => breach.fmt(f),
            Cause::GaveUp => f.write_str("no broker could be reached for too long"),
        }
    }
}
