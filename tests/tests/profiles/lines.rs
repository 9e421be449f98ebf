//! What the programs tell: a line of JSON for each thing.

use serde_json::Value;

/// The events among what a program has printed.
pub(crate) fn events(printed: &[String]) -> Vec<Value> {
    let events = printed.iter().filter_map(|line| line.strip_prefix("event "));
    events.map(|event| serde_json::from_str(event).expect("an event is JSON")).collect()
}

/// Whether it is of this kind.
pub(crate) fn is(event: &Value, kind: &str) -> bool {
    event["event"] == kind
}

/// The text of a field.
pub(crate) fn text<'a>(event: &'a Value, field: &str) -> &'a str {
    event[field].as_str().unwrap_or_else(|| panic!("no {field} in {event}"))
}
