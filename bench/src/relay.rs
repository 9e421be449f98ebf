//! `relay`: the same work for Steadfast and its peers, interleaved, so that what the machine does
//! meanwhile strikes all of them.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;

use crate::client::strace;
use crate::machine::Machine;
use crate::peers::{External, Peer, Running, steadfast};
use crate::process::Process;
use report::{Report, Result as PeerResult, Sheet};
use rows::{Row, Scale};

mod measure;
mod report;
mod rows;

/// How long a backend may take to listen.
const START_TIME_MAX: Duration = Duration::from_secs(10);

/// The arguments of `relay`.
#[derive(Debug, Clone, clap::Args)]
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
    /// Only these rows, in this order.
    #[arg(long, value_delimiter = ',', value_enum)]
    rows: Vec<Row>,
    /// Only these of the peers that the harness starts; `direct` is no broker at all.
    #[arg(long, value_delimiter = ',', value_enum, default_value = "steadfast,haproxy,nginx,direct")]
    peers: Vec<Known>,
    /// Another broker, already running in front of the backend (see --backend-listen).
    #[arg(long, value_name = "NAME=ADDR,PID")]
    peer: Vec<External>,
    /// Where the backend listens, so that another broker can be pointed at it.
    #[arg(long, default_value = "127.0.0.1:0")]
    backend_listen: SocketAddr,
    /// Steadfast's executable; built beside this one by default.
    #[arg(long, value_name = "PATH")]
    steadfast: Option<PathBuf>,
    /// One more argument of `steadfast serve`; repeatable, as in --serve-args=--ack=none.
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    serve_args: Vec<String>,
    /// Idle sessions.
    #[arg(long, default_value_t = 5_000)]
    sessions: usize,
    /// Also count system calls per message, after each measurement.
    #[arg(long)]
    strace: bool,
    /// Also write everything as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// The peers that the harness knows how to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Known {
    Steadfast,
    Haproxy,
    Nginx,
    Direct,
}

/// A peer with its running instance, which serves all rows but the one that counts memory.
struct Entrant {
    peer: Peer,
    running: Running,
}

/// Measures, and prints the report. Says how many measurements could not be taken.
pub(crate) async fn run(options: Options) -> io::Result<usize> {
    let folder = tempfile::Builder::new().prefix("steadfast-bench-").tempdir()?;
    let machine = Machine::read();
    if options.strace && !strace::is_installed() {
        return Err(io::Error::other("--strace needs strace, which is not in the search path"));
    }
    let peers = peers(&options).await?;
    let (backend, address) = start_backend(folder.path(), options.backend_listen).await?;
    let mut entrants = Vec::new();
    for peer in peers {
        let running = peer.start(folder.path(), &peer.to_string(), &[address]).await?;
        entrants.push(Entrant { peer, running });
    }
    let scale = scale(&options);
    let field = Field { folder: folder.path(), backend: backend.id(), address, scale };
    let sheets = all_rounds(&field, &options, &entrants).await;
    let failures = sheets.iter().map(Sheet::failures).sum();
    let versions =
        entrants.iter().map(|entrant| (entrant.peer.to_string(), entrant.peer.version())).collect();
    let report = Report { machine, versions, scale, sheets };
    print!("{}", report.text());
    if let Some(file) = &options.json {
        fs::write(file, report.json()?)?;
    }
    Ok(failures)
}

/// What every measurement of a run has in common.
struct Field<'a> {
    folder: &'a Path,
    backend: u32,
    address: SocketAddr,
    scale: Scale,
}

fn scale(options: &Options) -> Scale {
    let seconds = if options.quick { options.seconds.min(0.5) } else { options.seconds };
    Scale {
        rounds: if options.quick { 1 } else { options.rounds.max(1) },
        warm_up: Duration::from_millis(if options.quick { 200 } else { 500 }),
        measure: Duration::from_secs_f64(seconds.clamp(0.05, 600.0)),
        idle_sessions: if options.quick { options.sessions.min(1_000) } else { options.sessions },
        strace: options.strace,
    }
}

/// The peers of this run. One that is not installed is left out, loudly.
async fn peers(options: &Options) -> io::Result<Vec<Peer>> {
    let mut peers = Vec::new();
    for known in &options.peers {
        let found = match known {
            Known::Steadfast => {
                let program = steadfast::locate(options.steadfast.as_deref()).await?;
                Some(Peer::Steadfast(program, options.serve_args.clone()))
            }
            Known::Haproxy => Peer::haproxy(),
            Known::Nginx => Peer::nginx(),
            Known::Direct => Some(Peer::Direct),
        };
        match found {
            Some(peer) => peers.push(peer),
            None => eprintln!("SKIPPED: {known:?} is not installed, so nothing is compared with it"),
        }
    }
    peers.extend(options.peer.iter().cloned().map(Peer::External));
    Ok(peers)
}

async fn start_backend(folder: &Path, listen: SocketAddr) -> io::Result<(Process, SocketAddr)> {
    let arguments = vec!["backend".into(), "--listen".into(), listen.to_string().into()];
    let mut backend = Process::start_own(folder, "backend", arguments)?;
    let address = backend.listening_line(START_TIME_MAX).await?;
    Ok((backend, address))
}

async fn all_rounds(field: &Field<'_>, options: &Options, entrants: &[Entrant]) -> Vec<Sheet> {
    let rows = if options.rows.is_empty() { Row::value_variants() } else { options.rows.as_slice() };
    let names: Vec<String> = entrants.iter().map(|entrant| entrant.peer.to_string()).collect();
    let mut sheets: Vec<Sheet> = rows.iter().map(|row| Sheet::new(*row, field.scale, &names)).collect();
    for round in 0..field.scale.rounds {
        for (at, sheet) in sheets.iter_mut().enumerate() {
            for turn in 0..entrants.len() {
                // Nobody is always first, or always behind the same neighbour's leftovers.
                let which = (turn + round + at) % entrants.len();
                let entrant = &entrants[which];
                eprintln!(
                    "round {} of {}: {} {}",
                    round + 1,
                    field.scale.rounds,
                    rows[at].name(),
                    entrant.peer
                );
                let result = field.measure(rows[at], entrant, round).await;
                sheet.record(which, result);
            }
        }
    }
    sheets
}

impl Field<'_> {
    /// One measurement.
    async fn measure(&self, row: Row, entrant: &Entrant, round: usize) -> PeerResult {
        let result = match row.work(self.scale) {
            rows::Work::Load(load) => measure::load(self, &entrant.running, load).await.map(Some),
            rows::Work::Upgrades { at_once } => {
                measure::upgrades(self, &entrant.running, at_once).await.map(Some)
            }
            rows::Work::Idle { sessions } => measure::idle(self, entrant, sessions, round).await,
        };
        match result {
            Ok(Some(figures)) => PeerResult::Figures(figures),
            Ok(None) => PeerResult::NotMeasured,
            Err(error) => {
                eprintln!("  FAILED: {error}");
                PeerResult::Failed(error.to_string())
            }
        }
    }
}
