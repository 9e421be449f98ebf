//! The verdict as text.

use std::path::Path;

use console::style;

use super::evidence::Tally;
use super::pause::Pauses;
use super::verdict::{Finding, Verdict};

/// The verdict, line by line: the figures, the pauses, and each promise.
pub(super) fn lines(verdict: &Verdict) -> Vec<String> {
    let blank = || [String::new()];
    let promises = verdict.findings.iter().flat_map(promise);
    blank()
        .into_iter()
        .chain(figures(verdict))
        .chain(pauses(verdict))
        .chain(blank())
        .chain(promises)
        .collect()
}

fn promise(finding: &Finding) -> Vec<String> {
    let word = if finding.kept { style("kept  ").green() } else { style("BROKEN").red().bold() };
    let look = finding.look.iter().map(|look| format!("        look at {look}"));
    [format!("{word}  {}", finding.sentence)].into_iter().chain(look).collect()
}

/// The last words: whether all is well, and where to look if not.
pub(super) fn conclusion(verdict: &Verdict, logs: Option<&Path>) -> String {
    let broken = verdict.findings.iter().filter(|finding| !finding.kept).count();
    if broken == 0 {
        return "Every promise of docs/guarantees.md was kept.".to_owned();
    }
    let all = verdict.findings.len();
    let logs = logs.map(|logs| format!(" The broker's log is\n{}", logs.join("broker.log").display()));
    format!("{broken} of {all} promises were broken.{}", logs.unwrap_or_default())
}

/// A line of the report: the name of a figure, and how to read it off.
type Row = (&'static str, fn(&Tally) -> usize);

fn figures(verdict: &Verdict) -> Vec<String> {
    const ROWS: [Row; 9] = [
        ("sent", |tally| tally.sent),
        ("answered", |tally| tally.answered),
        ("replayed", |tally| tally.replayed),
        ("answered twice", |tally| tally.twice),
        ("in doubt", |tally| tally.in_doubt),
        ("unanswered", |tally| tally.sent - tally.answered),
        ("lost", |tally| tally.lost),
        ("reordered", |tally| tally.reordered),
        ("clients closed", |tally| tally.closed),
    ];
    let names = verdict.pools.iter().map(|(name, _)| (*name).to_owned()).chain(["all".to_owned()]);
    let total = verdict.total();
    let tallies: Vec<_> = verdict.pools.iter().map(|(_, tally)| tally).chain([&total]).collect();
    let rows =
        ROWS.iter().map(|(name, figure)| line(name, tallies.iter().map(|tally| figure(tally).to_string())));
    std::iter::once(line("verdict", names)).chain(rows).collect()
}

fn pauses(verdict: &Verdict) -> Vec<String> {
    let rows = verdict.pauses.iter().map(|(kind, pools)| {
        let all: Pauses = pools.iter().cloned().flatten().collect();
        line(&format!("  {}", kind.label()), pools.iter().chain([&all]).map(Pauses::to_string))
    });
    let head = [
        "in doubt: replayed, or read by a backend that died before it had answered",
        "pause in ms, p50/p99/max: a struck session's longest time from message to first",
        "answer, of the messages open at the strike or sent within a second after it (of",
        "a drain: after its end)",
    ];
    head.map(str::to_owned).into_iter().chain(rows).collect()
}

fn line(name: &str, cells: impl Iterator<Item = String>) -> String {
    let cells: String = cells.map(|cell| format!("{cell:>15}")).collect();
    format!("{name:<19}{cells}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::pause::StrikeKind;

    fn verdict(kept: bool) -> Verdict {
        let tally = Tally { sent: 18_000, answered: 17_999, in_doubt: 12, ..Tally::default() };
        let pauses: Pauses = [std::time::Duration::from_millis(7)].into_iter().collect();
        let look = (!kept).then(|| "client a-1".to_owned());
        Verdict {
            pools: vec![("one", tally), ("two", tally)],
            pauses: vec![(StrikeKind::Killed, vec![pauses, Pauses::default()])],
            findings: vec![Finding { kept, sentence: "the promise".to_owned(), look }],
        }
    }

    #[test]
    fn figures_stand_under_their_pools() {
        let lines = lines(&verdict(true));
        assert_eq!(lines[1], "verdict                        one            two            all");
        assert_eq!(lines[2], "sent                         18000          18000          36000");
        assert_eq!(lines[7], "unanswered                       1              1              2");
        assert!(
            lines.contains(&"  backend killed             7/7/7              -          7/7/7".to_owned())
        );
        assert!(lines.iter().all(|line| line.len() <= 80));
    }

    #[test]
    fn a_broken_promise_says_where_to_look() {
        let lines = lines(&verdict(false));
        assert_eq!(lines[lines.len() - 2..], ["BROKEN  the promise", "        look at client a-1"]);
        let conclusion = conclusion(&verdict(false), Some(Path::new("/somewhere")));
        assert_eq!(conclusion, "1 of 1 promises were broken. The broker's log is\n/somewhere/broker.log");
    }

    #[test]
    fn kept_promises_are_told_too() {
        assert_eq!(lines(&verdict(true)).last().map(String::as_str), Some("kept    the promise"));
        assert_eq!(conclusion(&verdict(true), None), "Every promise of docs/guarantees.md was kept.");
    }
}
