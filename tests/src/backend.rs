//! A real backend process on a port of its own, which can die and come back there.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::Signal;
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::binary::locate;
use crate::journal::{Connection, Entry, Event, Journal};
use crate::pki::{Pair, shown};
use crate::process::Process;
use crate::wait::{eventually, eventually_some};

/// A `test-backend` process and its journal. Clones stand for the same backend.
#[derive(Debug, Clone)]
pub struct Backend {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    flags: Mutex<Vec<String>>,
    /// Where it listens and how it is spoken to, as flags of all its lives.
    place: Vec<String>,
    url: String,
    address: SocketAddr,
    journal: Journal,
    process: Mutex<Option<Process>>,
    commands: AtomicU64,
    /// Reserved also while the process is dead.
    port: Arc<Socket>,
    _directory: TempDir,
}

impl Backend {
    /// Starts a backend called `name` with the given behaviour (the flags of `test-backend`, split at spaces).
    pub async fn start(name: &str, flags: &str) -> Self {
        let backend = Self::absent(name, flags);
        backend.restart().await;
        backend
    }

    /// Starts a backend on this address; its port 0 lets the system choose.
    pub async fn start_at(address: SocketAddr, name: &str, flags: &str) -> Self {
        let backend = Self::absent_at(address, name, flags);
        backend.restart().await;
        backend
    }

    /// Starts a backend that speaks TLS, with this certificate.
    pub async fn start_encrypted(name: &str, flags: &str, own: &Pair) -> Self {
        let backend = Self::absent_encrypted(name, flags, own);
        backend.restart().await;
        backend
    }

    /// As [`Backend::absent`], and speaks TLS once it is there.
    pub fn absent_encrypted(name: &str, flags: &str, own: &Pair) -> Self {
        let (port, address) = reserve(SocketAddr::from(([127, 0, 0, 1], 0)));
        let place = ["--address", &address.to_string(), "--cert", shown(&own.cert), "--key", shown(&own.key)];
        Self::placed(Arc::new(port), address, &place, format!("wss://{address}"), name, flags)
    }

    /// Starts a backend that is the file of a Unix domain socket.
    pub async fn start_file(path: &Path, name: &str, flags: &str) -> Self {
        let (port, address) = reserve(SocketAddr::from(([127, 0, 0, 1], 0)));
        let place = ["--file", shown(path)];
        let url = format!("unix:{}", shown(path));
        let backend = Self::placed(Arc::new(port), address, &place, url, name, flags);
        backend.restart().await;
        backend
    }

    /// Another process behind the address of `first`, as the workers of one server are. Both need the flag
    /// `--reuse-port`; the kernel chooses who gets a connection.
    pub async fn start_beside(first: &Backend, name: &str, flags: &str) -> Self {
        let backend = Self::new(first.shared.port.clone(), first.address(), name, flags);
        backend.restart().await;
        backend
    }

    /// A backend whose port is reserved and refuses connections until [`Backend::restart`].
    pub fn absent(name: &str, flags: &str) -> Self {
        Self::absent_at(SocketAddr::from(([127, 0, 0, 1], 0)), name, flags)
    }

    fn absent_at(address: SocketAddr, name: &str, flags: &str) -> Self {
        let (port, address) = reserve(address);
        Self::new(Arc::new(port), address, name, flags)
    }

    fn new(port: Arc<Socket>, address: SocketAddr, name: &str, flags: &str) -> Self {
        let place = ["--address", &address.to_string()];
        Self::placed(port, address, &place, format!("ws://{address}"), name, flags)
    }

    fn placed(
        port: Arc<Socket>,
        address: SocketAddr,
        place: &[&str],
        url: String,
        name: &str,
        flags: &str,
    ) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let journal = Journal::create(directory.path().join("journal"));
        let shared = Shared {
            name: name.to_owned(),
            flags: Mutex::new(words(flags)),
            place: place.iter().map(|word| (*word).to_owned()).collect(),
            url,
            address,
            journal,
            process: Mutex::new(None),
            commands: AtomicU64::new(0),
            port,
            _directory: directory,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Its name, which prefixes its answers.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Where it listens, when it does.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// The URL to give to the broker.
    pub fn url(&self) -> String {
        self.shared.url.clone()
    }

    /// What it has seen, over all its lives.
    pub fn journal(&self) -> &Journal {
        &self.shared.journal
    }

    /// The flags for its next life.
    pub fn set_flags(&self, flags: &str) {
        *lock(&self.shared.flags) = words(flags);
    }

    /// Kills it if it lives, starts it on the same port, and waits until it listens.
    pub async fn restart(&self) {
        let flags = lock(&self.shared.flags).clone();
        let mut command = Command::new(locate("steadfast-tests", "test-backend"));
        command.args(&self.shared.place);
        command.arg("--journal").arg(self.shared.journal.path());
        command.args(["--name", &self.shared.name]).args(flags);
        self.kill();
        let mut process = Process::spawn(&format!("backend {}", self.shared.name), &mut command);
        process.printed("listening on ", 0).await;
        *lock(&self.shared.process) = Some(process);
    }

    /// SIGKILL, and waits until it is gone. Its journal stays.
    pub fn kill(&self) {
        lock(&self.shared.process).take();
    }

    /// Sends a signal, such as SIGSTOP and SIGCONT.
    pub fn signal(&self, signal: Signal) {
        lock(&self.shared.process).as_mut().expect("a running backend").signal(signal);
    }

    /// The process id, when the backend has been started and listens (or did: it may have died since).
    pub fn id(&self) -> Option<u32> {
        lock(&self.shared.process).as_ref().map(Process::id)
    }

    /// Whether the process runs.
    pub fn is_alive(&self) -> bool {
        lock(&self.shared.process).as_mut().is_some_and(|process| process.exited().is_none())
    }

    /// Has every open connection obey `command` (as a command message would), and waits until it was handed on.
    pub async fn command(&self, command: &str) {
        self.obey(&format!("all {command}")).await;
    }

    /// As [`Backend::command`], but only `count` of the connections obey.
    pub async fn command_some(&self, count: usize, command: &str) {
        self.obey(&format!("some {count} {command}")).await;
    }

    /// Replaces the running process's behaviour by these flags.
    pub async fn set(&self, flags: &str) {
        self.obey(&format!("set {flags}")).await;
    }

    /// What is sent to the first `count` open connections vanishes on the way from now on, and nothing
    /// acknowledges it.
    pub async fn swallow(&self, count: usize) {
        self.obey(&format!("swallow {count}")).await;
    }

    /// The machine is gone as far as anybody can tell: what is sent to it vanishes, new connections too.
    pub async fn vanish(&self) {
        self.obey("vanish").await;
    }

    async fn obey(&self, line: &str) {
        let number = self.shared.commands.fetch_add(1, Ordering::Relaxed);
        let line = format!("{number} {line}");
        lock(&self.shared.process).as_mut().expect("a running backend").write_line(&line);
        let applied = |entry: &Entry| entry.event == Event::Applied { line: line.clone() };
        let what = format!("backend {} to obey {line:?}", self.shared.name);
        eventually(&what, || self.journal().view(|entries| entries.iter().any(applied))).await;
    }

    /// Waits until `n` upgrades have been answered with 101, over all lives.
    pub async fn wait_upgrades(&self, n: usize) {
        let is_upgrade = |entry: &&Entry| entry.event == Event::Answered { status: 101 };
        let what = format!("{n} upgrades at backend {}", self.shared.name);
        let count = || self.journal().view(|entries| entries.iter().filter(is_upgrade).count());
        eventually(&what, || count() >= n).await;
    }

    /// Waits until `n` messages have come, over all lives.
    pub async fn wait_messages(&self, n: usize) {
        let is_message = |entry: &&Entry| matches!(entry.event, Event::Message { .. });
        let what = format!("{n} messages at backend {}", self.shared.name);
        let count = || self.journal().view(|entries| entries.iter().filter(is_message).count());
        eventually(&what, || count() >= n).await;
    }

    /// Waits until the connection `index` (from 0) has ended from the broker's side, and returns all of it.
    pub async fn wait_end(&self, index: usize) -> Connection {
        let what = format!("the end of connection {index} at backend {}", self.shared.name);
        let ended =
            || self.journal().connections().into_iter().nth(index).filter(|conn| conn.end().is_some());
        eventually_some(&what, ended).await
    }

    /// Restarts the process, with the same flags, whenever it ends, until the guard is dropped.
    pub fn supervise(&self) -> Supervisor {
        let backend = self.clone();
        Supervisor(tokio::spawn(async move {
            loop {
                if !backend.is_alive() {
                    backend.restart().await;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }))
    }
}

/// Keeps a backend running. Dropping it leaves the backend as it is.
#[derive(Debug)]
pub struct Supervisor(JoinHandle<()>);

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A port that nobody else gets while the socket lives: bound, but not listening, so that connections to it are
/// refused until a backend listens there too (SO_REUSEADDR allows that).
pub(crate) fn reserve(address: SocketAddr) -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("SO_REUSEADDR");
    socket.bind(&address.into()).expect("a free port on loopback");
    let address = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("a bound socket");
    (socket, address)
}

fn words(flags: &str) -> Vec<String> {
    flags.split_whitespace().map(str::to_owned).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
