//! The backend processes: started, struck and started again, each on its own port.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use clap::ValueEnum;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpSocket;
use tokio::process::{Child, Command};

use super::cast::Pool;
use super::script::Deed;
use super::warden::Warden;

/// How long a backend may take until it listens. It takes milliseconds.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// One backend, over all the processes that it is in the course of the demo.
#[derive(Debug)]
pub(super) struct Backend {
    name: String,
    pool: Pool,
    address: SocketAddr,
    /// Bound and never listening: keeps the port from others while the backend is down.
    _port: TcpSocket,
    process: Option<Child>,
    stopped: bool,
}

/// What the script has made of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It runs.
    Running,
    /// SIGSTOP has it.
    Stopped,
    /// There is no process.
    Down,
}

impl Backend {
    /// Chooses a port and starts the process. Its standard error goes to `log`.
    pub(super) async fn start(pool: Pool, index: usize, warden: &Warden, log: &File) -> io::Result<Self> {
        let port = TcpSocket::new_v4()?;
        port.set_reuseaddr(true)?;
        port.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let name = pool.backend(index);
        let address = port.local_addr()?;
        let mut backend = Self { name, pool, address, _port: port, process: None, stopped: false };
        backend.restart(warden, log).await?;
        Ok(backend)
    }

    /// Its name, as it stands in its answers and in the broker's configuration.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens, when it runs.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the script has made of it.
    pub(super) fn state(&self) -> State {
        match (&self.process, self.stopped) {
            (None, _) => State::Down,
            (Some(_), true) => State::Stopped,
            (Some(_), false) => State::Running,
        }
    }

    /// Does what the script says. Returns when it is done: the process is gone, or listens.
    pub(super) async fn undergo(&mut self, deed: Deed, warden: &Warden, log: &File) -> io::Result<()> {
        let done = match deed {
            // They are the broker's affair.
            Deed::Drain | Deed::Undrain => Ok(()),
            Deed::Kill => self.kill().await,
            Deed::Restart => self.restart(warden, log).await,
            Deed::Stop => self.signal(Signal::SIGSTOP, true),
            Deed::Continue => self.signal(Signal::SIGCONT, false),
        };
        done.map_err(|error| io::Error::other(format!("backend {}: {error}", self.name)))
    }

    /// An error when the process has ended and the script did not do it.
    pub(super) fn check(&mut self) -> io::Result<()> {
        match self.process.as_mut().map(Child::try_wait) {
            Some(Ok(Some(status))) => {
                Err(io::Error::other(format!("backend {} ended by itself ({status})", self.name)))
            }
            Some(Err(error)) => Err(error),
            Some(Ok(None)) | None => Ok(()),
        }
    }

    async fn kill(&mut self) -> io::Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill().await?;
        }
        self.stopped = false;
        Ok(())
    }

    async fn restart(&mut self, warden: &Warden, log: &File) -> io::Result<()> {
        let mut command = Command::new(std::env::current_exe()?);
        let kind = self.pool.kind.to_possible_value().map_or_else(String::new, |kind| kind.get_name().into());
        command.args(["demo-backend", "--name", &self.name, "--kind", &kind, "--port"]);
        command.arg(self.address.port().to_string());
        command.stdout(Stdio::piped()).stderr(log.try_clone()?);
        let mut process = warden.spawn(&mut command)?;
        until_listening(&mut process).await?;
        self.process = Some(process);
        Ok(())
    }

    fn signal(&mut self, signal: Signal, stopped: bool) -> io::Result<()> {
        let id = self.process.as_ref().and_then(Child::id).and_then(|id| i32::try_from(id).ok());
        let id = id.ok_or_else(|| io::Error::other("it is not running"))?;
        kill(Pid::from_raw(id), signal)?;
        self.stopped = stopped;
        Ok(())
    }
}

/// A backend says one line, once it listens.
async fn until_listening(process: &mut Child) -> io::Result<()> {
    let stdout = process.stdout.take().ok_or_else(|| io::Error::other("it has no standard output"))?;
    let mut line = String::new();
    tokio::time::timeout(START_TIMEOUT, BufReader::new(stdout).read_line(&mut line))
        .await
        .map_err(|_| io::Error::other("it did not listen in time"))??;
    match line.is_empty() {
        true => Err(io::Error::other("it ended before it listened")),
        false => Ok(()),
    }
}
