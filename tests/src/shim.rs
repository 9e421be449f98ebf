//! `steadfast.v1` by hand: a service and a client that say what a test has them say, right or wrong. They
//! read and write the bytes by themselves, so that a mistake of the product's codecs is not repeated here.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::client::{Client, Incoming};
use crate::frame::{BINARY, CLOSE, End, Frame, FrameReader, PING, PONG, TEXT};
use crate::http::{Head, header, read_head};
use crate::pki::Pair;
use crate::stream::Stream;
use crate::tls::server;
use crate::upgrade::Upgrade;
use crate::wait::bounded;

/// A host of a service, in this process.
#[derive(Debug)]
pub struct Host {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
}

/// One session at a service.
#[derive(Debug)]
pub struct Link {
    reader: FrameReader<ReadHalf<Stream>>,
    writer: WriteHalf<Stream>,
    /// The broker's upgrade request.
    pub head: Head,
    /// What ATTACH has said.
    pub attach: Attach,
    /// Payloads of the pings that came.
    pub pings: Vec<Vec<u8>>,
}

/// What a service is told first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attach {
    /// Its epoch.
    pub epoch: u64,
    /// The number of the last commit.
    pub applied: u64,
    /// The seq up to which messages are consumed.
    pub committed: u64,
    /// The session's name, 32 hex digits.
    pub session: String,
    /// The capsule, if there is one.
    pub capsule: Option<Vec<u8>>,
}

/// What comes to a service.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    /// A message.
    Message(Vec<u8>),
    /// A Close.
    Close(Option<u16>, String),
    /// The end of the connection.
    End(End),
}

impl Host {
    /// Listens on a port of its own.
    pub async fn start() -> Host {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        Host { listener, address, tls: None }
    }

    /// As [`Host::start`], and speaks TLS.
    pub async fn encrypted(own: &Pair) -> Host {
        let tls = Some(server(&own.cert, &own.key, false));
        Host { tls, ..Host::start().await }
    }

    /// The table of the configuration that lists it as the backend `name`.
    pub fn table(&self, name: &str) -> String {
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        format!("[[pool.backend]]\nname = \"{name}\"\nurl = \"{scheme}://{}\"", self.address)
    }

    /// Takes the next session, up to its ATTACH.
    pub async fn accept(&self) -> Link {
        let (stream, head, buffer) = self.upgraded("Steadfast-Shim: 1\r\n").await;
        let (reader, writer) = tokio::io::split(stream);
        let reader = FrameReader::new(reader, buffer);
        let attach = Attach { epoch: 0, applied: 0, committed: 0, session: String::new(), capsule: None };
        let mut link = Link { reader, writer, head, attach, pings: Vec::new() };
        let Told::Message(bytes) = link.next().await else { panic!("the first message is ATTACH") };
        link.attach = Attach::read(&bytes);
        link
    }

    /// Answers the next upgrade with these headers besides.
    pub async fn upgraded(&self, headers: &str) -> (Stream, Head, BytesMut) {
        bounded("a session for the service", async {
            let (stream, _) = self.listener.accept().await.expect("the broker connects");
            let mut stream: Stream = match &self.tls {
                None => Box::new(stream),
                Some(tls) => Box::new(
                    TlsAcceptor::from(Arc::clone(tls)).accept(stream).await.expect("the broker's handshake"),
                ),
            };
            let mut buffer = BytesMut::new();
            let head = read_head(&mut stream, &mut buffer).await.expect("an upgrade request");
            let accept =
                derive_accept_key(header(&head.headers, "sec-websocket-key").expect("a key").as_bytes());
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n{headers}\r\n"
            );
            stream.write_all(answer.as_bytes()).await.expect("the broker reads");
            stream.flush().await.expect("the broker reads");
            (stream, head, buffer)
        })
        .await
    }
}

impl Attach {
    fn read(bytes: &[u8]) -> Attach {
        assert_eq!(&bytes[..2], b"A\x01", "an ATTACH of version 1");
        let number = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let len = u32::from_be_bytes(bytes[44..48].try_into().expect("four bytes")) as usize;
        Attach {
            epoch: number(4),
            applied: number(12),
            committed: number(20),
            session: bytes[28..44].iter().map(|byte| format!("{byte:02x}")).collect(),
            capsule: (bytes[2] & 1 == 1).then(|| bytes[48..48 + len].to_vec()),
        }
    }
}

impl Link {
    /// What comes next but for pings, which it answers.
    pub async fn next(&mut self) -> Told {
        bounded("something from the broker", async {
            loop {
                let frame = match self.reader.next().await {
                    Ok(frame) => frame,
                    Err(end) => return Told::End(end),
                };
                match frame.opcode {
                    PING => {
                        self.pings.push(frame.payload.clone());
                        self.send(Frame::new(PONG, frame.payload)).await;
                    }
                    PONG => {}
                    CLOSE => {
                        let (code, reason) = frame.close_parts();
                        return Told::Close(code, reason);
                    }
                    _ => {
                        assert!(frame.fin, "the tests' own messages are not fragmented");
                        return Told::Message(frame.payload);
                    }
                }
            }
        })
        .await
    }

    /// The next message as text.
    pub async fn message(&mut self) -> String {
        match self.next().await {
            Told::Message(bytes) => String::from_utf8(bytes).expect("text"),
            other => panic!("expected a message, got {other:?}"),
        }
    }

    /// The Close that must come next.
    pub async fn closed(&mut self) -> (Option<u16>, String) {
        match self.next().await {
            Told::Close(code, reason) => (code, reason),
            other => panic!("expected a Close, got {other:?}"),
        }
    }

    /// Sends a frame. A connection that is gone is not the tests' concern here.
    pub async fn send(&mut self, frame: Frame) {
        self.send_raw(frame.encode()).await;
    }

    /// Sends these bytes as they are.
    pub async fn send_raw(&mut self, bytes: Vec<u8>) {
        let _ = self.writer.write_all(&bytes).await;
        let _ = self.writer.flush().await;
    }

    /// Sends a COMMIT.
    pub async fn commit(&mut self, number: u64, upto: u64, capsule: Option<&[u8]>, outputs: &[&str]) {
        self.send(Frame::new(BINARY, commit(number, upto, capsule, outputs))).await;
    }
}

/// A COMMIT's bytes.
pub fn commit(number: u64, upto: u64, capsule: Option<&[u8]>, outputs: &[&str]) -> Vec<u8> {
    let mut bytes = vec![b'C', u8::from(capsule.is_some()), 0, 0];
    bytes.extend(number.to_be_bytes());
    bytes.extend(upto.to_be_bytes());
    let capsule = capsule.unwrap_or_default();
    bytes.extend((capsule.len() as u32).to_be_bytes());
    bytes.extend(capsule);
    for output in outputs {
        bytes.push(1);
        bytes.extend((output.len() as u32).to_be_bytes());
        bytes.extend(output.as_bytes());
    }
    bytes
}

/// A client that speaks `steadfast.v1`.
#[derive(Debug)]
pub struct ShimClient {
    /// Down to its frames.
    pub client: Client,
    /// The fields of the welcome.
    pub welcome: Vec<String>,
}

impl ShimClient {
    /// Connects, with these subprotocols behind `steadfast.v1`, and reads the welcome.
    pub async fn connect(address: SocketAddr, resume: Option<(&str, u64)>) -> ShimClient {
        let resume = resume.map(|(token, last)| format!(", steadfast.resume.{token}.{last}"));
        let offer = format!("steadfast.v1{}", resume.unwrap_or_default());
        Self::of(Upgrade::to(address).header("Sec-WebSocket-Protocol", &offer)).await
    }

    /// As [`ShimClient::connect`], by a request of the test's own.
    pub async fn of(upgrade: Upgrade) -> ShimClient {
        let mut client = upgrade.connect().await;
        let text = client.text().await;
        let welcome: Vec<_> = text.split(' ').map(str::to_owned).collect();
        assert_eq!(welcome[0], "w", "the welcome comes first: {text}");
        ShimClient { client, welcome }
    }

    /// The session's name.
    pub fn session(&self) -> &str {
        &self.welcome[1]
    }

    /// What to resume it with.
    pub fn token(&self) -> &str {
        &self.welcome[2]
    }

    /// What the welcome says of the session: `fresh new`, or `resumed 3 2`.
    pub fn standing(&self) -> String {
        self.welcome[4..].join(" ")
    }

    /// Sends a message of the application's.
    pub async fn say(&self, text: &str) {
        self.client.send(&format!("m{text}")).await;
    }

    /// Has everything up to this seq.
    pub async fn acknowledge(&self, seq: u64) {
        self.client.send(&format!("a {seq}")).await;
    }

    /// The next message of the application's.
    pub async fn message(&mut self) -> String {
        loop {
            let text = self.client.text().await;
            match text.strip_prefix('m') {
                Some(message) => return message.to_owned(),
                None => assert!(text.starts_with("a "), "an acknowledgement: {text}"),
            }
        }
    }

    /// Waits until the broker says that it has received and committed so much.
    pub async fn acknowledged(&mut self, received: u64, committed: u64) {
        loop {
            let text = self.client.text().await;
            if text == format!("a {received} {committed}") {
                return;
            }
            assert!(text.starts_with("a "), "nothing else is to come: {text}");
        }
    }

    /// The Close that must come, behind acknowledgements at the most.
    pub async fn closed(&mut self) -> (Option<u16>, String) {
        loop {
            match self.client.next_but_pings().await {
                Incoming::Close(code, reason) => return (code, reason),
                Incoming::Message(message) if message.opcode == TEXT && message.bytes.starts_with(b"a ") => {}
                other => panic!("expected a Close, got {other:?}"),
            }
        }
    }
}
