//! A real process that answers HTTP and has written down what it was asked before, on a port of its own, where it can die
//! and come back.

use std::net::SocketAddr;
use std::process::Command;

use socket2::Socket;
use tempfile::TempDir;

use crate::backend::reserve;
use crate::binary::locate;
use crate::process::Process;

/// A `test-recorder` and its log.
#[derive(Debug)]
pub struct Recorder {
    name: String,
    address: SocketAddr,
    /// Milliseconds until it answers.
    delay: u64,
    process: Option<Process>,
    folder: TempDir,
    /// Reserved also while the process is dead.
    _port: Socket,
}

impl Recorder {
    /// Starts one that answers after `delay` milliseconds.
    pub async fn start(name: &str, delay: u64) -> Recorder {
        let (port, address) = reserve(SocketAddr::from(([127, 0, 0, 1], 0)));
        let folder = tempfile::tempdir().expect("a temporary directory");
        let mut recorder =
            Recorder { name: name.to_owned(), address, delay, process: None, folder, _port: port };
        recorder.restart().await;
        recorder
    }

    /// Its name, which prefixes its answers.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens, when it does.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Kills it if it lives, starts it on the same port, and waits until it listens.
    pub async fn restart(&mut self) {
        self.kill();
        let mut command = Command::new(locate("steadfast-tests", "test-recorder"));
        command.args(["--address", &self.address.to_string(), "--name", &self.name]);
        command.args(["--delay", &self.delay.to_string()]).arg("--log").arg(self.folder.path().join("log"));
        let mut process = Process::spawn(&format!("recorder {}", self.name), &mut command);
        process.printed("listening on ", 0).await;
        self.process = Some(process);
    }

    /// SIGKILL, and waits until it is gone. Its log stays.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// What it was asked in all its lives: `METHOD ID`.
    pub fn log(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.folder.path().join("log")).expect("its log");
        log.lines().map(str::to_owned).collect()
    }
}
