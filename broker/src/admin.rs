//! The admin listener: health, metrics, and what the broker knows of its backends and sessions.

use std::io;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use steadfast_protocol::session::{Counts, Ledger};

use crate::broker::Broker;
use crate::clock;
use crate::metrics::Exporter;
use crate::registry::Entry;

#[derive(Clone)]
struct Admin {
    broker: Arc<Broker>,
    exporter: Exporter,
}

/// Serves until the task is dropped.
///
/// # Errors
/// When the listener breaks.
pub(crate) async fn serve(
    listener: std::net::TcpListener,
    broker: Arc<Broker>,
    exporter: Exporter,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let router = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(figures))
        .route("/api/v1/backends", get(backends))
        .route("/api/v1/sessions", get(sessions))
        .route("/api/v1/sessions/{id}", get(session))
        .fallback(async || Error::not_found("no such page; see /healthz, /readyz, /metrics and /api/v1"))
        .with_state(Admin { broker, exporter });
    axum::serve(listener, router).await
}

async fn ready(State(admin): State<Admin>) -> (StatusCode, &'static str) {
    if admin.broker.is_ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "ending\n")
    }
}

async fn figures(State(admin): State<Admin>) -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, admin.exporter.render(&admin.broker))
}

#[derive(Serialize)]
struct BackendView {
    pool: String,
    name: String,
    address: String,
    state: &'static str,
    sessions: usize,
    dials: u64,
    failures: u64,
}

async fn backends(State(admin): State<Admin>) -> Json<serde_json::Value> {
    use std::sync::atomic::Ordering::Relaxed;
    let now = clock::now();
    let mut views = Vec::new();
    // In the order of the configuration.
    for pool in admin.broker.settings.pools.iter().filter_map(|pool| admin.broker.pools.get(&pool.name)) {
        views.extend(pool.backends.iter().map(|backend| BackendView {
            pool: pool.name.clone(),
            name: backend.name.clone(),
            address: format!("{}:{}", backend.host, backend.port),
            state: if backend.is_penalised(now) { "penalised" } else { "up" },
            sessions: backend.sessions(),
            dials: backend.dials.load(Relaxed),
            failures: backend.failures.load(Relaxed),
        }));
    }
    Json(serde_json::json!({ "backends": views }))
}

#[derive(Serialize)]
struct SessionView {
    id: String,
    pool: String,
    listener: String,
    client: String,
    backend: Option<String>,
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
            pool: entry.gate.pool.name.clone(),
            listener: entry.gate.address.to_string(),
            client: entry.client().to_string(),
            backend: core.seat.as_ref().map(|seat| seat.backend().name.clone()),
            state: core.machine.state().name(),
            age_ms: clock::now().since(entry.began).as_millis() as u64,
            failovers: core.machine.failovers(),
            buffered_bytes: core.machine.buffered(),
            ledger: core.machine.ledger().into(),
        }
    }
}

async fn sessions(State(admin): State<Admin>) -> Json<serde_json::Value> {
    let mut entries = admin.broker.registry.all();
    entries.sort_by_key(|entry| entry.began);
    let views: Vec<SessionView> = entries.iter().map(|entry| SessionView::from(&**entry)).collect();
    Json(serde_json::json!({ "sessions": views }))
}

async fn session(State(admin): State<Admin>, Path(id): Path<String>) -> Response {
    let exact = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = u128::from_str_radix(&id, 16).ok().filter(|_| exact);
    let found = id.and_then(|id| admin.broker.registry.get(id));
    match found {
        Some(entry) => Json(SessionView::from(&*entry)).into_response(),
        None => Error::not_found("no session with this id is live").into_response(),
    }
}

/// What the API answers when it cannot do what was asked.
struct Error {
    status: StatusCode,
    code: &'static str,
    message: &'static str,
}

impl Error {
    fn not_found(message: &'static str) -> Error {
        Error { status: StatusCode::NOT_FOUND, code: "not_found", message }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let body = serde_json::json!({ "error": { "code": self.code, "message": self.message } });
        (self.status, Json(body)).into_response()
    }
}
