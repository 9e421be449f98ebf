//! Services behind a broker that a test plays, over real sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, SinkExt, StreamExt};
use steadfast_protocol::steadfast_v1::SessionId;
use steadfast_protocol::steadfast_v1::service_wire::{Attach, Commit, Envelope, Notice};
use steadfast_shim::CloseCode;
use steadfast_shim::service::{
    Breach, End, Ended, Event, HandshakeError, Limits, Listener, Misuse, Options, Refusal, SendError,
    Session, is_broker,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

const SESSION: SessionId = [7; 16];

/// What should happen happens long before.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for what should happen.
async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it should have happened by now")
}

/// A service whose sessions are taken by the test.
struct Service {
    address: SocketAddr,
    sessions: mpsc::Receiver<Session>,
}

impl Service {
    async fn start(options: Options) -> Service {
        let mut listener = Listener::bind("127.0.0.1:0", options).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (found, sessions) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Ok(session) = listener.accept().await {
                if found.send(session).await.is_err() {
                    break;
                }
            }
        });
        Service { address, sessions }
    }

    async fn session(&mut self) -> Session {
        within(self.sessions.recv()).await.expect("a session")
    }

    /// A link that has brought a session.
    async fn attach(&mut self, attach: &Attach<'_>) -> (Link, Session) {
        let mut link = Link::open(self.address).await;
        link.send(Message::binary(attach.encode())).await;
        (link, self.session().await)
    }
}

/// A broker's link to a service.
struct Link {
    socket: WebSocketStream<TcpStream>,
    answer: Response,
}

impl Link {
    /// Upgrades with these headers.
    async fn try_open(address: SocketAddr, headers: &[(&'static str, &str)]) -> Result<Link, Error> {
        let stream = within(TcpStream::connect(address)).await.expect("a connection");
        let mut request = format!("ws://{address}/chat?room=1").into_client_request().expect("a URL");
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("a header"));
        }
        let (socket, answer) = within(client_async(request, stream)).await?;
        Ok(Link { socket, answer })
    }

    async fn open(address: SocketAddr) -> Link {
        let headers = [("steadfast-shim", "1"), ("cookie", "a=b")];
        Link::try_open(address, &headers).await.expect("an upgrade")
    }

    async fn send(&mut self, message: Message) {
        within(self.socket.send(message)).await.expect("a connection");
    }

    async fn say(&mut self, text: &str) {
        self.send(Message::text(text)).await;
    }

    async fn notice(&mut self, applied: u64, draining: bool) {
        let notice = Notice { nonce: 1, applied, draining };
        self.send(Message::Ping(notice.encode().to_vec().into())).await;
    }

    async fn next(&mut self) -> Message {
        within(self.socket.next()).await.expect("a message").expect("a connection")
    }

    /// The next envelope.
    async fn hear(&mut self) -> Vec<u8> {
        loop {
            match self.next().await {
                Message::Binary(bytes) => return bytes.to_vec(),
                Message::Pong(_) => {}
                other => panic!("an envelope, not {other:?}"),
            }
        }
    }

    async fn close(&mut self, code: u16) {
        self.send(Message::Close(Some(CloseFrame { code: code.into(), reason: "".into() }))).await;
    }
}

fn fresh() -> Attach<'static> {
    Attach { epoch: 1, applied: 0, committed: 0, session: SESSION, capsule: None }
}

fn commit(envelope: &[u8]) -> Commit<'_> {
    match Envelope::decode(envelope).expect("an envelope") {
        Envelope::Commit(commit) => commit,
        other => panic!("a COMMIT, not {other:?}"),
    }
}

fn texts(commit: &Commit<'_>) -> Vec<String> {
    let text = |payload: &[u8]| String::from_utf8(payload.to_vec()).expect("text");
    commit.outputs.map(|output| text(output.payload)).collect()
}

fn message(seq: u64, text: &str) -> Option<Event> {
    Some(Event::Message { seq, message: text.into() })
}

#[tokio::test]
async fn a_session_comes_with_what_is_known_of_it() {
    let options = Options { protocols: vec!["chat.v1".into(), "chat.v2".into()], ..Options::default() };
    let mut service = Service::start(options).await;
    let headers = [("steadfast-shim", "1"), ("sec-websocket-protocol", "other, chat.v2, chat.v1")];
    let mut link = Link::try_open(service.address, &headers).await.expect("an upgrade");
    assert_eq!(link.answer.headers()["steadfast-shim"], "1");
    assert_eq!(link.answer.headers()["sec-websocket-protocol"], "chat.v2");
    let attach = Attach { epoch: 3, applied: 4, committed: 9, session: SESSION, capsule: Some(b"state") };
    link.send(Message::binary(attach.encode())).await;
    let session = service.session().await;
    assert_eq!((session.id(), session.epoch(), session.first_seq()), (SESSION, 3, 10));
    assert_eq!((session.capsule(), session.applied_at_first()), (Some(&b"state"[..]), 4));
    assert_eq!(session.request().uri().query(), Some("room=1"));
    assert!(is_broker(session.request().headers()));
}

#[tokio::test]
async fn messages_are_consumed_by_commits() {
    let mut service = Service::start(Options::default()).await;
    let (mut link, mut session) = service.attach(&fresh()).await;
    link.say("one").await;
    link.send(Message::binary(vec![0, 255])).await;
    assert_eq!(within(session.next()).await, message(1, "one"));
    let two = Event::Message { seq: 2, message: vec![0, 255].into() };
    assert_eq!(within(session.next()).await, Some(two));
    let sent = session.commit(2).output("a").outputs(["b", "c"]).capsule("state").prompt().send().await;
    assert_eq!(sent, Ok(1));
    let envelope = link.hear().await;
    let first = commit(&envelope);
    assert_eq!((first.number, first.upto, first.capsule, first.prompt), (1, 2, Some(&b"state"[..]), true));
    assert_eq!(texts(&first), ["a", "b", "c"]);
    session.push().output("news").send().await.expect("sent");
    let envelope = link.hear().await;
    assert!(matches!(Envelope::decode(&envelope), Ok(Envelope::Push(_))), "{envelope:?}");
}

#[tokio::test]
async fn the_broker_tells_what_is_applied_and_when_to_leave() {
    let mut service = Service::start(Options::default()).await;
    let (mut link, mut session) = service.attach(&fresh()).await;
    assert!(!session.is_draining());
    for number in 1..=3 {
        assert_eq!(session.commit(0).send().await, Ok(number));
    }
    assert!(session.applied(1).now_or_never().is_none());
    link.notice(1, false).await;
    link.notice(2, false).await;
    within(session.applied(2)).await.expect("applied");
    assert_eq!(within(session.next()).await, Some(Event::Applied(2)), "the last is enough");
    link.notice(3, true).await;
    assert_eq!(within(session.next()).await, Some(Event::Applied(3)));
    assert_eq!(within(session.next()).await, Some(Event::Draining));
    assert!(session.is_draining());
}

#[tokio::test]
async fn pings_are_answered_while_the_service_is_busy() {
    let mut service = Service::start(Options::default()).await;
    let (mut link, mut session) = service.attach(&fresh()).await;
    link.say("one").await;
    for payload in ["a", "b"] {
        link.send(Message::Ping(payload.into())).await;
        assert_eq!(link.next().await, Message::Pong(payload.into()));
    }
    link.notice(0, false).await;
    assert!(matches!(link.next().await, Message::Pong(payload) if payload.starts_with(b"S1")));
    assert_eq!(within(session.next()).await, message(1, "one"));
}

#[tokio::test]
async fn a_check_that_brings_no_session_is_answered_too() {
    let service = Service::start(Options::default()).await;
    let mut link = Link::open(service.address).await;
    link.send(Message::Ping("well?".into())).await;
    assert_eq!(link.next().await, Message::Pong("well?".into()));
}

#[tokio::test]
async fn who_is_no_broker_is_told_what_is_missing() {
    let service = Service::start(Options::default()).await;
    match Link::try_open(service.address, &[]).await.map(|_| ()) {
        Err(Error::Http(answer)) => {
            assert_eq!(answer.status(), 400);
            let body = answer.body().clone().unwrap_or_default();
            let sentence = String::from_utf8(body).expect("text");
            assert!(sentence.contains("Steadfast-Shim: 1"), "{sentence}");
        }
        other => panic!("a refusal, not {other:?}"),
    }
}

#[tokio::test]
async fn a_plain_request_is_answered_in_http() {
    let service = Service::start(Options::default()).await;
    for request in ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let mut stream = TcpStream::connect(service.address).await.expect("a connection");
        stream.write_all(request.as_bytes()).await.expect("a connection");
        let mut answer = String::new();
        within(stream.read_to_string(&mut answer)).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn the_service_may_refuse_and_is_told_of_what_came_to_nothing() {
    let (told, mut tells) = mpsc::channel(8);
    let options = Options {
        admit: Some(Arc::new(|request| match request.headers().contains_key("cookie") {
            true => Ok(()),
            false => {
                let sentence = "who are you?".to_owned();
                Err(Refusal { status: http::StatusCode::UNAUTHORIZED, sentence })
            }
        })),
        on_refused: Some(Arc::new(move |_, error: &HandshakeError| {
            told.try_send(error.to_string()).expect("room");
        })),
        ..Options::default()
    };
    let mut service = Service::start(options).await;
    match Link::try_open(service.address, &[("steadfast-shim", "1")]).await.map(|_| ()) {
        Err(Error::Http(answer)) => assert_eq!(answer.status(), 401),
        other => panic!("a refusal, not {other:?}"),
    }
    let told = within(tells.recv()).await.expect("a call");
    assert!(told.contains("401"), "{told}");
    let mut link = Link::open(service.address).await;
    link.send(Message::binary(fresh().encode())).await;
    service.session().await;
}

#[tokio::test]
async fn who_is_slow_stops_no_other() {
    let mut service = Service::start(Options::default()).await;
    let silent = TcpStream::connect(service.address).await.expect("a connection");
    let upgraded = Link::open(service.address).await;
    let (_link, session) = service.attach(&fresh()).await;
    assert_eq!(session.id(), SESSION);
    drop((silent, upgraded));
}

#[tokio::test]
async fn who_takes_too_long_is_hung_up_on_and_makes_room() {
    let handshake_timeout = Duration::from_millis(20);
    let options = Options { handshakes: 1, handshake_timeout, ..Options::default() };
    let mut service = Service::start(options).await;
    let mut silent = TcpStream::connect(service.address).await.expect("a connection");
    assert_eq!(within(silent.read(&mut [0])).await.ok(), Some(0), "the end");
    loop {
        // On a machine that is busy this one may be too late too.
        let Ok(mut link) = Link::try_open(service.address, &[("steadfast-shim", "1")]).await else {
            continue;
        };
        if link.socket.send(Message::binary(fresh().encode())).await.is_ok()
            && tokio::time::timeout(handshake_timeout, service.sessions.recv()).await.is_ok()
        {
            break;
        }
    }
}

#[tokio::test]
async fn closes_of_the_broker_tell_where_the_session_goes() {
    let mut service = Service::start(Options::default()).await;
    let closed = |code| End::Closed { code, reason: String::new() };
    for (code, end) in [
        (1001, End::Left),
        (4409, End::Fenced),
        (1000, closed(CloseCode::NORMAL)),
        (4400, closed(CloseCode(4400))),
    ] {
        let (mut link, mut session) = service.attach(&fresh()).await;
        link.say("last").await;
        link.close(code).await;
        assert_eq!(within(session.next()).await, message(1, "last"));
        assert_eq!(within(session.next()).await, Some(Event::Ended(end.clone())));
        assert_eq!(within(session.next()).await, None);
        assert!(matches!(link.next().await, Message::Close(_)), "it is answered");
        let ended = Ended(Some(end));
        assert_eq!(session.commit(1).send().await, Err(SendError::Ended(ended.clone())));
        assert_eq!(within(session.applied(1)).await, Err(ended));
    }
}

#[tokio::test]
async fn a_connection_that_breaks_takes_the_session_with_it() {
    let mut service = Service::start(Options::default()).await;
    let (link, mut session) = service.attach(&fresh()).await;
    drop(link);
    let end = within(session.next()).await;
    assert!(matches!(end, Some(Event::Ended(End::Lost { .. }))), "{end:?}");
}

#[tokio::test]
async fn a_broker_that_breaks_the_protocol_is_left() {
    let (told, mut tells) = mpsc::channel(8);
    let on_refused = move |_, error: &HandshakeError| {
        let is_breach = matches!(error, HandshakeError::NoSession(End::Breach(Breach::Text)));
        told.try_send(is_breach).expect("room");
    };
    let options = Options { on_refused: Some(Arc::new(on_refused)), ..Options::default() };
    let service = Service::start(options).await;
    let mut link = Link::open(service.address).await;
    link.say("no ATTACH").await;
    match link.next().await {
        Message::Close(Some(close)) => assert_eq!(u16::from(close.code), 1011),
        other => panic!("a Close, not {other:?}"),
    }
    assert_eq!(within(tells.recv()).await, Some(true));

    let mut service = Service::start(Options::default()).await;
    let (mut link, mut session) = service.attach(&fresh()).await;
    link.notice(1, false).await;
    let breach = Breach::Applied { told: 1, made: 0 };
    assert_eq!(within(session.next()).await, Some(Event::Ended(End::Breach(breach))));
}

#[tokio::test]
async fn a_session_that_is_dropped_ends_like_a_death() {
    let mut service = Service::start(Options::default()).await;
    let (mut link, session) = service.attach(&fresh()).await;
    let sender = session.sender().clone();
    drop(session);
    match within(link.socket.next()).await {
        Some(Err(_)) | None => {}
        Some(Ok(message)) => panic!("no {message:?}"),
    }
    drop(sender);
}

#[tokio::test]
async fn a_goodbye_follows_what_was_sent() {
    let mut service = Service::start(Options::default()).await;
    let (mut link, session) = service.attach(&fresh()).await;
    let sender = session.sender().clone();
    sender.commit(0).output("last").send().await.expect("sent");
    let closing = tokio::spawn(async move { session.close(4000, "enough").await });
    assert_eq!(texts(&commit(&link.hear().await)), ["last"]);
    match link.next().await {
        Message::Close(Some(close)) => {
            assert_eq!((u16::from(close.code), close.reason.as_str()), (4000, "enough"));
        }
        other => panic!("a Close, not {other:?}"),
    }
    assert!(sender.push().output("too late").send().await.is_err());
    assert!(within(link.socket.next()).await.is_none());
    within(closing).await.expect("no panic");
    assert_eq!(within(sender.applied(1)).await, Err(Ended(Some(End::Asked))));
}

#[tokio::test]
async fn commits_of_a_store_are_repeated() {
    let mut service = Service::start(Options::default()).await;
    let attach = Attach { applied: 4, committed: 9, ..fresh() };
    let (mut link, mut session) = service.attach(&attach).await;
    assert_eq!(session.repeat(4, 9).output("known").send().await, Ok(4));
    assert_eq!(session.repeat(5, 10).output("again").send().await, Ok(5));
    let gap = SendError::Misuse(Misuse::Gap { number: 7, next: 6 });
    assert_eq!(session.repeat(7, 10).send().await, Err(gap));
    let envelope = link.hear().await;
    assert_eq!((commit(&envelope).number, texts(&commit(&envelope))), (5, vec!["again".to_owned()]));
    link.say("ten").await;
    link.say("eleven").await;
    assert_eq!(within(session.next()).await, message(11, "eleven"));
}

#[tokio::test]
async fn what_must_not_be_sent_is_refused_and_the_session_goes_on() {
    let limits = Limits { capsule: 4, message: 100 };
    let mut service = Service::start(Options { limits, ..Options::default() }).await;
    let (mut link, session) = service.attach(&fresh()).await;
    let future = SendError::Misuse(Misuse::Future { upto: 1, seq: 0 });
    assert_eq!(session.commit(1).send().await, Err(future));
    let capsule = SendError::Misuse(Misuse::CapsuleTooBig { len: 5, limit: 4 });
    assert_eq!(session.commit(0).capsule("state").send().await, Err(capsule));
    assert_eq!(session.commit(0).send().await, Ok(1));
    assert_eq!(commit(&link.hear().await).number, 1);
}

#[tokio::test]
async fn both_directions_push_back_and_lose_nothing() {
    let mut service = Service::start(Options { inbox: 1, outbox: 1, ..Options::default() }).await;
    let (link, mut session) = service.attach(&fresh()).await;
    let payload = "x".repeat(100_000);
    let serving = tokio::spawn(async move {
        while let Some(event) = session.next().await {
            if let Event::Message { seq, message } = event {
                session.commit(seq).output(message).send().await.expect("sent");
            }
        }
    });
    let (mut writing, mut reading) = link.socket.split();
    let asking = tokio::spawn(async move {
        for _ in 0..100 {
            writing.send(Message::text(payload.clone())).await.expect("a connection");
        }
        writing
    });
    for number in 1..=100 {
        let message = within(reading.next()).await.expect("a message").expect("a connection");
        let envelope = message.into_data();
        assert_eq!((commit(&envelope).number, commit(&envelope).upto), (number, number));
    }
    drop((within(asking).await.expect("no panic"), reading));
    within(serving).await.expect("no panic");
}

#[tokio::test]
async fn an_upgrade_may_be_made_elsewhere() {
    let (near, far) = tokio::io::duplex(4096);
    let request = http::Request::builder().uri("/chat").body(()).expect("a request");
    let role = tokio_tungstenite::tungstenite::protocol::Role::Client;
    let mut link = WebSocketStream::from_raw_socket(far, role, None).await;
    link.send(Message::binary(fresh().encode())).await.expect("a connection");
    let session = within(Session::attach(near, request, &Options::default())).await.expect("a session");
    assert_eq!((session.id(), session.request().uri().path()), (SESSION, "/chat"));
}
