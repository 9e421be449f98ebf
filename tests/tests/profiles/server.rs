//! A server on somebody else's library, all of whose lives are remembered.

use std::net::SocketAddr;

use nix::sys::signal::Signal;
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use steadfast_tests::process::Process;
use steadfast_tests::wait::eventually;

use crate::lines::{events, is};
use crate::pair::command;

/// A server with a port of its own, alive or not.
#[derive(Debug)]
pub(crate) struct Server {
    script: &'static str,
    name: &'static str,
    address: SocketAddr,
    /// Keeps the port ours while the process is dead: bound, but not listening.
    _port: Socket,
    process: Option<Process>,
    /// What was told in lives that are over.
    past: Vec<Value>,
    /// Milliseconds between signs of life, where a test says so.
    pings: Option<u32>,
}

impl Server {
    /// One that does not live yet.
    pub(crate) fn absent(script: &'static str, name: &'static str, pings: Option<u32>) -> Self {
        let port = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        port.set_reuse_address(true).expect("SO_REUSEADDR");
        port.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port on loopback");
        let address = port.local_addr().ok().and_then(|address| address.as_socket()).expect("a bound socket");
        Self { script, name, address, _port: port, process: None, past: Vec::new(), pings }
    }

    /// What it calls itself.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts a life with these orders, and waits until it listens.
    pub(crate) async fn start(&mut self, orders: &[&str]) {
        self.kill();
        let mut command = command(self.script);
        command.arg(self.name).arg(self.address.port().to_string()).args(orders);
        command.envs(self.pings.map(|pings| ("PINGS", pings.to_string())));
        let mut process = Process::spawn(&format!("{} {}", self.script, self.name), &mut command);
        process.printed("listening on ", 0).await;
        self.process = Some(process);
    }

    /// SIGKILL, if it lives. What it has told is kept.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            self.past.extend(events(&process.last_words()));
        }
    }

    /// Waits until it has ended by itself. What it has told is kept.
    pub(crate) async fn wait_exit(&mut self) {
        self.process.as_mut().expect("a life").wait_exit().await;
        self.kill();
    }

    /// Sends it a signal.
    pub(crate) fn signal(&mut self, signal: Signal) {
        self.process.as_mut().expect("a life").signal(signal);
    }

    /// Gives an order, and waits until it is obeyed.
    pub(crate) async fn tell(&mut self, line: &str) {
        let obeyed = |event: &Value| is(event, "obeyed") && event["line"] == line;
        let before = self.count(obeyed);
        self.process.as_mut().expect("a life").write_line(line);
        eventually(&format!("{} to obey {line}", self.name), || self.count(obeyed) > before).await;
    }

    /// What it has told in its present life.
    pub(crate) fn present(&self) -> Vec<Value> {
        self.process.as_ref().map(|process| events(&process.stdout())).unwrap_or_default()
    }

    /// What it has told in all its lives.
    pub(crate) fn all(&self) -> Vec<Value> {
        let mut all = self.past.clone();
        all.extend(self.present());
        all
    }

    /// How much of what it has told in its present life fits.
    pub(crate) fn count(&self, fits: impl Fn(&Value) -> bool) -> usize {
        self.present().iter().filter(|event| fits(event)).count()
    }

    /// Waits until so much of it does.
    pub(crate) async fn wait_count(&self, what: &str, count: usize, fits: impl Fn(&Value) -> bool) {
        eventually(&format!("{count} {what} at {}", self.name), || self.count(&fits) >= count).await;
    }
}
