//! The report of a failover run: a table for people, JSON for everything else.

use std::io;

use serde_json::json;

use super::Options;
use super::verdict::{Spread, Verdict};
use crate::client::DIALS_AT_ONCE;
use crate::machine::Machine;
use crate::peers::Peer;
use crate::stats;
use crate::table::{self, number};

/// A whole run.
pub(super) struct Report<'a> {
    /// Where it was.
    pub(super) machine: Machine,
    /// The broker that was started, if it was.
    pub(super) broker: Option<&'a Peer>,
    /// What was asked for.
    pub(super) options: &'a Options,
    /// One verdict for each round.
    pub(super) rounds: Vec<Verdict>,
}

impl Report<'_> {
    /// For people.
    pub(super) fn text(&self) -> String {
        let options = self.options;
        let mut text = format!("\n{}\n  {}\n", self.machine.line(), self.broker_line());
        text.push_str(&format!(
            "{} sessions, {} messages/s of {} B each, one backend killed after {} s.\n\
             Times are the longest from sending to the first answer of each session that stayed open, in ms.\n\n",
            number(f64::from(options.sessions), 0),
            options.rate,
            options.payload,
            options.warm_up,
        ));
        for (at, verdict) in self.rounds.iter().enumerate() {
            if self.rounds.len() > 1 {
                text.push_str(&format!("round {}\n", at + 1));
            }
            text.push_str(&round_text(verdict));
        }
        if self.rounds.len() > 1 {
            text.push_str(&self.medians());
        }
        text
    }

    /// For everything else.
    pub(super) fn json(&self) -> io::Result<String> {
        let options = self.options;
        let report = json!({
            "machine": self.machine,
            "broker": self.broker_line(),
            "settings": {
                "sessions": options.sessions,
                "rate_per_session": options.rate,
                "payload_bytes": options.payload,
                "warm_up_seconds": options.warm_up,
                "after_seconds": options.after,
                "wait_seconds": options.wait,
                "backend_delay_ms": options.delay,
                "ack": options.ack,
                "serve_args": options.serve_args,
                "processes": options.processes,
            },
            "rounds": self.rounds,
        });
        Ok(serde_json::to_string_pretty(&report)? + "\n")
    }

    fn broker_line(&self) -> String {
        let options = self.options;
        match (self.broker, options.target) {
            (Some(peer @ Peer::Steadfast(_, arguments)), _) => {
                format!("{peer}: {}, {}", peer.version(), arguments.join(" "))
            }
            (Some(peer), _) => format!("{peer}: {}", peer.version()),
            (None, Some(address)) => format!("the broker at {address}"),
            (None, None) => "no broker".to_owned(),
        }
    }

    fn medians(&self) -> String {
        let median = |time: fn(&Spread) -> Option<f64>| {
            let times: Vec<f64> = self.rounds.iter().filter_map(|round| time(&round.moved)).collect();
            cell(stats::median(&times))
        };
        let (p50, p99, max) = (median(|s| s.p50_ms), median(|s| s.p99_ms), median(|s| s.max_ms));
        let rounds = self.rounds.len();
        format!("medians over {rounds} rounds, on the killed backend: p50 {p50}  p99 {p99}  max {max}\n")
    }
}

fn round_text(verdict: &Verdict) -> String {
    let headings = ["", "sessions", "closed", "never answered", "p50", "p99", "max"];
    let mut rows = vec![headings.map(str::to_owned).to_vec()];
    rows.push(row("around the kill, on the killed backend", &verdict.moved));
    rows.push(row("around the kill, all", &verdict.all));
    rows.push(row("before the kill, all", &verdict.calm));
    rows.push(row("whole run, all", &verdict.whole_run));
    if let Some(floor) = &verdict.floor {
        let times = [floor.p50_ms, floor.p99_ms, floor.max_ms].map(|ms| cell(Some(ms)));
        let name = format!("bare dials to a backend, {DIALS_AT_ONCE} at a time");
        let counts = [number(floor.connections as f64, 0), String::new(), String::new()];
        rows.push([vec![name], counts.to_vec(), times.to_vec()].concat());
    }
    format!("{}{}\n", table::align(&rows), counts(verdict))
}

fn row(name: &str, spread: &Spread) -> Vec<String> {
    let count = |count: usize| number(count as f64, 0);
    let times = [spread.p50_ms, spread.p99_ms, spread.max_ms].map(cell);
    let counts = [spread.sessions, spread.closed, spread.unanswered].map(count);
    [vec![name.to_owned()], counts.to_vec(), times.to_vec()].concat()
}

fn counts(verdict: &Verdict) -> String {
    let counts = [
        ("sent", verdict.sent),
        ("lost", verdict.lost),
        ("lost in sessions that stayed open", verdict.lost_in_open_sessions),
        ("answered twice", verdict.answered_twice),
        ("reordered", verdict.reordered),
        ("wrong answers", verdict.wrong),
        ("clients closed", verdict.clients_closed),
    ];
    let mut line = String::from("  ");
    line.push_str(&counts.map(|(name, count)| format!("{name} {}", number(count as f64, 0))).join(", "));
    if !verdict.close_codes.is_empty() {
        let codes = verdict.close_codes.iter().map(|(code, count)| format!("{code} x {count}"));
        line.push_str(&format!(" ({})", codes.collect::<Vec<_>>().join(", ")));
    }
    line.push('\n');
    line
}

fn cell(ms: Option<f64>) -> String {
    ms.map_or("-".to_owned(), |ms| number(ms, 1))
}
