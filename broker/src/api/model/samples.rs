//! One of each reply, for tests.

use steadfast_protocol::session::Status;

use super::backends::{BackendReply, NamedBy, PoolReply};
use super::listeners::ListenerReply;
use super::operations::{CountsReply, OperationReply};
use super::sessions::{LedgerReply, SessionReply};
use crate::operations::{OperationCause, OperationKind, OperationState};
use crate::upstream::backend::BackendState;
use crate::upstream::health::circuit::CircuitWord;
use crate::upstream::health::tracker::HealthWord;

/// `chat`, with one backend.
pub(super) fn pool() -> PoolReply {
    PoolReply {
        name: "chat".to_owned(),
        balance: "least_sessions".to_owned(),
        backends: 1,
        sessions: 0,
        waiting: 0,
    }
}

/// A listener that is open and leads nowhere.
pub(super) fn listener() -> ListenerReply {
    ListenerReply { address: "127.0.0.1:8080".to_owned(), pool: None, paused: false, sessions: 0 }
}

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
        reserved: 0,
        dials: 0,
        requests: 0,
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
        listener: "127.0.0.1:8080".to_owned(),
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
        rate: Some(50),
        concurrency: Some(10),
        errors_max: Some(5),
        time_limit_ms: None,
        force: false,
    }
}
