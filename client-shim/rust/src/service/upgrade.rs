//! The handshake of one connection (RFC 6455, 4.2).

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_tungstenite::accept_hdr_async_with_config;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::handshake::server::{Callback, ErrorResponse, Response};

use super::{HandshakeError, Options, Refusal, Session};

/// The header by which a broker and a service tell each other that they speak `steadfast.v1`; its value is `1`.
pub const SHIM: HeaderName = HeaderName::from_static("steadfast-shim");

/// Whether an upgrade is a broker's that speaks `steadfast.v1`. The answer must have the same header.
pub fn is_broker(headers: &HeaderMap) -> bool {
    headers.get(SHIM).is_some_and(|version| version == "1")
}

/// From a connection to its session. `Err(None)`: it took too long.
pub(super) async fn upgrade(stream: TcpStream, options: Arc<Options>) -> Result<Session, HandshakeError> {
    match tokio::time::timeout(options.handshake_timeout, upgrade_now(stream, &options)).await {
        Ok(upgraded) => upgraded,
        Err(_) => Err(HandshakeError::Timeout),
    }
}

async fn upgrade_now(mut stream: TcpStream, options: &Options) -> Result<Session, HandshakeError> {
    // What is small should not wait for more; where the system does not allow it, it waits.
    let _ = stream.set_nodelay(true);
    let mut request = None;
    let judge = Judge { options, request: &mut request };
    // The broker says nothing before our answer, so nothing that was read is lost with the library's socket.
    let upgraded = accept_hdr_async_with_config(&mut stream, judge, Some(options.socket())).await;
    match (upgraded.map(drop), request) {
        (Ok(()), Some(request)) => Session::attach_now(stream, request, options).await,
        (Ok(()), None) => Err(HandshakeError::NoUpgrade("there is no request".to_owned())),
        (Err(Error::Http(answer)), _) => Err(HandshakeError::Refused(answer.status())),
        (Err(error), _) => {
            explain(&mut stream).await;
            Err(HandshakeError::NoUpgrade(error.to_string()))
        }
    }
}

/// For whoever asks with something else than an upgrade. Nobody may be there to read it.
async fn explain(stream: &mut TcpStream) {
    let sentence = "This is a service behind a Steadfast broker; it answers WebSocket upgrades only.\n";
    let answer = format!(
        "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\r\n{sentence}",
        sentence.len()
    );
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// Decides on an upgrade that has the right form.
struct Judge<'a> {
    options: &'a Options,
    /// Where it is kept.
    request: &'a mut Option<Request<()>>,
}

impl Callback for Judge<'_> {
    fn on_request(self, request: &Request<()>, mut answer: Response) -> Result<Response, ErrorResponse> {
        if !is_broker(request.headers()) {
            return Err(refuse(Refusal {
                status: StatusCode::BAD_REQUEST,
                sentence: "This service takes sessions from a Steadfast broker only, from a pool with \
                           ack = \"shim\": the header \"Steadfast-Shim: 1\" is missing."
                    .to_owned(),
            }));
        }
        if let Some(admit) = &self.options.admit {
            admit(request).map_err(refuse)?;
        }
        answer.headers_mut().insert(SHIM, HeaderValue::from_static("1"));
        if let Some(protocol) = choose(request.headers(), &self.options.protocols) {
            answer.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        *self.request = Some(request.clone());
        Ok(answer)
    }
}

/// A status that is a success would leave the client with half a handshake.
fn refuse(refusal: Refusal) -> ErrorResponse {
    let Refusal { status, mut sentence } = refusal;
    let is_refusal = status.is_client_error() || status.is_server_error();
    sentence.push('\n');
    let length = sentence.len();
    let mut answer = ErrorResponse::new(Some(sentence));
    *answer.status_mut() = if is_refusal { status } else { StatusCode::FORBIDDEN };
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    answer
}

/// The first of the client's subprotocols that the service has.
fn choose(headers: &HeaderMap, known: &[String]) -> Option<HeaderValue> {
    let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let mut names = offered.flat_map(|value| value.split(',')).map(str::trim);
    let name = names.find(|name| known.iter().any(|known| known == name))?;
    HeaderValue::from_str(name).ok()
}
