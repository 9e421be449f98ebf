//! The report of a relay run: a table for people, JSON for everything else.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use serde_json::{Value, json};

use super::measure::Figures;
use super::rows::{Metric, Row, Scale};
use crate::machine::Machine;
use crate::stats;
use crate::table::{self, number};

/// The peer that all others are compared with.
const OURS: &str = "steadfast";
/// In place of a figure that there is none of.
const NONE: &str = "-";

/// One measurement of one peer.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Result {
    /// It was taken.
    Figures(Figures),
    /// There is nothing to measure.
    NotMeasured,
    /// It could not be taken, because of this.
    Failed(String),
}

/// All rounds of one row.
#[derive(Debug)]
pub(super) struct Sheet {
    row: Row,
    scale: Scale,
    peers: Vec<(String, Vec<Result>)>,
}

impl Sheet {
    /// Without any rounds yet.
    pub(super) fn new(row: Row, scale: Scale, peers: &[String]) -> Self {
        Self { row, scale, peers: peers.iter().map(|name| (name.clone(), Vec::new())).collect() }
    }

    /// Adds what peer number `peer` has given in the current round.
    pub(super) fn record(&mut self, peer: usize, result: Result) {
        self.peers[peer].1.push(result);
    }

    /// Measurements that could not be taken.
    pub(super) fn failures(&self) -> usize {
        let results = self.peers.iter().flat_map(|(_, results)| results);
        results.filter(|result| matches!(result, Result::Failed(_))).count()
    }

    fn text(&self) -> String {
        let metrics: Vec<&Metric> = self.row.metrics().iter().filter(|metric| self.has(metric.key)).collect();
        let ours = self.peers.iter().find(|(name, _)| name == OURS).map(|(_, results)| results.as_slice());
        let mut headings = vec!["peer".to_owned()];
        headings.extend(metrics.iter().map(|metric| metric.heading.to_owned()));
        let compared = || metrics.iter().filter_map(|metric| Some((metric, metric.ratio?)));
        if ours.is_some() {
            headings.extend(compared().map(|(_, heading)| format!("{heading} ratio")));
        }
        let mut rows = vec![headings];
        for (name, results) in &self.peers {
            let mut row = vec![name.clone()];
            row.extend(metrics.iter().map(|metric| median_cell(results, metric)));
            if let Some(ours) = ours.filter(|_| name != OURS) {
                row.extend(compared().map(|(metric, _)| ratio_cell(ours, results, metric)));
            }
            rows.push(row);
        }
        format!("{}\n{}{}\n", self.row.title(self.scale), table::align(&rows), self.failure_lines())
    }

    fn has(&self, key: &str) -> bool {
        self.peers.iter().any(|(_, results)| series(results, key).iter().any(Option::is_some))
    }

    fn failure_lines(&self) -> String {
        let mut lines = String::new();
        for (name, results) in &self.peers {
            let failed: Vec<&String> = results.iter().filter_map(failure).collect();
            if let Some(first) = failed.first() {
                lines.push_str(&format!(
                    "  {name} FAILED in {} of {}: {first}\n",
                    failed.len(),
                    results.len()
                ));
            }
        }
        lines
    }

    fn json(&self) -> Value {
        let ours = self.peers.iter().find(|(name, _)| name == OURS).map(|(_, results)| results.as_slice());
        let peer = |(name, results): &(String, Vec<Result>)| peer_json(name, results, ours);
        let peers: Vec<Value> = self.peers.iter().map(peer).collect();
        json!({ "row": self.row.name(), "title": self.row.title(self.scale), "peers": peers })
    }
}

/// A whole run.
#[derive(Debug)]
pub(super) struct Report {
    /// Where it was.
    pub(super) machine: Machine,
    /// Each peer's name and what it says about its version.
    pub(super) versions: Vec<(String, String)>,
    /// How much was done.
    pub(super) scale: Scale,
    /// The rows.
    pub(super) sheets: Vec<Sheet>,
}

impl Report {
    /// For people.
    pub(super) fn text(&self) -> String {
        let scale = &self.scale;
        let mut text = format!("\n{}\n", self.machine.line());
        for (name, version) in &self.versions {
            text.push_str(&format!("  {name}: {version}\n"));
        }
        text.push_str(&format!(
            "Medians of {} rounds of {} s each. A ratio is Steadfast's figure divided by the peer's, taken \
             within each round: the median (lowest-highest).\n\n",
            scale.rounds,
            scale.measure.as_secs_f64()
        ));
        self.sheets.iter().for_each(|sheet| text.push_str(&sheet.text()));
        text
    }

    /// For everything else.
    pub(super) fn json(&self) -> io::Result<String> {
        let versions: BTreeMap<&str, &str> =
            self.versions.iter().map(|(name, version)| (name.as_str(), version.as_str())).collect();
        let rows: Vec<Value> = self.sheets.iter().map(Sheet::json).collect();
        let settings = json!({
            "rounds": self.scale.rounds,
            "warm_up_seconds": self.scale.warm_up.as_secs_f64(),
            "measure_seconds": self.scale.measure.as_secs_f64(),
            "idle_sessions": self.scale.idle_sessions,
        });
        let report =
            json!({ "machine": self.machine, "peers": versions, "settings": settings, "rows": rows });
        Ok(serde_json::to_string_pretty(&report)? + "\n")
    }
}

fn figures(result: &Result) -> Option<&Figures> {
    match result {
        Result::Figures(figures) => Some(figures),
        Result::NotMeasured | Result::Failed(_) => None,
    }
}

fn failure(result: &Result) -> Option<&String> {
    match result {
        Result::Failed(error) => Some(error),
        Result::Figures(_) | Result::NotMeasured => None,
    }
}

fn peer_json(name: &str, results: &[Result], ours: Option<&[Result]>) -> Value {
    let keys: BTreeSet<&str> = results.iter().filter_map(figures).flat_map(Figures::keys).copied().collect();
    let medians = keys.iter().map(|key| (*key, stats::median(&present(results, key))));
    let ratio = |key: &str| stats::median(&stats::ratios(&series(ours?, key), &series(results, key)));
    let ratios = keys.iter().map(|key| (*key, ratio(key)));
    json!({
        "peer": name,
        "median": medians.collect::<BTreeMap<_, _>>(),
        "steadfast_to_peer": ratios.collect::<BTreeMap<_, _>>(),
        "rounds": results.iter().map(round_json).collect::<Vec<_>>(),
    })
}

fn round_json(result: &Result) -> Value {
    match result {
        Result::Figures(figures) => json!(figures),
        Result::NotMeasured => Value::Null,
        Result::Failed(error) => json!({ "failed": error }),
    }
}

/// A figure round by round.
fn series(results: &[Result], key: &str) -> Vec<Option<f64>> {
    results.iter().map(|result| figures(result)?.get(key).copied()).collect()
}

fn present(results: &[Result], key: &str) -> Vec<f64> {
    series(results, key).into_iter().flatten().collect()
}

fn median_cell(results: &[Result], metric: &Metric) -> String {
    stats::median(&present(results, metric.key))
        .map_or(NONE.to_owned(), |value| number(value, metric.decimals))
}

fn ratio_cell(ours: &[Result], theirs: &[Result], metric: &Metric) -> String {
    let ratios = stats::ratios(&series(ours, metric.key), &series(theirs, metric.key));
    let ends = stats::quantile(&ratios, 0.0).zip(stats::quantile(&ratios, 1.0));
    match (stats::median(&ratios), ends) {
        (Some(median), Some((low, high))) if ratios.len() > 1 => format!("{median:.2} ({low:.2}-{high:.2})"),
        (Some(median), _) => number(median, 2),
        (None, _) => NONE.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SCALE: Scale = Scale {
        rounds: 3,
        warm_up: Duration::ZERO,
        measure: Duration::from_secs(1),
        idle_sessions: 10,
        strace: false,
    };

    fn upgrades(rate: f64, cpu: Option<f64>) -> Result {
        let mut figures = Figures::from([("upgrades_per_second", rate)]);
        figures.extend(cpu.map(|cpu| ("cpu_us_per_upgrade", cpu)));
        Result::Figures(figures)
    }

    fn sheet() -> Sheet {
        let names = ["steadfast", "haproxy", "direct"].map(str::to_owned);
        let mut sheet = Sheet::new(Row::Upgrades, SCALE, &names);
        for (rate, cpu) in [(1_000.0, 10.0), (3_000.0, 40.0), (2_000.0, 20.0)] {
            sheet.record(0, upgrades(rate, Some(cpu)));
            sheet.record(1, upgrades(2_000.0, Some(20.0)));
            sheet.record(2, upgrades(8_000.0, None));
        }
        sheet
    }

    #[test]
    fn the_table_shows_medians_and_ratios() {
        let text = sheet().text();
        let cells = |peer: &str| -> Vec<String> {
            let line = text.lines().find(|line| line.trim_start().starts_with(peer)).expect("a line");
            line.split_whitespace().map(str::to_owned).collect()
        };
        assert_eq!(cells("steadfast"), ["steadfast", "2,000", "20.0"]);
        let compared = ["1.00", "(0.50-1.50)", "1.00", "(0.50-2.00)"];
        assert_eq!(cells("haproxy"), [&["haproxy", "2,000", "20.0"], compared.as_slice()].concat());
        assert_eq!(cells("direct"), ["direct", "8,000", "-", "0.25", "(0.12-0.38)", "-"]);
    }

    #[test]
    fn a_failure_is_shown_and_counted_and_leaves_the_rest() {
        let mut sheet = sheet();
        sheet.record(0, Result::Failed("it broke".to_owned()));
        sheet.record(1, upgrades(9_000.0, Some(90.0)));
        sheet.record(2, Result::NotMeasured);
        assert_eq!(sheet.failures(), 1);
        assert!(sheet.text().contains("steadfast FAILED in 1 of 4: it broke"));
        let json = sheet.json();
        assert_eq!(json["peers"][0]["median"]["cpu_us_per_upgrade"], 20.0);
        assert_eq!(json["peers"][1]["steadfast_to_peer"]["cpu_us_per_upgrade"], 1.0);
        assert_eq!(json["peers"][0]["rounds"][3]["failed"], "it broke");
        assert_eq!(json["peers"][2]["rounds"][3], Value::Null);
    }
}
