//! Which broker is connected to, and how.

use http::header::{HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, Uri};
use tokio::net::TcpStream;
use tokio_tungstenite::MaybeTlsStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::{ProtocolError, UrlError};
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::wire::{self, Observed, Wire};

use super::tls::Tls;
use super::{BadOptions, Options};

/// So many attempts go to the broker that has the session, before others are tried.
const LOYAL: usize = 3;

/// The longest of a refusal's sentence that is told, in bytes.
const SENTENCE_MAX: usize = 200;

/// The longest text of the broker's own, in bytes.
const TEXT_MAX: usize = steadfast_protocol::steadfast_v1::client_wire::TEXT_MAX;

/// A connection to a broker.
pub(super) type Socket = Wire<MaybeTlsStream<Observed<TcpStream>>>;

/// What a dial came to.
#[derive(Debug)]
pub(super) enum Dialed {
    /// A connection, and the subprotocol that was agreed on.
    Connected { socket: Box<Socket>, protocol: Option<String> },
    /// The server agrees on no subprotocol.
    Incompatible,
    /// Nothing.
    Failed(String),
}

/// Knows the brokers. See [`Options::urls`].
#[derive(Debug)]
pub(super) struct BrokerDialer {
    urls: Vec<Uri>,
    headers: HeaderMap,
    socket: WebSocketConfig,
    tls: Tls,
    /// Index of the broker that has the session.
    home: Option<usize>,
    /// Index of the one that was dialled last.
    last: usize,
}

impl BrokerDialer {
    pub(super) fn new(options: &Options) -> Result<BrokerDialer, BadOptions> {
        let urls: Vec<_> = options.urls.iter().map(|url| parse(url)).collect::<Result<_, _>>()?;
        if urls.is_empty() {
            return Err(BadOptions::NoUrl);
        }
        if let Some(name) = options.config.protocols.iter().find(|name| !is_protocol(name)) {
            return Err(BadOptions::Protocol(name.clone()));
        }
        // The byte that says of which kind a message is comes on top.
        let longest = options.config.message_limit.saturating_add(1).max(TEXT_MAX);
        Ok(BrokerDialer {
            tls: Tls::new(options, &urls)?,
            urls,
            headers: options.headers.clone(),
            socket: wire::config(longest, longest),
            home: None,
            last: 0,
        })
    }

    /// The broker that was dialled last has the session.
    pub(super) fn settle(&mut self) {
        self.home = Some(self.last);
    }

    /// The dial of an attempt; attempts count from 1.
    pub(super) fn dial(
        &mut self,
        attempt: u32,
        protocols: &[String],
    ) -> impl Future<Output = Dialed> + Send + use<> {
        self.last = choose(self.urls.len(), self.home, attempt as usize);
        let mut request = self.urls[self.last].clone().into_client_request();
        if let Ok(request) = &mut request {
            request.headers_mut().extend(self.headers.clone());
            // Names of protocols are checked, tokens are base64url.
            if let Ok(value) = HeaderValue::from_str(&protocols.join(", ")) {
                request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, value);
            }
        }
        let (tls, config) = (self.tls.clone(), self.socket);
        async move { connect(request, &tls, config).await.unwrap_or_else(|error| failed(&error)) }
    }
}

async fn connect(
    request: Result<Request, Error>,
    tls: &Tls,
    config: WebSocketConfig,
) -> Result<Dialed, Error> {
    let request = request?;
    let host = request.uri().host().ok_or(UrlError::NoHostName)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let default = if request.uri().scheme_str() == Some("wss") { 443 } else { 80 };
    let port = request.uri().port_u16().unwrap_or(default);
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    let (stream, pulse) = Observed::new(stream);
    let (socket, answer) = tls.upgrade(request, stream, config).await?;
    let protocol = answer.headers().get(SEC_WEBSOCKET_PROTOCOL);
    let protocol = protocol.and_then(|name| name.to_str().ok()).map(str::to_owned);
    Ok(Dialed::Connected { socket: Box::new(Wire::new(socket, pulse)), protocol })
}

/// Which of so many brokers an attempt goes to.
fn choose(brokers: usize, home: Option<usize>, attempt: usize) -> usize {
    let attempt = attempt.saturating_sub(1);
    match home {
        None => attempt % brokers,
        Some(home) if attempt < LOYAL => home,
        Some(home) => (home + 1 + attempt - LOYAL) % brokers,
    }
}

fn failed(error: &Error) -> Dialed {
    match error {
        Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(_)) => Dialed::Incompatible,
        Error::Http(answer) => {
            let body = answer.body().as_deref().unwrap_or_default();
            let sentence = String::from_utf8_lossy(&body[..body.len().min(SENTENCE_MAX)]);
            Dialed::Failed(format!("the server answered {}: {}", answer.status(), sentence.trim()))
        }
        error => Dialed::Failed(error.to_string()),
    }
}

fn parse(url: &str) -> Result<Uri, BadOptions> {
    let bad = || BadOptions::Url(url.to_owned());
    let uri: Uri = url.parse().map_err(|_| bad())?;
    match uri.scheme_str() {
        Some("wss") if cfg!(not(feature = "tls")) => Err(BadOptions::NoTls(url.to_owned())),
        Some("ws" | "wss") if uri.host().is_some_and(|host| !host.is_empty()) => Ok(uri),
        _ => Err(bad()),
    }
}

/// A token (RFC 9110, 5.6.2) that is not ours.
fn is_protocol(name: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token) && !name.starts_with("steadfast.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices(home: Option<usize>) -> Vec<usize> {
        (1..=7).map(|attempt| choose(3, home, attempt)).collect()
    }

    #[test]
    fn the_broker_with_the_session_is_tried_first_and_again() {
        assert_eq!(choices(None), [0, 1, 2, 0, 1, 2, 0]);
        assert_eq!(choices(Some(1)), [1, 1, 1, 2, 0, 1, 2]);
        assert_eq!(choose(1, Some(0), usize::MAX), 0);
    }

    #[test]
    fn what_cannot_be_connected_to_is_said_at_once() {
        let new = |url: &str| BrokerDialer::new(&Options::new([url])).map(drop);
        assert_eq!(new("ws://127.0.0.1:80/chat?room=1"), Ok(()));
        for url in ["", "chat", "http://host/", "ws:///path"] {
            assert_eq!(new(url), Err(BadOptions::Url(url.to_owned())), "{url}");
        }
        assert_eq!(BrokerDialer::new(&Options::new([""; 0])).map(drop), Err(BadOptions::NoUrl));
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn without_tls_there_is_no_wss() {
        let url = "wss://host/";
        let dialer = BrokerDialer::new(&Options::new([url])).map(drop);
        assert_eq!(dialer, Err(BadOptions::NoTls(url.to_owned())));
    }

    #[test]
    fn names_of_subprotocols_are_tokens_and_not_ours() {
        for name in ["", "a b", "a,b", "ä", "steadfast.v1"] {
            let mut options = Options::new(["ws://host/"]);
            options.config.protocols = vec![name.to_owned()];
            let dialer = BrokerDialer::new(&options).map(drop);
            assert_eq!(dialer, Err(BadOptions::Protocol(name.to_owned())));
        }
        assert!(is_protocol("chat.v1"));
    }
}
