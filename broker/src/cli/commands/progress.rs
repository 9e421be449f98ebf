//! How far a drain has come, while it is waited for: a bar on a terminal, lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::say;
use crate::api::model::operations::{CountsReply, OperationReply};

/// Lines come no faster.
const BETWEEN_LINES: Duration = Duration::from_secs(1);

/// Where progress is shown.
#[derive(Debug)]
pub(super) enum ProgressDisplay {
    Bar(ProgressBar),
    Lines(ProgressLines),
    /// Only the end is wanted.
    Silent,
}

/// What was said last, and when.
#[derive(Debug, Default)]
pub(super) struct ProgressLines {
    said: Option<(String, Instant)>,
}

impl ProgressDisplay {
    /// `silent`: nothing but the end is to be printed.
    pub(super) fn new(silent: bool) -> ProgressDisplay {
        if silent {
            ProgressDisplay::Silent
        } else if std::io::stdout().is_terminal() && std::io::stderr().is_terminal() {
            ProgressDisplay::Bar(bar())
        } else {
            ProgressDisplay::Lines(ProgressLines::default())
        }
    }

    pub(super) fn show(&mut self, operation: &OperationReply) {
        match self {
            ProgressDisplay::Bar(bar) => {
                let CountsReply { total, remaining, .. } = operation.sessions;
                bar.set_length(total as u64);
                bar.set_position(total.saturating_sub(remaining) as u64);
                bar.set_message(sentence(operation));
            }
            ProgressDisplay::Lines(lines) => lines.print(sentence(operation)),
            ProgressDisplay::Silent => {}
        }
    }

    /// The broker does not answer for the moment.
    pub(super) fn lost(&mut self, why: &str) {
        let sentence = format!("asking again: {why}");
        match self {
            ProgressDisplay::Bar(bar) => bar.set_message(sentence),
            ProgressDisplay::Lines(lines) => lines.print(sentence),
            ProgressDisplay::Silent => {}
        }
    }
}

impl Drop for ProgressDisplay {
    /// What is printed next stands on a line of its own.
    fn drop(&mut self) {
        if let ProgressDisplay::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

impl ProgressLines {
    fn print(&mut self, line: String) {
        if let Some(line) = self.next(Instant::now(), line) {
            say(&format!("{line}\n"));
        }
    }

    /// The line, if it is another than the last, and that is long enough ago.
    fn next(&mut self, now: Instant, line: String) -> Option<String> {
        let due = self.said.as_ref().is_none_or(|(said, at)| *said != line && now - *at >= BETWEEN_LINES);
        due.then(|| self.said.insert((line, now)).0.clone())
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    // The template is sound; without it there would be the plain one.
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len}  {wide_msg}") {
        bar.set_style(style);
    }
    bar
}

/// Without what changes with time alone.
fn sentence(operation: &OperationReply) -> String {
    let OperationReply { id, state, message, sessions, .. } = operation;
    let CountsReply { total, moved, forced, reconnected, failed, gone, remaining, moving, .. } = sessions;
    let mut line = format!("{id} {}: {moved} of {total} moved, {remaining} left", state.name());
    let counts = [
        (moving, "moving"),
        (forced, "forced"),
        (reconnected, "by a reconnect"),
        (failed, "failed"),
        (gone, "gone"),
    ];
    for (count, what) in counts {
        if *count > 0 {
            line += &format!(", {count} {what}");
        }
    }
    if !message.is_empty() {
        line += &format!("; {message}");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::model::samples;

    fn operation(moved: usize, moving: usize, message: &str) -> OperationReply {
        let remaining = 10 - moved;
        let sessions =
            CountsReply { total: 10, moved, failed: 1, remaining, moving, ..CountsReply::default() };
        OperationReply { message: message.to_owned(), sessions, ..samples::operation() }
    }

    #[test]
    fn a_line_has_what_there_is() {
        assert_eq!(
            sentence(&operation(4, 2, "")),
            "drain-3 running: 4 of 10 moved, 6 left, 2 moving, 1 failed"
        );
        assert_eq!(
            sentence(&operation(4, 0, "no room elsewhere")),
            "drain-3 running: 4 of 10 moved, 6 left, 1 failed; no room elsewhere"
        );
    }

    #[test]
    fn lines_come_when_something_changes_and_once_a_second() {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let mut lines = ProgressLines::default();
        let mut next = |ms, line: &str| lines.next(at(ms), line.to_owned());
        assert_eq!(next(0, "one").as_deref(), Some("one"));
        assert_eq!(next(500, "two"), None, "too soon");
        assert_eq!(next(1000, "three").as_deref(), Some("three"));
        assert_eq!(next(5000, "three"), None, "nothing new");
        assert_eq!(next(5250, "four").as_deref(), Some("four"));
    }
}
