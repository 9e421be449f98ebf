//! Sessions.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use steadfast_protocol::session::{Counts, Ledger, Status};

use super::present;

/// Answers `GET /api/v1/sessions`: a page.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SessionsReply {
    pub(crate) sessions: Vec<SessionReply>,
    /// How many there are on all pages.
    pub(crate) total: usize,
    /// What the following page is asked for with.
    pub(crate) next: Option<String>,
}

/// Answers what changes a session.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OneSession {
    pub(crate) session: SessionReply,
}

/// A session, and the answer to `GET /api/v1/sessions/{id}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SessionReply {
    /// 32 hex digits.
    pub(crate) id: String,
    pub(crate) pool: String,
    pub(crate) route: Option<String>,
    pub(crate) listener: String,
    pub(crate) client: SocketAddr,
    pub(crate) backend: Option<String>,
    /// Why it is there.
    pub(crate) placed: Option<String>,
    #[serde(with = "status")]
    pub(crate) state: Status,
    pub(crate) age_ms: u64,
    pub(crate) failovers: u32,
    /// Planned moves so far.
    #[serde(default)]
    pub(crate) moves: u32,
    /// Of late.
    pub(crate) slowest_answer_ms: u64,
    pub(crate) buffered_bytes: usize,
    pub(crate) ledger: LedgerReply,
}

/// What has become of a session's messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LedgerReply {
    /// Client to backend.
    pub(crate) upstream: MessagesReply,
    /// Backend to client.
    pub(crate) downstream: MessagesReply,
}

/// Messages of one direction, counted as [`Counts`] does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MessagesReply {
    /// Whole ones that were taken over.
    pub(crate) forwarded: u64,
    /// Known to have reached a backend.
    pub(crate) acknowledged: u64,
    /// Sent again to another backend.
    pub(crate) replayed: u64,
    /// Said again though they were acknowledged: logins, subscriptions, and what was not answered.
    pub(crate) repeated: u64,
    /// Kept back: halves of backends that were left, and what only another backend could understand.
    pub(crate) suppressed: u64,
    /// Not delivered before the session ended.
    pub(crate) lost: u64,
    /// Their effect cannot be known.
    pub(crate) in_doubt: u64,
}

/// Why to close a session, in a Close frame (RFC 6455, 5.5.1); what is absent has a default.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a JSON object")]
pub(crate) struct CloseRequest {
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<u16>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

impl From<Ledger> for LedgerReply {
    fn from(ledger: Ledger) -> Self {
        LedgerReply { upstream: ledger.upstream.into(), downstream: ledger.downstream.into() }
    }
}

impl From<Counts> for MessagesReply {
    fn from(counts: Counts) -> Self {
        let Counts { forwarded, acknowledged, replayed, repeated, suppressed, lost, in_doubt } = counts;
        MessagesReply { forwarded, acknowledged, replayed, repeated, suppressed, lost, in_doubt }
    }
}

/// The machine's word for where a session stands.
mod status {
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;
    use steadfast_protocol::session::Status;

    pub(super) fn serialize<S: Serializer>(status: &Status, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(status.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Status, D::Error> {
        let word = String::deserialize(deserializer)?;
        let found = Status::ALL.into_iter().find(|status| status.name() == word);
        found.ok_or_else(|| Error::custom(format_args!("unknown state {word:?} of a session")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::model::samples;

    #[test]
    fn every_state_is_written_and_read() {
        for state in Status::ALL {
            let json = serde_json::to_value(SessionReply { state, ..samples::session() }).expect("JSON");
            assert_eq!(json["state"], state.name());
            assert_eq!(serde_json::from_value::<SessionReply>(json).expect("a session").state, state);
        }
    }

    #[test]
    fn null_is_no_code_and_no_reason() {
        for json in [r#"{"code":null}"#, r#"{"reason":null}"#, r#"{"codes":1000}"#] {
            serde_json::from_str::<CloseRequest>(json).expect_err(json);
        }
        for json in ["{}", r#"{"code":4001,"reason":"bye"}"#] {
            let request: CloseRequest = serde_json::from_str(json).expect("a request");
            assert_eq!(serde_json::to_string(&request).expect("JSON"), json);
        }
    }
}
