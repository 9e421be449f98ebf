//! Operations.

use serde::{Deserialize, Serialize};

use crate::operations::{OperationCause, OperationKind, OperationState};

/// Answers `GET /api/v1/operations`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OperationsReply {
    pub(crate) operations: Vec<OperationReply>,
}

/// Answers whatever is about one operation.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OneOperation {
    pub(crate) operation: OperationReply,
}

/// An operation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct OperationReply {
    pub(crate) id: String,
    pub(crate) kind: OperationKind,
    pub(crate) pool: String,
    pub(crate) backend: Option<String>,
    pub(crate) cause: OperationCause,
    pub(crate) why: String,
    pub(crate) state: OperationState,
    pub(crate) message: String,
    /// In UTC (RFC 3339).
    pub(crate) started_at: String,
    pub(crate) elapsed_ms: u64,
    pub(crate) sessions: CountsReply,
    /// None, as of the next three: it has no such limit.
    pub(crate) rate: Option<u32>,
    pub(crate) concurrency: Option<usize>,
    pub(crate) errors_max: Option<usize>,
    pub(crate) time_limit_ms: Option<u64>,
    pub(crate) force: bool,
}

/// What has become of an operation's sessions.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
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
    pub(crate) staying: StayingReply,
}

/// Of those that remain: why they stayed when they were tried.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct StayingReply {
    pub(crate) busy: usize,
    pub(crate) no_target: usize,
    pub(crate) target_lost: usize,
    pub(crate) pinned: usize,
}

/// How an operation is to go about it. Each kind of request takes some of these; what is absent is as configured.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a JSON object")]
pub(crate) struct OperationOrder {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rate: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) concurrency: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) errors_max: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) time_limit_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) force: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tolerance: Option<u32>,
}
