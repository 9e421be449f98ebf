//! The examples, as processes. `cargo test` builds them, unless it is told to build one test alone.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use steadfast_protocol::steadfast_v1::service_wire::{Attach, Envelope};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::stream::MaybeTlsStream;
use tokio_tungstenite::tungstenite::{Message, WebSocket, connect};

fn command(name: &str) -> Command {
    let test = std::env::current_exe().expect("a path");
    let folder = test.parent().and_then(|deps| deps.parent()).expect("target/debug").join("examples");
    Command::new(folder.join(name))
}

/// An example that is a service.
struct Service {
    process: Child,
    address: String,
}

impl Service {
    fn start(name: &str) -> Service {
        let started = command(name).arg("127.0.0.1:0").stdout(Stdio::piped()).spawn();
        let mut process = started.expect("the example is built, by cargo build --examples");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let address = line.trim().strip_prefix("listening on ").expect("an address").to_owned();
        Service { process, address }
    }

    /// A link that has brought a session.
    fn attach(&self, attach: &Attach<'_>) -> Link {
        let mut request = format!("ws://{}/", self.address).into_client_request().expect("a URL");
        request.headers_mut().insert("steadfast-shim", "1".parse().expect("a header"));
        let (mut socket, _) = connect(request).expect("an upgrade");
        socket.send(Message::binary(attach.encode())).expect("a connection");
        Link(socket)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it has ended");
    }
}

struct Link(WebSocket<MaybeTlsStream<TcpStream>>);

impl Link {
    /// Says something, and returns what comes of it: the answers, what is consumed, and the capsule.
    fn ask(&mut self, text: &str) -> (Vec<String>, u64, Option<Vec<u8>>) {
        self.0.send(Message::text(text)).expect("a connection");
        let bytes = self.0.read().expect("a commit").into_data();
        let Ok(Envelope::Commit(commit)) = Envelope::decode(&bytes) else { panic!("no commit: {bytes:?}") };
        let answers = commit.outputs.map(|output| String::from_utf8_lossy(output.payload).into_owned());
        (answers.collect(), commit.upto, commit.capsule.map(<[u8]>::to_vec))
    }
}

fn fresh() -> Attach<'static> {
    Attach { epoch: 1, applied: 0, committed: 0, session: [1; 16], capsule: None }
}

fn answer(text: &str) -> Vec<String> {
    vec![text.to_owned()]
}

#[test]
fn echo_says_what_it_is_told() {
    let echo = Service::start("echo");
    let mut link = echo.attach(&fresh());
    assert_eq!(link.ask("one"), (answer("one"), 1, None));
    assert_eq!(link.ask("two"), (answer("two"), 2, None));
}

#[test]
fn a_count_goes_on_at_another_counter() {
    let counter = Service::start("counter");
    let mut link = counter.attach(&fresh());
    assert_eq!(link.ask("").0, answer("1"));
    let (answers, committed, capsule) = link.ask("");
    assert_eq!((answers, committed), (answer("2"), 2));
    drop(counter);
    let counter = Service::start("counter");
    let attach = Attach { epoch: 2, applied: 2, committed, session: [1; 16], capsule: capsule.as_deref() };
    assert_eq!(counter.attach(&attach).ask("").0, answer("3"));
}

#[test]
fn a_state_that_is_not_its_own_ends_the_session() {
    let counter = Service::start("counter");
    let mut link = counter.attach(&Attach { capsule: Some(b"what?"), ..fresh() });
    match link.0.read().expect("a Close") {
        Message::Close(Some(close)) => assert_eq!(u16::from(close.code), 4000),
        other => panic!("a Close, not {other:?}"),
    }
}

#[test]
fn wrong_arguments_are_told() {
    for (name, arguments, code) in [
        ("echo", &[][..], 2),
        ("counter", &["127.0.0.1:0", "more"], 2),
        ("echo", &["nowhere"], 1),
        ("client", &[], 2),
        ("client", &["http://127.0.0.1/"], 2),
    ] {
        let output = command(name).args(arguments).output().expect("the example is built");
        assert_eq!(output.status.code(), Some(code), "{name} {arguments:?}");
        assert!(!output.stderr.is_empty());
    }
}
