//! One line of the log for each change that was asked for, whatever came of it: who, what, and the outcome.
//! It holds neither the token nor a body.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;

use super::guard::changes;

/// The id of the operation that a change has begun or concerns. A handler puts it into its answer's
/// extensions.
#[derive(Debug, Clone)]
pub(super) struct Concerns(pub(super) String);

/// Logs what is no mere look and has reached a handler.
pub(super) async fn record(
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    if !changes(request.method()) {
        return next.run(request).await;
    }
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    let status = response.status();
    // The page is there, and takes another method: no handler has seen it.
    if status != StatusCode::METHOD_NOT_ALLOWED {
        let operation = response.extensions().get().map(|Concerns(id)| id.as_str());
        tracing::info!(target: "audit", %peer, %method, path, status = status.as_u16(), operation, "change");
    }
    response
}
