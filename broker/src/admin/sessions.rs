//! What the API shows of sessions.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use steadfast_protocol::session::{Counts, Ledger};

use super::{Admin, Error};
use crate::clock;
use crate::registry::Entry;

#[derive(Serialize)]
struct SessionView {
    id: String,
    pool: String,
    route: Option<String>,
    listener: String,
    client: String,
    backend: Option<String>,
    /// Why it is there.
    placed: Option<String>,
    state: &'static str,
    age_ms: u64,
    failovers: u32,
    buffered_bytes: usize,
    ledger: LedgerView,
}

#[derive(Serialize)]
struct LedgerView {
    up: CountsView,
    down: CountsView,
}

#[derive(Serialize)]
struct CountsView {
    forwarded: u64,
    acknowledged: u64,
    replayed: u64,
    suppressed: u64,
    lost: u64,
    in_doubt: u64,
}

impl From<Ledger> for LedgerView {
    fn from(ledger: Ledger) -> Self {
        LedgerView { up: ledger.up.into(), down: ledger.down.into() }
    }
}

impl From<Counts> for CountsView {
    fn from(counts: Counts) -> Self {
        let Counts { forwarded, acknowledged, replayed, suppressed, lost, in_doubt } = counts;
        CountsView { forwarded, acknowledged, replayed, suppressed, lost, in_doubt }
    }
}

impl From<&Entry> for SessionView {
    fn from(entry: &Entry) -> Self {
        let core = entry.core();
        SessionView {
            id: entry.name(),
            pool: entry.gate.pool.name.to_string(),
            route: entry.gate.route.as_deref().map(str::to_owned),
            listener: entry.gate.address.to_string(),
            client: entry.client().to_string(),
            backend: core.seat.as_ref().map(|seat| seat.backend().name.clone()),
            placed: core.seat.as_ref().map(|seat| seat.reason.to_string()),
            state: core.machine.state().name(),
            age_ms: clock::now().since(entry.began).as_millis() as u64,
            failovers: core.machine.failovers(),
            buffered_bytes: core.machine.buffered(),
            ledger: core.machine.ledger().into(),
        }
    }
}

/// Every session, the oldest first.
pub(super) async fn all(State(admin): State<Admin>) -> Json<serde_json::Value> {
    let mut entries = admin.broker.registry.all();
    entries.sort_by_key(|entry| entry.began);
    let views: Vec<SessionView> = entries.iter().map(|entry| SessionView::from(&**entry)).collect();
    Json(serde_json::json!({ "sessions": views }))
}

/// One session.
pub(super) async fn one(State(admin): State<Admin>, Path(id): Path<String>) -> Response {
    let exact = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = u128::from_str_radix(&id, 16).ok().filter(|_| exact);
    let found = id.and_then(|id| admin.broker.registry.get(id));
    match found {
        Some(entry) => Json(SessionView::from(&*entry)).into_response(),
        None => Error::not_found("no session with this id is live").into_response(),
    }
}
