//! The real broker in front of servers that the test did not write.

use std::net::SocketAddr;
use std::process::Command;

use steadfast_tests::process::Process;
use steadfast_tests::wait::eventually_async;
use steadfast_tests::{Broker, admin};

/// A running broker. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
    _process: Process,
}

impl Relay {
    /// Starts the broker with these backends and further arguments, and waits until it listens.
    pub(crate) async fn start(backends: &[String], arguments: &[&str]) -> Self {
        let mut command = Command::new(Broker::binary());
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]).args(arguments);
        for url in backends {
            command.args(["--backend", url]);
        }
        let mut process = Process::spawn("steadfast", &mut command);
        let address = parse(&process.printed("listening on ", 0).await);
        let admin = parse(&process.printed("admin on ", 0).await);
        Self { address, admin, _process: process }
    }

    /// Waits until backends have acknowledged `n` messages in all, so that none of them can be replayed.
    pub(crate) async fn wait_acknowledged(&self, n: usize) {
        let labels = [("direction", "up")];
        eventually_async(&format!("{n} acknowledged messages"), async || {
            let text = admin::get(self.admin, "/metrics").await.text();
            let count = admin::metric(&text, "steadfast_messages_acknowledged_total", &labels);
            (count >= n as f64).then_some(())
        })
        .await;
    }
}

fn parse(address: &str) -> SocketAddr {
    address.trim().parse().unwrap_or_else(|error| panic!("{address:?} is not an address: {error}"))
}
