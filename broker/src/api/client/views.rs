//! What the API tells, as far as the commands and the demo read it.

use std::net::SocketAddr;

use serde::Deserialize;

use crate::operations::OperationState;

/// A backend of `/api/v1/backends`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct BackendReply {
    pub(crate) pool: String,
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) state: String,
    pub(crate) state_for_ms: u64,
    pub(crate) why: String,
    /// It failed lately, and is tried last.
    pub(crate) penalised: bool,
    pub(crate) effective_weight: f64,
    pub(crate) sessions: usize,
    /// The operation that empties it.
    #[serde(default)]
    pub(crate) drain: Option<String>,
}

/// A session of `/api/v1/sessions`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct SessionReply {
    /// 32 hex digits.
    pub(crate) id: String,
    pub(crate) pool: String,
    pub(crate) backend: Option<String>,
    pub(crate) client: SocketAddr,
    pub(crate) state: String,
    pub(crate) age_ms: u64,
    pub(crate) failovers: usize,
    #[serde(default)]
    pub(crate) moves: usize,
    pub(crate) buffered_bytes: usize,
    pub(crate) ledger: LedgerReply,
}

/// What has become of a session's messages: of both directions there, one is read.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct LedgerReply {
    /// Client to backend.
    pub(crate) up: Messages,
}

/// Messages of one direction.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(crate) struct Messages {
    /// Known to have reached a backend.
    pub(crate) acknowledged: usize,
    /// Sent again to another backend.
    pub(crate) replayed: usize,
    /// Their effect cannot be known.
    pub(crate) in_doubt: usize,
}

/// A listener of `/api/v1/listeners`.
#[derive(Debug, Deserialize)]
pub(crate) struct ListenerReply {
    pub(crate) address: String,
    pub(crate) pool: Option<String>,
    pub(crate) paused: bool,
    pub(crate) sessions: usize,
}

/// An operation of `/api/v1/operations`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct OperationReply {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) pool: String,
    pub(crate) backend: Option<String>,
    pub(crate) state: OperationState,
    pub(crate) message: String,
    pub(crate) elapsed_ms: u64,
    pub(crate) sessions: CountsReply,
}

/// What has become of an operation's sessions.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(crate) struct CountsReply {
    pub(crate) total: usize,
    pub(crate) moved: usize,
    pub(crate) forced: usize,
    #[serde(default)]
    pub(crate) reconnected: usize,
    pub(crate) failed: usize,
    pub(crate) gone: usize,
    pub(crate) remaining: usize,
    pub(crate) moving: usize,
}

#[derive(Deserialize)]
pub(crate) struct Backends {
    pub(crate) backends: Vec<BackendReply>,
}

#[derive(Deserialize)]
pub(crate) struct OneBackend {
    pub(crate) backend: BackendReply,
}

#[derive(Deserialize)]
pub(crate) struct SessionsReply {
    pub(crate) sessions: Vec<SessionReply>,
    pub(crate) total: usize,
    pub(crate) next: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct OneSession {
    pub(crate) session: SessionReply,
}

#[derive(Deserialize)]
pub(crate) struct ListenersReply {
    pub(crate) listeners: Vec<ListenerReply>,
}

#[derive(Deserialize)]
pub(crate) struct OperationsReply {
    pub(crate) operations: Vec<OperationReply>,
}

#[derive(Deserialize)]
pub(crate) struct OneOperation {
    pub(crate) operation: OperationReply,
}

impl BackendReply {
    /// `POOL/NAME`, which no other backend has.
    pub(crate) fn full_name(&self) -> String {
        format!("{}/{}", self.pool, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_for_a_state_is_understood() {
        for state in
            [OperationState::Running, OperationState::Waiting].into_iter().chain(OperationState::ENDS)
        {
            let word = serde_json::json!(state.name());
            assert_eq!(serde_json::from_value::<OperationState>(word).expect("the word for it"), state);
        }
    }
}
