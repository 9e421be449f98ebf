//! `drain`: a backend is emptied under load, through the broker's API.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::event::{self, Account, Broker, Load, Report, Round, Scene, Words, positive};
use crate::machine::Machine;
use crate::peers::{Control, Peer};
use crate::table::number;
use crate::tls::Tls;
use api::Operation;

mod api;
mod haproxy;

/// Beyond the drain's own time limit.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pool of a Steadfast that is set up by flags.
const POOL: &str = "default";

/// The arguments of `drain`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    load: Load,
    /// Seconds that the sessions go on sending when the drain is over.
    #[arg(long, default_value_t = 3.0, value_parser = positive)]
    after: f64,
    /// Backends. The first is drained.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(2..=26))]
    backends: u8,
    /// Steadfast's `drain.quiet`, such as 200ms.
    #[arg(long, value_name = "DURATION", conflicts_with = "target")]
    quiet: Option<String>,
    /// Sessions that the drain moves per second at the most; the broker's default without it.
    #[arg(long, value_name = "N")]
    drain_rate: Option<u32>,
    /// Sessions that the drain moves at once at the most; the broker's default without it.
    #[arg(long, value_name = "N")]
    drain_concurrency: Option<u32>,
    /// Move sessions that never fall quiet too, as in a failover.
    #[arg(long)]
    force: bool,
    /// Seconds after which the drain gives up.
    #[arg(long, default_value_t = 120.0, value_parser = positive)]
    time_limit: f64,
    /// Start no broker and no backends: the sessions go to this address of a Steadfast.
    #[arg(
        long, value_name = "ADDR", requires = "admin", requires = "backend",
        conflicts_with_all = ["delay", "stall", "rounds", "broker", "backends"]
    )]
    target: Option<SocketAddr>,
    /// Its admin listener, with --target. The token is read from STEADFAST_TOKEN.
    #[arg(long, value_name = "ADDR", requires = "target")]
    admin: Option<SocketAddr>,
    /// The pool of the backend to drain, with --target.
    #[arg(long, value_name = "NAME", requires = "target", default_value = POOL)]
    pool: String,
    /// The backend to drain, as the broker calls it, with --target.
    #[arg(long, value_name = "NAME", requires = "target")]
    backend: Option<String>,
    /// The name that this backend puts in front of its answers (`steadfast-bench backend --name`).
    /// Without it, the sessions whose backend changes count as those that were on it.
    #[arg(long, value_name = "NAME", requires = "target")]
    answers_as: Option<String>,
}

/// How the drain went.
#[derive(Debug, Serialize)]
struct Drained {
    /// From the request until it is over.
    drain_seconds: f64,
    /// What the broker says of it; HAProxy has nothing to say.
    operation: Option<Operation>,
}

impl Account for Drained {
    fn text(&self) -> String {
        let seconds = number(self.drain_seconds, 2);
        let Some(operation) = &self.operation else {
            return format!("  out of service, and its sessions shut down, in {seconds} s\n");
        };
        let (sessions, staying) = (&operation.sessions, &operation.sessions.staying);
        let counts = [
            ("sessions", sessions.total),
            ("moved", sessions.moved),
            ("without a quiet moment", sessions.forced),
            ("failed", sessions.failed),
            ("gone", sessions.gone),
            ("staying", sessions.remaining),
            ("busy", staying.busy),
            ("no target", staying.no_target),
            ("target lost", staying.target_lost),
            ("pinned", staying.pinned),
        ];
        let counts = counts.map(|(name, count)| format!("{name} {}", number(count as f64, 0))).join(", ");
        let mut text = format!("  drain {} after {seconds} s: {counts}\n", operation.state);
        if operation.state != "done" {
            text.push_str(&format!("  {}\n", operation.message));
        }
        text
    }
}

/// Measures, and prints the report.
pub(crate) async fn run(options: Options) -> io::Result<()> {
    let folder = tempfile::Builder::new().prefix("steadfast-bench-").tempdir()?;
    let machine = Machine::read();
    let load = &options.load;
    let broker = if options.target.is_none() { Some(peer(&options, folder.path()).await?) } else { None };
    let mut rounds = Vec::new();
    for round in 1..=load.rounds {
        eprintln!("round {round} of {}", load.rounds);
        rounds.push(one_round(&options, broker.as_ref(), folder.path()).await?);
    }
    let words = Words { what: "one backend drained", around: "the drain", on: "the drained backend" };
    let (broker, target, settings) = (broker.as_ref(), options.target, options.settings());
    Report { machine, broker, target, load, words, settings, rounds }.publish()
}

/// The broker to start.
async fn peer(options: &Options, folder: &Path) -> io::Result<Peer> {
    if options.load.broker == Broker::Nginx {
        return Err(io::Error::other("nginx takes no orders at run time; drain steadfast or haproxy"));
    }
    let mut arguments = vec!["--admin=127.0.0.1:0".to_owned()];
    if let Some(quiet) = &options.quiet {
        let file = folder.join("drain.toml");
        fs::write(&file, format!("[drain]\nquiet = {}\n", Value::from(quiet.as_str())))?;
        arguments.push(format!("--config={}", file.display()));
    }
    options.load.peer(arguments).await
}

async fn one_round(options: &Options, broker: Option<&Peer>, folder: &Path) -> io::Result<Round<Drained>> {
    let Options { load, after, .. } = options;
    let scene = match (broker, options.target) {
        (Some(peer), _) => Scene::start(load, peer, options.backends, folder, Tls::default()).await?,
        (None, Some(address)) => Scene::of_others(address, options.answers_as.clone(), load.floor),
        (None, None) => return Err(io::Error::other("--target, --admin and --backend go together")),
    };
    event::observe(load, &scene, *after, folder, drain(options, &scene)).await
}

/// Empties the first backend, in the way that the broker has for it.
async fn drain(options: &Options, scene: &Scene) -> io::Result<Drained> {
    let control = match options.admin {
        Some(admin) => Some(Control::Api(admin)),
        None => scene.broker().and_then(|broker| broker.control().cloned()),
    };
    // A backend that is given by a flag is called by its address.
    let name = options.backend.clone().or(scene.victim().map(|(_, address)| address.to_string()));
    let begin = Instant::now();
    let operation = match (control, name) {
        (Some(Control::Api(api)), Some(name)) => {
            let time_max = Duration::from_secs_f64(options.time_limit) + PATIENCE;
            Some(api::drain(api, &options.pool, &name, &options.wish(), time_max).await?)
        }
        (Some(Control::StatsSocket(socket)), _) => {
            haproxy::take_out(&socket).await?;
            None
        }
        _ => return Err(io::Error::other("this broker takes no orders")),
    };
    Ok(Drained { drain_seconds: begin.elapsed().as_secs_f64(), operation })
}

impl Options {
    /// The body of the request.
    fn wish(&self) -> Value {
        let mut wish = Map::new();
        wish.insert("force".to_owned(), self.force.into());
        wish.insert("time_limit_ms".to_owned(), ((self.time_limit * 1e3).ceil() as u64).into());
        let limits = [("rate", self.drain_rate), ("concurrency", self.drain_concurrency)];
        wish.extend(limits.into_iter().filter_map(|(key, limit)| Some((key.to_owned(), limit?.into()))));
        wish.into()
    }

    fn settings(&self) -> Value {
        json!({
            "after_seconds": self.after,
            "backends": self.backends,
            "quiet": self.quiet,
            "drain": self.wish(),
        })
    }
}
