//! What stands in front of backends: the broker, or HAProxy with the same settings.
//!
//! With `STEADFAST_HTTP_FRONT=haproxy` the tests run against HAProxy: what it serves well the broker serves too, and what a
//! test asks for is no fancy of its own. Where HAProxy does otherwise the test says so, by [`Front::or_haproxy`] or
//! [`is_haproxy`].

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use bytes::BytesMut;
use serde_json::Value;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::installed_proxy::{InstalledProxy, Program};
use steadfast_tests::wait::{bounded, eventually_async};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// Names the front; the broker without it.
const VARIABLE: &str = "STEADFAST_HTTP_FRONT";

/// Whether the tests run against HAProxy.
pub(crate) fn is_haproxy() -> bool {
    match std::env::var(VARIABLE).as_deref() {
        Ok("haproxy") => true,
        Ok("steadfast") | Err(_) => false,
        Ok(other) => panic!("{VARIABLE} is haproxy or steadfast, and not {other:?}"),
    }
}

/// What a front is to do. Times are in milliseconds; what is not set is long or has no limit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    servers: Vec<(String, SocketAddr)>,
    seats: Option<u32>,
    queue: Option<u32>,
    head: Option<u32>,
    idle: Option<u32>,
    body_pause: Option<u32>,
    body_max: Option<u64>,
    answer: Option<u32>,
    kept: Option<u32>,
    drain: Option<u32>,
    never_reuse: bool,
    repeat_anything: bool,
    first_first: bool,
}

impl Plan {
    /// In front of these backends, by their names.
    pub(crate) fn over(servers: &[(&str, SocketAddr)]) -> Plan {
        let servers = servers.iter().map(|(name, address)| ((*name).to_owned(), *address)).collect();
        Plan { servers, ..Plan::default() }
    }

    /// Connections to backends are kept for so long.
    pub(crate) fn kept(self, time: u32) -> Plan {
        Plan { kept: Some(time), ..self }
    }

    /// A backend has so many requests at once.
    pub(crate) fn seats(self, seats: u32) -> Plan {
        Plan { seats: Some(seats), ..self }
    }

    /// A request waits so long for a seat.
    pub(crate) fn queue(self, time: u32) -> Plan {
        Plan { queue: Some(time), ..self }
    }

    /// The head of a request is whole in this time.
    pub(crate) fn head(self, time: u32) -> Plan {
        Plan { head: Some(time), ..self }
    }

    /// A client's connection may be idle between two requests.
    pub(crate) fn idle(self, time: u32) -> Plan {
        Plan { idle: Some(time), ..self }
    }

    /// A client may pause in a body.
    pub(crate) fn body_pause(self, time: u32) -> Plan {
        Plan { body_pause: Some(time), ..self }
    }

    /// The most bytes of a request's body.
    pub(crate) fn body_max(self, bytes: u64) -> Plan {
        Plan { body_max: Some(bytes), ..self }
    }

    /// A backend's answer begins in this time.
    pub(crate) fn answer(self, time: u32) -> Plan {
        Plan { answer: Some(time), ..self }
    }

    /// Requests in flight have so long in a drain. HAProxy has no such limit.
    pub(crate) fn drain(self, time: u32) -> Plan {
        Plan { drain: Some(time), ..self }
    }

    /// Connections to backends are not passed from client to client.
    pub(crate) fn never_reuse(self) -> Plan {
        Plan { never_reuse: true, ..self }
    }

    /// The first backend gets all, as long as it is there and has room; else the next one.
    pub(crate) fn first_first(self) -> Plan {
        Plan { first_first: true, ..self }
    }

    /// Starts what the environment names.
    pub(crate) async fn start(self) -> Front {
        if is_haproxy() { self.start_haproxy().await } else { self.start_broker().await }
    }

    /// Starts HAProxy, which sends any request again that has got no answer: what must not be.
    pub(crate) async fn start_wrong(self) -> Front {
        Plan { repeat_anything: true, ..self }.start_haproxy().await
    }

    async fn start_haproxy(self) -> Front {
        assert!(Program::HaProxy.is_installed(), "HAProxy is to be tested, and is not installed");
        let mut admin = PathBuf::new();
        let proxy = InstalledProxy::start(Program::HaProxy, |address, folder| {
            admin = folder.join("admin");
            self.haproxy(address, &admin.display().to_string())
        })
        .await;
        Front { address: proxy.address(), running: Running::HaProxy { proxy: Box::new(proxy), admin } }
    }

    async fn start_broker(self) -> Front {
        let broker = self.broker().start().await;
        Front { address: broker.address(), running: Running::Steadfast(Box::new(broker)) }
    }

    fn haproxy(&self, address: SocketAddr, admin: &str) -> String {
        let or = |time: Option<u32>| time.unwrap_or(60_000);
        let reuse = if self.never_reuse { "never" } else { "safe" };
        let repeated = match self.repeat_anything {
            true => "retry-on all-retryable-errors".to_owned(),
            false => "retry-on conn-failure empty-response\n    http-request disable-l7-retry if !{ method GET HEAD OPTIONS }"
                .to_owned(),
        };
        let denied = self.body_max.map_or_else(String::new, |most| {
            format!("http-request deny deny_status 413 if {{ req.body_size gt {most} }}")
        });
        let mut text = format!(
            "global\n    nbthread 2\n    maxconn 4000\n    stats socket {admin} level admin\n\
             defaults\n    mode http\n    timeout connect 5s\n    timeout client {}\n    timeout server {}\n    \
             timeout tunnel 1m\n    timeout http-request {}\n    timeout http-keep-alive {}\n    timeout queue {}\n    \
             option abortonclose\n    option http-no-delay\n    option redispatch 1\n    retries 3\n\
             frontend clients\n    bind {address}\n    {denied}\n    \
             http-request del-header X-Forwarded-For\n    option forwardfor\n    \
             http-request set-header X-Forwarded-Proto http\n    \
             http-request set-header X-Forwarded-Host %[req.hdr(host)]\n    default_backend servers\n\
             backend servers\n    balance {}\n    http-reuse {reuse}\n    {repeated}\n",
            or(self.body_pause),
            or(self.answer),
            or(self.head),
            or(self.idle),
            or(self.queue),
            if self.first_first { "first" } else { "roundrobin" },
        );
        let seats = self.seats.map_or_else(String::new, |seats| format!("maxconn {seats}"));
        for (name, server) in &self.servers {
            let _ = writeln!(text, "    server {name} {server} {seats}");
        }
        text
    }

    /// The broker's configuration, to be added to.
    pub(crate) fn broker(&self) -> BrokerBuilder {
        let mut builder = BrokerBuilder::default().pool("default", &[]);
        let mut http = String::new();
        let time = |key: &str, time: Option<u32>| {
            time.map_or_else(String::new, |time| format!("{key} = \"{time}ms\"\n"))
        };
        http += &time("answer_timeout", self.answer);
        http += &time("body_timeout", self.body_pause);
        http += &time("idle_timeout", self.kept);
        if let Some(most) = self.body_max {
            let _ = writeln!(http, "body_max = {most}");
        }
        if self.never_reuse {
            http += "reuse = \"never\"\n";
        }
        builder = builder.pool_table(&format!("[pool.http]\n{http}"));
        builder = builder.pool_table(&format!("[pool.queue]\n{}", time("timeout", self.queue)));
        for (rank, (name, server)) in self.servers.iter().enumerate() {
            let seats = self.seats.map_or_else(String::new, |seats| format!("max_sessions = {seats}\n"));
            let backup = if self.first_first && rank > 0 { "backup = true\n" } else { "" };
            let table =
                format!("[[pool.backend]]\nname = \"{name}\"\nurl = \"http://{server}\"\n{seats}{backup}");
            builder = builder.pool_table(&table);
        }
        let timeouts = time("handshake", self.head) + &time("http_idle", self.idle);
        builder.setting("timeouts", &timeouts).setting("drain", &time("requests", self.drain))
    }
}

/// A front that listens.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    running: Running,
}

#[derive(Debug)]
enum Running {
    HaProxy {
        proxy: Box<InstalledProxy>,
        /// Where it takes commands.
        admin: PathBuf,
    },
    Steadfast(Box<Broker>),
}

impl Front {
    /// The first, or of HAProxy the second, which does otherwise.
    pub(crate) fn or_haproxy<T>(&self, steadfast: T, haproxy: T) -> T {
        match self.running {
            Running::HaProxy { .. } => haproxy,
            Running::Steadfast(_) => steadfast,
        }
    }

    /// The broker, if it is that.
    pub(crate) fn broker(&self) -> Option<&Broker> {
        match &self.running {
            Running::HaProxy { .. } => None,
            Running::Steadfast(broker) => Some(broker),
        }
    }

    /// Memory that is in use, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let id = match &self.running {
            Running::HaProxy { proxy, .. } => proxy.id(),
            Running::Steadfast(broker) => broker.id(),
        };
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("a process that runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
    }

    /// Gives the backend `name` no further requests, and waits until it has none.
    pub(crate) async fn drain(&self, name: &str) {
        self.begin_drain(name).await;
        self.wait_drained(name).await;
    }

    /// Gives the backend `name` no further requests.
    pub(crate) async fn begin_drain(&self, name: &str) {
        match &self.running {
            Running::HaProxy { admin, .. } => {
                command(admin, &format!("set server servers/{name} state drain")).await;
            }
            Running::Steadfast(broker) => {
                let answer = broker.post(&path(name, "drain")).await;
                assert_eq!(answer.status, 202, "{}", answer.text());
            }
        }
    }

    /// Waits until a backend in a drain has no requests.
    pub(crate) async fn wait_drained(&self, name: &str) {
        match &self.running {
            Running::HaProxy { admin, .. } => {
                eventually_async(&format!("{name} has no requests"), async || {
                    let table = command(admin, "show stat").await;
                    let line = table.lines().find(|line| line.starts_with(&format!("servers,{name},")));
                    // Its fifth column: requests at the moment.
                    (line.expect("the server").split(',').nth(4) == Some("0")).then_some(())
                })
                .await;
            }
            Running::Steadfast(broker) => {
                eventually_async(&format!("the drain of {name} is done"), async || {
                    let all = broker.get_json("/api/v1/operations").await;
                    let all = all["operations"].as_array().expect("a list").clone();
                    let is_own = |own: &&Value| own.to_string().contains(&format!("\"{name}\""));
                    let open = |own: &&Value| own["state"] != "done";
                    all.iter().filter(is_own).find(open).is_none().then_some(())
                })
                .await;
            }
        }
    }

    /// Ends a drain.
    pub(crate) async fn undrain(&self, name: &str) {
        match &self.running {
            Running::HaProxy { admin, .. } => {
                command(admin, &format!("set server servers/{name} state ready")).await;
            }
            Running::Steadfast(broker) => {
                let answer = broker.post(&path(name, "undrain")).await;
                assert!([200, 202].contains(&answer.status), "{}", answer.text());
            }
        }
    }
}

fn path(backend: &str, what: &str) -> String {
    format!("/api/v1/pools/default/backends/{backend}/{what}")
}

/// Has HAProxy obey a command; what it says.
async fn command(admin: &PathBuf, line: &str) -> String {
    bounded(line, async {
        let mut stream = UnixStream::connect(admin).await.expect("HAProxy takes commands");
        stream.write_all(format!("{line}\n").as_bytes()).await.expect("a command can be written");
        let mut said = BytesMut::new();
        while stream.read_buf(&mut said).await.expect("what HAProxy says") > 0 {}
        String::from_utf8_lossy(&said).into_owned()
    })
    .await
}
