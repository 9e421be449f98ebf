//! The report of rounds: a table for people, JSON for everything else.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use serde_json::{Value, json};

use super::measure::Figures;
use super::rows::{Metric, Row, Scale};
use crate::machine::Machine;
use crate::stats;
use crate::table::{self, number};

/// In place of a figure that there is none of.
const NONE: &str = "-";

/// How the report calls those that are compared, and their ratios.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Words {
    /// One of them, in the table and in JSON.
    pub(crate) one: &'static str,
    /// All of them, in JSON.
    pub(crate) all: &'static str,
    /// Their ratios, in JSON.
    pub(crate) ratios: &'static str,
    /// What a ratio is, as a sentence to which "taken within each round" is added.
    pub(crate) about_ratios: &'static str,
    /// A ratio is the reference's figure divided by the other one's, and not the other way round.
    pub(crate) reference_first: bool,
}

impl Words {
    /// Of brokers beside each other.
    pub(crate) const OF_PEERS: Self = Self {
        one: "peer",
        all: "peers",
        ratios: "steadfast_to_peer",
        about_ratios: "A ratio is Steadfast's figure divided by the peer's",
        reference_first: true,
    };

    fn ratios(&self, reference: &[Result], results: &[Result], key: &str) -> Vec<f64> {
        let (reference, results) = (series(reference, key), series(results, key));
        if self.reference_first {
            stats::ratios(&reference, &results)
        } else {
            stats::ratios(&results, &reference)
        }
    }
}

/// One measurement of one entrant.
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
    entrants: Vec<(String, Vec<Result>)>,
    /// The entrant that ratios are taken to, for each of them.
    references: Vec<Option<usize>>,
}

impl Sheet {
    /// Without any rounds yet.
    pub(super) fn new(row: Row, scale: Scale, entrants: &[String], references: &[Option<usize>]) -> Self {
        let entrants = entrants.iter().map(|name| (name.clone(), Vec::new())).collect();
        Self { row, scale, entrants, references: references.to_vec() }
    }

    /// Adds what entrant number `entrant` has given in the current round.
    pub(super) fn record(&mut self, entrant: usize, result: Result) {
        self.entrants[entrant].1.push(result);
    }

    /// Measurements that could not be taken.
    pub(super) fn failures(&self) -> usize {
        let results = self.entrants.iter().flat_map(|(_, results)| results);
        results.filter(|result| matches!(result, Result::Failed(_))).count()
    }

    /// What entrant number `entrant` is compared with.
    fn reference(&self, entrant: usize) -> Option<&[Result]> {
        let at = self.references.get(entrant).copied().flatten()?;
        self.entrants.get(at).map(|(_, results)| results.as_slice())
    }

    fn text(&self, words: &Words) -> String {
        let metrics: Vec<&Metric> = self.row.metrics().iter().filter(|metric| self.has(metric.key)).collect();
        let mut headings = vec![words.one.to_owned()];
        headings.extend(metrics.iter().map(|metric| metric.heading.to_owned()));
        let compared = || metrics.iter().filter_map(|metric| Some((metric, metric.ratio?)));
        if self.references.iter().any(Option::is_some) {
            headings.extend(compared().map(|(_, heading)| format!("{heading} ratio")));
        }
        let mut rows = vec![headings];
        for (at, (name, results)) in self.entrants.iter().enumerate() {
            let mut row = vec![name.clone()];
            row.extend(metrics.iter().map(|metric| median_cell(results, metric)));
            if let Some(reference) = self.reference(at).filter(|_| self.references[at] != Some(at)) {
                let ratios = |metric: &Metric| words.ratios(reference, results, metric.key);
                row.extend(compared().map(|(metric, _)| ratio_cell(&ratios(metric))));
            }
            rows.push(row);
        }
        format!(
            "{}\n{}{}\n",
            self.row.title(self.scale.idle_sessions),
            table::align(&rows),
            self.failure_lines()
        )
    }

    fn has(&self, key: &str) -> bool {
        self.entrants.iter().any(|(_, results)| series(results, key).iter().any(Option::is_some))
    }

    fn failure_lines(&self) -> String {
        let mut lines = String::new();
        for (name, results) in &self.entrants {
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

    fn json(&self, words: &Words) -> Value {
        let entrants = self.entrants.iter().enumerate();
        let entrants =
            entrants.map(|(at, (name, results))| entrant_json(words, name, results, self.reference(at)));
        json!({
            "row": self.row.name(),
            "title": self.row.title(self.scale.idle_sessions),
            "work": self.row.work(self.scale.idle_sessions),
            words.all: entrants.collect::<Vec<_>>(),
        })
    }
}

/// A whole run.
#[derive(Debug)]
pub(super) struct Report {
    /// Where it was.
    pub(super) machine: Machine,
    /// Each entrant's name and what it is.
    pub(super) entrants: Vec<(String, String)>,
    /// How much was done.
    pub(super) scale: Scale,
    /// How it is called.
    pub(super) words: Words,
    /// The rows.
    pub(super) sheets: Vec<Sheet>,
}

impl Report {
    /// For people.
    pub(super) fn text(&self) -> String {
        let scale = &self.scale;
        let mut text = format!("\n{}\n", self.machine.line());
        for (name, about) in &self.entrants {
            text.push_str(&format!("  {name}: {about}\n"));
        }
        text.push_str(&format!(
            "Medians of {} rounds of {} s each. {}, taken within each round: the median (lowest-highest).\n\n",
            scale.rounds,
            scale.measure.as_secs_f64(),
            self.words.about_ratios
        ));
        self.sheets.iter().for_each(|sheet| text.push_str(&sheet.text(&self.words)));
        text
    }

    /// For everything else.
    pub(super) fn json(&self) -> io::Result<String> {
        let entrants: BTreeMap<&str, &str> =
            self.entrants.iter().map(|(name, about)| (name.as_str(), about.as_str())).collect();
        let rows: Vec<Value> = self.sheets.iter().map(|sheet| sheet.json(&self.words)).collect();
        let settings = json!({
            "rounds": self.scale.rounds,
            "warm_up_seconds": self.scale.warm_up.as_secs_f64(),
            "measure_seconds": self.scale.measure.as_secs_f64(),
            "idle_sessions": self.scale.idle_sessions,
        });
        let report =
            json!({ "machine": self.machine, self.words.all: entrants, "settings": settings, "rows": rows });
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

fn entrant_json(words: &Words, name: &str, results: &[Result], reference: Option<&[Result]>) -> Value {
    let keys: BTreeSet<&str> = results.iter().filter_map(figures).flat_map(Figures::keys).copied().collect();
    let medians = keys.iter().map(|key| (*key, stats::median(&present(results, key))));
    let ratio = |key: &str| stats::median(&words.ratios(reference?, results, key));
    let ratios = keys.iter().map(|key| (*key, ratio(key)));
    json!({
        words.one: name,
        "median": medians.collect::<BTreeMap<_, _>>(),
        words.ratios: ratios.collect::<BTreeMap<_, _>>(),
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

fn ratio_cell(ratios: &[f64]) -> String {
    match ratios {
        [] => NONE.to_owned(),
        [only] => number(*only, 2),
        ratios => table::ratio(ratios, 2).unwrap_or_default(),
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

    const WORDS: Words = Words::OF_PEERS;

    fn upgrades(rate: f64, cpu: Option<f64>) -> Result {
        let mut figures = Figures::from([("upgrades_per_second", rate)]);
        figures.extend(cpu.map(|cpu| ("cpu_us_per_upgrade", cpu)));
        Result::Figures(figures)
    }

    fn sheet() -> Sheet {
        let names = ["steadfast", "haproxy", "direct"].map(str::to_owned);
        let mut sheet = Sheet::new(Row::Upgrades, SCALE, &names, &[Some(0); 3]);
        for (rate, cpu) in [(1_000.0, 10.0), (3_000.0, 40.0), (2_000.0, 20.0)] {
            sheet.record(0, upgrades(rate, Some(cpu)));
            sheet.record(1, upgrades(2_000.0, Some(20.0)));
            sheet.record(2, upgrades(8_000.0, None));
        }
        sheet
    }

    #[test]
    fn the_table_shows_medians_and_ratios() {
        let text = sheet().text(&WORDS);
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
        assert!(sheet.text(&WORDS).contains("steadfast FAILED in 1 of 4: it broke"));
        let json = sheet.json(&WORDS);
        assert_eq!(json["peers"][0]["median"]["cpu_us_per_upgrade"], 20.0);
        assert_eq!(json["peers"][1]["steadfast_to_peer"]["cpu_us_per_upgrade"], 1.0);
        assert_eq!(json["peers"][0]["rounds"][3]["failed"], "it broke");
        assert_eq!(json["peers"][2]["rounds"][3], Value::Null);
    }

    #[test]
    fn a_ratio_can_be_to_the_reference_and_two_may_have_one_name() {
        let names = ["plain", "service", "plain"].map(str::to_owned);
        let mut sheet = Sheet::new(Row::Upgrades, SCALE, &names, &[Some(0); 3]);
        for (entrant, rate) in [1_000.0, 3_000.0, 500.0].into_iter().enumerate() {
            sheet.record(entrant, upgrades(rate, None));
        }
        let words =
            Words { one: "variant", all: "variants", ratios: "to_plain", reference_first: false, ..WORDS };
        let json = sheet.json(&words);
        for (entrant, ratio) in [1.0, 3.0, 0.5].into_iter().enumerate() {
            assert_eq!(json["variants"][entrant]["variant"], names[entrant]);
            assert_eq!(json["variants"][entrant]["to_plain"]["upgrades_per_second"], ratio);
        }
        let text = sheet.text(&words);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!(
            lines[2..5],
            [
                "plain         1,000",
                "service       3,000              3.00",
                "plain           500              0.50"
            ]
        );
    }
}
