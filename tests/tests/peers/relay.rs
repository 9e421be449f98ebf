//! The real broker in front of servers that the test did not write.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use serde_json::Value;
use steadfast_tests::process::Process;
use steadfast_tests::wait::eventually_async;
use steadfast_tests::{Broker, admin};
use tempfile::TempDir;

/// A running broker. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
    _process: Process,
    _folder: TempDir,
}

impl Relay {
    /// Starts the broker with these backends and further arguments, and waits until it listens.
    pub(crate) async fn start(backends: &[String], arguments: &[&str]) -> Self {
        let backends = backends.iter().flat_map(|url| ["--backend", url]);
        let arguments = [&["--listen", "127.0.0.1:0"], arguments].concat();
        Self::serve(arguments.into_iter().chain(backends), tempfile::tempdir().expect("a folder")).await
    }

    /// Starts the broker with a configuration of one listener, and waits until it listens.
    pub(crate) async fn of(configuration: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("steadfast.toml");
        fs::write(&file, configuration).expect("a file can be written");
        let file = file.to_str().expect("a path is text").to_owned();
        Self::serve(["--config", &file].into_iter(), folder).await
    }

    async fn serve(arguments: impl Iterator<Item = &str>, folder: TempDir) -> Self {
        let mut command = Command::new(Broker::binary());
        command.args(["serve", "--admin", "127.0.0.1:0"]).args(arguments);
        let mut process = Process::spawn("steadfast", &mut command);
        let address = parse(&process.printed("listening on ", 0).await);
        let admin = parse(&process.printed("admin on ", 0).await);
        Self { address, admin, _process: process, _folder: folder }
    }

    /// Drains the backend at `address`, and waits until it holds no session.
    pub(crate) async fn drain(&self, address: SocketAddr) {
        let backends = self.json("/api/v1/backends").await;
        let all = backends["backends"].as_array().expect("a list of backends");
        let own = all.iter().find(|own| own["address"] == address.to_string()).expect("a backend there");
        let [pool, name] = ["pool", "name"].map(|key| own[key].as_str().expect("a name"));
        let path = format!("/api/v1/pools/{pool}/backends/{name}/drain");
        let begun = admin::post(self.admin, &path).await;
        assert_eq!(begun.status, 202, "{}", begun.text());
        eventually_async(&format!("{name} is drained"), async || {
            let operations = self.json("/api/v1/operations").await;
            (operations["operations"][0]["state"] == "done").then_some(())
        })
        .await;
    }

    /// GETs `path` from the admin listener.
    pub(crate) async fn json(&self, path: &str) -> Value {
        serde_json::from_slice(&admin::get(self.admin, path).await.body).expect("JSON")
    }

    /// Waits until backends have acknowledged `n` messages in all, so that none of them can be replayed.
    pub(crate) async fn wait_acknowledged(&self, n: usize) {
        let labels = [("direction", "upstream")];
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
