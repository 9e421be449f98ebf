//! Lists as tables: with lines on a terminal, as aligned columns elsewhere.

use std::time::Duration;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use crate::api::model::backends::BackendReply;
use crate::api::model::listeners::ListenerReply;
use crate::api::model::operations::OperationReply;
use crate::api::model::sessions::SessionReply;
use crate::cli::printable::printable;

/// How a column is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ColumnKind {
    Text,
    Number,
}

use ColumnKind::{Number, Text};

/// `terminal`: its width in columns, if it is one.
pub(super) fn backends(backends: &[BackendReply], terminal: Option<u16>) -> String {
    let head = [
        ("POOL", Text),
        ("BACKEND", Text),
        ("ADDRESS", Text),
        ("STATE", Text),
        ("SINCE", Number),
        ("WEIGHT", Number),
        ("SESSIONS", Number),
        ("OPERATION", Text),
        ("WHY", Text),
    ];
    let row = |backend: &BackendReply| {
        vec![
            backend.pool.clone(),
            backend.name.clone(),
            backend.address.clone(),
            backend.state.name().to_owned(),
            duration(backend.state_for_ms),
            backend.effective_weight.to_string(),
            backend.sessions.to_string(),
            or_dash(backend.drain.as_deref()),
            backend.why.clone(),
        ]
    };
    table(&head, backends.iter().map(row), terminal)
}

/// `terminal`: as of [`backends`].
pub(super) fn sessions(sessions: &[SessionReply], terminal: Option<u16>) -> String {
    let head = [
        ("SESSION", Text),
        ("POOL", Text),
        ("BACKEND", Text),
        ("CLIENT", Text),
        ("STATE", Text),
        ("AGE", Number),
        ("FAILOVERS", Number),
        ("MOVES", Number),
        ("BUFFERED", Number),
    ];
    let row = |session: &SessionReply| {
        vec![
            session.id.clone(),
            session.pool.clone(),
            or_dash(session.backend.as_deref()),
            session.client.to_string(),
            session.state.name().to_owned(),
            duration(session.age_ms),
            session.failovers.to_string(),
            session.moves.to_string(),
            session.buffered_bytes.to_string(),
        ]
    };
    table(&head, sessions.iter().map(row), terminal)
}

/// `terminal`: as of [`backends`].
pub(super) fn listeners(listeners: &[ListenerReply], terminal: Option<u16>) -> String {
    let head = [("LISTENER", Text), ("POOL", Text), ("STATE", Text), ("SESSIONS", Number)];
    let row = |listener: &ListenerReply| {
        vec![
            listener.address.to_string(),
            or_dash(listener.pool.as_deref()),
            if listener.paused { "paused" } else { "open" }.to_owned(),
            listener.sessions.to_string(),
        ]
    };
    table(&head, listeners.iter().map(row), terminal)
}

/// `terminal`: as of [`backends`].
pub(super) fn operations(operations: &[OperationReply], terminal: Option<u16>) -> String {
    let head = [
        ("OPERATION", Text),
        ("POOL", Text),
        ("BACKEND", Text),
        ("STATE", Text),
        ("TIME", Number),
        ("TOTAL", Number),
        ("MOVED", Number),
        ("FAILED", Number),
        ("GONE", Number),
        ("REMAINING", Number),
        ("MESSAGE", Text),
    ];
    let row = |operation: &OperationReply| {
        let counts = operation.sessions;
        vec![
            operation.id.clone(),
            operation.pool.clone(),
            or_dash(operation.backend.as_deref()),
            operation.state.name().to_owned(),
            duration(operation.elapsed_ms),
            counts.total.to_string(),
            counts.moved.to_string(),
            counts.failed.to_string(),
            counts.gone.to_string(),
            counts.remaining.to_string(),
            operation.message.clone(),
        ]
    };
    table(&head, operations.iter().map(row), terminal)
}

/// Whole seconds, `3m 12s`; below one, milliseconds.
pub(super) fn duration(ms: u64) -> String {
    let shown = if ms < 1000 { Duration::from_millis(ms) } else { Duration::from_secs(ms / 1000) };
    humantime::format_duration(shown).to_string()
}

fn or_dash(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

fn table(
    head: &[(&str, ColumnKind)],
    rows: impl Iterator<Item = Vec<String>>,
    terminal: Option<u16>,
) -> String {
    let mut table = Table::new();
    table.set_header(head.iter().map(|(name, _)| *name));
    table.add_rows(rows.map(|row| row.into_iter().map(|cell| printable(&cell)).collect::<Vec<_>>()));
    for (column, (_, kind)) in table.column_iter_mut().zip(head) {
        if *kind == Number {
            column.set_cell_alignment(CellAlignment::Right);
        }
        if terminal.is_none() {
            column.set_padding((0, 2));
        }
    }
    match terminal {
        Some(width) => {
            table.load_preset(presets::UTF8_FULL_CONDENSED);
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        None => {
            table.load_preset(presets::NOTHING);
        }
    }
    table.trim_fmt() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(address: &str, pool: Option<&str>, paused: bool, sessions: usize) -> ListenerReply {
        let address = address.parse().expect("an address");
        ListenerReply { address, pool: pool.map(str::to_owned), paused, sessions }
    }

    #[test]
    fn columns_are_aligned_and_rows_are_lines() {
        let all =
            [listener("127.0.0.1:8080", Some("chat"), false, 5), listener("[::1]:80", None, true, 12345)];
        assert_eq!(
            listeners(&all, None),
            "LISTENER        POOL  STATE   SESSIONS\n\
             127.0.0.1:8080  chat  open           5\n\
             [::1]:80        -     paused     12345\n"
        );
    }

    #[test]
    fn a_terminal_gets_lines_that_fit() {
        let all = [listener("127.0.0.1:8080", Some("a-pool-with-a-rather-long-name"), false, 5)];
        let shown = listeners(&all, Some(40));
        assert!(shown.contains('│'), "{shown}");
        assert!(shown.lines().all(|line| line.chars().count() <= 40), "{shown}");
    }

    #[test]
    fn nothing_is_obeyed() {
        let shown = listeners(&[listener("[::1]:80", Some("\u{1b}[2Ja\nb"), false, 0)], None);
        assert!(!shown.contains('\u{1b}') && shown.lines().count() == 2, "{shown:?}");
    }

    #[test]
    fn durations_are_short() {
        assert_eq!(duration(0), "0s");
        assert_eq!(duration(250), "250ms");
        assert_eq!(duration(192_500), "3m 12s");
    }
}
