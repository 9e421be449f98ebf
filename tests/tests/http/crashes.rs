//! Backends are killed and drained under many clients, which send one request after the other.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::join_all;
use steadfast_tests::installed_proxy::Program;
use steadfast_tests::process::raise_descriptor_limit;
use steadfast_tests::recorder::Recorder;
use steadfast_tests::skipped::leave_out;
use steadfast_tests::wait::eventually;
use steadfast_tests::wire::{Message, Wire};
use tokio::task::JoinHandle;

use crate::front::{Front, Plan, is_haproxy};
use crate::judge::{Account, Fate, Outcome, judge};
use crate::requests::request;

/// Milliseconds for which a request is in flight at least.
const DELAY: u64 = 20;
const DESCRIPTORS: u64 = 10_000;

/// Clients that go on until they are told to stop.
struct Crowd {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// POSTs that have no answer yet.
    in_flight: AtomicUsize,
    fates: Mutex<Vec<Fate>>,
}

impl Shared {
    fn fates(&self) -> std::sync::MutexGuard<'_, Vec<Fate>> {
        self.fates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Crowd {
    fn gather(front: &Front, count: usize) -> Crowd {
        let (shared, address) = (Arc::new(Shared::default()), front.address);
        let client = |number| {
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                let mut wire = None;
                for turn in 0.. {
                    if shared.stop.load(SeqCst) {
                        return;
                    }
                    let own = match wire.take() {
                        Some(own) => own,
                        None => Wire::dial(address).await,
                    };
                    wire = ask(own, &shared, (number + turn) % 2 == 0, &format!("{number}-{turn}")).await;
                }
            })
        };
        let clients = (0..count).map(client).collect();
        Crowd { shared, clients }
    }

    /// Waits until each has, on average, had so many answers more.
    async fn goes_on(&self, turns: usize) {
        let most = self.shared.fates().len() + turns * self.clients.len();
        eventually("the clients to go on", || self.shared.fates().len() >= most).await;
    }

    fn failed(&self) -> usize {
        let fates = self.shared.fates();
        fates.iter().filter(|fate| fate.outcome != Outcome::Good).count()
    }

    fn in_flight(&self) -> usize {
        self.shared.in_flight.load(SeqCst)
    }

    async fn end(self) -> Vec<Fate> {
        self.shared.stop.store(true, SeqCst);
        for client in join_all(self.clients).await {
            client.expect("a client comes to its end");
        }
        self.shared.fates().clone()
    }
}

/// Sends one request, and writes down what becomes of it. The connection, if it goes on.
async fn ask(mut wire: Wire, shared: &Shared, is_post: bool, id: &str) -> Option<Wire> {
    let method = if is_post { "POST" } else { "GET" };
    let head = if is_post { format!("POST /{id}\nContent-Length: 4") } else { format!("GET /{id}") };
    shared.in_flight.fetch_add(usize::from(is_post), SeqCst);
    let bytes = request(&head, if is_post { "body" } else { "" });
    let answer = match wire.try_send(bytes).await {
        Ok(()) => wire.try_answer().await,
        Err(_) => None,
    };
    shared.in_flight.fetch_sub(usize::from(is_post), SeqCst);
    let outcome = match &answer {
        None => Outcome::Cut,
        Some(answer) if answer.status() == 200 && answer.text().ends_with(&format!(" {method} {id}")) => {
            Outcome::Good
        }
        Some(answer) => Outcome::Status(answer.status()),
    };
    shared.fates().push(Fate { request: format!("{method} {id}"), outcome });
    let goes_on = |answer: &Message| answer.header("connection") != Some("close");
    answer.as_ref().is_some_and(goes_on).then_some(wire)
}

/// Kills each backend in turn, and drains it before it is killed again. What has become of all requests.
async fn storm(
    start: impl AsyncFnOnce(Plan) -> Front,
    clients: usize,
    rounds: usize,
) -> Result<Account, String> {
    let mut backends = Vec::new();
    for name in ["a", "b", "c"] {
        backends.push(Recorder::start(name, DELAY).await);
    }
    let servers: Vec<_> = backends.iter().map(|own| (own.name(), own.address())).collect();
    let front = start(Plan::over(&servers)).await;
    let crowd = Crowd::gather(&front, clients);
    crowd.goes_on(3).await;
    let mut in_flight = 0;
    for _ in 0..rounds {
        for backend in &mut backends {
            in_flight += crowd.in_flight();
            backend.kill();
            crowd.goes_on(3).await;
            backend.restart().await;
            crowd.goes_on(2).await;
            let before = crowd.failed();
            front.drain(backend.name()).await;
            backend.kill();
            crowd.goes_on(2).await;
            let after = crowd.failed();
            if before != after {
                return Err(format!("{} requests failed in a drain", after - before));
            }
            backend.restart().await;
            front.undrain(backend.name()).await;
            crowd.goes_on(2).await;
        }
    }
    let fates = crowd.end().await;
    let logs: Vec<_> = backends.iter().flat_map(Recorder::log).collect();
    judge(&fates, &logs, in_flight, is_haproxy())
}

fn assert_good(judged: Result<Account, String>) {
    let account = judged.unwrap_or_else(|why| panic!("{why}"));
    println!("{account:?}");
    assert!(account.gets > 0 && account.posts > 0, "there was something to judge");
    assert!(account.failed > 0, "backends were killed in the midst of something");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_get_fails_and_no_post_is_sent_twice() {
    assert_good(storm(async |plan| plan.start().await, 100, 1).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a minute: ./test long http"]
async fn nor_with_a_thousand_clients() {
    raise_descriptor_limit(DESCRIPTORS);
    assert_good(storm(async |plan| plan.start().await, 1000, 5).await);
}

/// The negative control.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_front_that_sends_posts_again_is_found_out() {
    if !Program::HaProxy.is_installed() {
        leave_out(
            "a_front_that_sends_posts_again_is_found_out: haproxy is missing; ./test installs it where it can",
        );
        return;
    }
    let judged = storm(async |plan| plan.start_wrong().await, 100, 1).await;
    let why = judged.expect_err("a POST was sent twice");
    assert!(why.starts_with("POST") && why.contains("was sent"), "{why}");
}
