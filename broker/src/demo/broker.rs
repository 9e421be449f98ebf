//! The broker's process: `steadfast serve` with a configuration file, as anyone would start it.

use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::backends::Backend;
use super::cast::{POOLS, Pool};
use super::script::ACK_TIMEOUT;
use super::warden::Warden;
use crate::api::client::Api;

/// How long the broker may take until it listens. It takes milliseconds.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// How long it may take to end once all sessions are gone.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// The running broker.
#[derive(Debug)]
pub(super) struct Broker {
    process: Child,
    listeners: Vec<SocketAddr>,
    api: Api,
    /// Held, so that the broker never writes to a closed pipe.
    _stdout: Lines<BufReader<ChildStdout>>,
}

impl Broker {
    /// Starts a broker with a listener for each pool; configuration and log go to `directory`.
    pub(super) async fn start(
        backends: &[Vec<Backend>],
        directory: &Path,
        warden: &Warden,
    ) -> io::Result<Self> {
        let file = directory.join("steadfast.toml");
        let log = directory.join("broker.log");
        fs::write(&file, configuration(backends))?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["serve", "--config"]).arg(&file).stdout(Stdio::piped()).stderr(File::create(&log)?);
        // The environment wins over the file, and the demo wants its own.
        for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("STEADFAST_"))
        {
            command.env_remove(key);
        }
        let mut process = warden.spawn(&mut command)?;
        let stdout =
            process.stdout.take().ok_or_else(|| io::Error::other("the broker has no standard output"))?;
        let mut lines = BufReader::new(stdout).lines();
        let announced = tokio::time::timeout(START_TIMEOUT, announcements(&mut lines)).await;
        match announced.map_err(io::Error::from).and_then(|told| told) {
            Ok((listeners, admin)) => {
                let api = Api::new(&admin.to_string(), None);
                Ok(Self { process, listeners, api, _stdout: lines })
            }
            Err(error) => Err(io::Error::other(format!("the broker did not start: {}", why(&log, &error)))),
        }
    }

    /// Where the clients of each pool connect.
    pub(super) fn listeners(&self) -> &[SocketAddr] {
        &self.listeners
    }

    /// What can be asked of it.
    pub(super) fn api(&self) -> &Api {
        &self.api
    }

    /// An error when the process has ended.
    pub(super) fn check(&mut self) -> io::Result<()> {
        match self.process.try_wait()? {
            Some(status) => {
                Err(io::Error::other(format!("the broker ended in the middle of the demo ({status})")))
            }
            None => Ok(()),
        }
    }

    /// Asks it to end, as an init system would, and insists when it does not.
    pub(super) async fn stop(mut self) -> io::Result<()> {
        if let Some(id) = self.process.id().and_then(|id| i32::try_from(id).ok()) {
            kill(Pid::from_raw(id), Signal::SIGTERM)?;
        }
        match tokio::time::timeout(END_TIMEOUT, self.process.wait()).await {
            Ok(ended) => ended.map(drop),
            Err(_) => self.process.kill().await,
        }
    }
}

/// Reads the lines in which the broker names the addresses it has bound.
async fn announcements(
    lines: &mut Lines<BufReader<ChildStdout>>,
) -> io::Result<(Vec<SocketAddr>, SocketAddr)> {
    let mut listeners = Vec::new();
    let mut admin = None;
    while listeners.len() < POOLS.len() || admin.is_none() {
        let line = lines.next_line().await?.ok_or_else(|| io::Error::other("it ended at once"))?;
        if let Some(address) = line.strip_prefix("listening on ") {
            listeners.push(address.parse().map_err(io::Error::other)?);
        } else if let Some(address) = line.strip_prefix("admin on ") {
            admin = Some(address.parse().map_err(io::Error::other)?);
        }
    }
    admin.map(|admin| (listeners, admin)).ok_or_else(|| io::Error::other("it has no admin listener"))
}

/// The broker's own last words, or what went wrong in listening to it.
fn why(log: &Path, error: &io::Error) -> String {
    let words = fs::read_to_string(log).unwrap_or_default();
    words.lines().last().map_or_else(|| error.to_string(), str::to_owned)
}

fn configuration(backends: &[Vec<Backend>]) -> String {
    // The demo's services answer within 20 ms, and its clients leave 100 ms between two messages.
    let mut text =
        String::from("[admin]\naddress = \"127.0.0.1:0\"\n\n[drain]\nquiet = \"50ms\"\npatience = \"1s\"\n");
    for (pool, backends) in POOLS.iter().zip(backends) {
        let backends = backends.iter().map(|backend| (backend.name(), backend.address()));
        text.push_str(&pool_configuration(pool, backends));
    }
    text
}

fn pool_configuration<'a>(pool: &Pool, backends: impl Iterator<Item = (&'a str, SocketAddr)>) -> String {
    let (name, ack_hold, ack_timeout) = (pool.name, pool.ack_hold, ACK_TIMEOUT.as_secs());
    let mut text = format!("\n[[listener]]\naddress = \"127.0.0.1:0\"\npool = \"{name}\"\n");
    text.push_str(&format!(
        "\n[[pool]]\nname = \"{name}\"\nack_hold = \"{ack_hold}\"\nack_timeout = \"{ack_timeout}s\"\n"
    ));
    for (name, address) in backends {
        text.push_str(&format!("\n[[pool.backend]]\nname = \"{name}\"\nurl = \"ws://{address}\"\n"));
    }
    text
}
