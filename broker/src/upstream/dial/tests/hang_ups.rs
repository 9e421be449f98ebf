//! Services that hang up: on one request, or on everybody.

use std::sync::atomic::{AtomicBool, AtomicUsize};

use super::*;
use crate::metric::DenialReason;
use crate::upstream::backend::Adjustment;
use crate::upstream::pool::quarantine::{HangupVerdict, Span};

/// A service that hangs up on requests for `/kill`, and on all for as long as it is told so.
struct Service {
    port: u16,
    asked: Arc<AtomicUsize>,
    down: Arc<AtomicBool>,
}

impl Service {
    /// `words`: the bytes that it says before it hangs up.
    async fn start(words: &'static str) -> Service {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let (asked, down) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let service = Service { port, asked: Arc::clone(&asked), down: Arc::clone(&down) };
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let request = head(&mut stream).await;
                asked.fetch_add(1, Relaxed);
                let key = value(&request, "sec-websocket-key").expect("a key").to_owned();
                let answer = match down.load(Relaxed) || request.starts_with("GET /kill") {
                    true => words.to_owned(),
                    false => accepting(&key),
                };
                stream.write_all(answer.as_bytes()).await.expect("the broker reads");
            }
        });
        service
    }
}

fn accepting(key: &str) -> String {
    let accept = derive_accept_key(key.as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

/// A pool of services, and those who dial them.
struct World {
    services: Vec<Service>,
    session: Session,
    dialer: Dialer,
}

impl World {
    async fn new(count: usize, words: &'static str) -> World {
        let mut services = Vec::new();
        for _ in 0..count {
            services.push(Service::start(words).await);
        }
        let ports: Vec<_> = services.iter().map(|service| service.port).collect();
        World { services, session: Session::new(&ports), dialer: Dialer::new(64, 64) }
    }

    /// A new session's first dial.
    async fn first(&self, client: u8, path: &str, session: &str) -> Result<Box<Link>, DialError> {
        let handshake = handshake(path);
        let client = (Ipv4Addr::new(192, 0, 2, client), 7).into();
        let search =
            BackendSearch { handshake: &handshake, session, client, ..self.session.search(first(false)) };
        self.dialer.first(&search).await
    }

    /// Requests since the last question.
    fn asked(&self) -> usize {
        self.services.iter().map(|service| service.asked.swap(0, Relaxed)).sum()
    }

    fn set_down(&self, down: bool) {
        self.services.iter().for_each(|service| service.down.store(down, Relaxed));
    }
}

fn handshake(path: &str) -> Handshake {
    let request = Request::get(path).header("Host", "chat.test").body(()).expect("a request");
    Handshake::new(&request, None)
}

#[tokio::test]
async fn a_request_that_kills_reaches_two_backends_and_then_none() {
    let world = World::new(8, "").await;
    assert!(matches!(world.first(1, "/kill", "1").await, Err(DialError::Unreachable)));
    assert_eq!(world.asked(), 2, "the first, and one other");
    for session in ["2", "3"] {
        let Err(DialError::Denied(denial)) = world.first(1, "/kill?again", session).await else {
            panic!("it is let through")
        };
        assert_eq!((denial.status, denial.reason), (StatusCode::SERVICE_UNAVAILABLE, DenialReason::HangUps));
        assert!(denial.retry_after.is_some_and(|seconds| (1..=60).contains(&seconds)));
        assert_eq!(world.asked(), 0);
    }
    assert!(world.first(1, "/chat", "4").await.is_ok(), "another path");
    assert!(world.first(2, "/chat", "5").await.is_ok(), "another client");
}

/// Convicted while it waits for a place.
#[tokio::test]
async fn a_ban_holds_for_those_who_wait_already() {
    let world = World::new(1, "").await;
    let kill = async |session| world.first(1, "/kill", session).await.err();
    assert!(matches!(kill("1").await, Some(DialError::Unreachable)));
    let place =
        world.session.pool.named(&format!("127.0.0.1:{}", world.services[0].port)).expect("it is there");
    place.adjust(clock::now(), Adjustment { weight: None, max_sessions: Some(Some(1)) });
    let ask = Ask::default();
    let lease = world.session.pool.pick(clock::now(), &ask).expect("it is free");
    let waits = kill("2");
    let frees = async {
        while world.session.pool.queue.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        let quarantine = &world.session.pool.quarantine;
        let request =
            quarantine.request((Ipv4Addr::new(192, 0, 2, 1).into(), &handshake("/kill")), "3", clock::now());
        let span = Span { begun: clock::now(), ended: clock::now() };
        let judgement = quarantine.hung_up((place.id, "it"), Some(request), span);
        assert!(matches!(judgement.verdict, HangupVerdict::Killer(_)), "{judgement:?}");
        drop(lease);
    };
    let (denied, ()) = tokio::join!(waits, frees);
    assert!(matches!(denied, Some(DialError::Denied(_))));
    assert_eq!(world.asked(), 1);
}

#[tokio::test]
async fn backends_that_hang_up_on_everybody_get_nobody_banned() {
    let world = World::new(3, "").await;
    world.set_down(true);
    let knocks = (1..=6).map(|client| {
        let world = &world;
        async move {
            for round in 0..4 {
                let session = format!("{client}-{round}");
                assert!(world.first(client, "/chat", &session).await.is_err());
            }
        }
    });
    futures::future::join_all(knocks).await;
    world.set_down(false);
    for client in 1..=6 {
        assert!(world.first(client, "/chat", &format!("{client}-then")).await.is_ok(), "client {client}");
    }
}

/// Devices behind one address that all say the same.
#[tokio::test]
async fn clients_that_cannot_be_told_apart_are_not_banned_for_an_outage() {
    let world = World::new(3, "").await;
    world.set_down(true);
    let knocks: Vec<_> = (0..6).map(|device| device.to_string()).collect();
    let knocks = knocks.iter().map(|session| world.first(1, "/chat", session));
    assert!(futures::future::join_all(knocks).await.iter().all(Result::is_err));
    world.set_down(false);
    assert!(world.first(1, "/chat", "then").await.is_ok());
}

#[tokio::test]
async fn a_backend_that_begins_an_answer_has_not_died_of_the_request() {
    let world = World::new(3, "HTTP/1.1 1").await;
    for session in ["1", "2"] {
        assert!(matches!(world.first(1, "/kill", session).await, Err(DialError::Unreachable)));
        assert_eq!(world.asked(), 3, "each is tried");
    }
}

#[tokio::test]
async fn a_redial_reaches_two_backends_at_a_time_and_is_never_banned() {
    let world = World::new(8, "").await;
    world.set_down(true);
    let search = world.session.search(again(false));
    for _ in 0..4 {
        let found = world.dialer.again(&search, &mut Vec::new()).await;
        assert!(matches!(found, Err(DialError::Unreachable)));
        assert_eq!(world.asked(), 2);
        let found = world.dialer.ahead(&search, &mut Vec::new(), None).await;
        assert!(matches!(found, Err(DialError::Unreachable)));
        assert!(world.asked() <= 2);
    }
    world.set_down(false);
    assert!(world.dialer.again(&search, &mut Vec::new()).await.is_ok());
}
