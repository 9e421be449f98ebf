//! The admin listener: health, metrics, and what the broker knows of its backends and sessions.
//! It asks and orders; what an order means is decided where the thing ordered lives.

mod audit;
mod backends;
mod connections;
mod extract;
mod guard;
mod listeners;
mod operations;
mod sessions;

use std::io;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::api::model::errors::{ErrorBody, ErrorCode, ErrorReply};
use crate::api::model::reload::ReloadReply;
use crate::broker::Broker;
use crate::reload;
use crate::telemetry::metrics::Exporter;
use crate::upstream::pool::PoolRefusal;

pub(crate) use connections::CONNECTIONS_MAX;

/// The page that says whether the process lives.
const HEALTH: &str = "/healthz";

/// The page that says whether it takes new sessions.
const READY: &str = "/readyz";

/// Bytes of a request's body. The longest that makes sense is a backend's description.
const BODY_MAX: usize = 16 * 1024;

#[derive(Clone)]
struct Admin {
    broker: Arc<Broker>,
    exporter: Exporter,
    reloads: mpsc::Sender<reload::ReloadRequest>,
    /// Who can reach it is on this machine.
    local: bool,
}

/// Serves until the task is dropped.
pub(crate) async fn serve(
    listener: std::net::TcpListener,
    broker: Arc<Broker>,
    exporter: Exporter,
    reloads: mpsc::Sender<reload::ReloadRequest>,
) {
    if let Err(error) = try_serve(listener, broker, exporter, reloads).await {
        tracing::error!(%error, "the admin listener has broken; sessions go on without it");
    }
}

async fn try_serve(
    listener: std::net::TcpListener,
    broker: Arc<Broker>,
    exporter: Exporter,
    reloads: mpsc::Sender<reload::ReloadRequest>,
) -> io::Result<()> {
    let local = listener.local_addr()?.ip().to_canonical().is_loopback();
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let admin = Admin { broker, exporter, reloads, local };
    if !local && admin.broker.snapshot().settings.admin.token.is_none() {
        tracing::warn!("nobody may use the API: admin.address is no loopback address, and there is no token");
    }
    let router = pages().merge(api()).fallback(no_such_page).method_not_allowed_fallback(wrong_method);
    let router = router
        .layer(axum::extract::DefaultBodyLimit::max(BODY_MAX))
        .layer(middleware::from_fn_with_state(admin.clone(), guard::check))
        .with_state(admin);
    connections::serve(listener, router).await;
    Ok(())
}

/// What is open to whoever can connect.
fn pages() -> Router<Admin> {
    Router::new().route(HEALTH, get(async || "ok\n")).route(READY, get(ready)).route("/metrics", get(figures))
}

/// What is guarded.
fn api() -> Router<Admin> {
    Router::new()
        .route("/api/v1/pools", get(backends::pools))
        .route("/api/v1/pools/{pool}/backends", post(backends::add))
        .route("/api/v1/pools/{pool}/backends/{name}", patch(backends::adjust).delete(backends::remove))
        .route("/api/v1/backends", get(backends::all))
        .route("/api/v1/sessions", get(sessions::all))
        .route("/api/v1/sessions/{id}", get(sessions::one))
        .route("/api/v1/sessions/{id}/abort", post(sessions::abort))
        .route("/api/v1/listeners", get(listeners::all))
        .route("/api/v1/pause", post(listeners::pause))
        .route("/api/v1/resume", post(listeners::resume))
        .route("/api/v1/reload", post(reload_now))
        .merge(operations::routes())
        .route_layer(middleware::from_fn(audit::record))
}

async fn no_such_page() -> AdminError {
    AdminError::not_found("no such page; see /healthz, /readyz, /metrics and /api/v1")
}

async fn wrong_method() -> AdminError {
    AdminError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        ErrorCode::MethodNotAllowed,
        "this page takes another method",
    )
}

async fn ready(State(admin): State<Admin>) -> (StatusCode, &'static str) {
    if !admin.broker.is_ready() {
        (StatusCode::SERVICE_UNAVAILABLE, "ending\n")
    } else if admin.broker.pauses.all() {
        (StatusCode::SERVICE_UNAVAILABLE, "paused\n")
    } else {
        (StatusCode::OK, "ready\n")
    }
}

async fn figures(State(admin): State<Admin>) -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, admin.exporter.render(&admin.broker))
}

async fn reload_now(State(admin): State<Admin>) -> Result<Json<serde_json::Value>, AdminError> {
    let (answer, done) = oneshot::channel();
    let busy =
        || AdminError::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Busy, "other reloads wait; try again");
    admin.reloads.try_send(answer).map_err(|_| busy())?;
    match done.await {
        Ok(Ok(())) => Ok(body(&ReloadReply { reloaded: true })),
        Ok(Err(problems)) => Err(AdminError::new(StatusCode::CONFLICT, ErrorCode::NotReloaded, problems)),
        Err(_) => Err(busy()),
    }
}

/// A reply as it is sent: the fields of each object are in the order of the alphabet.
fn body(reply: &impl Serialize) -> Json<serde_json::Value> {
    Json(serde_json::json!(reply))
}

/// What the API answers when it cannot do what was asked.
#[derive(Debug)]
struct AdminError {
    status: StatusCode,
    code: ErrorCode,
    message: String,
    /// The one that is in the way.
    operation: Option<String>,
}

impl AdminError {
    fn new(status: StatusCode, code: ErrorCode, message: impl Into<String>) -> AdminError {
        AdminError { status, code, message: message.into(), operation: None }
    }

    fn not_found(message: impl Into<String>) -> AdminError {
        AdminError::new(StatusCode::NOT_FOUND, ErrorCode::NotFound, message)
    }

    fn invalid(message: impl Into<String>) -> AdminError {
        AdminError::new(StatusCode::BAD_REQUEST, ErrorCode::Invalid, message)
    }
}

impl From<PoolRefusal> for AdminError {
    fn from(refused: PoolRefusal) -> AdminError {
        match refused {
            PoolRefusal::Taken(sentence) => AdminError::new(StatusCode::CONFLICT, ErrorCode::Taken, sentence),
            PoolRefusal::Plain(sentence) => AdminError::invalid(sentence),
            PoolRefusal::Unknown(sentence) => AdminError::not_found(sentence),
        }
    }
}

impl IntoResponse for AdminError {
    fn into_response(self) -> Response {
        let AdminError { status, code, message, operation } = self;
        (status, body(&ErrorReply { error: ErrorBody { code, message, operation } })).into_response()
    }
}
