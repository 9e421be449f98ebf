//! What the reports of other runs have for each chart.

use serde_json::Value;

use super::Kind;
use super::chart::{Chart, Series};
use crate::stats;
use crate::table::number;

/// The names of peers, as charts call them. What has no cost of its own is in none.
const PEERS: [(&str, &str); 3] = [("steadfast", "Steadfast"), ("haproxy", "HAProxy"), ("nginx", "nginx")];
/// Figures are kept with so many digits.
const DIGITS: i32 = 4;

/// Whether it is a report with figures for charts.
pub(super) fn is_known(report: &Value) -> bool {
    report["rows"].is_array() || report["rounds"].is_array()
}

/// The chart of all figures that the reports have for it. `None` when they have none.
pub(super) fn chart(kind: Kind, reports: &[Value]) -> Option<Chart> {
    let with: Vec<(&Value, Vec<Series>)> = reports
        .iter()
        .map(|report| (report, series(kind, report)))
        .filter(|(_, series)| series.iter().any(|series| !series.is_empty()))
        .collect();
    let about = about(with.first()?.0);
    let series = with.into_iter().flat_map(|(_, series)| series).filter(|series| !series.is_empty());
    Some(Chart { about, series: series.collect() })
}

fn series(kind: Kind, report: &Value) -> Vec<Series> {
    match kind {
        Kind::Cpu => by_peer(report, |row, peer| {
            let load = &row["work"]["load"];
            let one = load["depth"] == 1;
            point(&load["payload"], &peer["median"]["cpu_us_per_message"])
                .filter(|_| one)
                .into_iter()
                .collect()
        }),
        Kind::Memory => by_peer(report, memory),
        Kind::Crowd => by_peer(report, |row, peer| {
            let sessions = &row["work"]["crowd"]["sessions"];
            point(sessions, &peer["median"]["cpu_us_per_message"]).into_iter().collect()
        }),
        Kind::Pauses => pauses(report),
    }
}

/// The machine of a report, on one line.
fn about(report: &Value) -> String {
    let machine = &report["machine"];
    let text = |key: &str| machine[key].as_str().unwrap_or("unknown").to_owned();
    format!("{}, {} cores, Linux {}", text("cpu"), machine["cores"], text("kernel"))
}

/// A curve for each peer, of the points that it has in each row, ordered by their first coordinate. Points at the same
/// place, as of memory without sessions, are one.
fn by_peer(report: &Value, points: impl Fn(&Value, &Value) -> Vec<(f64, f64)>) -> Vec<Series> {
    let curve = |(name, title): &(&str, &str)| {
        let mut all = Vec::new();
        for row in list(&report["rows"]) {
            let own = list(&row["peers"]).filter(|peer| peer["peer"] == *name);
            all.extend(own.flat_map(|peer| points(row, peer)));
        }
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        all.dedup_by_key(|point| point.0);
        Series { name: (*title).to_owned(), points: all }
    };
    PEERS.iter().map(curve).collect()
}

/// MB without sessions and with the row's, when each has exchanged a message.
fn memory(row: &Value, peer: &Value) -> Vec<(f64, f64)> {
    let figure = |key: &str| peer["median"][key].as_f64();
    let sessions = row["work"]["idle"]["sessions"].as_f64();
    let (Some(sessions), Some(before), Some(each)) =
        (sessions, figure("kb_before"), figure("kb_per_used_session"))
    else {
        return Vec::new();
    };
    let mb = |kb: f64| rounded(kb / 1_024.0);
    vec![(0.0, mb(before)), (sessions, mb(before + sessions * each))]
}

/// Percent of the sessions by ms, of the pauses and of bare dials: medians over the rounds.
fn pauses(report: &Value) -> Vec<Series> {
    let settings = &report["settings"];
    let Some(sessions) = settings["sessions"].as_f64() else { return Vec::new() };
    let event = if settings.get("drain").is_some() { "drain" } else { "failover" };
    let curve = |(what, pointer): (&str, &str)| {
        let rounds: Vec<Vec<f64>> = list(&report["rounds"])
            .filter_map(|round| round.pointer(pointer))
            .map(|curve| list(curve).filter_map(Value::as_f64).collect())
            .collect();
        let at = |percent: usize| {
            let times: Vec<f64> = rounds.iter().filter_map(|curve| curve.get(percent).copied()).collect();
            Some((rounded(stats::median(&times)?), percent as f64))
        };
        let name = format!("{} sessions, {what}", number(sessions, 0));
        Series { name, points: (0..=100).filter_map(at).collect() }
    };
    [(event, "/moved_percentiles_ms"), ("bare dials", "/floor/percentiles_ms")].map(curve).into()
}

fn point(x: &Value, y: &Value) -> Option<(f64, f64)> {
    Some((x.as_f64()?, rounded(y.as_f64()?)))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// What lies beyond the fourth digit is noise, and would make the files large.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let digits = DIGITS - 1 - value.abs().log10().floor() as i32;
    format!("{value:.*}", usize::try_from(digits).unwrap_or(0)).parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn machine() -> Value {
        json!({ "cpu": "Some CPU", "cores": 2, "kernel": "6.18" })
    }

    fn relay() -> Value {
        let load = |payload: u64, depth: u64| json!({ "load": { "connections": 64, "depth": depth, "payload": payload } });
        let cpu = |cpu: f64| json!({ "cpu_us_per_message": cpu });
        let row = |work: Value, ours: Value, theirs: Value| {
            json!({ "work": work, "peers": [
                { "peer": "steadfast", "median": ours }, { "peer": "haproxy", "median": theirs },
                { "peer": "direct", "median": {} },
            ] })
        };
        let memory = |each: f64| json!({ "kb_before": 1_024.0, "kb_per_used_session": each });
        json!({ "machine": machine(), "rows": [
            row(load(4_096, 1), cpu(8.694_321), cpu(9.16)),
            row(load(64, 1), cpu(7.05), cpu(7.34)),
            row(load(64, 16), cpu(0.48), cpu(0.47)),
            row(json!({ "idle": { "sessions": 1_024 } }), memory(2.0), memory(4.0)),
            row(json!({ "idle": { "sessions": 512 } }), memory(2.0), memory(4.0)),
            row(json!({ "crowd": { "sessions": 100 } }), cpu(20.0), json!({})),
        ] })
    }

    fn names(chart: &Chart) -> Vec<&str> {
        chart.series.iter().map(|series| &*series.name).collect()
    }

    #[test]
    fn messages_by_size_are_those_with_one_in_flight() {
        let chart = chart(Kind::Cpu, &[relay()]).unwrap();
        assert_eq!(names(&chart), ["Steadfast", "HAProxy"], "who has no cost has no curve");
        assert_eq!(chart.series[0].points, [(64.0, 7.05), (4_096.0, 8.694)]);
        assert_eq!(chart.about, "Some CPU, 2 cores, Linux 6.18");
    }

    #[test]
    fn memory_begins_without_sessions() {
        let chart = chart(Kind::Memory, &[relay()]).unwrap();
        assert_eq!(chart.series[0].points, [(0.0, 1.0), (512.0, 2.0), (1_024.0, 3.0)]);
        assert_eq!(chart.series[1].points, [(0.0, 1.0), (512.0, 3.0), (1_024.0, 5.0)]);
    }

    #[test]
    fn a_crowd_has_a_chart_of_its_own() {
        let chart = chart(Kind::Crowd, &[relay()]).unwrap();
        assert_eq!((names(&chart), &*chart.series[0].points), (vec!["Steadfast"], &[(100.0, 20.0)][..]));
    }

    #[test]
    fn pauses_of_several_reports_stand_beside_each_other() {
        let curve = |add: f64| (0..=100).map(|at| f64::from(at) + add).collect::<Vec<_>>();
        let failover = |sessions: u64| {
            json!({ "machine": machine(), "settings": { "sessions": sessions }, "rounds": [
                { "moved_percentiles_ms": curve(1.0), "floor": { "percentiles_ms": curve(0.0) } },
                { "moved_percentiles_ms": curve(5.0), "floor": null },
                { "moved_percentiles_ms": curve(2.0), "floor": null },
            ] })
        };
        let chart = chart(Kind::Pauses, &[failover(200), relay(), failover(1_000)]).unwrap();
        let expected = ["200 sessions, failover", "200 sessions, bare dials", "1,000 sessions, failover"];
        assert_eq!(names(&chart)[..3], expected);
        assert_eq!(chart.series[0].points[99], (101.0, 99.0), "the median over the rounds");
        assert_eq!(chart.series[1].points[99], (99.0, 99.0));
    }

    #[test]
    fn without_figures_there_is_no_chart() {
        assert_eq!(chart(Kind::Pauses, &[relay()]), None);
        assert_eq!(chart(Kind::Cpu, &[]), None);
        assert!(is_known(&relay()) && !is_known(&json!({ "lines": [] })));
    }

    #[test]
    fn figures_have_four_digits() {
        assert_eq!([163.044_4, 0.048_127, 12_345.6, 0.0].map(rounded), [163.0, 0.048_13, 12_346.0, 0.0]);
    }
}
