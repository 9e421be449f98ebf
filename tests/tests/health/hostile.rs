//! Those whom the broker asks about backends, and who answer with anything but that: agents and DNS servers. What they said
//! last holds, sessions of the same pool and of another go on, and the log stays short.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use futures::future::join_all;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::client::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;

use crate::AGENTS;

const LOOKUPS: &str = "steadfast_dns_lookups_total";

/// Answers that each of them gives before it is judged what came of them.
const ANSWERS: f64 = 3.0;

/// Lines of a log in which everything has been said.
const LINES_MAX: usize = 12;

/// Ends with its test.
struct Asked {
    address: SocketAddr,
    /// It has begun to answer as it likes; until then it is good.
    bad: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

// ---- agents ----

/// How an agent answers.
#[derive(Debug, Clone, Copy)]
enum Agent {
    /// `begin`, and then `over` and over again.
    Endless {
        begin: &'static [u8],
        over: &'static [u8],
    },
    /// One byte, and after a while the next.
    Drip,
    Whole(&'static [u8]),
}

const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nup 50%";

const AGENTS_ANSWERS: [Agent; 9] = [
    Agent::Endless { begin: b"", over: b"no line ends here " },
    Agent::Endless { begin: b"HTTP/1.1 200 OK\r\nX-Long: ", over: b"aaaaaaaaaaaaaaaa" },
    Agent::Endless { begin: b"HTTP/1.1 200 OK\r\n\r\n", over: b"down maint " },
    Agent::Endless { begin: b"", over: b"HTTP/1.1 103 Early Hints\r\n\r\n" },
    Agent::Endless {
        begin: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        over: b"1;e=eeeeeeee\r\n \r\n",
    },
    Agent::Drip,
    Agent::Whole(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n\x00\xff\xfe\x80down"),
    Agent::Whole(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\ndown"),
    Agent::Whole(b"HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\ndown 99999999999999999999999"),
];

impl Agent {
    async fn start(self) -> Asked {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let bad = Arc::new(AtomicBool::new(false));
        let is_bad = Arc::clone(&bad);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(self.answer(stream, is_bad.load(Relaxed)));
            }
        });
        Asked { address, bad, tasks: vec![task] }
    }

    /// Until the broker has had enough.
    async fn answer(self, mut stream: TcpStream, bad: bool) {
        let _ = stream.read(&mut [0; 4096]).await;
        if !bad {
            let _ = stream.write_all(GOOD).await;
            return;
        }
        match self {
            Agent::Whole(answer) => drop(stream.write_all(answer).await),
            Agent::Endless { begin, over } => {
                let _ = stream.write_all(begin).await;
                while stream.write_all(&over.repeat(1000)).await.is_ok() {}
            }
            Agent::Drip => {
                for byte in GOOD {
                    if stream.write_all(&[*byte]).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            }
        }
    }
}

async fn agent(how: Agent) {
    let (a, b) = (Backend::start("a", "").await, Backend::start("b", "").await);
    let agent = how.start().await;
    let port = agent.address.port();
    let table = format!("[pool.agent]\ninterval = \"50ms\"\ntimeout = \"200ms\"\nport = {port}");
    let broker = Broker::over(&[&a])
        .backend_setting("a", "weight = 20")
        .pool_table(&table)
        .pool("other", &[&b])
        .start()
        .await;
    let told = |own: &serde_json::Value| own["effective_weight"] == 10.0;
    broker.wait_backend("a", "told its weight", told).await;
    agent.bad.store(true, Relaxed);
    let mut clients =
        [Client::connect(broker.address_of(0)).await, Client::connect(broker.address_of(1)).await];
    let bad = [("backend", "a"), ("outcome", "failed")];
    let before = broker.metric(AGENTS, &bad).await;
    broker.wait_metric(AGENTS, &bad, |count| count >= before + ANSWERS).await;
    for (client, name) in clients.iter_mut().zip(["a", "b"]) {
        client.ask("m", &format!("{name}:m")).await;
    }
    let own = broker.backend("a").await.expect("listed");
    assert_eq!((&own["state"], own["effective_weight"].as_f64()), (&"up".into(), Some(10.0)), "{how:?}");
    assert_eq!(broker.metric("steadfast_failovers_total", &[]).await, 0.0);
    let lines = broker.records(|record| record["level"] == "WARN");
    assert!((1..=LINES_MAX).contains(&lines.len()), "{how:?}: {lines:?}");
}

#[tokio::test]
async fn an_agent_that_answers_with_anything_leaves_its_last_word() {
    join_all(AGENTS_ANSWERS.map(agent)).await;
}

// ---- DNS ----

/// How a server answers a question for addresses.
#[derive(Debug, Clone, Copy)]
enum Dns {
    AliasOfItself,
    Circle,
    OtherName,
    OtherQuestion,
    Garbage,
    Cut,
    CutAndNothingElse,
    PointerToItself,
    WrongCounts,
    Nothing,
    Refusal,
}

const DNS_ANSWERS: [Dns; 11] = [
    Dns::AliasOfItself,
    Dns::Circle,
    Dns::OtherName,
    Dns::OtherQuestion,
    Dns::Garbage,
    Dns::Cut,
    Dns::CutAndNothingElse,
    Dns::PointerToItself,
    Dns::WrongCounts,
    Dns::Nothing,
    Dns::Refusal,
];

const A: u16 = 1;
const CNAME: u16 = 5;

/// The name of the question.
const ASKED: &[u8] = b"\xc0\x0c";

const OTHER: &[u8] = b"\x04evil\x04test\0";

fn record(name: &[u8], kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let len = (data.len() as u16).to_be_bytes();
    [name, &kind.to_be_bytes(), &[0, 1], &ttl.to_be_bytes(), &len, data].concat()
}

/// An answer with this many records, flags (RFC 1035, 4.1.1) and question.
fn answer(query: &[u8], flags: u16, question: &[u8], (count, records): (u16, &[u8])) -> Vec<u8> {
    let counts = [[0, 1], count.to_be_bytes(), [0, 0], [0, 0]].concat();
    [&query[..2], &flags.to_be_bytes(), &counts, question, records].concat()
}

/// The question, and whether it is for IPv4 addresses.
fn question(query: &[u8]) -> (&[u8], bool) {
    let name = query[12..].iter().position(|byte| *byte == 0).expect("a name has an end");
    let end = 12 + name + 5;
    (&query[12..end], query[end - 4..end - 2] == A.to_be_bytes())
}

impl Dns {
    fn answer(self, query: &[u8]) -> Vec<u8> {
        let (asked, v4) = question(query);
        let some = |record: Vec<u8>| answer(query, 0x8180, asked, (1, &record));
        let evil = [127, 66, 66, 66];
        match self {
            Dns::Garbage => vec![0xa5; 200],
            Dns::Cut => query[..2].iter().copied().chain([0x81]).collect(),
            Dns::CutAndNothingElse => answer(query, 0x8380, asked, (0, &[])),
            Dns::Refusal => answer(query, 0x8185, asked, (0, &[])),
            _ if !v4 => answer(query, 0x8180, asked, (0, &[])),
            Dns::AliasOfItself => some(record(ASKED, CNAME, 0, ASKED)),
            Dns::Circle => {
                let both = [record(ASKED, CNAME, 0, OTHER), record(OTHER, CNAME, 0, ASKED)].concat();
                answer(query, 0x8180, asked, (2, &both))
            }
            Dns::OtherName => some(record(OTHER, A, u32::MAX, &evil)),
            Dns::OtherQuestion => {
                let other = [OTHER, &[0, 1, 0, 1]].concat();
                answer(query, 0x8180, &other, (1, &record(OTHER, A, 0, &evil)))
            }
            Dns::PointerToItself => {
                let here = 12 + asked.len() as u8;
                some(record(&[0xc0, here], A, 0, &evil))
            }
            Dns::WrongCounts => answer(query, 0x8180, asked, (u16::MAX, &record(ASKED, A, 0, &evil))),
            Dns::Nothing => answer(query, 0x8180, asked, (0, &[])),
        }
    }
}

/// A port that is free for both: what is free for UDP may be somebody's for TCP.
async fn one_port() -> (UdpSocket, TcpListener, SocketAddr) {
    for _ in 0..100 {
        let udp = UdpSocket::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = udp.local_addr().expect("it is bound");
        if let Ok(tcp) = TcpListener::bind(address).await {
            return (udp, tcp, address);
        }
    }
    panic!("none of a hundred ports is free for both");
}

/// A server over UDP and TCP. `answers`: the question, whether it came over TCP, and whether it may be a bad one.
async fn dns(answers: impl Fn(&[u8], bool, bool) -> Vec<u8> + Send + Sync + 'static) -> Asked {
    let (udp, tcp, address) = one_port().await;
    let bad = Arc::new(AtomicBool::new(false));
    let is_bad = Arc::clone(&bad);
    let answers = Arc::new(move |query: &[u8], tcp| answers(query, tcp, is_bad.load(Relaxed)));
    let by_udp = Arc::clone(&answers);
    let datagrams = tokio::spawn(async move {
        let mut query = [0; 4096];
        while let Ok((len, from)) = udp.recv_from(&mut query).await {
            let _ = udp.send_to(&by_udp(&query[..len], false), from).await;
        }
    });
    let connections = tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let answers = Arc::clone(&answers);
            tokio::spawn(async move {
                while let Ok(len) = stream.read_u16().await {
                    let mut query = vec![0; len.into()];
                    let Ok(_) = stream.read_exact(&mut query).await else { return };
                    let answer = answers(&query, true);
                    let _ = stream.write_u16(answer.len() as u16).await;
                    let _ = stream.write_all(&answer).await;
                }
            });
        }
    });
    Asked { address, bad, tasks: vec![datagrams, connections] }
}

/// A broker whose first pool is found by this server, on the port of `a`.
async fn found_by(server: &Asked, a: &Backend, b: &Backend) -> Broker {
    let (port, server) = (a.address().port(), server.address);
    Broker::over(&[])
        .pool_table(&format!("[[pool.discovery]]\naddress = \"chat.test:{port}\""))
        .setting(
            "dns",
            &format!("servers = [\"{server}\"]\nttl_min = \"50ms\"\nttl_max = \"50ms\"\ntimeout = \"300ms\""),
        )
        .pool("other", &[b])
        .start()
        .await
}

async fn listed(broker: &Broker) -> usize {
    let all = broker.get_json("/api/v1/backends").await;
    let there = |own: &&serde_json::Value| own["origin"] == "dns" && own["state"] != "removed";
    all["backends"].as_array().expect("a list").iter().filter(there).count()
}

async fn misled(how: Dns) {
    let (a, b) = (Backend::start("a", "").await, Backend::start("b", "").await);
    let server = dns(move |query, _, bad| {
        let (question, v4) = question(query);
        match (bad, v4) {
            (true, _) => how.answer(query),
            (false, true) => answer(query, 0x8180, question, (1, &record(ASKED, A, 0, &[127, 0, 0, 1]))),
            (false, false) => answer(query, 0x8180, question, (0, &[])),
        }
    })
    .await;
    let broker = found_by(&server, &a, &b).await;
    let name = format!("chat.test/{}", a.address());
    broker.wait_state(&name, "up").await;
    let mut clients =
        [Client::connect(broker.address_of(0)).await, Client::connect(broker.address_of(1)).await];
    server.bad.store(true, Relaxed);
    let before = broker.metric(LOOKUPS, &[]).await;
    // One may have been under way.
    broker.wait_metric(LOOKUPS, &[], |count| count > before + ANSWERS).await;
    for (client, name) in clients.iter_mut().zip(["a", "b"]) {
        client.ask("m", &format!("{name}:m")).await;
    }
    let own = broker.backend(&name).await.expect("listed");
    assert_eq!(own["state"], "up", "{how:?}");
    assert_eq!(broker.metric("steadfast_failovers_total", &[]).await, 0.0);
    let evil = |record: &serde_json::Value| record.to_string().contains("127.66.66.66");
    assert!(broker.records(evil).is_empty(), "{how:?}");
    let lines = broker.records(|record| record["level"] == "WARN");
    assert!((1..=LINES_MAX).contains(&lines.len()), "{how:?}: {lines:?}");
}

#[tokio::test]
async fn a_dns_server_that_answers_with_anything_leaves_what_was_found() {
    join_all(DNS_ANSWERS.map(misled)).await;
}

#[tokio::test]
async fn thousands_of_addresses_that_are_others_each_time_are_bounded_and_told_in_short() {
    let (a, b) = (Backend::start("a", "").await, Backend::start("b", "").await);
    let asked = AtomicUsize::new(0);
    let server = dns(move |query, tcp, _| {
        let (question, v4) = question(query);
        if !v4 {
            return answer(query, 0x8180, question, (0, &[]));
        }
        if !tcp {
            return answer(query, 0x8380, question, (0, &[]));
        }
        let round = asked.fetch_add(1, Relaxed) as u8;
        let address =
            |n: u16| record(ASKED, A, 0, &[127, 100 + round % 100, n.to_be_bytes()[0], n.to_be_bytes()[1]]);
        answer(query, 0x8180, question, (3000, &(1..=3000).flat_map(address).collect::<Vec<_>>()))
    })
    .await;
    let broker = found_by(&server, &a, &b).await;
    let mut client = Client::connect(broker.address_of(1)).await;
    for n in 1..=3 {
        broker.wait_metric(LOOKUPS, &[], |count| count >= f64::from(n) * ANSWERS).await;
        client.ask("m", "b:m").await;
        assert_eq!(listed(&broker).await, 1024);
    }
    let found = broker.records(|record| record["message"] == "backend found by DNS").len();
    let more = broker.records(|record| record["message"] == "more backends found by DNS").len();
    assert!(more > 0 && found <= 33 * (more + 1), "{found} lines of single ones, {more} of the others");
    let troubles = broker.records(|record| record["message"] == "trouble with DNS");
    assert!(troubles.len() <= LINES_MAX, "{troubles:?}");
}
