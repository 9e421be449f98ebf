//! The report of an event: a table for people, JSON for everything else.

use std::fs;
use std::io;
use std::net::SocketAddr;

use serde::Serialize;
use serde_json::{Value, json};

use super::Load;
use super::verdict::{Spread, Verdict};
use crate::client::DIALS_AT_ONCE;
use crate::machine::Machine;
use crate::peers::Peer;
use crate::stats;
use crate::table::{self, number};

/// What an event says of itself, beside what the sessions noticed.
pub(crate) trait Account: Serialize {
    /// Lines for people; none when there is nothing to say.
    fn text(&self) -> String;
}

/// One round.
#[derive(Debug, Serialize)]
pub(crate) struct Round<T> {
    /// What the sessions noticed.
    #[serde(flatten)]
    pub(crate) verdict: Verdict,
    /// What the event says of itself.
    #[serde(flatten)]
    pub(crate) account: T,
}

/// How the table calls an event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Words {
    /// As in "one backend killed".
    pub(crate) what: &'static str,
    /// As in "the kill".
    pub(crate) around: &'static str,
    /// As in "the killed backend".
    pub(crate) on: &'static str,
}

/// A whole run.
pub(crate) struct Report<'a, T> {
    /// Where it was.
    pub(crate) machine: Machine,
    /// The broker that was started, if it was.
    pub(crate) broker: Option<&'a Peer>,
    /// The broker that was not.
    pub(crate) target: Option<SocketAddr>,
    /// What was asked for.
    pub(crate) load: &'a Load,
    /// How the event is called.
    pub(crate) words: Words,
    /// What was asked of the event, by key.
    pub(crate) settings: Value,
    /// Each round.
    pub(crate) rounds: Vec<Round<T>>,
}

impl<T: Account> Report<'_, T> {
    /// Prints it, and writes the file that was asked for.
    pub(crate) fn publish(&self) -> io::Result<()> {
        print!("{}", self.text());
        match &self.load.json {
            Some(file) => fs::write(file, self.json()?),
            None => Ok(()),
        }
    }

    fn text(&self) -> String {
        let Self { load, words, .. } = self;
        let mut text = format!("\n{}\n  {}\n", self.machine.line(), self.broker_line());
        text.push_str(&format!(
            "{} sessions, {} messages/s of {} B each, {} after {} s.\n\
             Times are the longest from sending to the first answer of each session that stayed open, in ms.\n\n",
            number(f64::from(load.sessions), 0),
            load.rate,
            load.payload,
            words.what,
            load.warm_up,
        ));
        for (at, round) in self.rounds.iter().enumerate() {
            if self.rounds.len() > 1 {
                text.push_str(&format!("round {}\n", at + 1));
            }
            text.push_str(&format!("{}{}\n", round_text(*words, &round.verdict), round.account.text()));
        }
        if self.rounds.len() > 1 {
            text.push_str(&self.medians());
        }
        text
    }

    fn json(&self) -> io::Result<String> {
        let report = json!({
            "machine": self.machine,
            "broker": self.broker_line(),
            "settings": self.settings(),
            "rounds": self.rounds,
        });
        Ok(serde_json::to_string_pretty(&report)? + "\n")
    }

    fn settings(&self) -> Value {
        let load = self.load;
        let mut settings = json!({
            "sessions": load.sessions,
            "rate_per_session": load.rate,
            "payload_bytes": load.payload,
            "warm_up_seconds": load.warm_up,
            "wait_seconds": load.wait,
            "backend_delay_ms": load.delay,
            "backend_stall_ms": load.stall,
            "ack": load.ack,
            "serve_args": load.serve_args,
            "processes": load.processes,
        });
        if let (Some(all), Some(more)) = (settings.as_object_mut(), self.settings.as_object()) {
            all.extend(more.clone());
        }
        settings
    }

    fn broker_line(&self) -> String {
        match (self.broker, self.target) {
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
            let times: Vec<f64> = self.rounds.iter().filter_map(|round| time(&round.verdict.moved)).collect();
            cell(stats::median(&times))
        };
        let (p50, p99, max) = (median(|s| s.p50_ms), median(|s| s.p99_ms), median(|s| s.max_ms));
        let (rounds, on) = (self.rounds.len(), self.words.on);
        format!("medians over {rounds} rounds, on {on}: p50 {p50}  p99 {p99}  max {max}\n")
    }
}

fn round_text(words: Words, verdict: &Verdict) -> String {
    let Words { around, on, .. } = words;
    let headings = ["", "sessions", "closed", "never answered", "p50", "p99", "max"];
    let mut rows = vec![headings.map(str::to_owned).to_vec()];
    rows.push(row(&format!("around {around}, on {on}"), &verdict.moved));
    rows.push(row(&format!("around {around}, all"), &verdict.all));
    rows.push(row(&format!("before {around}, all"), &verdict.calm));
    rows.push(row("whole run, all", &verdict.whole_run));
    let bounded = (format!("bare dials to a backend, {DIALS_AT_ONCE} at a time"), &verdict.floor);
    let unbounded = ("bare dials to a backend, all at once".to_owned(), &verdict.floor_all_at_once);
    for (name, floor) in [bounded, unbounded] {
        if let Some(floor) = floor {
            let times = [floor.p50_ms, floor.p99_ms, floor.max_ms].map(|ms| cell(Some(ms)));
            let counts = [number(floor.connections as f64, 0), String::new(), String::new()];
            rows.push([vec![name], counts.to_vec(), times.to_vec()].concat());
        }
    }
    format!("{}{}", table::align(&rows), counts(verdict))
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
