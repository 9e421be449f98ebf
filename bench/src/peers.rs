//! The brokers under test, each started on a free port of its own.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit};
use tokio::time::sleep;

use crate::asker::Asker;
use crate::door::Door;
use crate::link::Link;
use crate::proc;
use crate::process::{Launch, Process};
use crate::tls::Tls;
use crate::wire::http::Shape;

mod haproxy;
mod nginx;
pub(crate) mod steadfast;

/// How long a peer may take until it relays.
const START_TIME_MAX: Duration = Duration::from_secs(10);
/// How often it is looked whether it does.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// The request by which that is seen.
const PROBE: Shape = Shape { upload: 0, answer: 0, close: false };
/// A port that was free a moment ago may be taken; another one will not be.
const STARTS: usize = 3;
/// Folders of system programs that are not in every user's search path.
const SYSTEM_FOLDERS: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin"];

/// A broker, or none at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Peer {
    /// The executable, and arguments of `serve` beyond those of the harness.
    Steadfast(PathBuf, Vec<String>),
    /// The executable, and its threads.
    Haproxy(PathBuf, u32),
    /// The executable, and its worker processes.
    Nginx(PathBuf, u32),
    /// The client talks to the backend itself.
    Direct,
    /// A broker that somebody else has started.
    External(External),
}

/// What clients want of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Traffic {
    /// WebSockets, each on a connection of its own to a backend.
    Sessions,
    /// Requests, over connections to backends that are kept. A Steadfast needs no other settings for them.
    Requests(Reuse),
}

/// Whose requests HAProxy sends over a connection that it has kept, by the words of `http-reuse`. nginx always does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// A client's first request only over one that has been used again already.
    Safe,
    /// All.
    Always,
}

/// What a configuration is made of.
#[derive(Debug, Clone, Copy)]
struct Plan<'a> {
    /// Worker processes or threads.
    workers: u32,
    /// Where clients connect.
    address: SocketAddr,
    backends: &'a [SocketAddr],
    tls: Tls<'a>,
    traffic: Traffic,
    annex: Option<&'a Placed<'a>>,
}

/// The value of `--peer NAME=ADDR,PID`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct External {
    name: String,
    address: SocketAddr,
    pid: u32,
}

impl FromStr for External {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('=').and_then(|(name, rest)| Some((name, rest.split_once(',')?)));
        let (name, (address, pid)) =
            parts.ok_or("expected NAME=ADDR,PID, as in envoy=127.0.0.1:8080,4711")?;
        let address = address.parse().map_err(|error| format!("{address}: {error}"))?;
        let pid = pid.parse().map_err(|error| format!("{pid}: {error}"))?;
        Ok(Self { name: name.to_owned(), address, pid })
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Steadfast(..) => "steadfast",
            Self::Haproxy(..) => "haproxy",
            Self::Nginx(..) => "nginx",
            Self::Direct => "direct",
            Self::External(external) => &external.name,
        })
    }
}

/// Where a peer takes orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Control {
    /// The admin listener of a Steadfast.
    Api(SocketAddr),
    /// The stats socket of an HAProxy.
    StatsSocket(PathBuf),
}

/// What a peer is to have beside the pool of its clients.
#[derive(Debug, Clone)]
pub(crate) struct Annex {
    /// One more listener for each of these backends, which is its pool.
    pub(crate) backends: Vec<SocketAddr>,
}

/// Where the listeners of an annex are.
#[derive(Debug, Clone)]
pub(crate) struct AnnexAddresses {
    /// Those of the pools, in the order of their backends.
    pub(crate) pools: Vec<SocketAddr>,
    /// Where `GET /metrics` is answered.
    pub(crate) admin: SocketAddr,
}

/// An annex with its addresses, as configurations are written.
#[derive(Debug)]
struct Placed<'a> {
    annex: &'a Annex,
    at: AnnexAddresses,
}

impl Placed<'_> {
    /// The name, the listener and the backend of each pool.
    fn pools(&self) -> impl Iterator<Item = (String, SocketAddr, SocketAddr)> {
        let pairs = self.at.pools.iter().zip(&self.annex.backends).enumerate();
        pairs.map(|(n, (listener, backend))| (format!("annex{n}"), *listener, *backend))
    }
}

/// A peer that relays. Ends when dropped, if the harness started it.
#[derive(Debug)]
pub(crate) struct Running {
    door: Door,
    control: Option<Control>,
    annex: Option<AnnexAddresses>,
    root: Option<u32>,
    _process: Option<Process>,
}

impl Running {
    /// One that the harness has not started.
    fn elsewhere(door: Door, root: Option<u32>) -> Self {
        Self { door, control: None, annex: None, root, _process: None }
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.door.address
    }

    /// The same, with what its clients have to know.
    pub(crate) fn door(&self) -> &Door {
        &self.door
    }

    /// What is agreed where it has TLS, by the second of two connections.
    pub(crate) async fn agreed(&self) -> io::Result<String> {
        let target = self.door.target_with_tickets()?;
        Link::probe(&target).await?;
        let probe = Link::probe(&target).await?;
        let said = |side: &str, agreed: &dyn fmt::Display| format!("{side}: {agreed}");
        let client = probe.client.map(|agreed| said("clients", &agreed));
        let backend = probe.backend.map(|agreed| said("backend", &agreed));
        Ok(client.into_iter().chain(backend).collect::<Vec<_>>().join(", "))
    }

    /// Where it takes orders, if it does.
    pub(crate) fn control(&self) -> Option<&Control> {
        self.control.as_ref()
    }

    /// Where the listeners of its annex are, if it has one.
    pub(crate) fn annex(&self) -> Option<&AnnexAddresses> {
        self.annex.as_ref()
    }

    /// The peer's processes. None for the direct connection.
    pub(crate) fn processes(&self) -> Vec<u32> {
        self.root.map_or_else(Vec::new, proc::tree)
    }
}

impl Peer {
    /// Starts the peer in front of `backends`, for sessions; its files go to `folder`, named after `instance`. A peer that is none, or
    /// that somebody else has started, must have the TLS that is asked for already.
    pub(crate) async fn start(
        &self,
        folder: &Path,
        instance: &str,
        backends: &[SocketAddr],
        tls: Tls<'_>,
    ) -> io::Result<Running> {
        self.start_for(Traffic::Sessions, folder, instance, backends, tls).await
    }

    /// The same for this traffic.
    pub(crate) async fn start_for(
        &self,
        traffic: Traffic,
        folder: &Path,
        instance: &str,
        backends: &[SocketAddr],
        tls: Tls<'_>,
    ) -> io::Result<Running> {
        let plan = |address, workers| Plan { workers, address, backends, tls, traffic, annex: None };
        match self {
            Self::Steadfast(program, extra) => {
                steadfast::start(folder, instance, program, extra, backends, tls).await
            }
            Self::Haproxy(program, threads) => {
                let launch = |address| haproxy::launch(folder, instance, program, &plan(address, *threads));
                let running = on_free_port(folder, instance, (tls, traffic), launch).await?;
                let control = Some(Control::StatsSocket(haproxy::stats_socket(folder, instance)));
                Ok(Running { control, ..running })
            }
            Self::Nginx(program, workers) => {
                let launch = |address| nginx::launch(folder, instance, program, &plan(address, *workers));
                on_free_port(folder, instance, (tls, traffic), launch).await
            }
            Self::Direct => Ok(Running::elsewhere(Door::new(first(backends)?, tls), None)),
            Self::External(peer) => Ok(Running::elsewhere(Door::new(peer.address, tls), Some(peer.pid))),
        }
    }

    /// The same with an annex, for peers that the harness can start.
    pub(crate) async fn start_with(
        &self,
        folder: &Path,
        instance: &str,
        backends: &[SocketAddr],
        annex: &Annex,
    ) -> io::Result<Running> {
        let pools = annex.backends.iter().map(|_| free_address()).collect::<io::Result<_>>()?;
        let (tls, traffic) = (Tls::default(), Traffic::Sessions);
        let placed = Placed { annex, at: AnnexAddresses { pools, admin: free_address()? } };
        let annex = Some(&placed);
        let plan = |address, workers| Plan { workers, address, backends, tls, traffic, annex };
        let running = match self {
            Self::Steadfast(program, extra) => {
                let address = free_address()?;
                steadfast::start_with(folder, instance, program, extra, address, backends, &placed).await?
            }
            Self::Haproxy(program, threads) => {
                let launch = |address| haproxy::launch(folder, instance, program, &plan(address, *threads));
                on_free_port(folder, instance, (tls, traffic), launch).await?
            }
            Self::Nginx(program, workers) => {
                let launch = |address| nginx::launch(folder, instance, program, &plan(address, *workers));
                on_free_port(folder, instance, (tls, traffic), launch).await?
            }
            Self::Direct | Self::External(_) => {
                return Err(io::Error::other(format!("{self} cannot be given an annex")));
            }
        };
        Ok(Running { annex: Some(placed.at), ..running })
    }

    /// What the program says about its version, on one line.
    pub(crate) fn version(&self) -> String {
        match self {
            Self::Steadfast(program, _) => said(program, "--version"),
            Self::Haproxy(program, _) | Self::Nginx(program, _) => said(program, "-v"),
            Self::Direct => "no broker".to_owned(),
            Self::External(peer) => format!("already running, process {} at {}", peer.pid, peer.address),
        }
    }

    /// The same, with the number of its workers where the harness has chosen it.
    pub(crate) fn about(&self, workers: u32) -> String {
        if self.is_ours() { format!("{}, workers: {workers}", self.version()) } else { self.version() }
    }

    /// Whether the harness can start it anew.
    pub(crate) fn is_ours(&self) -> bool {
        !matches!(self, Self::Direct | Self::External(_))
    }

    /// HAProxy, when installed.
    pub(crate) fn haproxy(threads: u32) -> Option<Self> {
        find_program("haproxy").map(|program| Self::Haproxy(program, threads))
    }

    /// nginx, when installed.
    pub(crate) fn nginx(workers: u32) -> Option<Self> {
        find_program("nginx").map(|program| Self::Nginx(program, workers))
    }
}

/// Starts what `launch` describes for an address, until one start succeeds.
async fn on_free_port<'a>(
    folder: &Path,
    instance: &str,
    (tls, traffic): (Tls<'_>, Traffic),
    launch: impl Fn(SocketAddr) -> io::Result<Launch<'a>>,
) -> io::Result<Running> {
    let mut failure = io::Error::other(format!("{instance} was not started"));
    for _ in 0..STARTS {
        // The listener is gone before the peer binds; nothing better works for programs that do not
        // say which port the system chose.
        let address = free_address()?;
        let process = Process::start(folder, launch(address)?)?;
        match relaying(process, Door::new(address, tls), traffic).await {
            Ok(running) => return Ok(running),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Waits until the peer passes an upgrade or a request on to a backend.
async fn relaying(mut process: Process, door: Door, traffic: Traffic) -> io::Result<Running> {
    let deadline = Instant::now() + START_TIME_MAX;
    let target = door.target()?;
    loop {
        let passed_on = match traffic {
            Traffic::Sessions => Link::open(target.clone(), 0).await.map(drop),
            Traffic::Requests(_) => Asker::new(target.clone(), PROBE).ask().await,
        };
        if !process.is_running() {
            return Err(process.failure("ended at once"));
        }
        match passed_on {
            Ok(()) => {
                let root = Some(process.id());
                return Ok(Running { door, control: None, annex: None, root, _process: Some(process) });
            }
            Err(error) if Instant::now() > deadline => {
                return Err(process.failure(&format!("does not relay: {error}")));
            }
            Err(_) => sleep(LOOK_EVERY).await,
        }
    }
}

fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

fn first(backends: &[SocketAddr]) -> io::Result<SocketAddr> {
    backends.first().copied().ok_or_else(|| io::Error::other("there is no backend"))
}

/// The executable called `name`, in the search path or where system programs are.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(SYSTEM_FOLDERS.map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|program| program.is_file())
}

fn said(program: &Path, flag: &str) -> String {
    let Ok(output) = Command::new(program).arg(flag).output() else {
        return "unknown version".to_owned();
    };
    // nginx says it on standard error.
    let said = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    String::from_utf8_lossy(&said).lines().next().unwrap_or("unknown version").trim().to_owned()
}

/// Sessions that a broker can hold here, two descriptors each, with some kept for itself.
fn sessions_max() -> u64 {
    let descriptors = getrlimit(Resource::RLIMIT_NOFILE).map_or(1_024, |(soft, _)| soft);
    (descriptors.saturating_sub(200) / 2).clamp(1, 10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_read_from_the_command_line() {
        let peer: External = "envoy=127.0.0.1:8080,4711".parse().unwrap();
        let expected = External {
            name: "envoy".to_owned(),
            address: SocketAddr::from(([127, 0, 0, 1], 8080)),
            pid: 4711,
        };
        assert_eq!(peer, expected);
        for bad in ["envoy", "envoy=127.0.0.1:8080", "envoy=localhost,1", "envoy=127.0.0.1:8080,x"] {
            assert!(bad.parse::<External>().is_err(), "{bad}");
        }
    }
}
