//! What people's programs read and write: no field may go, change its name or become another, and the page has each.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use steadfast_protocol::session::Status;

use super::backends::{BackendReply, NamedBy};
use super::errors::ErrorCode;
use super::samples;
use crate::operations::{OperationCause, OperationKind, OperationState};
use crate::upstream::backend::BackendState;
use crate::upstream::health::circuit::CircuitWord;
use crate::upstream::health::tracker::HealthWord;
use crate::words::{Word, names};

/// Asserts that it is written so, and is the same when it has been read.
#[track_caller]
fn assert_json<T: Serialize + DeserializeOwned>(reply: &T, expected: &Value) {
    let written = serde_json::to_value(reply).expect("JSON");
    assert_eq!(written, *expected);
    let read: T = serde_json::from_value(written).expect("it is understood");
    assert_eq!(serde_json::to_value(&read).expect("JSON"), *expected);
}

#[test]
fn a_backend_has_these_fields() {
    let reply = BackendReply { state: BackendState::HalfOpen, ejected_for_ms: Some(5), ..samples::backend() };
    let expected = json!({
        "pool": "chat", "name": "b1", "address": "127.0.0.1:1", "origin": "file", "state": "half_open",
        "state_for_ms": 0, "why": "new", "penalised": false, "health": "unproven", "circuit": "closed",
        "ejected_for_ms": 5, "backup": false, "weight": 1, "effective_weight": 1.0, "max_sessions": null,
        "sessions": 0, "requests": 0, "reserved": 0, "dials": 0, "failures": 0, "drain": null,
    });
    assert_json(&reply, &expected);
}

#[test]
fn a_session_has_these_fields() {
    let mut reply = samples::session();
    (reply.ledger.upstream.forwarded, reply.ledger.downstream.suppressed) = (7, 2);
    let upstream = json!({ "forwarded": 7, "acknowledged": 0, "replayed": 0, "repeated": 0, "suppressed": 0, "lost": 0, "in_doubt": 0 });
    let downstream = json!({ "forwarded": 0, "acknowledged": 0, "replayed": 0, "repeated": 0, "suppressed": 2, "lost": 0, "in_doubt": 0 });
    let expected = json!({
        "id": "000102030405060708090a0b0c0d0e0f", "pool": "chat", "route": null, "listener": "127.0.0.1:8080",
        "client": "127.0.0.1:50000", "backend": "b1", "placed": "the only one", "state": "relaying", "age_ms": 0,
        "failovers": 0, "moves": 0, "slowest_answer_ms": 0, "buffered_bytes": 0,
        "ledger": { "upstream": upstream, "downstream": downstream },
    });
    assert_json(&reply, &expected);
}

#[test]
fn an_operation_has_these_fields() {
    let expected = json!({
        "id": "drain-3", "kind": "drain", "pool": "chat", "backend": "b1", "cause": "operator",
        "why": "the API was asked for it", "state": "running", "message": "",
        "started_at": "2026-11-21T12:00:00.000Z", "elapsed_ms": 5,
        "sessions": {
            "total": 0, "moved": 0, "forced": 0, "reconnected": 0, "failed": 0, "gone": 0, "remaining": 0,
            "moving": 0, "staying": { "busy": 0, "no_target": 0, "target_lost": 0, "pinned": 0 },
        },
        "rate": 50, "concurrency": 10, "errors_max": 5, "time_limit_ms": null, "force": false,
    });
    assert_json(&samples::operation(), &expected);
}

#[test]
fn the_rest_has_these_fields() {
    let pool =
        json!({ "name": "chat", "balance": "least_sessions", "backends": 1, "sessions": 0, "waiting": 0 });
    assert_json(&samples::pool(), &pool);
    let listener = json!({ "address": "127.0.0.1:8080", "pool": null, "paused": false, "sessions": 0 });
    assert_json(&samples::listener(), &listener);
}

/// How the table of an operation's fields begins.
const OPERATION: &str = "\n| field | meaning |\n| --- | --- |\n| `id`, `kind` ";

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    fs::read_to_string(path).expect("the page")
}

/// The rows of the first table that comes with this text or behind it.
fn rows<'a>(page: &'a str, before: &str) -> Vec<&'a str> {
    let at = page.find(before).unwrap_or_else(|| panic!("no {before:?} on the page"));
    let rest = &page[at..];
    let lines = rest.lines().skip_while(|line| !line.starts_with("| --- "));
    lines.skip(1).take_while(|line| line.starts_with("| ")).collect()
}

fn codes(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// What stands in a column of a table's rows as code.
fn column<'a>(rows: &[&'a str], column: usize) -> BTreeSet<&'a str> {
    rows.iter().flat_map(|row| codes(row.split(" | ").nth(column).unwrap_or_default())).collect()
}

/// Asserts that a reply and the table have the same fields.
#[track_caller]
fn assert_documented(page: &str, before: &str, reply: &impl Serialize, within: &[&str]) {
    let json = serde_json::to_value(reply).expect("JSON");
    let keys = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    let mut fields = BTreeSet::new();
    for key in keys(&json) {
        match within.contains(&&*key) {
            true => fields.extend(keys(&json[&key]).into_iter().map(|inner| format!("{key}.{inner}"))),
            false => drop(fields.insert(key)),
        }
    }
    let rows = rows(page, before);
    assert_eq!(column(&rows, 0), fields.iter().map(String::as_str).collect::<BTreeSet<_>>());
}

#[test]
fn the_page_has_every_field() {
    let page = page();
    assert_documented(&page, "\nA pool has these fields:\n", &samples::pool(), &[]);
    assert_documented(&page, "\nA backend:\n", &samples::backend(), &[]);
    assert_documented(&page, "\nA session:\n", &samples::session(), &[]);
    assert_documented(&page, "\nA listener:\n", &samples::listener(), &[]);
    assert_documented(&page, OPERATION, &samples::operation(), &["sessions"]);
}

#[test]
fn the_page_has_every_word() {
    let page = page();
    let meaning = |before: &str, field: &str| {
        let rows = rows(&page, before);
        let row = rows.iter().find(|row| row.split(" | ").next().is_some_and(|names| names.contains(field)));
        codes(row.expect("its row")).map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let backend = |field| meaning("\nA backend:\n", field);
    let operation = |field| meaning(OPERATION, field);
    let cases = [
        (backend("`state`"), names::<BackendState>()),
        (backend("`origin`"), names::<NamedBy>()),
        (backend("`health`"), names::<HealthWord>()),
        (backend("`circuit`"), names::<CircuitWord>()),
        (operation("`kind`"), names::<OperationKind>()),
        (operation("`cause`"), names::<OperationCause>()),
        (meaning("\nA session:\n", "`state`"), Status::ALL.map(Status::name).to_vec()),
    ];
    for (documented, words) in cases {
        let missing: Vec<_> = words.iter().filter(|word| !documented.contains(**word)).collect();
        assert!(missing.is_empty(), "{missing:?} are not among {documented:?}");
    }
    let states = rows(&page, "\n| state | meaning |\n");
    assert_eq!(column(&states, 0), names::<OperationState>().into_iter().collect());
    let errors = rows(&page, "\n| status | code | when |\n");
    let known = ErrorCode::ALL.iter().filter(|code| **code != ErrorCode::Other);
    assert_eq!(column(&errors, 1), known.map(|code| code.name()).collect());
}
