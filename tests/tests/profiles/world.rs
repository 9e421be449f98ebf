//! Servers, the broker before them, and clients.

use std::fmt::Write;

use serde_json::Value;
use steadfast_tests::wait::{eventually, eventually_async};

use crate::crew::Crew;
use crate::lines::is;
use crate::pair::Pair;
use crate::peers::relay::Relay;
use crate::peers::tools::left_out;
use crate::server::Server;

const NAMES: [&str; 3] = ["a", "b", "c"];

/// Clients that connect at once: so many that they do not wait for their server in numbers that the broker turns away.
const AT_ONCE: usize = 100;

/// All that takes part in a scene. One server, the first, lives at the beginning.
#[derive(Debug)]
pub(crate) struct World {
    /// Of whom.
    pub(crate) pair: Pair,
    /// The pool.
    pub(crate) servers: Vec<Server>,
    /// The broker.
    pub(crate) relay: Relay,
    /// The clients.
    pub(crate) crew: Crew,
    clients: usize,
    requests: usize,
    pushes: usize,
}

/// What is not as usual.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Unusual {
    /// There is no profile.
    pub(crate) unprofiled: bool,
    /// What the pool says besides.
    pub(crate) pool: &'static str,
    /// Milliseconds between signs of life of servers and clients.
    pub(crate) pings: Option<u32>,
    /// Two servers live at the beginning.
    pub(crate) two: bool,
}

impl World {
    /// Begins a scene with so many clients, which are logged in and hear `news`. None where something is missing.
    pub(crate) async fn open(pair: Pair, clients: usize, unusual: Unusual) -> Option<Self> {
        let thread = std::thread::current();
        if left_out(thread.name().expect("a test has a name"), pair.tools) {
            return None;
        }
        let mut servers = NAMES.map(|name| Server::absent(pair.server, name, unusual.pings));
        servers[0].start(&[]).await;
        if unusual.two {
            servers[1].start(&[]).await;
        }
        let relay = Relay::of(&configuration(pair, &servers, unusual)).await;
        let mut crew = Crew::start(pair.client, unusual.pings);
        if pair.feeds {
            crew.tell("feed news");
        }
        for from in (0..clients).step_by(AT_ONCE) {
            let to = clients.min(from + AT_ONCE);
            crew.tell(&format!("connect ws://{} {from} {to}", relay.address));
            crew.wait_count("logins", to, |event| is(event, "ready")).await;
        }
        let world = Self { pair, servers: servers.into(), relay, crew, clients, requests: 0, pushes: 0 };
        let begun = |server: &Server| server.count(|event| is(event, "begun"));
        eventually("the feeds have begun", || world.servers.iter().map(begun).sum::<usize>() == clients)
            .await;
        Some(world)
    }

    /// Each client has asked, and left a second feed where it can; nothing is under way any more.
    pub(crate) async fn settle(&mut self) {
        if self.pair.unfeeds {
            self.crew.tell("feed spare");
            self.servers[0].wait_count("feeds", 2 * self.clients, |event| is(event, "begun")).await;
            self.crew.tell("unfeed spare");
            self.servers[0].wait_count("feeds left", self.clients, |event| is(event, "ended")).await;
        }
        self.ask(2, 1, 0);
        self.wait_answers().await;
        self.wait_at_rest().await;
    }

    /// Each client asks `count` times, with `window` requests open.
    pub(crate) fn ask(&mut self, count: usize, window: usize, bytes: usize) {
        self.requests += count * self.clients;
        self.crew.tell(&format!("ask {count} {window} {bytes}"));
    }

    /// Waits until each of these requests has an answer, or has failed.
    pub(crate) async fn wait_answers(&self) {
        let done = |event: &Value| is(event, "answer") || is(event, "failed");
        self.crew.wait_count("answers", self.requests, done).await;
    }

    /// Waits until nothing of any session is unacknowledged.
    pub(crate) async fn wait_at_rest(&self) {
        eventually_async("everything is acknowledged", async || {
            let sessions = self.sessions().await;
            let rests = |session: &Value| {
                let up = &session["ledger"]["upstream"];
                up["forwarded"] == up["acknowledged"]
            };
            sessions.iter().all(rests).then_some(())
        })
        .await;
    }

    /// The sessions, as the admin listener shows them.
    pub(crate) async fn sessions(&self) -> Vec<Value> {
        let body = self.relay.json("/api/v1/sessions?limit=10000").await;
        body["sessions"].as_array().cloned().expect("a list of sessions")
    }

    /// The sum over all sessions of a count of the ledger, upward.
    pub(crate) async fn ledger(&self, count: &str) -> usize {
        self.counted("upstream", count).await
    }

    async fn counted(&self, direction: &str, count: &str) -> usize {
        let of = |session: &Value| {
            let count = session["ledger"][direction][count].as_u64();
            count.unwrap_or_else(|| panic!("no such count in {session}")) as usize
        };
        self.sessions().await.iter().map(of).sum()
    }

    /// Waits until servers that have nothing else to say have said so much.
    pub(crate) async fn wait_ticks(&self, count: usize) {
        let before = self.counted("downstream", "forwarded").await;
        eventually_async(&format!("{count} signs of life"), async || {
            let now = self.counted("downstream", "forwarded").await;
            (now >= before + count).then_some(())
        })
        .await;
    }

    /// The requests that servers may have handled twice, as the ledger has them.
    pub(crate) async fn in_doubt(&self) -> usize {
        self.ledger("in_doubt").await
    }

    /// Each client is answered by this server, in whose present life it has logged in once, and hears it; and no more than that.
    pub(crate) async fn goes_on_at(&mut self, server: usize) {
        self.ask(1, 1, 0);
        self.wait_answers().await;
        self.is_heard_at(server).await;
        let last = self.crew.events().into_iter().rfind(|event| is(event, "answer")).expect("an answer");
        assert_eq!(last["by"], self.servers[server].name(), "{last}");
    }

    /// The half of that which has no request.
    pub(crate) async fn is_heard_at(&mut self, server: usize) {
        let clients = self.clients;
        let next = &mut self.servers[server];
        next.wait_count("feeds", clients, |event| is(event, "begun")).await;
        self.pushes += 1;
        let n = self.pushes;
        next.tell(&format!("push {n}")).await;
        let pushed = |event: &Value| is(event, "push") && event["n"] == n;
        self.crew.wait_count(&format!("pushes {n}"), clients, pushed).await;
        for client in 0..clients {
            let who = format!("c{client}");
            let own = |event: &Value, kind| is(event, kind) && event["who"] == who;
            assert_eq!(next.count(|event| own(event, "login")), 1, "logins of {who}");
            assert_eq!(next.count(|event| own(event, "begun")), 1, "feeds of {who}");
        }
        assert_eq!(next.count(|event| is(event, "ended")), 0, "feeds have ended");
        assert_eq!(self.crew.count(pushed), clients, "each push is heard once");
    }
}

fn configuration(pair: Pair, servers: &[Server], unusual: Unusual) -> String {
    let profile = if unusual.unprofiled { "none" } else { pair.profile };
    let pool = unusual.pool;
    let mut toml = format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\npool = \"default\"\n\n\
         [[pool]]\nname = \"default\"\nprofile = \"{profile}\"\n{pool}\n\n"
    );
    for server in servers {
        let _ = writeln!(
            toml,
            "[[pool.backend]]\nname = \"{}\"\nurl = \"ws://{}\"\n",
            server.name(),
            server.address()
        );
    }
    let failover = "[failover]\nstable = \"100ms\"\nbackoff_max = \"200ms\"\npenalty_min = \"50ms\"\npenalty_max = \"50ms\"\n";
    format!("{toml}{failover}\n{}\n", pair.tables)
}
