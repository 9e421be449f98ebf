//! Floods of the cheapest frames, from a client and from a backend, beside a neighbour on the same worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::BytesMut;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::client::Client;
use steadfast_tests::http::read_response;
use steadfast_tests::shim::Host;
use steadfast_tests::stream::Duplex;
use steadfast_tests::upgrade::Upgrade;
use steadfast_tests::wait::eventually;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

/// Echoes that the neighbour gets meanwhile.
const ECHOES: usize = 100;

/// Frames written at a time.
const AT_ONCE: usize = 8192;

/// Frames that may be taken from the attacker while the neighbour gets its echoes. For each of these, sockets are looked
/// at four times at the most, each time behind a poll of 64 frames; some more as the system's scheduler likes; and there is
/// what the kernel holds.
const FRAMES_MAX: usize = ECHOES * 4 * 64 * 20 + 4_000_000;

/// An empty ping of a client, with a mask of zeros, and one of a backend.
const CLIENT_PING: &[u8] = b"\x89\x80\0\0\0\0";
const BACKEND_PING: &[u8] = b"\x89\x00";

/// Pings without end, until it is dropped.
struct Flood {
    written: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Flood {
    async fn begin(stream: impl Duplex + 'static, ping: &[u8]) -> Flood {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let (pings, written) = (ping.repeat(AT_ONCE), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&written);
        let task = tokio::spawn(async move {
            let write = async {
                while writer.write_all(&pings).await.is_ok() {
                    count.fetch_add(AT_ONCE, Ordering::Relaxed);
                }
            };
            let read = async {
                let mut buffer = vec![0; 64 * 1024];
                while matches!(reader.read(&mut buffer).await, Ok(1..)) {}
            };
            tokio::join!(write, read);
        });
        let flood = Flood { written, task };
        eventually("the flood to run", || flood.written() > 10 * AT_ONCE).await;
        flood
    }

    fn written(&self) -> usize {
        self.written.load(Ordering::Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The neighbour asks again and again beside the flood.
async fn neighbour_is_served(client: &mut Client, flood: &Flood) {
    let before = flood.written();
    for n in 0..ECHOES {
        client.ask(&format!("{n}"), &format!("a:{n}")).await;
        let taken = flood.written() - before;
        assert!(taken <= FRAMES_MAX, "{taken} frames were taken from the attacker, and {n} echoes served");
    }
    assert!(!flood.task.is_finished(), "the attacker was there all the time");
}

fn one_worker(broker: BrokerBuilder) -> BrokerBuilder {
    broker.argument("--workers").argument("1")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_floods_leaves_its_neighbour_its_turns() {
    let backend = Backend::start("a", "").await;
    let broker = one_worker(Broker::over(&[&backend])).start().await;
    let mut neighbour = Client::connect(broker.address()).await;
    let mut attacker = Upgrade::to(broker.address()).open().await;
    let answer = read_response(&mut attacker, &mut BytesMut::new()).await.expect("an answer");
    assert_eq!(answer.status, 101);
    let flood = Flood::begin(attacker, CLIENT_PING).await;
    neighbour_is_served(&mut neighbour, &flood).await;
    // Newcomers are served too.
    Client::connect(broker.address()).await.ask("hello", "a:hello").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_floods_leaves_other_pools_their_turns() {
    let (backend, hostile) = (Backend::start("a", "").await, Host::start().await);
    let table = format!("[[pool]]\nname = \"hostile\"\n{}", hostile.table("h"));
    let listener = "[[listener]]\naddress = \"127.0.0.1:0\"\npool = \"hostile\"";
    let broker = one_worker(Broker::over(&[&backend]).listener(listener).tables(&table)).start().await;
    let mut neighbour = Client::connect(broker.address()).await;
    let upgrade = Upgrade::to(broker.address_of(1));
    let (client, (stream, _, _)) = tokio::join!(upgrade.connect(), hostile.upgraded(""));
    let flood = Flood::begin(stream, BACKEND_PING).await;
    neighbour_is_served(&mut neighbour, &flood).await;
    drop(client);
}
