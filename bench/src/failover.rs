//! `failover`: a backend is killed under load.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Serialize;
use serde_json::json;

use crate::event::{self, Account, Load, Report, Round, Scene, Words, positive};
use crate::machine::Machine;
use crate::peers::Peer;
use crate::tls::{Papers, Sides, Tls};

/// Backends. One is killed.
const BACKENDS: u8 = 2;

/// The arguments of `failover`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    load: Load,
    /// The sides on which connections have TLS.
    #[arg(long, value_enum, default_value_t = Sides::Off, conflicts_with = "target")]
    tls: Sides,
    /// Seconds that the sessions go on sending after the kill.
    #[arg(long, default_value_t = 6.0, value_parser = positive)]
    after: f64,
    /// Start no broker and no backends: the sessions go to this address.
    #[arg(long, value_name = "ADDR", requires = "kill", conflicts_with_all = ["delay", "stall", "rounds", "broker"])]
    target: Option<SocketAddr>,
    /// The backend process to kill, with --target.
    #[arg(long, value_name = "PID", requires = "target")]
    kill: Option<u32>,
    /// The name that this backend puts in front of its answers (`steadfast-bench backend --name`).
    /// Without it, the sessions whose backend changes count as those that were on it.
    #[arg(long, value_name = "NAME", requires = "target")]
    kill_name: Option<String>,
}

/// A killed backend says nothing.
#[derive(Debug, Serialize)]
struct Killed {}

impl Account for Killed {
    fn text(&self) -> String {
        String::new()
    }
}

/// Measures, and prints the report.
pub(crate) async fn run(options: Options) -> io::Result<()> {
    let folder = tempfile::Builder::new().prefix("steadfast-bench-").tempdir()?;
    let machine = Machine::read();
    let load = &options.load;
    let broker = if options.target.is_none() { Some(load.peer(Vec::new()).await?) } else { None };
    let mut rounds = Vec::new();
    for round in 1..=load.rounds {
        eprintln!("round {round} of {}", load.rounds);
        rounds.push(one_round(&options, broker.as_ref(), folder.path()).await?);
    }
    let words = Words { what: "one backend killed", around: "the kill", on: "the killed backend" };
    let (broker, target) = (broker.as_ref(), options.target);
    let settings = json!({ "after_seconds": options.after, "tls": options.tls.to_string() });
    Report { machine, broker, target, load, words, settings, rounds }.publish()
}

async fn one_round(options: &Options, broker: Option<&Peer>, folder: &Path) -> io::Result<Round<Killed>> {
    let Options { load, after, .. } = options;
    let scene = match (broker, options.target) {
        (Some(peer), _) => {
            let papers = Papers::make(folder)?;
            Scene::start(load, peer, BACKENDS, folder, Tls::new(options.tls, &papers)).await?
        }
        (None, Some(address)) => Scene::of_others(address, options.kill_name.clone(), load.floor),
        (None, None) => return Err(io::Error::other("--target and --kill go together")),
    };
    let victim = options.kill.or(scene.victim().map(|(id, _)| id));
    let victim = victim.ok_or_else(|| io::Error::other("there is no backend to kill"))?;
    let killing = async {
        let killed = kill(Pid::from_raw(victim.cast_signed()), Signal::SIGKILL);
        let failed = |errno| io::Error::other(format!("cannot kill process {victim}: {errno}"));
        killed.map(|()| Killed {}).map_err(failed)
    };
    event::observe(load, &scene, *after, folder, killing).await
}
