//! Operations over the API: what begins, changes and ends them, and what is shown of them.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::audit::Concerns;
use super::backends::{named, pool_named, shown};
use super::extract::{OptionalBody, Path};
use super::{Admin, AdminError, sessions};
use crate::clock;
use crate::operations::{OperationCause, OperationRefusal, OperationSnapshot, OperationTerms, Subject, Wish};
use crate::upstream::backend::Backend;
use crate::upstream::pool::Pool;

/// Sessions per second, and counts: as for the keys of `[drain]`.
const COUNT_MAX: u32 = 1_000_000;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// As for the keys of `[pool.rebalance]`.
const PERCENT_MAX: u32 = 10_000;
const TOLERANCE: u32 = 10;

/// Why it is done, when somebody asks.
const ASKED: &str = "the API was asked for it";

/// An operation, and its id for the record of changes.
type OperationAnswer = (Extension<Concerns>, Json<Value>);

/// How an operation is to go about it. Each kind of request takes some of these.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a JSON object")]
pub(super) struct OperationOrder {
    rate: Option<u32>,
    concurrency: Option<usize>,
    errors_max: Option<usize>,
    time_limit_ms: Option<u64>,
    force: Option<bool>,
    tolerance: Option<u32>,
}

#[derive(Serialize)]
struct OperationView {
    id: String,
    kind: &'static str,
    pool: String,
    backend: Option<String>,
    cause: &'static str,
    why: String,
    state: &'static str,
    message: String,
    started_at: String,
    elapsed_ms: u64,
    sessions: SessionsView,
    /// None, as of the next three: it has no such limit.
    rate: Option<u32>,
    concurrency: Option<usize>,
    errors_max: Option<usize>,
    time_limit_ms: Option<u64>,
    force: bool,
}

#[derive(Serialize)]
struct SessionsView {
    total: usize,
    moved: usize,
    forced: usize,
    reconnected: usize,
    failed: usize,
    gone: usize,
    remaining: usize,
    moving: usize,
    staying: StayingView,
}

#[derive(Serialize)]
struct StayingView {
    busy: usize,
    no_target: usize,
    target_lost: usize,
    pinned: usize,
}

impl From<OperationSnapshot> for OperationView {
    fn from(view: OperationSnapshot) -> Self {
        let (terms, remaining) = (view.terms, view.remaining);
        OperationView {
            id: view.id,
            kind: view.kind,
            pool: view.pool,
            backend: view.backend,
            cause: view.cause,
            why: view.why,
            state: view.state.name(),
            message: view.message,
            started_at: humantime::format_rfc3339_millis(view.started).to_string(),
            elapsed_ms: view.elapsed.as_millis() as u64,
            sessions: SessionsView {
                total: view.total,
                moved: view.moved,
                forced: view.forced,
                reconnected: view.reconnected,
                failed: view.failed,
                gone: view.gone,
                remaining: remaining.remaining,
                moving: remaining.moving,
                staying: StayingView {
                    busy: remaining.busy,
                    no_target: remaining.no_target,
                    target_lost: remaining.target_lost,
                    pinned: remaining.pinned,
                },
            },
            rate: terms.rate,
            concurrency: terms.concurrency,
            errors_max: terms.errors_max,
            time_limit_ms: terms.time_limit.map(|limit| limit.as_millis() as u64),
            force: terms.force,
        }
    }
}

/// The pages of operations, and of what changes a backend for operators.
pub(super) fn routes() -> Router<Admin> {
    let backend = |what: &str| format!("/api/v1/pools/{{pool}}/backends/{{name}}/{what}");
    Router::new()
        .route(&backend("drain"), post(drain))
        .route(&backend("undrain"), post(undrain))
        .route(&backend("disable"), post(disable))
        .route(&backend("enable"), post(enable))
        .route(&backend("failover"), post(failover))
        .route("/api/v1/pools/{pool}/rebalance", post(rebalance))
        .route("/api/v1/sessions/{id}/failover", post(session_failover))
        .route("/api/v1/operations", get(all))
        .route("/api/v1/operations/{id}", get(one).patch(change))
        .route("/api/v1/operations/{id}/cancel", post(cancel))
        .route("/api/v1/operations/{id}/resume", post(resume))
}

// ---- what is shown ----

/// Every operation that is remembered, the newest first.
async fn all(State(admin): State<Admin>) -> Json<Value> {
    let views = admin.broker.operations.views(clock::now());
    let views: Vec<OperationView> = views.into_iter().map(OperationView::from).collect();
    Json(serde_json::json!({ "operations": views }))
}

/// One operation.
async fn one(State(admin): State<Admin>, Path(id): Path<String>) -> Result<Json<Value>, AdminError> {
    Ok(json_of(admin.broker.operations.view(clock::now(), &id)?))
}

// ---- what begins an operation ----

/// Empties a backend.
async fn drain(
    State(admin): State<Admin>,
    Path((pool, name)): Path<(String, String)>,
    OptionalBody(order): OptionalBody<OperationOrder>,
) -> Result<Response, AdminError> {
    order.takes_no("tolerance", order.tolerance.is_some())?;
    let (pool, backend) = found(&admin, &pool, &name)?;
    begin(&admin, Subject::drain(&pool, &backend, OperationCause::Operator, ASKED.to_owned()), &order)
}

/// Makes a backend's sessions leave it as if it had failed.
async fn failover(
    State(admin): State<Admin>,
    Path((pool, name)): Path<(String, String)>,
    OptionalBody(order): OptionalBody<OperationOrder>,
) -> Result<Response, AdminError> {
    order.takes_no("force", order.force.is_some())?;
    order.takes_no("tolerance", order.tolerance.is_some())?;
    let (pool, backend) = found(&admin, &pool, &name)?;
    begin(&admin, Subject::failover(&pool, &backend, OperationCause::Operator, ASKED.to_owned()), &order)
}

/// Spreads a pool's sessions anew.
async fn rebalance(
    State(admin): State<Admin>,
    Path(pool): Path<String>,
    OptionalBody(order): OptionalBody<OperationOrder>,
) -> Result<Response, AdminError> {
    let pool = pool_named(&admin, &pool)?;
    let configured = pool.snapshot().settings.rebalance.map_or(TOLERANCE, |rules| rules.tolerance);
    let tolerance = order.tolerance.unwrap_or(configured);
    begin(&admin, Subject::rebalance(&pool, tolerance, OperationCause::Operator, ASKED.to_owned()), &order)
}

fn begin(admin: &Admin, subject: Subject, order: &OperationOrder) -> Result<Response, AdminError> {
    let terms = OperationTerms::new(&admin.broker.snapshot().settings.drain, order.wish()?);
    let view = admin.broker.operations.begin(clock::now(), subject, terms)?;
    Ok((StatusCode::ACCEPTED, answer(view)).into_response())
}

// ---- what changes one ----

/// Changes its rate, its limits, or whether it forces.
async fn change(
    State(admin): State<Admin>,
    Path(id): Path<String>,
    OptionalBody(order): OptionalBody<OperationOrder>,
) -> Result<OperationAnswer, AdminError> {
    order.takes_no("tolerance", order.tolerance.is_some())?;
    order.takes_no("time_limit_ms", order.time_limit_ms.is_some())?;
    let snapshot = admin.broker.snapshot();
    let change = (order.wish()?, &snapshot.settings.drain);
    Ok(answer(admin.broker.operations.patch(clock::now(), &id, change)?))
}

/// Ends it.
async fn cancel(State(admin): State<Admin>, Path(id): Path<String>) -> Result<OperationAnswer, AdminError> {
    Ok(answer(admin.broker.operations.cancel(clock::now(), &id)?))
}

/// Makes one that has ended before its work was done go on.
async fn resume(State(admin): State<Admin>, Path(id): Path<String>) -> Result<OperationAnswer, AdminError> {
    Ok(answer(admin.broker.operations.resume(clock::now(), &id)?))
}

// ---- what changes a backend, or one session ----

/// Ends a drain; the backend gets sessions again.
async fn undrain(
    State(admin): State<Admin>,
    Path((pool, name)): Path<(String, String)>,
) -> Result<Json<Value>, AdminError> {
    let (pool, backend) = found(&admin, &pool, &name)?;
    admin.broker.operations.undrain(clock::now(), &backend, ASKED);
    shown(&admin, &pool, &name)
}

/// It gets no new sessions and keeps those that it has.
async fn disable(
    State(admin): State<Admin>,
    Path((pool, name)): Path<(String, String)>,
) -> Result<Json<Value>, AdminError> {
    let (pool, backend) = found(&admin, &pool, &name)?;
    admin.broker.operations.set_enabled(clock::now(), &backend, false)?;
    shown(&admin, &pool, &name)
}

/// Ends that.
async fn enable(
    State(admin): State<Admin>,
    Path((pool, name)): Path<(String, String)>,
) -> Result<Json<Value>, AdminError> {
    let (pool, backend) = found(&admin, &pool, &name)?;
    admin.broker.operations.set_enabled(clock::now(), &backend, true)?;
    shown(&admin, &pool, &name)
}

/// Makes one session leave its backend as if that had failed.
async fn session_failover(
    State(admin): State<Admin>,
    Path(id): Path<String>,
) -> Result<Json<Value>, AdminError> {
    let entry = sessions::named(&admin, &id)?;
    let left = {
        let mut core = entry.core();
        let left = core.machine.fail_over(clock::now());
        if left {
            core.waker.wake_by_ref();
        }
        left
    };
    if !left {
        let message = "the session has no backend to leave at present, or ends with it; see its state";
        return Err(AdminError::new(StatusCode::CONFLICT, "conflict", message));
    }
    Ok(sessions::shown(&entry))
}

// ---- parts ----

impl OperationOrder {
    /// The request has no use for this.
    fn takes_no(&self, key: &str, given: bool) -> Result<(), AdminError> {
        if given { Err(AdminError::invalid(format!("{key}: this request does not take it"))) } else { Ok(()) }
    }

    fn wish(&self) -> Result<Wish, AdminError> {
        let max = COUNT_MAX as usize;
        check("rate", self.rate.is_none_or(|rate| (1..=COUNT_MAX).contains(&rate)), "1 to 1000000")?;
        check("concurrency", self.concurrency.is_none_or(|n| (1..=max).contains(&n)), "1 to 1000000")?;
        check("errors_max", self.errors_max.is_none_or(|n| n <= max), "0 to 1000000")?;
        check("tolerance", self.tolerance.is_none_or(|percent| percent <= PERCENT_MAX), "0 to 10000")?;
        let time_limit = self.time_limit_ms.map(Duration::from_millis);
        let in_bounds = time_limit.is_none_or(|limit| !limit.is_zero() && limit <= DAY);
        check("time_limit_ms", in_bounds, "1 to 86400000")?;
        let OperationOrder { rate, concurrency, errors_max, force, .. } = *self;
        Ok(Wish { rate, concurrency, errors_max, time_limit, force })
    }
}

fn check(key: &str, in_bounds: bool, bounds: &str) -> Result<(), AdminError> {
    if in_bounds { Ok(()) } else { Err(AdminError::invalid(format!("{key}: expected {bounds}"))) }
}

fn found(admin: &Admin, pool: &str, name: &str) -> Result<(Arc<Pool>, Arc<Backend>), AdminError> {
    let pool = pool_named(admin, pool)?;
    let backend = named(&pool, name)?;
    Ok((pool, backend))
}

fn answer(view: OperationSnapshot) -> OperationAnswer {
    (Extension(Concerns(view.id.clone())), json_of(view))
}

fn json_of(view: OperationSnapshot) -> Json<Value> {
    Json(serde_json::json!({ "operation": OperationView::from(view) }))
}

impl From<OperationRefusal> for AdminError {
    fn from(refused: OperationRefusal) -> AdminError {
        match refused {
            OperationRefusal::Conflict { operation, message } => AdminError {
                operation: Some(operation),
                ..AdminError::new(StatusCode::CONFLICT, "conflict", message)
            },
            OperationRefusal::Unknown(message) => AdminError::not_found(message),
        }
    }
}
