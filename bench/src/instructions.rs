//! `instructions`: what a message costs Steadfast in user space, in instructions. No load of the machine
//! disturbs them, so two builds can be told apart by a hundredth.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::backend;
use crate::client::bounded::Done;
use crate::door::Door;
use crate::peers::steadfast;
use crate::process::Process;
use crate::rounds::{Load, Requests, Row, Work};
use crate::stats;
use crate::table::{self, number};
use crate::tls::{Papers, Sides, Tls};
use crate::variant::Variant;
use crate::wire::protocols::Protocol;
use baseline::{Baseline, Comparison, Conditions, Figure};
use callgrind::Counted;

mod baseline;
mod callgrind;

/// How long the backend may take to listen.
const START_TIME_MAX: Duration = Duration::from_secs(10);
/// How long the work of one run may take.
const WORK_TIME_MAX: Duration = Duration::from_secs(600);
/// The rows that have messages, requests or sessions to be counted by.
const ROWS: [Row; 14] = [
    Row::SmallOne,
    Row::SmallSixteen,
    Row::Kibi,
    Row::KibiSixteen,
    Row::Medium,
    Row::Large,
    Row::Upgrades,
    Row::Handshakes,
    Row::Resumptions,
    Row::GetOne,
    Row::GetSixteen,
    Row::GetClose,
    Row::GetLarge,
    Row::PostLarge,
];
/// The rows of a baseline, unless others are asked for: what most users' messages are, and sessions.
const GUARDED: [Row; 3] = [Row::SmallOne, Row::SmallSixteen, Row::Upgrades];
/// A baseline's rows are counted by this part of the messages: it is to be compared often.
const GUARDED_PART: usize = 5;
/// The short run has this part of what is counted, and the long one has all of it in addition: what happens
/// once, like the start and the growth of buffers, is in both.
const SHORT_PART: usize = 5;

/// The arguments of `instructions`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Only these rows, in this order.
    #[arg(long, value_delimiter = ',', value_parser = row)]
    rows: Vec<Row>,
    /// Who links the shim, or speaks a protocol with its profile or without: each row is counted for each of these, in this order.
    #[arg(long, value_delimiter = ',', value_enum, default_value = "plain")]
    variants: Vec<Variant>,
    /// A service that links the shim makes a commit for each message, and not for all that it reads at once.
    #[arg(long)]
    commit_each: bool,
    /// Steadfast's executable; built beside this one by default.
    #[arg(long, visible_alias = "broker", value_name = "PATH")]
    steadfast: Option<PathBuf>,
    /// Another executable of Steadfast's, which the first one is compared with.
    #[arg(long, value_name = "PATH")]
    beside: Option<PathBuf>,
    /// The sides on which connections have TLS.
    #[arg(long, value_enum, default_value_t = Sides::Off, conflicts_with_all = ["baseline", "write_baseline"])]
    tls: Sides,
    /// Rounds; figures are medians over them.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Messages, requests or sessions that are counted in each round; each row has its own number by default.
    #[arg(long)]
    messages: Option<usize>,
    /// One more argument of `steadfast serve`; repeatable, as in --serve-args=--ack=none.
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    serve_args: Vec<String>,
    /// Count the rows of this baseline, and fail if one has become worse by more than 5 %. Where compiler, processor
    /// or C library are others, nothing is counted, and the line that says so begins with "not compared".
    #[arg(long, value_name = "FILE", conflicts_with_all = ["write_baseline", "beside", "rows", "messages", "variants"])]
    baseline: Option<PathBuf>,
    /// Count a few rows for a short time, and write what they need as a baseline.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["beside", "variants"])]
    write_baseline: Option<PathBuf>,
    /// Also write everything as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// A row that can be counted.
fn row(name: &str) -> Result<Row, String> {
    let known = ROWS.iter().map(|row| row.name()).collect::<Vec<_>>().join(", ");
    let found = ROWS.into_iter().find(|row| row.name() == name);
    found.ok_or_else(|| format!("there is no such row; there are {known}"))
}

/// One row's result.
#[derive(Debug)]
struct Line {
    row: Row,
    variant: Variant,
    /// Messages in each round.
    counted: usize,
    /// Instructions for each message, round by round, of Steadfast and of the one beside.
    each: Vec<Vec<f64>>,
}

impl Line {
    /// The medians, of Steadfast and of the one beside.
    fn medians(&self) -> Vec<f64> {
        self.each.iter().filter_map(|rounds| stats::median(rounds)).collect()
    }

    /// Its instructions divided by those of the same traffic without a profile, if that is among `all`.
    fn to_none(&self, all: &[Line]) -> Option<f64> {
        let none = self.variant.without_profile().filter(|none| *none != self.variant)?;
        let line = all.iter().find(|line| (line.row, line.variant) == (self.row, none))?;
        Some(self.medians().first()? / line.medians().first()?)
    }

    /// The first one's instructions divided by the second one's, round by round.
    fn ratios(&self) -> Vec<f64> {
        let some = |rounds: &[f64]| rounds.iter().copied().map(Some).collect::<Vec<_>>();
        match &self.each[..] {
            [ours, beside] => stats::ratios(&some(ours), &some(beside)),
            _ => Vec::new(),
        }
    }
}

/// Counts, and prints the report. Says how many rows could not be counted, which is none: the first
/// failure ends it.
pub(crate) async fn run(options: Options) -> io::Result<usize> {
    let ground = Ground::new(&options).await?;
    let old = options.baseline.as_deref().map(Baseline::read).transpose()?;
    if let Some(old) = &old {
        let here = ground.conditions()?;
        if old.conditions != here {
            println!("not compared: the baseline is of {}; this is {here}", old.conditions);
            return Ok(0);
        }
    }
    let mut lines = Vec::new();
    for (row, counted) in plan(&options, old.as_ref())? {
        for variant in &options.variants {
            lines.push(ground.line((row, *variant), counted, options.rounds).await?);
        }
    }
    print!("{}", text(&lines));
    if let Some(file) = &options.json {
        fs::write(file, serde_json::to_string_pretty(&report(&lines))? + "\n")?;
    }
    if let Some(file) = &options.write_baseline {
        Baseline { conditions: ground.conditions()?, rows: figures(&lines) }.write(file)?;
    }
    match (&old, &options.baseline) {
        (Some(old), Some(file)) => judge(&old.compare(&figures(&lines)), &ground.command_to_write(file)),
        _ => Ok(0),
    }
}

/// The rows to be counted, and how many messages of each.
fn plan(options: &Options, old: Option<&Baseline>) -> io::Result<Vec<(Row, usize)>> {
    if let Some(old) = old {
        let known = |(name, figure): (&String, &Figure)| match row(name) {
            Ok(row) => Ok((row, figure.counted)),
            Err(error) => Err(io::Error::other(format!("the baseline's row {name}: {error}"))),
        };
        return old.rows.iter().map(known).collect();
    }
    let part = if options.write_baseline.is_some() { GUARDED_PART } else { 1 };
    let rows = match (&options.rows[..], &options.write_baseline) {
        ([], None) => ROWS.into_iter().filter(|row| is_usual(*row) && row.is_for(options.tls)).collect(),
        ([], Some(_)) => GUARDED.to_vec(),
        (rows, _) => rows.to_vec(),
    };
    if let Some(row) = rows.iter().find(|row| !row.is_for(options.tls)) {
        let (name, sides) = (row.name(), options.tls);
        return Err(io::Error::other(format!(
            "there is nothing to count of the row {name} with --tls {sides}"
        )));
    }
    let counted = |row: Row| options.messages.unwrap_or(default_messages(row) / part).max(1);
    Ok(rows.iter().map(|row| (*row, counted(*row))).collect())
}

/// Whether a row is counted where nobody asks for others. Of requests that is one: the others are alike but for bodies.
/// Of messages those are left out that `profiles` is measured by.
fn is_usual(row: Row) -> bool {
    row == Row::GetOne || !(row.is_of_requests() || matches!(row, Row::Kibi | Row::KibiSixteen))
}

/// Fails if a row has become too much worse; `command` is how a new baseline is written.
fn judge(compared: &[Comparison], command: &str) -> io::Result<usize> {
    for better in compared.iter().filter(|row| row.is_far_under()) {
        println!("{better}: so much better that a new baseline should be written, by `{command}`");
    }
    let over: Vec<String> = compared.iter().filter(|row| row.is_over()).map(Comparison::to_string).collect();
    if over.is_empty() {
        return Ok(0);
    }
    let over = over.join("; ");
    Err(io::Error::other(format!("{over}. If it has to be, write a new baseline: `{command}`")))
}

/// What all runs have in common.
#[derive(Debug)]
struct Ground {
    valgrind: PathBuf,
    brokers: Vec<PathBuf>,
    serve_args: Vec<String>,
    folder: TempDir,
    backend: SocketAddr,
    _backend: Process,
    /// Those that speak a protocol.
    speakers: Vec<(Protocol, SocketAddr, Process)>,
    tls: Sides,
    papers: Papers,
}

impl Ground {
    async fn new(options: &Options) -> io::Result<Self> {
        let valgrind = callgrind::locate()?;
        let mut brokers = vec![steadfast::locate(options.steadfast.as_deref()).await?];
        if options.beside.is_some() {
            brokers.push(steadfast::locate(options.beside.as_deref()).await?);
        }
        let folder = tempfile::Builder::new().prefix("steadfast-bench-").tempdir()?;
        let (tls, papers) = (options.tls, Papers::make(folder.path())?);
        let arguments = backend_arguments(options, Tls::new(tls, &papers));
        let mut process = Process::start_own(folder.path(), "backend", arguments)?;
        let backend = process.listening_line(START_TIME_MAX).await?;
        let serve_args = options.serve_args.clone();
        let mut speakers: Vec<(Protocol, SocketAddr, Process)> = Vec::new();
        for protocol in options.variants.iter().filter_map(|variant| variant.protocol()) {
            if speakers.iter().all(|(spoken, ..)| *spoken != protocol) {
                let arguments = vec!["backend".into(), format!("--protocol={protocol}").into()];
                let mut process =
                    Process::start_own(folder.path(), &format!("backend-{protocol}"), arguments)?;
                speakers.push((protocol, process.listening_line(START_TIME_MAX).await?, process));
            }
        }
        Ok(Self { valgrind, brokers, serve_args, folder, backend, _backend: process, speakers, tls, papers })
    }

    /// What the counts of the first broker depend on.
    fn conditions(&self) -> io::Result<Conditions> {
        Conditions::here(self.brokers.first().map_or(Path::new(""), PathBuf::as_path))
    }

    /// How a baseline of the first broker is written to `file`.
    fn command_to_write(&self, file: &Path) -> String {
        let own = std::env::current_exe().unwrap_or_else(|_| "steadfast-bench".into());
        let broker = self.brokers.first().map_or(Path::new(""), PathBuf::as_path);
        let mut command = format!("{} instructions --steadfast {}", own.display(), broker.display());
        self.serve_args.iter().for_each(|argument| command += &format!(" --serve-args={argument}"));
        command + &format!(" --write-baseline {}", file.display())
    }

    async fn line(&self, work: (Row, Variant), counted: usize, rounds: usize) -> io::Result<Line> {
        let (row, variant) = work;
        let mut each = vec![Vec::new(); self.brokers.len()];
        for round in 1..=rounds.max(1) {
            for (broker, each) in self.brokers.iter().zip(&mut each) {
                let (rounds, broker_name) = (rounds.max(1), broker.display());
                eprintln!("{} {variant} round {round} of {rounds}: {broker_name}", row.name());
                let short = counted.div_ceil(SHORT_PART);
                let few = self.count(broker, work, short).await?;
                let many = self.count(broker, work, short + counted).await?;
                each.push((many as f64 - few as f64) / counted as f64);
            }
        }
        Ok(Line { row, variant, counted, each })
    }

    /// The instructions of a broker's life in which it does a row's work so often.
    async fn count(&self, broker: &Path, work: (Row, Variant), messages: usize) -> io::Result<u64> {
        let folder = self.folder.path();
        let arguments = broker_arguments(&self.serve_args, work.1);
        let tls = Tls::new(self.tls, &self.papers);
        let speaker = self.speakers.iter().find(|(protocol, ..)| work.1.protocol() == Some(*protocol));
        let backend = speaker.map_or(self.backend, |(_, address, _)| *address);
        let broker = Counted::start(&self.valgrind, folder, broker, &arguments, backend, tls).await?;
        let arguments = client_arguments(broker.door(), work, messages);
        let client = Process::start_own(folder, "client", arguments)?;
        let output = client.finish(WORK_TIME_MAX).await?;
        let done: Done = serde_json::from_str(&output)?;
        if done.done != messages as u64 {
            return Err(io::Error::other(format!("{} of {messages} messages came back", done.done)));
        }
        broker.end().await
    }
}

/// So many that a round of a row takes some seconds under valgrind.
fn default_messages(row: Row) -> usize {
    match row {
        Row::SmallOne | Row::Kibi | Row::Medium | Row::GetOne | Row::GetSixteen => 10_000,
        Row::SmallSixteen => 100_000,
        Row::KibiSixteen => 20_000,
        _ => 1_000,
    }
}

fn backend_arguments(options: &Options, tls: Tls<'_>) -> Vec<OsString> {
    let each = options.commit_each.then(|| "--commit-each".into());
    let secured = tls.backend.map(backend::tls_arguments).into_iter().flatten();
    std::iter::once("backend".into()).chain(each).chain(secured).collect()
}

/// What was asked for; with a protocol also the pool's profile; with a shim also the pool's `ack`, which is the default for plain ones.
fn broker_arguments(asked: &[String], variant: Variant) -> Vec<String> {
    let ack = variant.commits().then(|| format!("--ack={}", variant.ack()));
    let profile = variant.profile().map(|profile| format!("--profile={profile}"));
    asked.iter().cloned().chain(ack).chain(profile).collect()
}

fn client_arguments(door: &Door, (row, variant): (Row, Variant), messages: usize) -> Vec<OsString> {
    let dialect = format!("--dialect={}", variant.dialect());
    let mut arguments = match row.work(0) {
        Work::Requests(Requests { connections, shape }) => {
            let words = ["questions".to_owned(), format!("--connections={connections}")];
            let count = [format!("--requests={messages}")];
            words.into_iter().chain(shape.arguments()).chain(count).collect()
        }
        Work::Load(Load { connections, depth, payload })
        | Work::Crowd { talk: Load { connections, depth, payload }, .. } => vec![
            "messages".to_owned(),
            format!("--connections={connections}"),
            format!("--depth={depth}"),
            format!("--payload={payload}"),
            format!("--messages={messages}"),
            dialect,
        ],
        Work::Upgrades { at_once: size }
        | Work::Handshakes { at_once: size, .. }
        | Work::Idle { sessions: size }
        | Work::Kept { connections: size } => {
            vec![
                "sequence".to_owned(),
                format!("--at-once={size}"),
                format!("--sessions={messages}"),
                dialect,
            ]
        }
    };
    if let Work::Handshakes { resumed: true, .. } = row.work(0) {
        arguments.push("--tickets".to_owned());
    }
    let arguments = std::iter::once("client".to_owned()).chain(arguments);
    arguments.chain(door.arguments()).map(OsString::from).collect()
}

/// What a baseline has of these lines.
fn figures(lines: &[Line]) -> BTreeMap<String, Figure> {
    let figure = |line: &Line| {
        let instructions_each = line.medians().first()?.round();
        Some((line.row.name(), Figure { counted: line.counted, instructions_each }))
    };
    lines.iter().filter_map(figure).collect()
}

fn text(lines: &[Line]) -> String {
    let shim = lines.iter().any(|line| line.variant != Variant::Plain);
    let mut headings = vec!["row"];
    headings.extend(shim.then_some("variant"));
    headings.extend(["counted", "instructions each"]);
    if lines.iter().any(|line| line.each.len() > 1) {
        headings.extend(["beside", "ratio"]);
    }
    let profiles = lines.iter().any(|line| line.to_none(lines).is_some());
    headings.extend(profiles.then_some("to none"));
    let mut rows: Vec<Vec<String>> = vec![headings.into_iter().map(str::to_owned).collect()];
    for line in lines {
        let mut cells = vec![line.row.title(0)];
        cells.extend(shim.then(|| line.variant.to_string()));
        cells.push(number(line.counted as f64, 0));
        cells.extend(line.medians().into_iter().map(|each| number(each, 0)));
        cells.extend(table::ratio(&line.ratios(), 3));
        cells.extend(profiles.then(|| line.to_none(lines).map_or("-".to_owned(), |ratio| number(ratio, 3))));
        rows.push(cells);
    }
    table::align(&rows)
}

fn report(lines: &[Line]) -> serde_json::Value {
    let rows = lines.iter().map(|line| {
        json!({
            "row": line.row.name(),
            "variant": line.variant.name(),
            "title": line.row.title(0),
            "counted": line.counted,
            "median": line.medians(),
            "ratio": stats::median(&line.ratios()),
            "to_none": line.to_none(lines),
            "rounds": line.each,
        })
    });
    json!({ "rows": rows.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(each: Vec<Vec<f64>>) -> Line {
        Line { row: Row::SmallOne, variant: Variant::Plain, counted: 1_000, each }
    }

    #[test]
    fn two_executables_are_compared_round_by_round() {
        let compared = line(vec![vec![900.0, 1_100.0, 1_000.0], vec![1_000.0, 1_000.0, 1_000.0]]);
        let table = text(&[compared]);
        let cells: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(cells[cells.len() - 5..], ["1,000", "1,000", "1,000", "1.000", "(0.900-1.100)"]);
    }

    #[test]
    fn one_alone_has_no_ratio() {
        let table = text(&[line(vec![vec![7.0, 8.0, 9.0]])]);
        assert!(table.trim_end().ends_with(" 8") && !table.contains("ratio"), "{table}");
    }

    #[test]
    fn the_variant_is_named_where_any_is_not_plain() {
        let plain = line(vec![vec![392.0]]);
        assert!(!text(std::slice::from_ref(&plain)).contains("plain"));
        let both = Line { variant: Variant::Both, ..line(vec![vec![900.0]]) };
        let table = text(&[plain, both]);
        let rows: Vec<Vec<&str>> = table.lines().map(|row| row.split_whitespace().collect()).collect();
        let ends: Vec<&[&str]> = rows.iter().map(|row| &row[row.len() - 3..]).collect();
        assert_eq!(ends[1..], [["plain", "1,000", "392"], ["both", "1,000", "900"]]);
    }

    #[test]
    fn a_variant_says_how_the_pool_is_acknowledged_and_how_clients_speak() {
        let address = "127.0.0.1:1".parse().unwrap();
        let door = Door::new(address, Tls::default());
        let asked = ["--log-level=error".to_owned()];
        for (variant, ack, dialect) in [
            (Variant::Plain, None, "--dialect=plain"),
            (Variant::Service, Some("--ack=shim"), "--dialect=plain"),
            (Variant::Client, None, "--dialect=shim"),
            (Variant::Both, Some("--ack=shim"), "--dialect=shim"),
        ] {
            let arguments = broker_arguments(&asked, variant);
            assert_eq!(arguments.get(1).map(String::as_str), ack, "{variant}");
            for row in [Row::SmallSixteen, Row::Upgrades] {
                let arguments = client_arguments(&door, (row, variant), 7);
                assert!(arguments.contains(&dialect.into()), "{variant}: {arguments:?}");
            }
        }
    }

    #[test]
    fn a_request_is_counted_by_default_and_asked_for_as_in_its_row() {
        let usual: Vec<Row> = ROWS.into_iter().filter(|row| is_usual(*row) && row.is_of_requests()).collect();
        assert_eq!(usual, [Row::GetOne]);
        let door = Door::new("127.0.0.1:1".parse().unwrap(), Tls::default());
        let arguments = client_arguments(&door, (Row::GetClose, Variant::Plain), 7);
        let expected = [
            "client",
            "questions",
            "--connections=16",
            "--upload=0",
            "--answer=200",
            "--close",
            "--requests=7",
            "--address=127.0.0.1:1",
        ];
        assert_eq!(arguments, expected);
    }

    #[test]
    fn idle_sessions_are_no_row_to_be_counted() {
        assert_eq!(row("4k"), Ok(Row::Medium));
        assert!(
            row("idle")
                .unwrap_err()
                .ends_with("there are 64x1, 64x16, 1k, 1kx16, 4k, 256k, upgrades, handshakes, resumptions, get1, get16, close, get-100k, post-100k")
        );
    }
}
