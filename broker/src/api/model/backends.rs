//! Pools and their backends.

use serde::{Deserialize, Serialize};

use super::present;
use crate::upstream::backend::BackendState;
use crate::upstream::health::circuit::CircuitWord;
use crate::upstream::health::tracker::HealthWord;
use crate::words::words;

/// Answers `GET /api/v1/pools`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PoolsReply {
    pub(crate) pools: Vec<PoolReply>,
}

/// A pool.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PoolReply {
    pub(crate) name: String,
    pub(crate) balance: String,
    pub(crate) backends: usize,
    pub(crate) sessions: usize,
    /// Sessions that wait for a place.
    pub(crate) waiting: usize,
}

/// Answers `GET /api/v1/backends`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BackendsReply {
    pub(crate) backends: Vec<BackendReply>,
}

/// Answers what adds or changes a backend.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OneBackend {
    pub(crate) backend: BackendReply,
}

/// Answers what takes a backend away: its name.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RemovedReply {
    pub(crate) removed: String,
}

/// A backend.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BackendReply {
    pub(crate) pool: String,
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) origin: NamedBy,
    pub(crate) state: BackendState,
    /// How long it has been in this state, and what has brought it there.
    pub(crate) state_for_ms: u64,
    pub(crate) why: String,
    /// It failed lately, and is tried last.
    pub(crate) penalised: bool,
    pub(crate) health: HealthWord,
    pub(crate) circuit: CircuitWord,
    /// When its ejection ends, if it is ejected.
    pub(crate) ejected_for_ms: Option<u64>,
    pub(crate) backup: bool,
    /// As configured.
    pub(crate) weight: u32,
    /// What it has at present, with everything that changes it.
    pub(crate) effective_weight: f64,
    pub(crate) max_sessions: Option<usize>,
    pub(crate) sessions: usize,
    /// Requests other than upgrades that it is answering.
    #[serde(default)]
    pub(crate) requests: usize,
    /// Clients that were sent to it, and count as sessions for a while.
    #[serde(default)]
    pub(crate) reserved: usize,
    pub(crate) dials: u64,
    pub(crate) failures: u64,
    /// The operation that empties it.
    pub(crate) drain: Option<String>,
}

words! {
    /// Who has named a backend.
    pub(crate) enum NamedBy {
        /// The file, or a flag.
        File = "file",
        Api = "api",
        Dns = "dns",
    }
}

/// A backend to add.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a JSON object")]
pub(crate) struct BackendAddition {
    pub(crate) url: String,
    pub(crate) name: Option<String>,
    pub(crate) weight: Option<u32>,
    #[serde(default)]
    pub(crate) backup: bool,
    pub(crate) max_sessions: Option<usize>,
}

/// What to change of a backend; what is absent stays.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a JSON object")]
pub(crate) struct BackendPatch {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) weight: Option<WeightChange>,
    /// `null` lifts the limit.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(crate) max_sessions: Option<Option<usize>>,
}

/// `50`, or `"50%"` of what is configured.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected 0 to 256, or a share such as \"50%\"")]
pub(crate) enum WeightChange {
    Whole(u32),
    Share(String),
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
    use crate::config::settings::WEIGHT_MAX;

    fn patch(json: &str) -> Result<BackendPatch, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn no_limit_is_told_from_no_change() {
        for json in
            ["{}", r#"{"max_sessions":null}"#, r#"{"weight":5,"max_sessions":7}"#, r#"{"weight":"50%"}"#]
        {
            let patch = patch(json).expect("a patch");
            assert_eq!(serde_json::to_string(&patch).expect("JSON"), json);
        }
        assert_eq!(patch("{}").expect("a patch").max_sessions, None);
        assert_eq!(patch(r#"{"max_sessions":null}"#).expect("a patch").max_sessions, Some(None));
    }

    #[test]
    fn a_weight_that_is_none_is_told_the_bounds() {
        let said = patch(r#"{"weight":true}"#).expect_err("no weight");
        assert!(said.contains(&format!("expected 0 to {WEIGHT_MAX}, or a share")), "{said}");
    }
}
