//! `paths`: how much one session carries to a backend that is far away. The path is a proxy that keeps
//! every byte for a while, each way.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::client::stream::Figures;
use crate::machine::Machine;
use crate::peers::{Peer, steadfast};
use crate::process::Process;
use crate::stats;
use crate::table::{self, number};
use crate::tls::Tls;

pub(crate) mod proxy;

/// How long a process may take to listen.
const START_TIME_MAX: Duration = Duration::from_secs(10);
/// Bytes of a message.
const PAYLOAD: usize = 8 * 1024;
/// The client holds all of it in memory.
const MEGABYTES_MAX: f64 = 1_000.0;

/// The arguments of `paths`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Milliseconds that every byte takes between broker and backend, each way.
    #[arg(long, value_name = "MS", value_delimiter = ',', default_value = "20,100",
        value_parser = clap::value_parser!(u64).range(..=10_000))]
    delays: Vec<u64>,
    /// MB that the client sends, in messages of 8 KiB.
    #[arg(long, value_name = "MB", default_value_t = 80.0, value_parser = megabytes)]
    megabytes: f64,
    /// MB that may be on the path at once, each way: no more than these per delay can come through.
    #[arg(long, value_name = "MB", default_value_t = 32, value_parser = proxy::in_flight())]
    in_flight: u32,
    /// Steadfast's executable; built beside this one by default.
    #[arg(long, visible_alias = "broker", value_name = "PATH")]
    steadfast: Option<PathBuf>,
    /// Another executable of Steadfast's, which the first one is compared with.
    #[arg(long, value_name = "PATH")]
    beside: Option<PathBuf>,
    /// Rounds; figures are medians over them.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds that one transfer may take, its handshake included. One that takes longer ends the run.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    time_limit: u64,
    /// One more argument of `steadfast serve`; repeatable, as in --serve-args=--ack=none.
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    serve_args: Vec<String>,
    /// Also write everything as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Options {
    fn messages(&self) -> usize {
        ((self.megabytes * 1e6 / PAYLOAD as f64).ceil() as usize).max(1)
    }
}

fn megabytes(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|error| format!("{error}"))?;
    let sensible = value > 0.0 && value <= MEGABYTES_MAX;
    sensible.then_some(value).ok_or_else(|| format!("expected a number above 0 and up to {MEGABYTES_MAX}"))
}

/// What the session goes through, besides the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Through {
    Nothing,
    Steadfast,
    Beside,
}

impl Through {
    fn name(self) -> &'static str {
        match self {
            Self::Nothing => "no broker",
            Self::Steadfast => "steadfast",
            Self::Beside => "beside",
        }
    }
}

/// One delay's result.
#[derive(Debug)]
struct Line {
    /// Milliseconds each way.
    delay: u64,
    /// Bytes in each round.
    bytes: usize,
    /// Seconds, round by round.
    seconds: Vec<(Through, Vec<f64>)>,
}

impl Line {
    /// MB a second, round by round.
    fn rates(&self, through: Through) -> Vec<f64> {
        let measured = self.seconds.iter().filter(|(measured, _)| *measured == through);
        measured.flat_map(|(_, rounds)| rounds).map(|seconds| self.bytes as f64 / 1e6 / seconds).collect()
    }

    /// Steadfast's MB a second divided by those of the one beside, round by round.
    fn ratios(&self) -> Vec<f64> {
        let some = |through| self.rates(through).into_iter().map(Some).collect::<Vec<_>>();
        stats::ratios(&some(Through::Steadfast), &some(Through::Beside))
    }
}

/// Measures, and prints the report. Says how many lines are missing, which is none: the first failure
/// ends it.
pub(crate) async fn run(options: Options) -> io::Result<usize> {
    let machine = Machine::read();
    let ground = Ground::new(options).await?;
    let mut lines = Vec::new();
    for delay in &ground.options.delays {
        lines.push(ground.line(*delay).await?);
    }
    println!("{}\n", machine.line());
    print!("{}", text(&lines));
    if let Some(file) = &ground.options.json {
        let report = json!({ "machine": machine, "lines": report(&lines) });
        fs::write(file, serde_json::to_string_pretty(&report)? + "\n")?;
    }
    Ok(0)
}

/// What all transfers have in common.
#[derive(Debug)]
struct Ground {
    options: Options,
    entrants: Vec<(Through, Peer)>,
    folder: TempDir,
    backend: SocketAddr,
    _backend: Process,
}

impl Ground {
    async fn new(options: Options) -> io::Result<Self> {
        let ours = steadfast::locate(options.steadfast.as_deref()).await?;
        let peer = |program| Peer::Steadfast(program, options.serve_args.clone());
        let mut entrants = vec![(Through::Nothing, Peer::Direct), (Through::Steadfast, peer(ours))];
        if options.beside.is_some() {
            let beside = steadfast::locate(options.beside.as_deref()).await?;
            entrants.push((Through::Beside, peer(beside)));
        }
        let folder = tempfile::Builder::new().prefix("steadfast-bench-").tempdir()?;
        let arguments = vec!["backend".into(), "--count".into()];
        let mut process = Process::start_own(folder.path(), "backend", arguments)?;
        let backend = process.listening_line(START_TIME_MAX).await?;
        Ok(Self { options, entrants, folder, backend, _backend: process })
    }

    async fn line(&self, delay: u64) -> io::Result<Line> {
        let mut seconds: Vec<_> = self.entrants.iter().map(|(through, _)| (*through, Vec::new())).collect();
        let rounds = self.options.rounds as usize;
        for round in 0..rounds {
            // Each is first in its turn.
            for turn in 0..self.entrants.len() {
                let at = (round + turn) % self.entrants.len();
                let (through, peer) = &self.entrants[at];
                let what = format!("{}, {delay} ms each way", through.name());
                eprintln!("{what}: round {} of {rounds}", round + 1);
                let took = self.transfer(delay, peer).await;
                let context = |error| io::Error::other(format!("{what}: {error}"));
                seconds[at].1.push(took.map_err(context)?);
            }
        }
        Ok(Line { delay, bytes: self.options.messages() * PAYLOAD, seconds })
    }

    /// The seconds of one transfer, on a path of its own.
    async fn transfer(&self, delay: u64, peer: &Peer) -> io::Result<f64> {
        let (folder, options) = (self.folder.path(), &self.options);
        let path = [
            format!("--target={}", self.backend),
            format!("--delay={delay}"),
            format!("--in-flight={}", options.in_flight),
        ];
        let mut path = Process::start_own(folder, "proxy", arguments(&["proxy"], &path))?;
        let far = path.listening_line(START_TIME_MAX).await?;
        let broker = peer.start(folder, "broker", &[far], Tls::default()).await?;
        let stream = [
            format!("--address={}", broker.address()),
            format!("--payload={PAYLOAD}"),
            format!("--messages={}", options.messages()),
        ];
        let client = Process::start_own(folder, "client", arguments(&["client", "stream"], &stream))?;
        let output = client.finish(Duration::from_secs(options.time_limit)).await?;
        Ok(serde_json::from_str::<Figures>(&output)?.seconds)
    }
}

fn arguments(words: &[&str], flags: &[String]) -> Vec<OsString> {
    words.iter().map(OsString::from).chain(flags.iter().map(OsString::from)).collect()
}

fn text(lines: &[Line]) -> String {
    let mut headings = vec!["path", "through", "seconds", "MB/s", "lowest", "highest"];
    if lines.iter().any(|line| !line.ratios().is_empty()) {
        headings.push("ratio to beside");
    }
    let mut rows: Vec<Vec<String>> = vec![headings.into_iter().map(str::to_owned).collect()];
    for line in lines {
        for (through, seconds) in &line.seconds {
            let rates = line.rates(*through);
            let cell = |value: Option<f64>, decimals| value.map_or_else(String::new, |v| number(v, decimals));
            let mut cells = vec![format!("{} ms each way", line.delay), through.name().to_owned()];
            cells.push(cell(stats::median(seconds), 3));
            cells.push(cell(stats::median(&rates), 1));
            cells.extend([0.0, 1.0].map(|quantile| cell(stats::quantile(&rates, quantile), 1)));
            if *through == Through::Steadfast {
                cells.extend(table::ratio(&line.ratios(), 2));
            }
            rows.push(cells);
        }
    }
    table::align(&rows)
}

fn report(lines: &[Line]) -> serde_json::Value {
    let lines = lines.iter().map(|line| {
        let entrants = line.seconds.iter().map(|(through, seconds)| {
            json!({
                "through": through.name(),
                "seconds": stats::median(seconds),
                "megabytes_per_second": stats::median(&line.rates(*through)),
                "rounds": seconds,
            })
        });
        json!({
            "delay_ms": line.delay,
            "bytes": line.bytes,
            "entrants": entrants.collect::<Vec<_>>(),
            "ratio": stats::median(&line.ratios()),
            "ratios": line.ratios(),
        })
    });
    lines.collect::<Vec<_>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(seconds: Vec<(Through, Vec<f64>)>) -> Line {
        Line { delay: 20, bytes: 10_000_000, seconds }
    }

    #[test]
    fn the_faster_one_has_the_higher_ratio_and_it_is_taken_within_rounds() {
        let compared =
            line(vec![(Through::Steadfast, vec![1.0, 2.0, 4.0]), (Through::Beside, vec![2.0, 2.0, 2.0])]);
        assert_eq!(compared.ratios(), [2.0, 1.0, 0.5]);
        let table = text(&[compared]);
        let cells: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().skip(5).collect();
        assert_eq!(cells, ["2.000", "5.0", "2.5", "10.0", "1.00", "(0.50-2.00)"]);
    }

    #[test]
    fn one_alone_has_no_ratio() {
        let table = text(&[line(vec![(Through::Nothing, vec![1.0]), (Through::Steadfast, vec![2.0])])]);
        let cells: Vec<&str> = table.lines().nth(2).unwrap().split_whitespace().skip(5).collect();
        assert_eq!(cells, ["2.000", "5.0", "5.0", "5.0"]);
        assert!(!table.contains("ratio"), "{table}");
    }

    #[test]
    fn amounts_are_positive_and_fit_into_memory() {
        assert_eq!(megabytes("0.3"), Ok(0.3));
        for wrong in ["0", "-1", "1001", "NaN", "inf", "much"] {
            assert!(megabytes(wrong).is_err(), "{wrong}");
        }
    }
}
