//! Operations over the API: what begins, changes and ends them, and what is shown of them.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde_json::Value;

use super::audit::Concerns;
use super::backends::{named, pool_named, shown};
use super::extract::{OptionalBody, Path};
use super::{Admin, AdminError, body, sessions};
use crate::api::model::errors::ErrorCode;
use crate::api::model::operations::{
    CountsReply, OneOperation, OperationOrder, OperationReply, OperationsReply, StayingReply,
};
use crate::clock;
use crate::config::settings::{DrainSettings, RebalanceSettings};
use crate::operations::{OperationCause, OperationRefusal, OperationSnapshot, OperationTerms, Subject, Wish};
use crate::upstream::backend::Backend;
use crate::upstream::pool::Pool;

/// Why it is done, when somebody asks.
const ASKED: &str = "the API was asked for it";

/// An operation, and its id for the record of changes.
type OperationAnswer = (Extension<Concerns>, Json<Value>);

/// An operation as it stands.
fn reply(view: OperationSnapshot) -> OperationReply {
    let (terms, remaining) = (view.terms, view.remaining);
    OperationReply {
        id: view.id,
        kind: view.kind,
        pool: view.pool,
        backend: view.backend,
        cause: view.cause,
        why: view.why,
        state: view.state,
        message: view.message,
        started_at: humantime::format_rfc3339_millis(view.started).to_string(),
        elapsed_ms: view.elapsed.as_millis() as u64,
        sessions: CountsReply {
            total: view.total,
            moved: view.moved,
            forced: view.forced,
            reconnected: view.reconnected,
            failed: view.failed,
            gone: view.gone,
            remaining: remaining.remaining,
            moving: remaining.moving,
            staying: StayingReply {
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
    body(&OperationsReply { operations: views.into_iter().map(reply).collect() })
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
    takes_no("tolerance", order.tolerance.is_some())?;
    let (pool, backend) = found(&admin, &pool, &name)?;
    begin(&admin, Subject::drain(&pool, &backend, OperationCause::Operator, ASKED.to_owned()), &order)
}

/// Makes a backend's sessions leave it as if it had failed.
async fn failover(
    State(admin): State<Admin>,
    Path((pool, name)): Path<(String, String)>,
    OptionalBody(order): OptionalBody<OperationOrder>,
) -> Result<Response, AdminError> {
    takes_no("force", order.force.is_some())?;
    takes_no("tolerance", order.tolerance.is_some())?;
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
    let configured = pool
        .snapshot()
        .settings
        .rebalance
        .map_or(RebalanceSettings::TOLERANCE_DEFAULT, |rules| rules.tolerance);
    let tolerance = order.tolerance.unwrap_or(configured);
    begin(&admin, Subject::rebalance(&pool, tolerance, OperationCause::Operator, ASKED.to_owned()), &order)
}

fn begin(admin: &Admin, subject: Subject, order: &OperationOrder) -> Result<Response, AdminError> {
    let terms = OperationTerms::new(&admin.broker.snapshot().settings.drain, wish(order)?);
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
    takes_no("tolerance", order.tolerance.is_some())?;
    takes_no("time_limit_ms", order.time_limit_ms.is_some())?;
    let snapshot = admin.broker.snapshot();
    let change = (wish(&order)?, &snapshot.settings.drain);
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
        return Err(AdminError::new(StatusCode::CONFLICT, ErrorCode::Conflict, message));
    }
    Ok(sessions::shown(&entry))
}

// ---- parts ----

/// The request has no use for this.
fn takes_no(key: &str, given: bool) -> Result<(), AdminError> {
    if given { Err(AdminError::invalid(format!("{key}: this request does not take it"))) } else { Ok(()) }
}

/// What somebody orders, within its bounds.
fn wish(order: &OperationOrder) -> Result<Wish, AdminError> {
    let OperationOrder { rate, concurrency, errors_max, time_limit_ms, force, tolerance } = *order;
    check("rate", rate, DrainSettings::RATE)?;
    check("concurrency", concurrency, DrainSettings::CONCURRENCY)?;
    check("errors_max", errors_max, DrainSettings::ERRORS)?;
    check("tolerance", tolerance, RebalanceSettings::TOLERANCE)?;
    let (shortest, longest) = DrainSettings::TIME_LIMIT.into_inner();
    check("time_limit_ms", time_limit_ms, shortest.as_millis() as u64..=longest.as_millis() as u64)?;
    let time_limit = time_limit_ms.map(Duration::from_millis);
    Ok(Wish { rate, concurrency, errors_max, time_limit, force })
}

/// What is given must lie within its bounds.
fn check<T: PartialOrd + Display>(
    key: &str,
    given: Option<T>,
    bounds: RangeInclusive<T>,
) -> Result<(), AdminError> {
    if given.is_none_or(|given| bounds.contains(&given)) {
        return Ok(());
    }
    let (least, most) = (bounds.start(), bounds.end());
    Err(AdminError::invalid(format!("{key}: expected {least} to {most}")))
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
    body(&OneOperation { operation: reply(view) })
}

impl From<OperationRefusal> for AdminError {
    fn from(refused: OperationRefusal) -> AdminError {
        match refused {
            OperationRefusal::Conflict { operation, message } => AdminError {
                operation: Some(operation),
                ..AdminError::new(StatusCode::CONFLICT, ErrorCode::Conflict, message)
            },
            OperationRefusal::Unknown(message) => AdminError::not_found(message),
        }
    }
}
