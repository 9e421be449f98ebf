//! How a session ended, and why.

use crate::websocket::close_code::CloseCode;

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndCause {
    /// The client said Close.
    ClientClose,
    /// The client's connection ended without one.
    ClientGone,
    /// The backend said Close, as the application decided.
    BackendClose,
    /// The backend failed and sessions do not outlive it.
    BackendFailed,
    /// No backend could be reached in time.
    Deadline,
    /// Every backend refused the session.
    Refused,
    /// A message killed every backend.
    Poison,
    /// The client broke the protocol or a limit.
    ProtocolClient,
    /// The backend sent a message over the limit.
    ProtocolBackendTooBig,
    /// The client took nothing of what waited for it.
    ClientStall,
    /// The client answered no ping.
    ClientTimeout,
    /// Two backends in turn read a message and then nothing more.
    Stalled,
    /// A message of the client stayed open too long.
    SlowMessage,
    /// The broker ends.
    Shutdown,
    /// Somebody asked for it.
    Aborted,
    /// The client did not come back in time.
    ResumeExpired,
    /// The backend was left, and the client's conversation ends with it: it is to reconnect.
    Reconnect,
    /// It held more than its share of the memory, and others were in need.
    MemoryShort,
    /// Too many clients were away, and it was one of those.
    DetachedLimit,
}

impl EndCause {
    /// The word for logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            EndCause::ClientClose => "client_close",
            EndCause::ClientGone => "client_gone",
            EndCause::BackendClose => "backend_close",
            EndCause::BackendFailed => "backend_failed",
            EndCause::Deadline => "deadline",
            EndCause::Refused => "refused",
            EndCause::Poison => "poison",
            EndCause::ProtocolClient => "protocol_client",
            EndCause::ProtocolBackendTooBig => "protocol_backend_too_big",
            EndCause::ClientStall => "client_stall",
            EndCause::ClientTimeout => "client_timeout",
            EndCause::Stalled => "stalled",
            EndCause::SlowMessage => "slow_message",
            EndCause::Shutdown => "shutdown",
            EndCause::Aborted => "aborted",
            EndCause::ResumeExpired => "resume_expired",
            EndCause::Reconnect => "reconnect",
            EndCause::MemoryShort => "memory_short",
            EndCause::DetachedLimit => "detached_limit",
        }
    }
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionEnd {
    /// The first thing that made it end.
    pub cause: EndCause,
    /// The close code that was said first, if one was.
    pub code: Option<CloseCode>,
}
