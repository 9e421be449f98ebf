//! Rounds: the same work for several brokers or settings, interleaved, so that what the machine does
//! meanwhile strikes all of them. `relay`, `shim` and `profiles` are made of such rounds.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::backend;
use crate::client::{Dialect, strace};
use crate::machine::Machine;
use crate::peers::{Peer, Running, Traffic, steadfast};
use crate::process::Process;
use crate::tls::{Papers, Sides, Tls};
use crate::wire::protocols::Protocol;
pub(crate) use report::Words;
use report::{Report, Result as Outcome, Sheet};
use rows::Scale;
pub(crate) use rows::{Load, Requests, Row, Work};

mod measure;
mod report;
mod rows;

/// How long a backend may take to listen.
const START_TIME_MAX: Duration = Duration::from_secs(10);

/// What all measurements in rounds can be told.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub(crate) struct Options {
    /// Rounds; figures are medians over them.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// One short round, to see that everything works. Its figures are rough.
    #[arg(long)]
    quick: bool,
    /// Seconds that each measurement counts.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Only these rows, in this order; by default those that bench/README.md says of this command.
    #[arg(long, value_delimiter = ',', value_enum)]
    rows: Vec<Row>,
    /// Steadfast's executable; built beside this one by default.
    #[arg(long, value_name = "PATH")]
    steadfast: Option<PathBuf>,
    /// One more argument of `steadfast serve`; repeatable, as in --serve-args=--ack=none.
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    serve_args: Vec<String>,
    /// Idle sessions, or kept connections.
    #[arg(long, default_value_t = 5_000)]
    sessions: usize,
    /// Also count system calls per message or request, after each measurement.
    #[arg(long)]
    strace: bool,
    /// Also write everything as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// One of those that are compared.
#[derive(Debug)]
pub(crate) struct Entrant {
    /// How the report calls it.
    pub(crate) name: String,
    /// What it is, on one line of the report.
    pub(crate) about: String,
    /// The broker.
    pub(crate) peer: Peer,
    /// What its clients want.
    pub(crate) traffic: Traffic,
    /// How its clients speak, where they have sessions.
    pub(crate) dialect: Dialect,
    /// On which sides it has TLS.
    pub(crate) tls: Sides,
    /// The entrant that it is compared with, by its place; it may be itself.
    pub(crate) reference: Option<usize>,
}

impl Entrant {
    /// Whether there is something to measure of a row.
    fn does(&self, row: Row) -> bool {
        row.is_for(self.tls) && row.is_of_requests() == (self.traffic != Traffic::Sessions)
    }
}

/// An entrant with its running instance, which serves all rows but the one that counts memory.
struct Started {
    entrant: Entrant,
    running: Running,
}

impl Options {
    /// Steadfast's executable, and what was asked for of its arguments.
    pub(crate) async fn steadfast(&self) -> io::Result<(PathBuf, Vec<String>)> {
        Ok((steadfast::locate(self.steadfast.as_deref()).await?, self.serve_args()))
    }

    /// What was asked for of the arguments of any Steadfast.
    pub(crate) fn serve_args(&self) -> Vec<String> {
        self.serve_args.clone()
    }

    fn scale(&self) -> Scale {
        let seconds = if self.quick { self.seconds.min(0.5) } else { self.seconds };
        Scale {
            rounds: if self.quick { 1 } else { self.rounds.max(1) },
            warm_up: Duration::from_millis(if self.quick { 200 } else { 500 }),
            measure: Duration::from_secs_f64(seconds.clamp(0.05, 600.0)),
            idle_sessions: if self.quick { self.sessions.min(1_000) } else { self.sessions },
            strace: self.strace,
        }
    }
}

/// The backend that all entrants relay to, and where their files are.
#[derive(Debug)]
pub(crate) struct Field {
    machine: Machine,
    folder: TempDir,
    papers: Papers,
    /// The plain one, and one with TLS where there are entrants with TLS toward it.
    backends: Vec<Backend>,
    /// Those that speak a protocol which a profile knows.
    speakers: Vec<(Protocol, Backend)>,
    scale: Scale,
}

/// A process that echoes.
#[derive(Debug)]
struct Backend {
    process: Process,
    address: SocketAddr,
}

impl Backend {
    async fn start(folder: &Path, name: &str, more: Vec<OsString>) -> io::Result<Self> {
        let arguments = std::iter::once("backend".into()).chain(more).collect();
        let mut process = Process::start_own(folder, name, arguments)?;
        let address = process.listening_line(START_TIME_MAX).await?;
        Ok(Self { process, address })
    }
}

impl Field {
    /// Starts the backend, with further arguments of `backend`, and with `tls` one that speaks it.
    pub(crate) async fn new(options: &Options, backend: &[String], tls: bool) -> io::Result<Self> {
        if options.strace && !strace::is_installed() {
            return Err(io::Error::other("--strace needs strace, which is not in the search path"));
        }
        let machine = Machine::read();
        let folder = tempfile::Builder::new().prefix("steadfast-bench-").tempdir()?;
        let papers = Papers::make(folder.path())?;
        let plain = backend.iter().map(Into::into).collect();
        let mut backends = vec![Backend::start(folder.path(), "backend", plain).await?];
        if tls {
            let more = backend::tls_arguments(&papers).into();
            backends.push(Backend::start(folder.path(), "backend-tls", more).await?);
        }
        Ok(Self { machine, folder, papers, backends, speakers: Vec::new(), scale: options.scale() })
    }

    /// The same with a backend of each of these protocols, for the entrants that speak it.
    pub(crate) async fn speaking(mut self, protocols: &[Protocol]) -> io::Result<Self> {
        for protocol in protocols {
            let (name, more) = (format!("backend-{protocol}"), format!("--protocol={protocol}"));
            let backend = Backend::start(self.folder.path(), &name, vec![more.into()]).await?;
            self.speakers.push((*protocol, backend));
        }
        Ok(self)
    }

    /// The one behind this entrant.
    fn backend(&self, entrant: &Entrant) -> &Backend {
        let speaker =
            self.speakers.iter().find(|(protocol, _)| entrant.dialect.protocol() == Some(*protocol));
        if let Some((_, backend)) = speaker {
            return backend;
        }
        let tls = match (entrant.tls, &entrant.peer) {
            (Sides::Both, _) | (Sides::Client, Peer::Direct) => 1,
            (Sides::Client | Sides::Off, _) => 0,
        };
        &self.backends[tls.min(self.backends.len() - 1)]
    }

    async fn start(&self, entrant: &Entrant, instance: &str) -> io::Result<Running> {
        let tls = Tls::new(entrant.tls, &self.papers);
        let backend = [self.backend(entrant).address];
        entrant.peer.start_for(entrant.traffic, self.folder.path(), instance, &backend, tls).await
    }

    /// Measures all entrants, and prints the report. Says how many measurements could not be taken.
    pub(crate) async fn compare(
        self,
        options: &Options,
        entrants: Vec<Entrant>,
        words: Words,
    ) -> io::Result<usize> {
        let rows = rows(options, &entrants)?;
        let mut started = Vec::new();
        for mut entrant in entrants {
            let running = self.start(&entrant, &entrant.name).await?;
            if entrant.tls != Sides::Off {
                entrant.about += &format!(", TLS with {}", running.agreed().await?);
            }
            started.push(Started { entrant, running });
        }
        let sheets = self.all_rounds(&rows, &started).await;
        let failures = sheets.iter().map(Sheet::failures).sum();
        let entrants = started.into_iter().map(|started| (started.entrant.name, started.entrant.about));
        let report =
            Report { machine: self.machine, entrants: entrants.collect(), scale: self.scale, words, sheets };
        print!("{}", report.text());
        if let Some(file) = &options.json {
            fs::write(file, report.json()?)?;
        }
        Ok(failures)
    }

    async fn all_rounds(&self, rows: &[Row], entrants: &[Started]) -> Vec<Sheet> {
        let names: Vec<String> = entrants.iter().map(|started| started.entrant.name.clone()).collect();
        let references: Vec<_> = entrants.iter().map(|started| started.entrant.reference).collect();
        let mut sheets: Vec<Sheet> =
            rows.iter().map(|row| Sheet::new(*row, self.scale, &names, &references)).collect();
        for round in 0..self.scale.rounds {
            for (at, sheet) in sheets.iter_mut().enumerate() {
                for turn in 0..entrants.len() {
                    // Nobody is always first, or always behind the same neighbour's leftovers.
                    let which = (turn + round + at) % entrants.len();
                    let (row, name) = (rows[at].name(), &names[which]);
                    eprintln!("round {} of {}: {row} {name}", round + 1, self.scale.rounds);
                    sheet.record(which, self.measure(rows[at], &entrants[which], round).await);
                }
            }
        }
        sheets
    }

    /// One measurement.
    async fn measure(&self, row: Row, started: &Started, round: usize) -> Outcome {
        if !started.entrant.does(row) {
            return Outcome::NotMeasured;
        }
        let result = match row.work(self.scale.idle_sessions) {
            Work::Load(load) => measure::load(self, started, load).await.map(Some),
            Work::Upgrades { at_once } => measure::upgrades(self, started, at_once).await.map(Some),
            Work::Handshakes { at_once, resumed } => {
                measure::handshakes(self, started, at_once, resumed).await.map(Some)
            }
            Work::Idle { sessions } => measure::idle(self, started, sessions, round).await,
            Work::Requests(requests) => measure::requests(self, started, requests).await.map(Some),
            Work::Kept { connections } => measure::kept(self, started, connections, round).await,
            Work::Crowd { sessions, talk } => measure::crowd(self, started, sessions, talk).await.map(Some),
        };
        match result {
            Ok(Some(figures)) => Outcome::Figures(figures),
            Ok(None) => Outcome::NotMeasured,
            Err(error) => {
                eprintln!("  FAILED: {error}");
                Outcome::Failed(error.to_string())
            }
        }
    }
}

/// The rows that are asked for, or those that are usual for these.
fn rows(options: &Options, entrants: &[Entrant]) -> io::Result<Vec<Row>> {
    if options.rows.is_empty() && entrants.iter().any(|entrant| entrant.dialect.protocol().is_some()) {
        return Ok(Row::PROTOCOLS.to_vec());
    }
    if options.rows.is_empty() {
        let requests = entrants.iter().any(|entrant| entrant.traffic != Traffic::Sessions);
        let sides: Vec<Sides> = entrants.iter().map(|entrant| entrant.tls).collect();
        return Ok(if requests { Row::REQUESTS.to_vec() } else { Row::usual(&sides) });
    }
    match options.rows.iter().find(|row| !entrants.iter().any(|entrant| entrant.does(**row))) {
        Some(row) => {
            Err(io::Error::other(format!("there is nothing here to measure for the row {}", row.name())))
        }
        None => Ok(options.rows.clone()),
    }
}
