//! The real `steadfast serve`, started as a user would.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::admin;
use crate::backend::Backend;
use crate::binary::locate;
use crate::control_group::ControlGroup;
use crate::http::Response;
use crate::process::Process;
use crate::wait::{eventually_async, eventually_some};

/// A running broker: one listener for each pool, perhaps one without, an admin listener, JSON logs. Killed when dropped.
#[derive(Debug)]
pub struct Broker {
    process: Process,
    addresses: Vec<SocketAddr>,
    admin: SocketAddr,
    directory: TempDir,
}

/// What a broker is started with.
#[derive(Debug, Clone, Default)]
pub struct BrokerBuilder {
    pools: Vec<Pool>,
    sections: BTreeMap<String, String>,
    listeners: Vec<String>,
    admin: Option<String>,
    arguments: Vec<String>,
    log_format: LogFormat,
    log_unread: bool,
    /// What a shell does before it becomes the broker.
    before: Vec<String>,
    end: String,
}

/// The log's shape; JSON unless a test wants text.
#[derive(Debug, Clone, Copy, Default)]
enum LogFormat {
    #[default]
    Json,
    Text,
}

#[derive(Debug, Clone)]
struct Pool {
    name: String,
    listener: String,
    settings: String,
    tables: String,
    backends: Vec<Listed>,
}

#[derive(Debug, Clone)]
struct Listed {
    backend: Backend,
    settings: String,
}

impl Broker {
    /// The path of the `steadfast` binary, for tests that start it with arguments of their own.
    pub fn binary() -> PathBuf {
        locate("steadfast", "steadfast")
    }

    /// A broker with the pool `default` over these backends, to be configured further.
    pub fn over(backends: &[&Backend]) -> BrokerBuilder {
        BrokerBuilder::default().pool("default", backends)
    }

    /// A broker with default settings over these backends.
    pub async fn start(backends: &[&Backend]) -> Self {
        Self::over(backends).start().await
    }

    /// Where clients of the first pool connect.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Where clients of the pool `index` connect; behind the last pool, those of other listeners that are no files.
    pub fn address_of(&self, index: usize) -> SocketAddr {
        self.addresses[index]
    }

    /// Where the admin listener is.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Starts one of the program's commands for a running broker, such as `drain a --wait`, against this one.
    pub fn command(&self, arguments: &[&str]) -> Process {
        let mut command = Command::new(Self::binary());
        command.args(arguments).env_clear().env("STEADFAST_ADMIN", self.admin.to_string());
        Process::spawn(&format!("steadfast {}", arguments.join(" ")), &mut command)
    }

    /// The configuration file.
    pub fn file(&self) -> PathBuf {
        file_in(&self.directory)
    }

    /// Puts another file in the configuration's place, in one step, as an editor or a deployment does.
    pub fn replace_file(&self, toml: &str) {
        let next = self.directory.path().join("next.toml");
        std::fs::write(&next, toml).expect("a file can be written");
        std::fs::rename(&next, self.file()).expect("a file can be renamed");
    }

    /// Writes the configuration file anew, as `cp` does.
    pub fn overwrite_file(&self, toml: &str) {
        std::fs::write(self.file(), toml).expect("the configuration file can be written");
    }

    /// Sends a signal to the broker.
    pub fn signal(&mut self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits until the broker has ended by itself.
    pub async fn wait_exit(&mut self) -> ExitStatus {
        self.process.wait_exit().await
    }

    /// What the broker has logged so far.
    pub fn log(&self) -> Vec<String> {
        self.process.stderr()
    }

    /// The log lines that are JSON and satisfy `matches`.
    pub fn records(&self, matches: impl Fn(&Value) -> bool) -> Vec<Value> {
        let parse = |line: &String| serde_json::from_str::<Value>(line).ok();
        self.log().iter().filter_map(parse).filter(matches).collect()
    }

    /// All access lines that have been read so far, in order: one of a session that has just ended may still come.
    /// See [`Broker::ended`].
    pub fn access_lines(&self) -> Vec<Value> {
        self.records(|record| record["message"] == "session ended")
    }

    /// The access lines of all sessions that have ended so far, in order. The log is written by a thread of its own,
    /// so it waits for as many lines as ends are counted.
    pub async fn ended(&self) -> Vec<Value> {
        self.counted(self.ends().await, "access lines", |record| record["message"] == "session ended").await
    }

    /// As [`Broker::records`], once there are as many as are counted elsewhere.
    pub async fn counted(&self, count: f64, what: &str, matches: impl Fn(&Value) -> bool) -> Vec<Value> {
        let told = || Some(self.records(&matches)).filter(|records| records.len() as f64 >= count);
        eventually_some(&format!("{count} {what} in the log"), told).await
    }

    /// Waits until `n` sessions have ended, and returns their causes in order.
    pub async fn wait_causes(&self, n: usize) -> Vec<String> {
        eventually_some(&format!("{n} access lines"), || {
            let lines = self.access_lines();
            let cause = |line: &Value| line["cause"].as_str().unwrap_or("(none)").to_owned();
            (lines.len() >= n).then(|| lines.iter().map(cause).collect())
        })
        .await
    }

    /// GETs `path` from the admin listener.
    pub async fn get(&self, path: &str) -> Response {
        admin::get(self.admin, path).await
    }

    /// POSTs nothing to `path` of the admin listener.
    pub async fn post(&self, path: &str) -> Response {
        admin::post(self.admin, path).await
    }

    /// GETs `path` from the admin listener as JSON. Panics unless it answers 200.
    pub async fn get_json(&self, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status, 200, "GET {path}: {}", response.text());
        serde_json::from_slice(&response.body).unwrap_or_else(|error| panic!("GET {path}: not JSON: {error}"))
    }

    /// Has the admin listener change something: `method` with `body` as JSON, or with none.
    pub async fn change(&self, method: &str, path: &str, body: &str) -> Response {
        admin::send(self.admin, method, path, body).await
    }

    /// The backend `name`, as the admin listener shows it; none when it is not listed.
    pub async fn backend(&self, name: &str) -> Option<Value> {
        let body = self.get_json("/api/v1/backends").await;
        body["backends"]
            .as_array()
            .expect("a list of backends")
            .iter()
            .find(|one| one["name"] == name)
            .cloned()
    }

    /// Waits until the backend `name` is listed and satisfies `holds`; returns it.
    pub async fn wait_backend(&self, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        eventually_async(&format!("backend {name}: {what}"), async || self.backend(name).await.filter(&holds))
            .await
    }

    /// Waits until `n` upgrades wait in the queue of the pool `pool`.
    pub async fn wait_waiting(&self, pool: &str, n: usize) {
        eventually_async(&format!("{n} upgrades in the queue of {pool}"), async || {
            let body = self.get_json("/api/v1/pools").await;
            let pools = body["pools"].as_array().expect("a list of pools");
            pools.iter().any(|one| one["name"] == pool && one["waiting"] == n).then_some(())
        })
        .await;
    }

    /// The sum of the metric `name` over all series that have `labels`; 0 when there is none.
    pub async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        admin::metric(&self.get("/metrics").await.text(), name, labels)
    }

    /// Waits until the metric satisfies `holds`.
    pub async fn wait_metric(&self, name: &str, labels: &[(&str, &str)], holds: impl Fn(f64) -> bool) -> f64 {
        eventually_async(&format!("metric {name}{labels:?}"), async || {
            Some(self.metric(name, labels).await).filter(|value| holds(*value))
        })
        .await
    }

    /// Waits until the backend `name` is in `state`; returns it.
    pub async fn wait_state(&self, name: &str, state: &str) -> Value {
        self.wait_backend(name, state, |backend| backend["state"] == state).await
    }

    /// Every change of the backend's state so far, as the log tells: the new state, and why. There is a line for
    /// each that the metrics count.
    pub async fn changes(&self, name: &str) -> Vec<(String, String)> {
        self.changes_of(name, name).await
    }

    /// As [`Broker::changes`], of a backend found by DNS: its counters go by the name that was asked for.
    pub async fn changes_of(&self, name: &str, counted: &str) -> Vec<(String, String)> {
        let count = self.metric("steadfast_backend_state_changes_total", &[("backend", counted)]).await;
        let told = |record: &Value| record["message"] == "backend changed" && record["backend"] == name;
        let records = self.counted(count, &format!("changes of {name}"), told).await;
        let text = |record: &Value, key: &str| record[key].as_str().expect("text").to_owned();
        records.iter().map(|record| (text(record, "after"), text(record, "why"))).collect()
    }

    /// How many sessions have ended so far.
    pub async fn ends(&self) -> f64 {
        self.metric("steadfast_session_ends_total", &[]).await
    }

    /// All sessions, as the admin listener shows them. Panics when one page does not have them all.
    pub async fn sessions(&self) -> Vec<Value> {
        let body = self.get_json("/api/v1/sessions?limit=10000").await;
        assert_eq!(body["next"], Value::Null, "more sessions than a page has");
        body["sessions"].as_array().cloned().expect("a list of sessions")
    }

    /// Waits until there is exactly one session and it satisfies `holds`; returns it.
    pub async fn wait_only_session(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        eventually_async(&format!("one session: {what}"), async || {
            let mut sessions = self.sessions().await;
            let found = sessions.len() == 1 && holds(&sessions[0]);
            found.then(|| sessions.remove(0))
        })
        .await
    }

    /// Waits until there is exactly one session and nothing of it is unacknowledged, so that a failover repeats
    /// nothing.
    pub async fn wait_at_rest(&self) -> Value {
        self.wait_only_session("at rest", |session| session["buffered_bytes"] == 0).await
    }

    /// Waits until `n` sessions are there.
    pub async fn wait_sessions(&self, n: usize) {
        self.wait_metric("steadfast_sessions", &[], |value| value == n as f64).await;
    }
}

impl BrokerBuilder {
    /// Adds a pool, with a listener of its own.
    pub fn pool(mut self, name: &str, backends: &[&Backend]) -> Self {
        let listed = |backend: &&Backend| Listed { backend: (*backend).clone(), settings: String::new() };
        let backends = backends.iter().map(listed).collect();
        let [listener, settings, tables] = [const { String::new() }; 3];
        self.pools.push(Pool { name: name.to_owned(), listener, settings, tables, backends });
        self
    }

    /// Adds a line such as `header_case = "title"` to the listener of the pool added last.
    pub fn listener_setting(mut self, line: &str) -> Self {
        let pool = self.pools.last_mut().expect("a pool with a listener");
        pool.listener += &format!("{line}\n");
        self
    }

    /// Adds a line such as `ack_hold = "1s"` to the pool added last.
    pub fn pool_setting(mut self, line: &str) -> Self {
        let pool = self.pools.last_mut().expect("a pool to set something of");
        pool.settings += &format!("{line}\n");
        self
    }

    /// Adds tables such as `[[route]]` to the end of the configuration file.
    pub fn tables(mut self, toml: &str) -> Self {
        self.end += &format!("{toml}\n");
        self
    }

    /// Adds a listener behind those of the pools, for requests that only routes lead anywhere.
    pub fn listener_without_pool(self) -> Self {
        self.listener("[[listener]]\naddress = \"127.0.0.1:0\"")
    }

    /// Adds a listener with its head and keys, behind those of the pools.
    pub fn listener(mut self, table: &str) -> Self {
        self.listeners.push(table.to_owned());
        self
    }

    /// Has the admin listener on this address, instead of a port of loopback.
    pub fn admin(mut self, address: &str) -> Self {
        self.admin = Some(address.to_owned());
        self
    }

    /// Adds a table such as `[pool.health]`, with its header, to the pool added last.
    pub fn pool_table(mut self, table: &str) -> Self {
        let pool = self.pools.last_mut().expect("a pool to add a table to");
        pool.tables += &format!("{table}\n\n");
        self
    }

    /// Adds a line such as `weight = 3` to the backend `name` of the pool added last.
    pub fn backend_setting(mut self, name: &str, line: &str) -> Self {
        let pool = self.pools.last_mut().expect("a pool with the backend");
        let listed = pool.backends.iter_mut().find(|listed| listed.backend.name() == name);
        listed.expect("a backend of the pool").settings += &format!("{line}\n");
        self
    }

    /// Adds a line such as `deadline = "2s"` to a section of the configuration file.
    pub fn setting(mut self, section: &str, line: &str) -> Self {
        *self.sections.entry(section.to_owned()).or_default() += &format!("{line}\n");
        self
    }

    /// Adds a command line argument.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Logs as text, as the broker does by itself. Access lines cannot be read then.
    pub fn text_log(mut self) -> Self {
        self.log_format = LogFormat::Text;
        self
    }

    /// Nobody reads its log.
    pub fn unread_log(mut self) -> Self {
        self.log_unread = true;
        self
    }

    /// It may open so many descriptors.
    pub fn descriptors(mut self, most: u32) -> Self {
        self.before.push(format!("ulimit -n {most}"));
        self
    }

    /// Its address space has so many KiB.
    pub fn address_space(mut self, kib: u64) -> Self {
        self.before.push(format!("ulimit -v {kib}"));
        self
    }

    /// It is in this control group.
    pub fn control_group(mut self, group: &ControlGroup) -> Self {
        self.before.push(format!("echo $$ > '{}'", group.entrance().display()));
        self
    }

    /// The configuration file.
    pub fn to_toml(&self) -> String {
        let mut toml = String::new();
        for pool in &self.pools {
            let Pool { name, listener, .. } = pool;
            let _ = writeln!(toml, "[[listener]]\naddress = \"127.0.0.1:0\"\npool = \"{name}\"\n{listener}");
        }
        for listener in &self.listeners {
            let _ = writeln!(toml, "{listener}\n");
        }
        for pool in &self.pools {
            let _ = writeln!(toml, "[[pool]]\nname = \"{}\"\n{}\n{}", pool.name, pool.settings, pool.tables);
            for Listed { backend, settings } in &pool.backends {
                let (name, url) = (backend.name(), backend.url());
                let _ = writeln!(toml, "[[pool.backend]]\nname = \"{name}\"\nurl = \"{url}\"\n{settings}");
            }
        }
        for (section, lines) in &self.sections {
            let _ = writeln!(toml, "[{section}]\n{lines}");
        }
        toml + &self.end
    }

    /// Starts the broker and waits until it has printed its addresses.
    pub async fn start(self) -> Broker {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = file_in(&directory);
        std::fs::write(&file, self.to_toml()).expect("a configuration file can be written");
        let mut command = match self.before.is_empty() {
            true => Command::new(Broker::binary()),
            false => behind(&self.before),
        };
        command.arg("serve").arg("--config").arg(&file);
        command.args(["--admin", self.admin.as_deref().unwrap_or("127.0.0.1:0")]).args(&self.arguments);
        if let LogFormat::Json = self.log_format {
            command.args(["--log-format", "json"]);
        }
        let spawn = if self.log_unread { Process::spawn_unread } else { Process::spawn };
        let mut process = spawn("steadfast", &mut command);
        let mut addresses = Vec::new();
        for index in 0..self.pools.len() + self.listeners.len() {
            let printed = process.printed("listening on ", index).await;
            // Who gives a listener a file knows where it is.
            addresses.extend((!printed.starts_with("unix:")).then(|| parse(&printed)));
        }
        let mut admin = parse(&process.printed("admin on ", 0).await);
        if admin.ip().is_unspecified() {
            admin.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        Broker { process, addresses, admin, directory }
    }
}

/// The broker by way of a shell, which sets its limits.
fn behind(before: &[String]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{} && exec \"$0\" \"$@\"", before.join(" && "))]).arg(Broker::binary());
    command
}

fn file_in(directory: &TempDir) -> PathBuf {
    directory.path().join("steadfast.toml")
}

fn parse(address: &str) -> SocketAddr {
    address.trim().parse().unwrap_or_else(|error| panic!("{address:?} is not an address: {error}"))
}
