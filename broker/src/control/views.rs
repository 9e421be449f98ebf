//! What the API tells, as far as the commands show it.

use serde::Deserialize;

use crate::operations::State;

/// A backend of `/api/v1/backends`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Backend {
    pub(super) pool: String,
    pub(super) name: String,
    pub(super) address: String,
    pub(super) state: String,
    pub(super) state_for_ms: u64,
    pub(super) why: String,
    pub(super) effective_weight: f64,
    pub(super) sessions: u64,
    /// The operation that empties it.
    #[serde(default)]
    pub(super) drain: Option<String>,
}

/// A session of `/api/v1/sessions`.
#[derive(Debug, Deserialize)]
pub(super) struct Session {
    pub(super) id: String,
    pub(super) pool: String,
    pub(super) backend: Option<String>,
    pub(super) client: String,
    pub(super) state: String,
    pub(super) age_ms: u64,
    pub(super) failovers: u64,
    #[serde(default)]
    pub(super) moves: u64,
    pub(super) buffered_bytes: u64,
}

/// A listener of `/api/v1/listeners`.
#[derive(Debug, Deserialize)]
pub(super) struct Listener {
    pub(super) address: String,
    pub(super) pool: Option<String>,
    pub(super) paused: bool,
    pub(super) sessions: u64,
}

/// An operation of `/api/v1/operations`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Operation {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) pool: String,
    pub(super) backend: Option<String>,
    pub(super) state: State,
    pub(super) message: String,
    pub(super) elapsed_ms: u64,
    pub(super) sessions: Counts,
}

/// What has become of an operation's sessions.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Counts {
    pub(super) total: u64,
    pub(super) moved: u64,
    pub(super) forced: u64,
    pub(super) failed: u64,
    pub(super) gone: u64,
    pub(super) remaining: u64,
    pub(super) moving: u64,
}

#[derive(Deserialize)]
pub(super) struct Backends {
    pub(super) backends: Vec<Backend>,
}

#[derive(Deserialize)]
pub(super) struct OneBackend {
    pub(super) backend: Backend,
}

#[derive(Deserialize)]
pub(super) struct Sessions {
    pub(super) sessions: Vec<Session>,
    pub(super) total: u64,
    pub(super) next: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct OneSession {
    pub(super) session: Session,
}

#[derive(Deserialize)]
pub(super) struct Listeners {
    pub(super) listeners: Vec<Listener>,
}

#[derive(Deserialize)]
pub(super) struct Operations {
    pub(super) operations: Vec<Operation>,
}

#[derive(Deserialize)]
pub(super) struct OneOperation {
    pub(super) operation: Operation,
}

impl Backend {
    /// `POOL/NAME`, which no other backend has.
    pub(super) fn full_name(&self) -> String {
        format!("{}/{}", self.pool, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_for_a_state_is_understood() {
        for state in [State::Running, State::Waiting].into_iter().chain(State::ENDS) {
            let word = serde_json::json!(state.name());
            assert_eq!(serde_json::from_value::<State>(word).expect("the word for it"), state);
        }
    }
}
