//! What the API shows of pools and backends, and what it changes of them.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use steadfast_protocol::time::Time;

use super::extract::Path;
use super::{Admin, AdminError, body};
use crate::api::model::backends::{
    BackendAddition, BackendPatch, BackendReply, BackendsReply, NamedBy, OneBackend, PoolReply, PoolsReply,
    RemovedReply, WeightChange,
};
use crate::clock;
use crate::config::settings::WEIGHT_MAX;
use crate::config::{self, settings};
use crate::upstream::backend::{Adjustment, Backend, BackendOrigin};
use crate::upstream::health::agent::{PERCENT_MAX, Score};
use crate::upstream::pool::Pool;

/// A backend as it stands; `drain`: the operation that empties it.
fn reply(now: Time, backend: &Backend, drain: Option<String>) -> BackendReply {
    let view = backend.view(now);
    BackendReply {
        pool: backend.pool.to_string(),
        name: backend.name.clone(),
        address: backend.address(),
        origin: match backend.origin {
            BackendOrigin::File => NamedBy::File,
            BackendOrigin::Api => NamedBy::Api,
            BackendOrigin::Dns(_) => NamedBy::Dns,
        },
        state: view.state,
        state_for_ms: now.since(view.since).as_millis() as u64,
        why: view.why,
        penalised: view.penalised,
        health: view.health,
        circuit: view.circuit,
        ejected_for_ms: view.circuit_until.map(|until| until.since(now).as_millis() as u64),
        backup: view.share.backup,
        weight: view.share.weight,
        effective_weight: f64::from(view.weight) / 1000.0,
        max_sessions: view.max_sessions,
        sessions: backend.sessions_alone(),
        requests: backend.requests.count(),
        reserved: backend.reserved(),
        dials: backend.dials.load(Relaxed),
        failures: backend.failures.load(Relaxed),
        drain,
    }
}

/// Every pool, in the order of the configuration.
pub(super) async fn pools(State(admin): State<Admin>) -> Json<serde_json::Value> {
    let reply = |pool: Arc<Pool>| {
        let present = pool.snapshot();
        PoolReply {
            name: pool.name.to_string(),
            balance: present.settings.balance.name().to_owned(),
            backends: present.backends.len(),
            sessions: present.backends.iter().map(|backend| backend.sessions()).sum(),
            waiting: pool.queue.waiting(),
        }
    };
    body(&PoolsReply { pools: in_order(&admin).into_iter().map(reply).collect() })
}

/// Every backend, in the order of the configuration; after those of a pool the ones that were taken
/// away and still have sessions.
pub(super) async fn all(State(admin): State<Admin>) -> Json<serde_json::Value> {
    let now = clock::now();
    let mut drains = admin.broker.operations.drains();
    let mut replies = Vec::new();
    for pool in in_order(&admin) {
        let (present, removed) = (pool.snapshot(), pool.removed());
        let backends = present.backends.iter().chain(&removed);
        replies.extend(backends.map(|backend| reply(now, backend, drains.remove(&backend.id))));
    }
    body(&BackendsReply { backends: replies })
}

/// Adds a backend to a pool.
pub(super) async fn add(
    State(admin): State<Admin>,
    Path(pool): Path<String>,
    addition: Result<Json<BackendAddition>, JsonRejection>,
) -> Result<(StatusCode, Json<serde_json::Value>), AdminError> {
    let Json(addition) = addition?;
    let pool = pool_named(&admin, &pool)?;
    let backend = added(addition).map_err(AdminError::invalid)?;
    pool.add(&backend)?;
    Ok((StatusCode::CREATED, shown(&admin, &pool, &backend.name)?))
}

/// Changes a backend's weight or limit.
pub(super) async fn adjust(
    State(admin): State<Admin>,
    Path((pool, name)): Path<(String, String)>,
    patch: Result<Json<BackendPatch>, JsonRejection>,
) -> Result<Json<serde_json::Value>, AdminError> {
    let Json(patch) = patch?;
    let pool = pool_named(&admin, &pool)?;
    let backend = named(&pool, &name)?;
    backend.adjust(clock::now(), adjustment(patch).map_err(AdminError::invalid)?);
    tracing::info!(pool = &*pool.name, backend = name, "backend adjusted by the API");
    shown(&admin, &pool, &name)
}

/// Takes a backend away; its sessions move.
pub(super) async fn remove(
    State(admin): State<Admin>,
    Path((pool, name)): Path<(String, String)>,
) -> Result<Json<serde_json::Value>, AdminError> {
    pool_named(&admin, &pool)?.remove(&name)?;
    Ok(body(&RemovedReply { removed: name }))
}

/// The backend that somebody wants to add.
fn added(wanted: BackendAddition) -> Result<settings::BackendSettings, String> {
    let backend = config::backend(&wanted.url)?;
    let name = wanted.name.as_deref().map(config::name).transpose()?;
    let weight = checked_weight(wanted.weight.unwrap_or(backend.weight))?;
    checked_limit(wanted.max_sessions)?;
    let BackendAddition { backup, max_sessions, .. } = wanted;
    Ok(settings::BackendSettings {
        name: name.unwrap_or(backend.name),
        weight,
        backup,
        max_sessions,
        ..backend
    })
}

fn adjustment(patch: BackendPatch) -> Result<Adjustment, String> {
    let weight = patch.weight.map(score).transpose()?;
    checked_limit(patch.max_sessions.flatten())?;
    Ok(Adjustment { weight, max_sessions: patch.max_sessions })
}

fn score(weight: WeightChange) -> Result<Score, String> {
    match weight {
        WeightChange::Whole(weight) => checked_weight(weight).map(Score::Weight),
        WeightChange::Share(text) => {
            let percent = text.strip_suffix('%').and_then(|percent| percent.trim().parse().ok());
            let percent = percent.filter(|percent| *percent <= PERCENT_MAX);
            let wanted = || format!(r#"weight: expected 0 to {WEIGHT_MAX}, or a share such as "50%""#);
            percent.map(Score::Percent).ok_or_else(wanted)
        }
    }
}

fn checked_weight(weight: u32) -> Result<u32, String> {
    if weight <= WEIGHT_MAX { Ok(weight) } else { Err(format!("weight: {weight} is more than {WEIGHT_MAX}")) }
}

fn checked_limit(max: Option<usize>) -> Result<(), String> {
    if max == Some(0) {
        return Err(
            "max_sessions: 0 is no limit that serves anybody; use weight 0 to take a backend out".to_owned()
        );
    }
    Ok(())
}

fn in_order(admin: &Admin) -> Vec<Arc<Pool>> {
    let snapshot = admin.broker.snapshot();
    let pool = |pool: &settings::PoolSettings| snapshot.pools.get(&pool.name).cloned();
    snapshot.settings.pools.iter().filter_map(pool).collect()
}

pub(super) fn pool_named(admin: &Admin, name: &str) -> Result<Arc<Pool>, AdminError> {
    let pool = admin.broker.snapshot().pools.get(name).cloned();
    pool.ok_or_else(|| AdminError::not_found(format!("there is no pool named {name:?}")))
}

pub(super) fn named(pool: &Pool, name: &str) -> Result<Arc<Backend>, AdminError> {
    pool.named(name).ok_or_else(|| AdminError::not_found(format!("the pool has no backend named {name:?}")))
}

pub(super) fn shown(admin: &Admin, pool: &Pool, name: &str) -> Result<Json<serde_json::Value>, AdminError> {
    let backend = named(pool, name)?;
    let drain = admin.broker.operations.drains().remove(&backend.id);
    Ok(body(&OneBackend { backend: reply(clock::now(), &backend, drain) }))
}
