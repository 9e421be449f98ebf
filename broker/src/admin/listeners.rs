//! What the API shows of listeners, and pausing them.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;

use super::extract::OptionalBody;
use super::{Admin, AdminError, body};
use crate::api::model::listeners::{ListenerChoice, ListenerReply, ListenersReply};
use crate::net::listener::ListenAddress;

/// Every listener, in the order of the configuration.
pub(super) async fn all(State(admin): State<Admin>) -> Json<serde_json::Value> {
    shown(&admin)
}

/// Has listeners take no new sessions; those that are there go on.
pub(super) async fn pause(
    State(admin): State<Admin>,
    OptionalBody(choice): OptionalBody<ListenerChoice>,
) -> Result<Json<serde_json::Value>, AdminError> {
    set(&admin, choice, true)
}

/// Has listeners take sessions again.
pub(super) async fn resume(
    State(admin): State<Admin>,
    OptionalBody(choice): OptionalBody<ListenerChoice>,
) -> Result<Json<serde_json::Value>, AdminError> {
    set(&admin, choice, false)
}

fn set(admin: &Admin, choice: ListenerChoice, paused: bool) -> Result<Json<serde_json::Value>, AdminError> {
    let chosen = match choice.listener {
        Some(text) => vec![numbered(admin, &text)?],
        None => admin.broker.listeners().map(|listener| listener.number).collect(),
    };
    for listener in admin.broker.listeners().filter(|listener| chosen.contains(&listener.number)) {
        if admin.broker.pauses.set(listener.number, paused) {
            let what = if paused { "listener paused" } else { "listener resumed" };
            tracing::info!(listener = %listener.address, "{what}");
        }
    }
    Ok(shown(admin))
}

/// The number of the listener with this address.
fn numbered(admin: &Admin, text: &str) -> Result<usize, AdminError> {
    let wanted: ListenAddress =
        text.parse().map_err(|why| AdminError::invalid(format!("listener: {why}")))?;
    let found = admin.broker.listeners().find(|listener| listener.address == wanted);
    found.map(|listener| listener.number).ok_or_else(|| {
        let all: Vec<_> = admin.broker.listeners().map(|listener| listener.address.to_string()).collect();
        AdminError::not_found(format!("no listener has the address {wanted}; they have {}", all.join(", ")))
    })
}

fn shown(admin: &Admin) -> Json<serde_json::Value> {
    let mut sessions: HashMap<ListenAddress, usize> = HashMap::new();
    for entry in admin.broker.sessions.registry.all() {
        *sessions.entry(entry.binding.address.clone()).or_default() += 1;
    }
    let snapshot = admin.broker.snapshot();
    let pool = |number: usize| snapshot.settings.listeners.get(number)?.pool.clone();
    let reply = |listener: crate::routing::listener::ListenerId| ListenerReply {
        pool: pool(listener.number),
        paused: admin.broker.pauses.is_paused(listener.number),
        sessions: sessions.get(&listener.address).copied().unwrap_or_default(),
        address: listener.address.to_string(),
    };
    body(&ListenersReply { listeners: admin.broker.listeners().map(reply).collect() })
}
