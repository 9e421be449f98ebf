//! `floods`: what a neighbour notices while somebody else takes as much of the broker as it gets. Each broker has one
//! worker, so that the two share it.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::client::flood::{self, Flood, Target};
use crate::client::watch;
use crate::machine::Machine;
use crate::peers::{Annex, Peer, Running, steadfast};
use crate::process::Process;
use crate::stats;
use crate::table::{self, number};

/// How long a process may take to listen.
const START_TIME_MAX: Duration = Duration::from_secs(10);
/// How long one may take to end, beyond what it measures.
const END_TIME_MAX: Duration = Duration::from_secs(60);
/// Milliseconds for which both run before anything is counted.
const WARM_UP: u64 = 500;

/// All floods, as on the command line.
const ALL: &str = "pings,tiny,large,deaf,open,backend-pings,admin,half-open,mute";

/// The arguments of `floods`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Only these floods.
    #[arg(long, value_enum, value_delimiter = ',', default_value = ALL)]
    floods: Vec<Flood>,
    /// Connections that flood; 1 to 1,100 by default, as the flood is.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    attackers: Option<u32>,
    /// Connections of the neighbour, each with one message of 64 bytes in flight. More than one may share their backend
    /// with the attacker.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    neighbours: u32,
    /// Steadfast's executable; built beside this one by default.
    #[arg(long, visible_alias = "broker", value_name = "PATH")]
    steadfast: Option<PathBuf>,
    /// Another executable of Steadfast's, which the first one is compared with.
    #[arg(long, value_name = "PATH")]
    beside: Option<PathBuf>,
    /// Rounds; figures are medians over them.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Seconds that are counted of each.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// One more argument of `steadfast serve`; repeatable, as in --serve-args=--ack=none.
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    serve_args: Vec<String>,
    /// Also write everything as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What one measurement brought.
#[derive(Debug, Clone)]
struct Sample {
    neighbour: watch::Figures,
    /// MB a second that were taken from the flood; `None`: there was none.
    taken: Option<f64>,
}

/// What a neighbour does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
enum Neighbour {
    /// It has a session, and one message in flight.
    Talks,
    /// It opens a session, gets one answer and leaves, again and again.
    Comes,
}

impl Neighbour {
    fn name(self) -> &'static str {
        match self {
            Self::Talks => "talks",
            Self::Comes => "comes",
        }
    }
}

/// Who is measured beside what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Case {
    neighbour: Neighbour,
    flood: Option<Flood>,
}

impl Case {
    fn beside(flood: Flood) -> Self {
        let neighbour = if flood.is_for_newcomers() { Neighbour::Comes } else { Neighbour::Talks };
        Self { neighbour, flood: Some(flood) }
    }

    /// All that these floods take: first those without any, for each kind of neighbour.
    fn all(floods: &[Flood]) -> Vec<Self> {
        let with: Vec<Self> = floods.iter().copied().map(Self::beside).collect();
        let is_there = |kind: &Neighbour| with.iter().any(|case| case.neighbour == *kind);
        let kinds = [Neighbour::Talks, Neighbour::Comes].into_iter().filter(is_there);
        kinds.map(|neighbour| Self { neighbour, flood: None }).chain(with.iter().copied()).collect()
    }

    fn flood_name(self) -> &'static str {
        self.flood.map_or("none", Flood::name)
    }
}

/// One broker in one case.
#[derive(Debug)]
struct Line {
    case: Case,
    peer: String,
    rounds: Vec<Sample>,
}

impl Line {
    fn p99s(&self) -> Vec<f64> {
        self.rounds.iter().map(|sample| sample.neighbour.p99_us).collect()
    }
}

/// Measures, and prints the report. Says how many lines are missing, which is none: the first failure ends it.
pub(crate) async fn run(options: Options) -> io::Result<usize> {
    let ground = Ground::new(options).await?;
    let mut lines = Vec::new();
    for case in Case::all(&ground.options.floods) {
        lines.extend(ground.lines(case).await?);
    }
    println!("{}\n", ground.machine.line());
    print!("{}", text(&lines));
    if let Some(file) = &ground.options.json {
        let report = json!({ "machine": ground.machine, "lines": report(&lines) });
        fs::write(file, serde_json::to_string_pretty(&report)? + "\n")?;
    }
    Ok(0)
}

/// What all measurements have in common.
struct Ground {
    options: Options,
    machine: Machine,
    folder: TempDir,
    brokers: Vec<(String, Running)>,
    _backends: Vec<Process>,
}

impl Ground {
    async fn new(options: Options) -> io::Result<Self> {
        let machine = Machine::read();
        let folder = tempfile::Builder::new().prefix("steadfast-bench-").tempdir()?;
        // One for the attacker and one for the neighbour: a broker that passes the flood on shall not be blamed for what it
        // does to a backend.
        let (mut backends, mut addresses) = (Vec::new(), Vec::new());
        for (name, flag) in [
            ("backend-a", None),
            ("backend-b", None),
            ("backend-pings", Some("--pings")),
            ("backend-mute", Some("--mute")),
        ] {
            let arguments = ["backend"].into_iter().chain(flag).map(Into::into).collect();
            let mut backend = Process::start_own(folder.path(), name, arguments)?;
            addresses.push(backend.listening_line(START_TIME_MAX).await?);
            backends.push(backend);
        }
        let annex = Annex { backends: addresses.split_off(2) };
        let mut brokers = Vec::new();
        for (name, peer) in peers(&options).await? {
            let running = peer.start_with(folder.path(), &name, &addresses, &annex).await?;
            brokers.push((name, running));
        }
        Ok(Self { options, machine, folder, brokers, _backends: backends })
    }

    async fn lines(&self, case: Case) -> io::Result<Vec<Line>> {
        let line = |(name, _): &(String, Running)| Line { case, peer: name.clone(), rounds: Vec::new() };
        let mut lines: Vec<_> = self.brokers.iter().map(line).collect();
        let rounds = self.options.rounds as usize;
        for round in 0..rounds {
            // Each is first in its turn.
            for turn in 0..self.brokers.len() {
                let at = (round + turn) % self.brokers.len();
                let (name, broker) = &self.brokers[at];
                let what = format!(
                    "{name}, a neighbour that {}, flood: {}",
                    case.neighbour.name(),
                    case.flood_name()
                );
                eprintln!("{what}: round {} of {rounds}", round + 1);
                let sample = self.sample(case, broker).await;
                let context = |error| io::Error::other(format!("{what}: {error}"));
                lines[at].rounds.push(sample.map_err(context)?);
            }
        }
        Ok(lines)
    }

    async fn sample(&self, case: Case, broker: &Running) -> io::Result<Sample> {
        let measured = self.options.seconds * 1_000;
        let attacker = case.flood.map(|flood| self.attack(flood, broker)).transpose()?;
        let mut flags = vec![
            format!("--address={}", broker.address()),
            "--payload=64".to_owned(),
            format!("--warm-up={WARM_UP}"),
            format!("--measure={measured}"),
        ];
        let measure = match case.neighbour {
            Neighbour::Comes => "newcomers",
            Neighbour::Talks => {
                flags.extend([format!("--connections={}", self.options.neighbours), "--depth=1".to_owned()]);
                "load"
            }
        };
        let neighbour = Process::start_own(self.folder.path(), "neighbour", arguments(measure, &flags))?;
        let limit = Duration::from_millis(measured) + END_TIME_MAX;
        let neighbour = serde_json::from_str(&neighbour.finish(limit).await?)?;
        let taken = match attacker {
            Some(attacker) => {
                let figures: flood::Figures = serde_json::from_str(&attacker.finish(limit).await?)?;
                Some(figures.bytes as f64 / 1e6 / figures.seconds)
            }
            None => None,
        };
        Ok(Sample { neighbour, taken })
    }

    /// Begins a flood, which outlasts what is measured beside it.
    fn attack(&self, flood: Flood, broker: &Running) -> io::Result<Process> {
        let annex = broker.annex().ok_or_else(|| io::Error::other("a broker without its annex"))?;
        let address = match flood.target() {
            Target::Clients => broker.address(),
            Target::PingingPool => annex.pools[0],
            Target::MutePool => annex.pools[1],
            Target::Admin => annex.admin,
        };
        let flags = [
            format!("--address={address}"),
            format!("--flood={}", flood.name()),
            format!("--connections={}", self.options.attackers.unwrap_or(flood.connections())),
            format!("--last={}", self.options.seconds * 1_000 + 2 * WARM_UP),
        ];
        Process::start_own(self.folder.path(), "attacker", arguments("flood", &flags))
    }
}

/// The brokers of this run. One that is not installed is left out, loudly.
async fn peers(options: &Options) -> io::Result<Vec<(String, Peer)>> {
    let ours = steadfast::locate(options.steadfast.as_deref()).await?;
    let mut peers = vec![("steadfast".to_owned(), Peer::Steadfast(ours, options.serve_args.clone()))];
    if options.beside.is_some() {
        let beside = steadfast::locate(options.beside.as_deref()).await?;
        peers.push(("beside".to_owned(), Peer::Steadfast(beside, options.serve_args.clone())));
    }
    for (name, peer) in [("haproxy", Peer::haproxy(1)), ("nginx", Peer::nginx(1))] {
        match peer {
            Some(peer) => peers.push((name.to_owned(), peer)),
            None => eprintln!("SKIPPED: {name} is not installed, so nothing is compared with it"),
        }
    }
    Ok(peers)
}

fn arguments(measure: &str, flags: &[String]) -> Vec<OsString> {
    ["client", measure].iter().map(OsString::from).chain(flags.iter().map(OsString::from)).collect()
}

/// Steadfast's 99th percentile divided by the peer's in the same case, round by round.
fn ratios(lines: &[Line], line: &Line) -> Vec<f64> {
    let ours = lines.iter().find(|own| own.peer == "steadfast" && own.case == line.case);
    let some = |values: Vec<f64>| values.into_iter().map(Some).collect::<Vec<_>>();
    match ours.filter(|ours| ours.peer != line.peer) {
        Some(ours) => stats::ratios(&some(ours.p99s()), &some(line.p99s())),
        None => Vec::new(),
    }
}

fn text(lines: &[Line]) -> String {
    let headings = [
        "neighbour",
        "flood",
        "broker",
        "taken MB/s",
        "p50 ms",
        "p99 ms",
        "max ms",
        "answers/s",
        "p99 of Steadfast to it",
    ];
    let mut rows: Vec<Vec<String>> = vec![headings.map(str::to_owned).to_vec()];
    for line in lines {
        let median = |of: fn(&Sample) -> Option<f64>| {
            stats::median(&line.rounds.iter().filter_map(of).collect::<Vec<_>>())
        };
        let cell = |value: Option<f64>, decimals| value.map_or_else(String::new, |v| number(v, decimals));
        rows.push(vec![
            line.case.neighbour.name().to_owned(),
            line.case.flood_name().to_owned(),
            line.peer.clone(),
            cell(median(|sample| sample.taken), 1),
            cell(median(|sample| Some(sample.neighbour.p50_us / 1e3)), 2),
            cell(median(|sample| Some(sample.neighbour.p99_us / 1e3)), 2),
            cell(median(|sample| Some(sample.neighbour.max_us / 1e3)), 2),
            cell(median(|sample| Some(sample.neighbour.messages as f64 / sample.neighbour.seconds)), 0),
            table::ratio(&ratios(lines, line), 2).unwrap_or_default(),
        ]);
    }
    table::align(&rows)
}

fn report(lines: &[Line]) -> serde_json::Value {
    let lines = lines.iter().map(|line| {
        let rounds = line.rounds.iter().map(
            |sample| json!({ "neighbour": sample.neighbour, "taken_megabytes_per_second": sample.taken }),
        );
        json!({
            "neighbour": line.case.neighbour,
            "flood": line.case.flood.map(Flood::name),
            "broker": line.peer,
            "p99_ms": stats::median(&line.p99s()).map(|us| us / 1e3),
            "p99_ratios": ratios(lines, line),
            "rounds": rounds.collect::<Vec<_>>(),
        })
    });
    lines.collect::<Vec<_>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(flood: Option<Flood>, peer: &str, p99s: &[f64]) -> Line {
        let case = Case { neighbour: Neighbour::Talks, flood };
        let sample = |p99_us: &f64| Sample {
            neighbour: watch::Figures {
                seconds: 2.0,
                messages: 100,
                p50_us: 1.0,
                p99_us: *p99_us,
                max_us: 9.0,
                peer_cpu_ns: 0,
                backend_cpu_ns: 0,
                client_cpu_ns: 0,
                system_calls: None,
            },
            taken: flood.map(|_| 7.0),
        };
        Line { case, peer: peer.to_owned(), rounds: p99s.iter().map(sample).collect() }
    }

    #[test]
    fn each_flood_has_its_neighbour_and_that_one_is_also_measured_without() {
        let floods = <Flood as clap::ValueEnum>::value_variants();
        assert_eq!(ALL.split(',').count(), floods.len());
        let cases = Case::all(floods);
        assert_eq!(cases.len(), floods.len() + 2);
        let alone = |neighbour| Case { neighbour, flood: None };
        assert_eq!(cases[..2], [alone(Neighbour::Talks), alone(Neighbour::Comes)]);
        assert_eq!(Case::all(&[Flood::Mute]), [alone(Neighbour::Comes), Case::beside(Flood::Mute)]);
    }

    #[test]
    fn a_ratio_is_to_steadfast_under_the_same_flood() {
        let lines = [
            line(None, "steadfast", &[1.0, 1.0]),
            line(Some(Flood::Pings), "steadfast", &[3000.0, 1000.0]),
            line(Some(Flood::Pings), "haproxy", &[1000.0, 2000.0]),
            line(Some(Flood::Tiny), "nginx", &[5.0, 5.0]),
        ];
        assert_eq!(ratios(&lines, &lines[2]), [3.0, 0.5]);
        assert!(ratios(&lines, &lines[1]).is_empty() && ratios(&lines, &lines[3]).is_empty());
        let table = text(&lines);
        let cells: Vec<&str> = table.lines().nth(3).unwrap().split_whitespace().collect();
        assert_eq!(cells[..3], ["talks", "pings", "haproxy"]);
        assert_eq!(cells[8..], ["1.75", "(0.50-3.00)"]);
    }
}
