//! One of each reply, for tests.

use steadfast_protocol::session::Status;

use super::backends::{BackendReply, NamedBy};
use super::operations::{CountsReply, OperationReply};
use super::sessions::{LedgerReply, SessionReply};
use crate::operations::{OperationCause, OperationKind, OperationState};
use crate::upstream::backend::BackendState;
use crate::upstream::health::circuit::CircuitWord;
use crate::upstream::health::tracker::HealthWord;

/// `chat/b1`, up, without sessions.
pub(crate) fn backend() -> BackendReply {
    BackendReply {
        pool: "chat".to_owned(),
        name: "b1".to_owned(),
        address: "127.0.0.1:1".to_owned(),
        origin: NamedBy::File,
        state: BackendState::Up,
        state_for_ms: 0,
        why: "new".to_owned(),
        penalised: false,
        health: HealthWord::Unproven,
        circuit: CircuitWord::Closed,
        ejected_for_ms: None,
        backup: false,
        weight: 1,
        effective_weight: 1.0,
        max_sessions: None,
        sessions: 0,
        dials: 0,
        failures: 0,
        drain: None,
    }
}

/// A session on `b1` that has sent nothing.
pub(crate) fn session() -> SessionReply {
    SessionReply {
        id: "000102030405060708090a0b0c0d0e0f".to_owned(),
        pool: "chat".to_owned(),
        route: None,
        listener: ([127, 0, 0, 1], 8080).into(),
        client: ([127, 0, 0, 1], 50000).into(),
        backend: Some("b1".to_owned()),
        placed: Some("the only one".to_owned()),
        state: Status::Relaying,
        age_ms: 0,
        failovers: 0,
        moves: 0,
        slowest_answer_ms: 0,
        buffered_bytes: 0,
        ledger: LedgerReply::default(),
    }
}

/// A drain of `chat/b1` that has just begun.
pub(crate) fn operation() -> OperationReply {
    OperationReply {
        id: "drain-3".to_owned(),
        kind: OperationKind::Drain,
        pool: "chat".to_owned(),
        backend: Some("b1".to_owned()),
        cause: OperationCause::Operator,
        why: "the API was asked for it".to_owned(),
        state: OperationState::Running,
        message: String::new(),
        started_at: "2026-11-21T12:00:00.000Z".to_owned(),
        elapsed_ms: 5,
        sessions: CountsReply::default(),
        rate: 50,
        concurrency: 10,
        errors_max: 5,
        time_limit_ms: None,
        force: false,
    }
}

/// A page of the API is compared with this by people's programs: no field may go, change its name or become another.
mod tests {
    use serde::Serialize;
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;

    /// Asserts that it is written so, and is the same when it has been read.
    #[track_caller]
    fn assert_json<T: Serialize + DeserializeOwned>(reply: &T, expected: &Value) {
        let written = serde_json::to_value(reply).expect("JSON");
        assert_eq!(written, *expected);
        let read: T = serde_json::from_value(written).expect("it is understood");
        assert_eq!(serde_json::to_value(&read).expect("JSON"), *expected);
    }

    #[test]
    fn a_backend_has_these_fields() {
        let reply = BackendReply { state: BackendState::HalfOpen, ejected_for_ms: Some(5), ..backend() };
        let expected = json!({
            "pool": "chat", "name": "b1", "address": "127.0.0.1:1", "origin": "file", "state": "half_open",
            "state_for_ms": 0, "why": "new", "penalised": false, "health": "unproven", "circuit": "closed",
            "ejected_for_ms": 5, "backup": false, "weight": 1, "effective_weight": 1.0, "max_sessions": null,
            "sessions": 0, "dials": 0, "failures": 0, "drain": null,
        });
        assert_json(&reply, &expected);
    }

    #[test]
    fn a_session_has_these_fields() {
        let mut reply = session();
        (reply.ledger.up.forwarded, reply.ledger.down.suppressed) = (7, 2);
        let up = json!({ "forwarded": 7, "acknowledged": 0, "replayed": 0, "suppressed": 0, "lost": 0, "in_doubt": 0 });
        let down = json!({ "forwarded": 0, "acknowledged": 0, "replayed": 0, "suppressed": 2, "lost": 0, "in_doubt": 0 });
        let expected = json!({
            "id": "000102030405060708090a0b0c0d0e0f", "pool": "chat", "route": null, "listener": "127.0.0.1:8080",
            "client": "127.0.0.1:50000", "backend": "b1", "placed": "the only one", "state": "relaying", "age_ms": 0,
            "failovers": 0, "moves": 0, "slowest_answer_ms": 0, "buffered_bytes": 0,
            "ledger": { "up": up, "down": down },
        });
        assert_json(&reply, &expected);
    }

    #[test]
    fn an_operation_has_these_fields() {
        let expected = json!({
            "id": "drain-3", "kind": "drain", "pool": "chat", "backend": "b1", "cause": "operator",
            "why": "the API was asked for it", "state": "running", "message": "",
            "started_at": "2026-11-21T12:00:00.000Z", "elapsed_ms": 5,
            "sessions": {
                "total": 0, "moved": 0, "forced": 0, "reconnected": 0, "failed": 0, "gone": 0, "remaining": 0,
                "moving": 0, "staying": { "busy": 0, "no_target": 0, "target_lost": 0, "pinned": 0 },
            },
            "rate": 50, "concurrency": 10, "errors_max": 5, "time_limit_ms": null, "force": false,
        });
        assert_json(&operation(), &expected);
    }
}
