//! What the API shows of sessions. They are looked at while they run, so that each figure is of its own moment.

mod search;

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use steadfast_protocol::websocket::close_code::CloseCode;

use super::extract::{OptionalBody, Path};
use super::{Admin, AdminError, body};
use crate::api::model::sessions::{CloseRequest, OneSession, SessionReply, SessionsReply};
use crate::clock;
use crate::session::registry::Entry;
use search::{After, PagePosition, SessionSearch};

/// Bytes of a Close's reason: a control frame's, without the code (RFC 6455, 5.5).
const REASON_MAX: usize = 123;

/// Said in the Close of a session that an operator ends without a word.
const ABORTED: (CloseCode, &str) = (CloseCode::POLICY_VIOLATION, "the session was ended by an operator");

/// A session as it stands.
fn reply(entry: &Entry) -> SessionReply {
    let core = entry.core();
    SessionReply {
        id: entry.name(),
        pool: entry.binding.pool.name.to_string(),
        route: entry.binding.route.as_deref().map(str::to_owned),
        listener: entry.binding.address.to_string(),
        client: entry.client(),
        backend: core.lease.as_ref().map(|lease| lease.backend().name.clone()),
        placed: core.lease.as_ref().map(|lease| lease.reason.to_string()),
        state: core.machine.status(),
        age_ms: clock::now().since(entry.began).as_millis() as u64,
        failovers: core.machine.failovers(),
        moves: core.machine.moves(),
        slowest_answer_ms: core.machine.slowest_answer().as_millis() as u64,
        buffered_bytes: core.machine.buffered(),
        ledger: core.machine.ledger().into(),
    }
}

/// The sessions that a query asks for, the oldest first, a page at a time.
pub(super) async fn all(
    State(admin): State<Admin>,
    RawQuery(query): RawQuery,
) -> Result<Json<serde_json::Value>, AdminError> {
    let SessionSearch { filter, limit, after } =
        SessionSearch::parse(query.as_deref().unwrap_or_default()).map_err(AdminError::invalid)?;
    let after = after.map(|after| place(&admin, after)).transpose()?;
    let mut found = admin.broker.sessions.registry.all();
    found.retain(|entry| filter.matches(entry));
    let total = found.len();
    found.retain(|entry| after.is_none_or(|after| PagePosition::of(entry) > after));
    found.sort_unstable_by_key(|entry| PagePosition::of(entry));
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|entry| PagePosition::of(entry).written());
    Ok(body(&SessionsReply { sessions: found.iter().map(|entry| reply(entry)).collect(), total, next }))
}

/// One session.
pub(super) async fn one(
    State(admin): State<Admin>,
    Path(id): Path<String>,
) -> Result<Json<SessionReply>, AdminError> {
    Ok(Json(reply(&*named(&admin, &id)?)))
}

/// Closes a session, toward both sides.
pub(super) async fn abort(
    State(admin): State<Admin>,
    Path(id): Path<String>,
    OptionalBody(CloseRequest { code, reason }): OptionalBody<CloseRequest>,
) -> Result<Json<serde_json::Value>, AdminError> {
    let (code, reason) = (code.unwrap_or(ABORTED.0.0), reason.as_deref().unwrap_or(ABORTED.1));
    check_close(code, reason).map_err(AdminError::invalid)?;
    let entry = named(&admin, &id)?;
    let mut core = entry.core();
    let begun = core.machine.abort(clock::now(), CloseCode(code), reason);
    core.waker.wake_by_ref();
    drop(core);
    if begun {
        tracing::info!(session = entry.name(), code, "session closed by the API");
    }
    Ok(shown(&entry))
}

/// Whether an operator may say this in a Close: what means a fault of the peer's is not for them.
fn check_close(code: u16, reason: &str) -> Result<(), String> {
    if !matches!(code, 1000 | 1001 | 1008 | 1011..=1014 | 3000..=4999) {
        return Err(format!("code: {code} is none of 1000, 1001, 1008, 1011 to 1014 and 3000 to 4999"));
    }
    if reason.len() > REASON_MAX {
        let length = reason.len();
        return Err(format!("reason: {length} bytes are too many; a Close has room for {REASON_MAX}"));
    }
    Ok(())
}

/// The session with this id.
pub(super) fn named(admin: &Admin, id: &str) -> Result<Arc<Entry>, AdminError> {
    let found = session_id(id).and_then(|id| admin.broker.sessions.registry.get(id));
    found.ok_or_else(|| AdminError::not_found("no session with this id is live"))
}

/// 32 hex digits.
fn session_id(text: &str) -> Option<u128> {
    let exact = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u128::from_str_radix(text, 16).ok().filter(|_| exact)
}

fn place(admin: &Admin, after: After) -> Result<PagePosition, AdminError> {
    match after {
        After::Place(place) => Ok(place),
        After::Session(id) => {
            let entry = admin.broker.sessions.registry.get(id).ok_or_else(|| {
                AdminError::invalid("after: that session has ended; use what the page before has as \"next\"")
            })?;
            Ok(PagePosition::of(&entry))
        }
    }
}

/// A session as a change of it answers.
pub(super) fn shown(entry: &Entry) -> Json<serde_json::Value> {
    body(&OneSession { session: reply(entry) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_may_say_what_blames_nobody() {
        for code in [1000, 1001, 1008, 1011, 1014, 3000, 4999] {
            assert_eq!(check_close(code, ""), Ok(()), "{code}");
        }
        for code in [0, 999, 1002, 1005, 1006, 1007, 1009, 1010, 1015, 2999, 5000, u16::MAX] {
            assert!(check_close(code, "").expect_err("not for operators").contains(&code.to_string()));
        }
    }

    #[test]
    fn a_reason_has_the_room_of_a_control_frame() {
        assert_eq!(check_close(1000, &"r".repeat(123)), Ok(()));
        assert!(check_close(1000, &"r".repeat(124)).expect_err("too long").contains("124"));
        assert!(check_close(1000, &"é".repeat(62)).is_err(), "bytes count");
    }
}
