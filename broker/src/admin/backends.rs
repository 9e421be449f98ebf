//! What the API shows of pools and backends, and what it changes of them.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize};
use steadfast_protocol::time::Time;

use super::extract::Path;
use super::{Admin, AdminError};
use crate::clock;
use crate::config::settings::WEIGHT_MAX;
use crate::config::{self, settings};
use crate::upstream::backend::{Adjustment, Backend, BackendOrigin};
use crate::upstream::health::agent::{PERCENT_MAX, Score};
use crate::upstream::pool::Pool;

#[derive(Serialize)]
struct PoolView {
    name: String,
    balance: &'static str,
    backends: usize,
    sessions: usize,
    waiting: usize,
}

#[derive(Serialize)]
struct BackendView {
    pool: String,
    name: String,
    address: String,
    /// Who has named it: the file, the API or DNS.
    origin: &'static str,
    state: &'static str,
    /// How long it has been in this state, and what has brought it there.
    state_for_ms: u64,
    why: String,
    /// It failed lately, and is tried last.
    penalised: bool,
    health: &'static str,
    circuit: &'static str,
    /// When its ejection ends, if it is ejected.
    ejected_for_ms: Option<u64>,
    backup: bool,
    /// As configured.
    weight: u32,
    /// What it has at present, with everything that changes it.
    effective_weight: f64,
    max_sessions: Option<usize>,
    sessions: usize,
    dials: u64,
    failures: u64,
    /// The operation that empties it.
    drain: Option<String>,
}

impl BackendView {
    fn new(now: Time, backend: &Backend, drain: Option<String>) -> BackendView {
        let view = backend.view(now);
        BackendView {
            pool: backend.pool.to_string(),
            name: backend.name.clone(),
            address: backend.address(),
            origin: match backend.origin {
                BackendOrigin::File => "file",
                BackendOrigin::Api => "api",
                BackendOrigin::Dns(_) => "dns",
            },
            state: view.state.name(),
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
            sessions: backend.sessions(),
            dials: backend.dials.load(Relaxed),
            failures: backend.failures.load(Relaxed),
            drain,
        }
    }
}

/// A backend to add.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a JSON object")]
pub(super) struct Addition {
    url: String,
    name: Option<String>,
    weight: Option<u32>,
    #[serde(default)]
    backup: bool,
    max_sessions: Option<usize>,
}

/// What to change of a backend.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a JSON object")]
pub(super) struct Patch {
    weight: Option<Weight>,
    /// `null` lifts the limit, so it is told from absence.
    #[serde(default, deserialize_with = "present")]
    max_sessions: Option<Option<usize>>,
}

/// `50`, or `"50%"` of what is configured.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected 0 to 256, or a share such as \"50%\"")]
enum Weight {
    Whole(u32),
    Share(String),
}

fn present<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Option<usize>>, D::Error> {
    Option::deserialize(value).map(Some)
}

/// Every pool, in the order of the configuration.
pub(super) async fn pools(State(admin): State<Admin>) -> Json<serde_json::Value> {
    let view = |pool: Arc<Pool>| {
        let present = pool.snapshot();
        PoolView {
            name: pool.name.to_string(),
            balance: present.settings.balance.name(),
            backends: present.backends.len(),
            sessions: present.backends.iter().map(|backend| backend.sessions()).sum(),
            waiting: pool.queue.waiting(),
        }
    };
    let views: Vec<_> = in_order(&admin).into_iter().map(view).collect();
    Json(serde_json::json!({ "pools": views }))
}

/// Every backend, in the order of the configuration; after those of a pool the ones that were taken
/// away and still have sessions.
pub(super) async fn all(State(admin): State<Admin>) -> Json<serde_json::Value> {
    let now = clock::now();
    let mut drains = admin.broker.operations.drains();
    let mut views = Vec::new();
    for pool in in_order(&admin) {
        let (present, removed) = (pool.snapshot(), pool.removed());
        let backends = present.backends.iter().chain(&removed);
        views.extend(backends.map(|backend| BackendView::new(now, backend, drains.remove(&backend.id))));
    }
    Json(serde_json::json!({ "backends": views }))
}

/// Adds a backend to a pool.
pub(super) async fn add(
    State(admin): State<Admin>,
    Path(pool): Path<String>,
    addition: Result<Json<Addition>, JsonRejection>,
) -> Result<(StatusCode, Json<serde_json::Value>), AdminError> {
    let Json(addition) = addition?;
    let pool = pool_named(&admin, &pool)?;
    let backend = addition.backend().map_err(AdminError::invalid)?;
    pool.add(&backend)?;
    Ok((StatusCode::CREATED, shown(&admin, &pool, &backend.name)?))
}

/// Changes a backend's weight or limit.
pub(super) async fn adjust(
    State(admin): State<Admin>,
    Path((pool, name)): Path<(String, String)>,
    patch: Result<Json<Patch>, JsonRejection>,
) -> Result<Json<serde_json::Value>, AdminError> {
    let Json(patch) = patch?;
    let pool = pool_named(&admin, &pool)?;
    let backend = named(&pool, &name)?;
    backend.adjust(clock::now(), patch.adjustment().map_err(AdminError::invalid)?);
    tracing::info!(pool = &*pool.name, backend = name, "backend adjusted by the API");
    shown(&admin, &pool, &name)
}

/// Takes a backend away; its sessions move.
pub(super) async fn remove(
    State(admin): State<Admin>,
    Path((pool, name)): Path<(String, String)>,
) -> Result<Json<serde_json::Value>, AdminError> {
    pool_named(&admin, &pool)?.remove(&name)?;
    Ok(Json(serde_json::json!({ "removed": name })))
}

impl Addition {
    fn backend(self) -> Result<settings::BackendSettings, String> {
        let backend = config::backend(&self.url)?;
        let name = self.name.as_deref().map(config::name).transpose()?;
        let weight = checked_weight(self.weight.unwrap_or(backend.weight))?;
        checked_limit(self.max_sessions)?;
        let Addition { backup, max_sessions, .. } = self;
        Ok(settings::BackendSettings {
            name: name.unwrap_or(backend.name),
            weight,
            backup,
            max_sessions,
            ..backend
        })
    }
}

impl Patch {
    fn adjustment(self) -> Result<Adjustment, String> {
        let weight = self.weight.map(Weight::score).transpose()?;
        checked_limit(self.max_sessions.flatten())?;
        Ok(Adjustment { weight, max_sessions: self.max_sessions })
    }
}

impl Weight {
    fn score(self) -> Result<Score, String> {
        match self {
            Weight::Whole(weight) => checked_weight(weight).map(Score::Weight),
            Weight::Share(text) => {
                let percent = text.strip_suffix('%').and_then(|percent| percent.trim().parse().ok());
                let percent = percent.filter(|percent| *percent <= PERCENT_MAX);
                let wanted = || r#"weight: expected 0 to 256, or a share such as "50%""#.to_owned();
                percent.map(Score::Percent).ok_or_else(wanted)
            }
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
    Ok(Json(serde_json::json!({ "backend": BackendView::new(clock::now(), &backend, drain) })))
}
