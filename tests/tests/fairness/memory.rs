//! Clients that fill the memory, each in its way, and neighbours who want their answers beside them.
//!
//! An attacker holds what it can, for as long as it can; its neighbours send counted messages meanwhile, short ones and
//! such that are larger than a session's share. All get their answers, none ends, and the limit is not passed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::client::{Client, Incoming};
use steadfast_tests::frame::{BINARY, Frame, TEXT};
use steadfast_tests::payload::noise;
use steadfast_tests::shim::{Host, ShimClient};
use steadfast_tests::skipped::leave_out;
use steadfast_tests::upgrade::Upgrade;
use steadfast_tests::wait::{bounded, eventually_async};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

const KIB: usize = 1024;

/// The memory of all sessions.
const BUFFERS: usize = 8 << 20;

/// The longest message.
const MESSAGE: usize = 1 << 20;

/// A neighbour's message that no share has room for.
const LARGE: usize = 64 * KIB;

/// Messages of either kind that the neighbours have answered while an attack lasts, at the least.
const ECHOES: usize = 100;

fn limited(broker: BrokerBuilder, more: &str) -> BrokerBuilder {
    let limits = format!("message = {MESSAGE}\nring = {MESSAGE}\nbuffers = {BUFFERS}\n{more}");
    broker.setting("limits", &limits).setting("timeouts", "message = \"1h\"\nclient_stall = \"1h\"")
}

/// Two who are served while others attack: one with short messages, one with large ones.
struct Neighbours {
    short: Client,
    large: Client,
    asked: usize,
}

impl Neighbours {
    async fn at(broker: &Broker) -> Neighbours {
        let mut both = Neighbours {
            short: Client::connect(broker.address()).await,
            large: Client::connect(broker.address()).await,
            asked: 0,
        };
        both.ask().await;
        both
    }

    /// Each says something and gets its answer.
    async fn ask(&mut self) {
        let n = self.asked;
        self.asked += 1;
        self.short.ask(&n.to_string(), &format!("a:{n}")).await;
        let payload = noise(LARGE, n as u64);
        self.large.send_frame(Frame::new(BINARY, payload.clone())).await;
        let answer = self.large.message().await;
        assert!(answer.bytes == [b"a:".as_slice(), &payload].concat(), "answer {n} is not the one due");
    }

    /// They are served until `over`, and at least so many times. What all sessions hold keeps to the limit meanwhile.
    async fn are_served_until(&mut self, broker: &Broker, over: impl AsyncFn() -> bool) {
        let before = self.asked;
        bounded("the end of the attack, beside neighbours who are served", async {
            loop {
                self.ask().await;
                let held = broker.metric("steadfast_buffered_bytes", &[]).await;
                assert!(held <= BUFFERS as f64, "{held} bytes in {BUFFERS}");
                if over().await && self.asked - before >= ECHOES {
                    return;
                }
            }
        })
        .await;
    }

    /// They have come to no harm.
    async fn end(self, broker: &Broker) {
        let Neighbours { short, large, .. } = self;
        for client in [short, large] {
            assert_eq!(client.close(1000, "").await.0, Some(1000));
        }
        let ended = |line: &serde_json::Value| line["cause"] == "client_close";
        eventually_async("the neighbours' ends", async || {
            (broker.access_lines().iter().filter(|line| ended(line)).count() == 2).then_some(())
        })
        .await;
    }
}

async fn pressed(broker: &Broker) -> f64 {
    let mut sum = 0.0;
    for reason in ["unproven", "still_message", "slow_reader", "most", "away"] {
        sum += broker.metric("steadfast_pressed_total", &[("reason", reason)]).await;
    }
    sum
}

/// A message of the largest size but for its end, and no more; one of a client that may come back has a kind, `m`. The task ends with the code that the client is closed with.
fn begin_a_message(mut client: Client, size: usize) -> JoinHandle<Option<u16>> {
    tokio::spawn(async move {
        let mut bytes = Frame::new(BINARY, vec![b'm'; size]).masked([0; 4]).encode();
        bytes.truncate(size - KIB);
        let writer = client.writer();
        let writes = tokio::spawn(async move { writer.send_raw(bytes).await });
        let closed = loop {
            match client.next().await {
                Incoming::Close(code, _) => break code,
                Incoming::End(_) => break None,
                _ => {}
            }
        };
        writes.abort();
        closed
    })
}

/// Attackers, each on its own connection, begin a message and say nothing more.
async fn open_messages_stop_nobody(connect: impl AsyncFn(&Broker) -> Client) {
    const ATTACKERS: usize = 16;
    let backend = Backend::start("a", "").await;
    let broker = limited(Broker::over(&[&backend]), "max_sessions = 256").start().await;
    let mut neighbours = Neighbours::at(&broker).await;
    let mut attackers = Vec::new();
    for _ in 0..ATTACKERS {
        attackers.push(begin_a_message(connect(&broker).await, MESSAGE - KIB));
    }
    neighbours.are_served_until(&broker, async || pressed(&broker).await >= 1.0).await;
    // Whoever had to go was told the truth; the others are as free to wait as they were.
    let gone = broker.ended().await;
    assert!(gone.iter().all(|line| line["cause"] == "memory_short" && line["code"] == 1013), "{gone:?}");
    let first = bounded("an attacker's end", futures::future::select_all(attackers)).await;
    assert_eq!(first.0.expect("its task ends well"), Some(1013));
    neighbours.end(&broker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_messages_that_stand_still_stop_nobody() {
    open_messages_stop_nobody(async |broker| Client::connect(broker.address()).await).await;
}

/// Their acknowledgements may come in spite of it, so they are read on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_messages_of_clients_that_may_come_back_stop_nobody() {
    open_messages_stop_nobody(async |broker| ShimClient::connect(broker.address(), None).await.client).await;
}

/// A service that sends without end, whatever is asked, to so many sessions.
async fn feed(host: Host, count: usize, sessions: Arc<AtomicUsize>) {
    for _ in 0..count {
        let (stream, _, _) = host.upgraded("").await;
        sessions.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            let (mut reader, mut writer) = tokio::io::split(stream);
            let frame = Frame::new(TEXT, vec![b'f'; 16 * KIB]).encode();
            let write = async { while writer.write_all(&frame).await.is_ok() {} };
            let read = async {
                let mut buffer = vec![0; 64 * KIB];
                while matches!(reader.read(&mut buffer).await, Ok(1..)) {}
            };
            tokio::join!(write, read);
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_leave_a_feed_at_once_stop_no_other_pool() {
    const ATTACKERS: usize = 24;
    let (backend, host) = (Backend::start("a", "").await, Host::start().await);
    let table = format!("[[pool]]\nname = \"feed\"\n{}", host.table("f"));
    let listener = "[[listener]]\naddress = \"127.0.0.1:0\"\npool = \"feed\"";
    let builder = Broker::over(&[&backend]).listener(listener).tables(&table);
    let broker = limited(builder, "max_sessions = 256").start().await;
    let fed = Arc::new(AtomicUsize::new(0));
    let feeding = tokio::spawn(feed(host, ATTACKERS, Arc::clone(&fed)));
    let mut neighbours = Neighbours::at(&broker).await;
    for _ in 0..ATTACKERS {
        // It has its welcome, says nothing and is gone.
        ShimClient::connect(broker.address_of(1), None).await.client.reset().await;
    }
    assert_eq!(fed.load(Ordering::Relaxed), ATTACKERS);
    neighbours.are_served_until(&broker, async || broker.sessions().await.len() == 2).await;
    let causes: Vec<_> = broker.ended().await.iter().map(|line| line["cause"].clone()).collect();
    assert!(causes.iter().all(|cause| *cause == "resume_expired" || *cause == "memory_short"), "{causes:?}");
    neighbours.end(&broker).await;
    feeding.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_keep_to_the_limit_and_stop_nobody() {
    const ATTACKERS: usize = 120;
    let backend = Backend::start("a", "").await;
    let broker = limited(Broker::over(&[&backend]), "max_sessions = 256").start().await;
    let mut neighbours = Neighbours::at(&broker).await;
    let mut attackers = Vec::new();
    for _ in 0..ATTACKERS {
        let client = Client::connect(broker.address()).await;
        client.shrink_receive_buffer(4 * KIB);
        for _ in 0..40 {
            client.send("!big 100000").await;
        }
        attackers.push(client);
    }
    let full = async || broker.metric("steadfast_buffered_bytes", &[]).await >= (BUFFERS / 2) as f64;
    neighbours.are_served_until(&broker, full).await;
    neighbours.are_served_until(&broker, async || true).await;
    let gone = broker.ended().await;
    assert!(gone.iter().all(|line| line["cause"] == "memory_short" && line["code"] == 1013), "{gone:?}");
    neighbours.end(&broker).await;
}

/// Connects clients that leave at once, `each` after its welcome, until there is no place for another.
async fn leave(broker: &Broker, each: impl AsyncFn(&ShimClient)) -> usize {
    for n in 0..1000 {
        let upgrade = Upgrade::to(broker.address()).header("Sec-WebSocket-Protocol", "steadfast.v1");
        let Ok(mut client) = upgrade.attempt().await else { return n };
        let text = client.text().await;
        let client = ShimClient { client, welcome: text.split(' ').map(str::to_owned).collect() };
        each(&client).await;
        client.client.reset().await;
    }
    1000
}

#[tokio::test]
async fn clients_that_were_never_heard_leave_no_place_taken_for_long() {
    const SESSIONS: usize = 40;
    let backend = Backend::start("a", "").await;
    let broker = limited(Broker::over(&[&backend]), &format!("max_sessions = {SESSIONS}")).start().await;
    let mut here = Client::connect(broker.address()).await;
    leave(&broker, async |_| ()).await;
    // All places come back, though clients that come back have two minutes for it.
    broker.wait_sessions(1).await;
    here.ask("still here", "a:still here").await;
    let lines = broker.ended().await;
    let known =
        |line: &serde_json::Value| line["cause"] == "resume_expired" || line["cause"] == "detached_limit";
    assert!(lines.len() >= SESSIONS - 1 && lines.iter().all(known), "{lines:?}");
}

#[tokio::test]
async fn clients_that_are_away_leave_half_of_the_places_to_those_that_are_here() {
    const SESSIONS: usize = 40;
    let backend = Backend::start("a", "").await;
    let broker = limited(Broker::over(&[&backend]), &format!("max_sessions = {SESSIONS}")).start().await;
    let mut here = Client::connect(broker.address()).await;
    let proves = async |client: &ShimClient| {
        client.client.send("a 0").await;
        client.client.send_frame(Frame::new(steadfast_tests::frame::PING, b"read".to_vec())).await;
    };
    let mut last = None;
    for _ in 0..SESSIONS - 1 {
        let mut client = ShimClient::connect(broker.address(), None).await;
        proves(&client).await;
        assert_eq!(client.client.next_but_pings().await, Incoming::Pong(b"read".to_vec()));
        last = Some(client.token().to_owned());
        client.client.reset().await;
    }
    // Newcomers get the other half, one after the other.
    let mut newcomers = Vec::new();
    for _ in 0..SESSIONS / 2 - 1 {
        let upgrade = Upgrade::to(broker.address());
        let newcomer = eventually_async("a place", async || upgrade.attempt().await.ok()).await;
        newcomers.push(newcomer);
    }
    for (n, newcomer) in newcomers.iter_mut().enumerate() {
        newcomer.ask(&n.to_string(), &format!("a:{n}")).await;
    }
    here.ask("still here", "a:still here").await;
    let lines = broker.ended().await;
    assert!(lines.iter().all(|line| line["cause"] == "detached_limit" && line["code"] == 1013), "{lines:?}");
    // The latest of them is still waited for.
    let token = last.expect("some have left");
    let back = ShimClient::connect(broker.address(), Some((&token, 0))).await;
    assert_eq!(back.standing(), "resumed 0 0");
}

/// A broker whose address space or control group ends soon, under messages that nobody ends.
async fn it_lives_within(builder: BrokerBuilder) {
    const ATTACKERS: usize = 28;
    const LARGEST: usize = 16 << 20;
    let mut message = Frame::new(BINARY, vec![7; LARGEST - KIB]).masked([0; 4]).encode();
    message.truncate(LARGEST - 2 * KIB);
    let message: Arc<[u8]> = message.into();
    let timeouts = "message = \"1h\"\nclient_stall = \"1h\"";
    let mut broker = builder.setting("timeouts", timeouts).start().await;
    let mut neighbours = Neighbours::at(&broker).await;
    let mut attackers = Vec::new();
    for _ in 0..ATTACKERS {
        let (mut stream, message) = (Upgrade::to(broker.address()).open().await, Arc::clone(&message));
        attackers.push(tokio::spawn(async move {
            let _ = stream.write_all(&message).await;
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        }));
        neighbours.ask().await;
    }
    let mut asked = 0;
    bounded("somebody to be pressed", async {
        while pressed(&broker).await < 1.0 || asked < ECHOES {
            neighbours.ask().await;
            asked += 1;
        }
    })
    .await;
    attackers.iter().for_each(JoinHandle::abort);
    neighbours.end(&broker).await;
    broker.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(broker.wait_exit().await.code(), Some(0), "{:?}", broker.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn within_a_limit_of_its_address_space_it_refuses_and_lives() {
    let backend = Backend::start("a", "").await;
    // In KiB.
    let builder = Broker::over(&[&backend]).argument("--workers").argument("2").address_space(384 << 10);
    it_lives_within(builder).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn within_a_control_group_it_refuses_and_lives() {
    let Some(group) = steadfast_tests::control_group::ControlGroup::with_memory(160 << 20) else {
        leave_out(
            "memory in a control group: no group can be made here; run as root with a memory controller",
        );
        return;
    };
    let backend = Backend::start("a", "").await;
    let builder = Broker::over(&[&backend]).argument("--workers").argument("2").control_group(&group);
    it_lives_within(builder).await;
    assert_eq!(group.kills(), 0, "the kernel has ended something in the group");
}
