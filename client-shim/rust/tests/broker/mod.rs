//! The broker of a test: what it says and hears is written down by hand, by the codecs.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use steadfast_protocol::steadfast_v1::SessionId;
use steadfast_protocol::steadfast_v1::client_wire::{
    FromBroker, Offer, Reason, Standing, Token, Watermarks, Welcome,
};
use steadfast_shim::client::{Client, Event, Options};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Callback, ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

/// The session that is given, unless a test says another.
pub(crate) const SESSION: SessionId = [1; 16];

/// What should happen happens long before.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for what should happen.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it should have happened by now")
}

pub(crate) struct Broker {
    pub(crate) listener: TcpListener,
}

/// A connection of a client's.
pub(crate) struct Link {
    pub(crate) socket: WebSocketStream<TcpStream>,
    /// What it offered.
    pub(crate) offered: String,
    /// Its handshake.
    pub(crate) request: Request,
}

impl Broker {
    pub(crate) async fn bind() -> Broker {
        Broker { listener: TcpListener::bind("127.0.0.1:0").await.expect("a port") }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/", self.listener.local_addr().expect("an address"))
    }

    /// Options of a client that comes here, and does not wait long between attempts.
    pub(crate) fn options(&self) -> Options {
        let mut options = Options::new([self.url()]);
        options.config.backoff_min = Duration::from_millis(1);
        options.config.backoff_max = Duration::from_millis(10);
        options
    }

    pub(crate) async fn accept(&self) -> Link {
        let (stream, _) = within(self.listener.accept()).await.expect("a connection");
        let (mut offered, mut request) = (String::new(), Request::new(()));
        let answer = Answer { offered: &mut offered, request: &mut request };
        let socket = within(accept_hdr_async(stream, answer)).await.expect("an upgrade");
        Link { socket, offered, request }
    }

    /// A client that is welcomed to [`SESSION`], and its link.
    pub(crate) async fn welcome(&self, options: Options) -> (Client, Link) {
        let mut client = Client::connect(options).expect("good options");
        let mut link = self.accept().await;
        link.welcome_fresh(SESSION, Reason::New, 1).await;
        assert_eq!(link.hear().await, "a 0");
        let event = within(client.next()).await;
        assert_eq!(event, Some(Event::Fresh { reason: Reason::New, unknown: None }));
        (client, link)
    }
}

/// Agrees as a broker does whose backend chooses no subprotocol.
struct Answer<'a> {
    offered: &'a mut String,
    request: &'a mut Request,
}

impl Callback for Answer<'_> {
    fn on_request(self, request: &Request, mut answer: Response) -> Result<Response, ErrorResponse> {
        let offered = request.headers()["sec-websocket-protocol"].to_str().expect("text").to_owned();
        let protocol = Offer::parse(&offered).answer(None).expect("ours");
        answer.headers_mut().insert("sec-websocket-protocol", protocol.parse().expect("a header"));
        (*self.offered, *self.request) = (offered, request.clone());
        Ok(answer)
    }
}

impl Link {
    pub(crate) async fn welcome_fresh(&mut self, session: SessionId, reason: Reason, secret: u8) {
        self.welcome(session, Standing::Fresh(reason), secret).await;
    }

    pub(crate) async fn welcome_resumed(&mut self, received: u64, committed: u64, secret: u8) {
        self.welcome(SESSION, Standing::Resumed(Watermarks { received, committed }), secret).await;
    }

    async fn welcome(&mut self, session: SessionId, standing: Standing, secret: u8) {
        let token = Token::new(session, [secret; 32]);
        let welcome = Welcome { session, token, window_ms: 120_000, standing };
        self.say(&FromBroker::Welcome(welcome).text()).await;
    }

    /// The session that the client wants to resume, as the secret and LAST.
    pub(crate) fn resume(&self) -> Option<(Token, u64)> {
        let resume = Offer::parse(&self.offered).resume?.expect("a token");
        Some((resume.token, resume.last))
    }

    pub(crate) async fn say(&mut self, text: &str) {
        within(self.socket.send(Message::text(text))).await.expect("a connection");
    }

    /// The next data message; pongs are for the library.
    pub(crate) async fn hear(&mut self) -> String {
        loop {
            match within(self.socket.next()).await.expect("a message").expect("a connection") {
                Message::Text(text) => return text.as_str().to_owned(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("a text, not {other:?}"),
            }
        }
    }

    /// The client's Close, which is answered; other messages before it are dropped.
    pub(crate) async fn hear_close(&mut self) -> (u16, String) {
        loop {
            if let Message::Close(close) = within(self.socket.next()).await.expect("a Close").expect("one") {
                let close = close.expect("a code");
                assert!(within(self.socket.next()).await.is_none(), "nothing follows it");
                return (close.code.into(), close.reason.as_str().to_owned());
            }
        }
    }

    pub(crate) async fn close(&mut self, code: u16, reason: &'static str) {
        let close = CloseFrame { code: code.into(), reason: reason.into() };
        within(self.socket.send(Message::Close(Some(close)))).await.expect("a connection");
    }
}
