//! Clients on three libraries that obey the same words and report the same events; see `client.js`.

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use steadfast_tests::payload::noise;
use steadfast_tests::process::Process;
use steadfast_tests::wait::bounded;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::client::{ClientRequestBuilder, IntoClientRequest};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Message, http::Uri};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::peers::tools::Tool;

/// The library that a client stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Library {
    /// npm's `ws`.
    Ws,
    /// Python's `websockets`.
    Websockets,
    /// tokio-tungstenite, which knows no compression.
    Tungstenite,
}

impl Library {
    /// What must be installed for it.
    pub(crate) fn tools(self) -> &'static [Tool] {
        match self {
            Self::Ws => &[Tool::Ws],
            Self::Websockets => &[Tool::Websockets],
            Self::Tungstenite => &[],
        }
    }

    /// Whether it offers permessage-deflate.
    pub(crate) fn compresses(self) -> bool {
        self != Self::Tungstenite
    }
}

/// A client that has not necessarily connected yet.
#[derive(Debug)]
pub(crate) enum Client {
    /// A script in another language, and how many of its events were read.
    Script(Process, usize),
    /// A task of this process.
    Task {
        /// Its commands.
        words: mpsc::UnboundedSender<String>,
        /// What it saw.
        events: mpsc::UnboundedReceiver<Value>,
        /// The task, which ends when the commands do.
        task: JoinHandle<()>,
    },
}

impl Client {
    /// Starts a client on `library`.
    pub(crate) fn start(library: Library) -> Self {
        match library {
            Library::Ws => Self::script(Tool::Ws, "client.js"),
            Library::Websockets => Self::script(Tool::Websockets, "client.py"),
            Library::Tungstenite => {
                let (words, commands) = mpsc::unbounded_channel();
                let (reports, events) = mpsc::unbounded_channel();
                Self::Task { words, events, task: tokio::spawn(run(commands, reports)) }
            }
        }
    }

    fn script(tool: Tool, name: &str) -> Self {
        Self::Script(Process::spawn(name, tool.command().arg(name)), 0)
    }

    /// Gives a command.
    pub(crate) fn tell(&mut self, line: &str) {
        match self {
            Self::Script(process, _) => process.write_line(line),
            Self::Task { words, .. } => words.send(line.to_owned()).expect("the client runs"),
        }
    }

    /// The next thing that it saw.
    pub(crate) async fn event(&mut self) -> Value {
        match self {
            Self::Script(process, seen) => {
                let line = process.printed("event ", *seen).await;
                *seen += 1;
                serde_json::from_str(&line).expect("an event is JSON")
            }
            Self::Task { events, .. } => bounded("a client's event", events.recv()).await.expect("an event"),
        }
    }

    /// Gives a command and expects `answer` as the very next event.
    pub(crate) async fn ask(&mut self, line: &str, answer: Value) {
        self.tell(line);
        assert_eq!(self.event().await, answer, "after {line:?}");
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Self::Task { task, .. } = self {
            task.abort();
        }
    }
}

/// The task behind a tokio-tungstenite client.
async fn run(mut words: mpsc::UnboundedReceiver<String>, events: mpsc::UnboundedSender<Value>) {
    let line = words.recv().await.expect("the first command is connect");
    let (mut socket, opened) = connect(line.strip_prefix("connect ").expect("the first command")).await;
    let _ = events.send(opened);
    let mut sent = Vec::new();
    let mut close = json!({ "event": "close", "code": 1006, "reason": "" });
    loop {
        tokio::select! {
            line = words.recv() => {
                let Some(line) = line else { return };
                let message = spell(&line, &mut sent);
                socket.send(message).await.expect("the socket is open");
            }
            message = socket.next() => match message {
                Some(Ok(Message::Close(frame))) => close = describe_close(frame),
                // Pings come from the broker and are answered by the library.
                Some(Ok(Message::Ping(_))) => {}
                Some(Ok(message)) => drop(events.send(describe(message, &sent))),
                Some(Err(_)) | None => break,
            },
        }
    }
    let _ = events.send(close);
}

async fn connect(target: &str) -> (WebSocketStream<MaybeTlsStream<TcpStream>>, Value) {
    let mut words = target.split(' ');
    let uri: Uri = words.next().and_then(|uri| uri.parse().ok()).expect("connect names a URL");
    let request = words.fold(ClientRequestBuilder::new(uri), |request, name| request.with_sub_protocol(name));
    let request = request.into_client_request().expect("a correct request");
    let (socket, response) = connect_async(request).await.expect("the broker accepts");
    let header = |name: &str| response.headers().get(name).map_or("", |value| value.to_str().unwrap_or("?"));
    let compressed = !header("sec-websocket-extensions").is_empty();
    let opened = json!({
        "event": "open", "protocol": header("sec-websocket-protocol"), "compressed": compressed
    });
    (socket, opened)
}

fn spell(line: &str, sent: &mut Vec<u8>) -> Message {
    let (verb, rest) = line.split_once(' ').expect("a command has an argument");
    let length = || rest.parse().expect("a length");
    match verb {
        "text" => Message::text(rest),
        "ping" => Message::Ping(rest.to_owned().into()),
        "noise" => {
            *sent = noise(length(), 1);
            Message::binary(sent.clone())
        }
        "zeros" => {
            *sent = vec![b'0'; length()];
            Message::text("0".repeat(length()))
        }
        "close" => {
            let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
            let code = code.parse::<u16>().expect("a close code").into();
            Message::Close(Some(CloseFrame { code, reason: reason.into() }))
        }
        unknown => panic!("unknown command {unknown}"),
    }
}

fn describe(message: Message, sent: &[u8]) -> Value {
    match message {
        Message::Text(text) if text.len() <= 256 => json!({ "event": "text", "text": text.as_str() }),
        Message::Pong(data) => json!({ "event": "pong", "text": String::from_utf8_lossy(&data) }),
        other => {
            let event = if other.is_text() { "text" } else { "binary" };
            let data = other.into_data();
            json!({ "event": event, "length": data.len(), "intact": data[..] == *sent })
        }
    }
}

fn describe_close(frame: Option<CloseFrame>) -> Value {
    let (code, reason) =
        frame.map_or((1005, String::new()), |frame| (frame.code.into(), frame.reason.to_string()));
    json!({ "event": "close", "code": code, "reason": reason })
}
