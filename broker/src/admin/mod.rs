//! The admin listener: health, metrics, and what the broker knows of its backends and sessions.

mod backends;
mod sessions;

use std::io;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use tokio::sync::{mpsc, oneshot};

use crate::broker::Broker;
use crate::metrics::Exporter;
use crate::pool::Refused;
use crate::reload;

/// Bytes of a request's body. The longest that makes sense is a backend's description.
const BODY_MAX: usize = 16 * 1024;

#[derive(Clone)]
struct Admin {
    broker: Arc<Broker>,
    exporter: Exporter,
    reloads: mpsc::Sender<reload::Request>,
    /// Who can reach it is on this machine.
    local: bool,
}

/// Serves until the task is dropped.
pub(crate) async fn serve(
    listener: std::net::TcpListener,
    broker: Arc<Broker>,
    exporter: Exporter,
    reloads: mpsc::Sender<reload::Request>,
) {
    if let Err(error) = try_serve(listener, broker, exporter, reloads).await {
        tracing::error!(%error, "the admin listener has broken; sessions go on without it");
    }
}

async fn try_serve(
    listener: std::net::TcpListener,
    broker: Arc<Broker>,
    exporter: Exporter,
    reloads: mpsc::Sender<reload::Request>,
) -> io::Result<()> {
    let local = listener.local_addr()?.ip().is_loopback();
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let admin = Admin { broker, exporter, reloads, local };
    let changes = Router::new()
        .route("/api/v1/pools/{pool}/backends", post(backends::add))
        .route("/api/v1/pools/{pool}/backends/{name}", patch(backends::adjust).delete(backends::remove))
        .route("/api/v1/reload", post(reload_now))
        .route_layer(middleware::from_fn_with_state(admin.clone(), only_local));
    let router = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(figures))
        .route("/api/v1/pools", get(backends::pools))
        .route("/api/v1/backends", get(backends::all))
        .route("/api/v1/sessions", get(sessions::all))
        .route("/api/v1/sessions/{id}", get(sessions::one))
        .merge(changes)
        .fallback(async || Error::not_found("no such page; see /healthz, /readyz, /metrics and /api/v1"))
        .method_not_allowed_fallback(async || {
            Error::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this page takes another method")
        })
        .layer(axum::extract::DefaultBodyLimit::max(BODY_MAX))
        .with_state(admin);
    axum::serve(listener, router).await
}

/// There are no tokens, so who changes something must be on this machine, and no page that a browser
/// on it shows: browsers name a page's origin with each of its requests that is no GET (RFC 6454, 7).
async fn only_local(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    if request.headers().contains_key(header::ORIGIN) {
        let sentence = "web pages may not change anything; send the request without an Origin header";
        return Error::new(StatusCode::FORBIDDEN, "from_a_page", sentence).into_response();
    }
    if admin.local {
        return next.run(request).await;
    }
    let sentence =
        "changes are accepted only when admin.address is a loopback address, such as 127.0.0.1:9000";
    Error::new(StatusCode::FORBIDDEN, "not_local", sentence).into_response()
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

async fn reload_now(State(admin): State<Admin>) -> Result<Json<serde_json::Value>, Error> {
    let (answer, done) = oneshot::channel();
    let busy = || Error::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "other reloads wait; try again");
    admin.reloads.try_send(answer).map_err(|_| busy())?;
    match done.await {
        Ok(Ok(())) => Ok(Json(serde_json::json!({ "reloaded": true }))),
        Ok(Err(problems)) => Err(Error::new(StatusCode::CONFLICT, "not_reloaded", problems)),
        Err(_) => Err(busy()),
    }
}

/// What the API answers when it cannot do what was asked.
#[derive(Debug)]
struct Error {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Error {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Error {
        Error { status, code, message: message.into() }
    }

    fn not_found(message: impl Into<String>) -> Error {
        Error::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    fn invalid(message: impl Into<String>) -> Error {
        Error::new(StatusCode::BAD_REQUEST, "invalid", message)
    }
}

impl From<JsonRejection> for Error {
    fn from(rejection: JsonRejection) -> Error {
        let status = match rejection {
            // As every other value that is not allowed.
            JsonRejection::JsonDataError(_) => StatusCode::BAD_REQUEST,
            _ => rejection.status(),
        };
        Error::new(status, "invalid", rejection.body_text())
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Error {
        match refused {
            Refused::Taken(sentence) => Error::new(StatusCode::CONFLICT, "taken", sentence),
            Refused::Unknown(sentence) => Error::not_found(sentence),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let body = serde_json::json!({ "error": { "code": self.code, "message": self.message } });
        (self.status, Json(body)).into_response()
    }
}
