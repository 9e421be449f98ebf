//! Listeners for clients.

use serde::{Deserialize, Serialize};

/// Answers `GET /api/v1/listeners`, `pause` and `resume`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ListenersReply {
    pub(crate) listeners: Vec<ListenerReply>,
}

/// A listener.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ListenerReply {
    /// `IP:PORT`, or `unix:` and the path of a file.
    pub(crate) address: String,
    /// For requests that no route matches.
    pub(crate) pool: Option<String>,
    pub(crate) paused: bool,
    pub(crate) sessions: usize,
}

/// Which listener; without this all are meant.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a JSON object")]
pub(crate) struct ListenerChoice {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) listener: Option<String>,
}
