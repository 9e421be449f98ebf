//! `failover`: sessions send at a steady pace, a backend is killed, and every session tells what it
//! noticed.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::sleep;

use crate::client::dial;
use crate::client::sessions::{Outcome, START, STOP, Window};
use crate::clock::monotonic_ns;
use crate::machine::Machine;
use crate::peers::{Peer, Running, steadfast};
use crate::process::Process;
use clients::Clients;
use report::Report;
use verdict::Verdict;

mod clients;
mod report;
mod verdict;

/// How long a backend may take to listen.
const START_TIME_MAX: Duration = Duration::from_secs(10);
/// How long the bare dials may take.
const DIAL_TIME_MAX: Duration = Duration::from_secs(120);
/// Messages sent so long before the kill belong to the event, as they may still be under way. A
/// delayed backend's delay is added.
const LEAD: Duration = Duration::from_millis(500);
/// Messages sent so long after it still do. Two periods of a session are added.
const TRAIL: Duration = Duration::from_secs(2);
/// The names of the two backends. The first is killed.
const NAMES: [&str; 2] = ["a", "b"];

/// The arguments of `failover`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Sessions.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    sessions: u32,
    /// Messages per second of each session.
    #[arg(long, default_value_t = 20.0, value_parser = positive)]
    rate: f64,
    /// Bytes of a message.
    #[arg(long, default_value_t = 64)]
    payload: usize,
    /// Seconds of calm before the kill.
    #[arg(long, default_value_t = 2.0, value_parser = positive)]
    warm_up: f64,
    /// Seconds that the sessions go on sending after it.
    #[arg(long, default_value_t = 6.0, value_parser = positive)]
    after: f64,
    /// Seconds to wait for the last answers.
    #[arg(long, default_value_t = 10.0, value_parser = positive)]
    wait: f64,
    /// The backends answer each message only after this many milliseconds, as asynchronous ones do.
    #[arg(long, default_value_t = 0, value_name = "MS")]
    delay: u64,
    /// Client processes; each can open as many sessions as it may have descriptors.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    processes: u32,
    /// The whole test so often, each time with new processes.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// The broker that the harness starts.
    #[arg(long, value_enum, default_value = "steadfast")]
    broker: Broker,
    /// Steadfast's executable; built beside this one by default.
    #[arg(long, value_name = "PATH")]
    steadfast: Option<PathBuf>,
    /// How Steadfast learns that a backend has a message.
    #[arg(long, default_value = "pong", value_parser = ["pong", "none"])]
    ack: String,
    /// One more argument of `steadfast serve`; repeatable, as in --serve-args=--workers=2.
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    serve_args: Vec<String>,
    /// Start no broker and no backends: the sessions go to this address.
    #[arg(long, value_name = "ADDR", requires = "kill", conflicts_with_all = ["delay", "rounds", "broker"])]
    target: Option<SocketAddr>,
    /// The backend process to kill, with --target.
    #[arg(long, value_name = "PID", requires = "target")]
    kill: Option<u32>,
    /// The name that this backend puts in front of its answers (`steadfast-bench backend --name`).
    /// Without it, the sessions whose backend changes count as those that were on it.
    #[arg(long, value_name = "NAME", requires = "target")]
    kill_name: Option<String>,
    /// A backend that lives, to be dialled directly for comparison, with --target.
    #[arg(long, value_name = "ADDR", requires = "target")]
    floor: Option<SocketAddr>,
    /// Also write everything as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Broker {
    Steadfast,
    Haproxy,
    Nginx,
}

fn positive(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|error| format!("{error}"))?;
    let sensible = value.is_finite() && value > 0.0 && value <= 1e6;
    sensible.then_some(value).ok_or_else(|| "expected a number above 0 and up to 1,000,000".to_owned())
}

/// A broker with a backend that can be killed.
struct Scene {
    address: SocketAddr,
    victim: u32,
    victim_name: Option<String>,
    /// A backend that lives.
    survivor: Option<SocketAddr>,
    /// Ended with the scene, the broker first.
    _broker: Option<Running>,
    _backends: Vec<Process>,
}

/// Measures, and prints the report.
pub(crate) async fn run(options: Options) -> io::Result<()> {
    let folder = tempfile::Builder::new().prefix("steadfast-bench-").tempdir()?;
    let machine = Machine::read();
    let broker = broker(&options).await?;
    let mut rounds = Vec::new();
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        rounds.push(one_round(&options, broker.as_ref(), folder.path()).await?);
    }
    let report = Report { machine, broker: broker.as_ref(), options: &options, rounds };
    print!("{}", report.text());
    if let Some(file) = &options.json {
        fs::write(file, report.json()?)?;
    }
    Ok(())
}

/// The broker to start; `None` when another one is aimed at.
async fn broker(options: &Options) -> io::Result<Option<Peer>> {
    if options.target.is_some() {
        return Ok(None);
    }
    let missing = || io::Error::other(format!("{:?} is not installed", options.broker));
    let peer = match options.broker {
        Broker::Steadfast => {
            let program = steadfast::locate(options.steadfast.as_deref()).await?;
            let ack = format!("--ack={}", options.ack);
            Peer::Steadfast(program, std::iter::once(ack).chain(options.serve_args.iter().cloned()).collect())
        }
        Broker::Haproxy => Peer::haproxy().ok_or_else(missing)?,
        Broker::Nginx => Peer::nginx().ok_or_else(missing)?,
    };
    Ok(Some(peer))
}

async fn one_round(options: &Options, broker: Option<&Peer>, folder: &Path) -> io::Result<Verdict> {
    let scene = match (broker, options.target, options.kill) {
        (Some(peer), ..) => Scene::start(options, peer, folder).await?,
        (None, Some(address), Some(victim)) => Scene::of_others(options, address, victim),
        _ => return Err(io::Error::other("--target and --kill go together")),
    };
    let outcomes = sessions(options, &scene, folder).await?;
    let mut verdict = Verdict::new(&outcomes, scene.victim_name.as_deref());
    if let Some(survivor) = scene.survivor {
        verdict.floor = dial(survivor, verdict.moved.sessions, folder).await?;
    }
    Ok(verdict)
}

impl Scene {
    async fn start(options: &Options, peer: &Peer, folder: &Path) -> io::Result<Self> {
        let (mut backends, mut addresses) = (Vec::new(), Vec::new());
        for name in NAMES {
            let arguments =
                ["backend".to_owned(), format!("--name={name}"), format!("--delay={}", options.delay)];
            let arguments = arguments.map(Into::into).to_vec();
            let mut backend = Process::start_own(folder, &format!("backend-{name}"), arguments)?;
            addresses.push(backend.listening_line(START_TIME_MAX).await?);
            backends.push(backend);
        }
        let broker = peer.start(folder, &peer.to_string(), &addresses).await?;
        Ok(Self {
            address: broker.address(),
            victim: backends[0].id(),
            victim_name: Some(NAMES[0].to_owned()),
            survivor: addresses.last().copied(),
            _broker: Some(broker),
            _backends: backends,
        })
    }

    fn of_others(options: &Options, address: SocketAddr, victim: u32) -> Self {
        let (victim_name, survivor) = (options.kill_name.clone(), options.floor);
        Self { address, victim, victim_name, survivor, _broker: None, _backends: Vec::new() }
    }
}

/// Lets the sessions send, kills the backend in the middle, and collects what they noticed.
async fn sessions(options: &Options, scene: &Scene, folder: &Path) -> io::Result<Vec<Outcome>> {
    let mut clients = Clients::open(options, scene.address, folder).await?;
    clients.tell_all(START).await?;
    sleep(Duration::from_secs_f64(options.warm_up)).await;
    let event_ns = monotonic_ns();
    kill(Pid::from_raw(scene.victim.cast_signed()), Signal::SIGKILL)
        .map_err(|errno| io::Error::other(format!("cannot kill process {}: {errno}", scene.victim)))?;
    sleep(Duration::from_secs_f64(options.after)).await;
    let window = serde_json::to_string(&window(options, event_ns))?;
    clients.tell_all(&format!("{STOP}{window}")).await?;
    clients.finish(Duration::from_secs_f64(options.wait)).await
}

fn window(options: &Options, event_ns: u64) -> Window {
    let ns = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let lead = LEAD + Duration::from_millis(options.delay);
    let trail = TRAIL + Duration::from_secs_f64(2.0 / options.rate);
    Window {
        from_ns: event_ns.saturating_sub(ns(lead)),
        event_ns,
        until_ns: event_ns.saturating_add(ns(trail)),
    }
}

/// The floor: as many connections as were moved, dialled without any broker.
async fn dial(backend: SocketAddr, connections: usize, folder: &Path) -> io::Result<Option<dial::Figures>> {
    if connections == 0 {
        return Ok(None);
    }
    let arguments =
        ["client", "dial", &format!("--address={backend}"), &format!("--connections={connections}")];
    let dialler = Process::start_own(folder, "dial", arguments.map(Into::into).to_vec())?;
    let output = dialler.finish(DIAL_TIME_MAX).await?;
    serde_json::from_str(&output).map(Some).map_err(io::Error::from)
}
