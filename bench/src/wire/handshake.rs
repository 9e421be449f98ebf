//! The opening handshake on both sides (RFC 6455 section 4).

use std::fmt;
use std::net::SocketAddr;

use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};

/// Bytes of one side's handshake at most.
pub(crate) const HEAD_MAX: usize = 16 * 1024;
/// By this header, in lower case, the echo server says what was agreed with it, if it has TLS.
pub(crate) const AGREED: &str = "echo-tls";
/// Ends each line, and alone a whole handshake.
const END_OF_LINE: &str = "\r\n";
/// By this header, in lower case, a broker asks for the shim and a service says that it links it.
const SHIM: &str = "steadfast-shim";
/// The version of the shim that the echo server links.
const SHIM_VERSION: &str = "1";

/// A handshake that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HandshakeError {
    /// The server answered with something other than 101. Carries its status line.
    Refused(String),
    /// `Sec-WebSocket-Accept` is missing or does not belong to the key that was sent.
    WrongAccept,
    /// The server agreed to an extension that this client does not speak.
    Extension(String),
    /// The server chose another subprotocol than the one that was offered, or none of it.
    Subprotocol(Option<String>),
    /// The client did not ask for a WebSocket.
    NotAnUpgrade,
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(status) => write!(f, "the upgrade was answered with `{status}`"),
            Self::WrongAccept => write!(f, "the upgrade's Sec-WebSocket-Accept is not that of the key sent"),
            Self::Extension(name) => {
                write!(
                    f,
                    "the peer agreed to `{name}` by itself; switch it off there, the load is uncompressed"
                )
            }
            Self::Subprotocol(Some(name)) => write!(f, "the peer chose the subprotocol `{name}`"),
            Self::Subprotocol(None) => write!(f, "the peer did not choose the subprotocol that was offered"),
            Self::NotAnUpgrade => write!(f, "a request that is no WebSocket upgrade"),
        }
    }
}

impl std::error::Error for HandshakeError {}

/// A client's upgrade request and the key that its answer is judged by.
#[derive(Debug)]
pub(crate) struct Request {
    /// The whole request, as a desktop browser sends it: about 700 bytes.
    pub(crate) bytes: Vec<u8>,
    key: String,
    protocol: Option<&'static str>,
}

impl Request {
    /// The request of client number `client`, which has cookies of its own.
    pub(crate) fn browser(host: SocketAddr, client: u64) -> Self {
        let key = generate_key();
        let visitor = client.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let bytes = format!(
            "GET /live?room={room} HTTP/1.1\r\n\
             Host: {host}\r\n\
             Connection: Upgrade\r\n\
             Pragma: no-cache\r\n\
             Cache-Control: no-cache\r\n\
             User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
             Chrome/138.0.0.0 Safari/537.36\r\n\
             Upgrade: websocket\r\n\
             Origin: https://app.example.com\r\n\
             Sec-WebSocket-Version: 13\r\n\
             Accept-Encoding: gzip, deflate, br, zstd\r\n\
             Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
             Cookie: _ga=GA1.1.{analytics:010}.1750000000; visitor={visitor:016x}; consent=all; \
             theme=dark; tz=Europe/Berlin; session={client:08}.{secret}{other_secret}\r\n\
             Sec-WebSocket-Key: {key}\r\n\
             Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n",
            room = client % 1_000,
            analytics = visitor % 10_000_000_000,
            secret = generate_key(),
            other_secret = generate_key(),
        )
        .into_bytes();
        Self { bytes, key, protocol: None }
    }

    /// The same with more in its query.
    pub(crate) fn asking(mut self, parameters: &str) -> Self {
        let end = self.bytes.iter().skip(4).position(|byte| *byte == b' ').map_or(4, |at| at + 4);
        self.bytes.splice(end..end, format!("&{parameters}").into_bytes());
        self
    }

    /// The same with one subprotocol offered, which the server must choose.
    pub(crate) fn offering(mut self, protocol: &'static str) -> Self {
        self.bytes.truncate(self.bytes.len() - END_OF_LINE.len());
        self.bytes.extend_from_slice(format!("Sec-WebSocket-Protocol: {protocol}\r\n\r\n").as_bytes());
        Self { protocol: Some(protocol), ..self }
    }

    /// Judges the server's answer, given up to its empty line.
    pub(crate) fn check(&self, answer: &[u8]) -> Result<(), HandshakeError> {
        let status = String::from_utf8_lossy(answer).lines().next().unwrap_or_default().to_owned();
        if status.split(' ').nth(1) != Some("101") {
            return Err(HandshakeError::Refused(status));
        }
        if header(answer, "sec-websocket-accept") != Some(derive_accept_key(self.key.as_bytes()).as_str()) {
            return Err(HandshakeError::WrongAccept);
        }
        let protocol = header(answer, "sec-websocket-protocol");
        if protocol != self.protocol {
            return Err(HandshakeError::Subprotocol(protocol.map(str::to_owned)));
        }
        match header(answer, "sec-websocket-extensions") {
            Some(extension) => Err(HandshakeError::Extension(extension.to_owned())),
            None => Ok(()),
        }
    }
}

/// A server's answer to a client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// The whole answer.
    pub(crate) answer: Vec<u8>,
    /// The client is a broker that has asked for the shim, and was promised it.
    pub(crate) shim: bool,
}

impl Accepted {
    /// Says in the answer what was agreed.
    pub(crate) fn tell(&mut self, agreed: &impl fmt::Display) {
        self.answer.truncate(self.answer.len() - END_OF_LINE.len());
        self.answer.extend_from_slice(format!("{AGREED}: {agreed}\r\n\r\n").as_bytes());
    }
}

/// Answers `request`, given up to its empty line. No extension is agreed to.
pub(crate) fn accept(request: &[u8]) -> Result<Accepted, HandshakeError> {
    let upgrade = header(request, "upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket"));
    let key = header(request, "sec-websocket-key").filter(|_| upgrade).ok_or(HandshakeError::NotAnUpgrade)?;
    let mut answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n",
        derive_accept_key(key.as_bytes())
    );
    if let Some(first) = header(request, "sec-websocket-protocol").and_then(|list| list.split(',').next()) {
        answer.push_str(&format!("Sec-WebSocket-Protocol: {}\r\n", first.trim()));
    }
    let versions = header(request, SHIM).unwrap_or_default();
    let shim = versions.split(',').any(|version| version.trim() == SHIM_VERSION);
    if shim {
        answer.push_str(&format!("Steadfast-Shim: {SHIM_VERSION}\r\n"));
    }
    answer.push_str(END_OF_LINE);
    Ok(Accepted { answer: answer.into_bytes(), shim })
}

/// Where a handshake ends and frames begin.
pub(crate) fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// The value of the first header called `name` (in lower case).
pub(crate) fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    let text = std::str::from_utf8(head).ok()?;
    let mut pairs = text.lines().skip(1).filter_map(|line| line.split_once(':'));
    pairs.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(client: u64) -> Request {
        Request::browser(SocketAddr::from(([127, 0, 0, 1], 8080)), client)
    }

    #[test]
    fn a_browser_sends_about_700_bytes_and_no_two_alike() {
        for client in [0, 1, 4_999, 19_999] {
            let bytes = request(client).bytes;
            assert!((680..=720).contains(&bytes.len()), "client {client} sends {} bytes", bytes.len());
            assert_eq!(head_end(&bytes), Some(bytes.len()));
        }
        let cookie = |client| header(&request(client).bytes, "cookie").map(str::to_owned);
        assert_ne!(cookie(1), cookie(2));
    }

    #[test]
    fn both_sides_agree() {
        let request = request(7);
        let Accepted { answer, shim } = accept(&request.bytes).unwrap();
        assert_eq!(request.check(&answer), Ok(()));
        assert_eq!(header(&answer, "sec-websocket-extensions"), None);
        assert_eq!((shim, header(&answer, "steadfast-shim")), (false, None));
    }

    #[test]
    fn what_was_agreed_is_told() {
        let request = request(7);
        let mut accepted = accept(&request.bytes).unwrap();
        accepted.tell(&"TLS 1.3");
        assert_eq!(request.check(&accepted.answer), Ok(()));
        assert_eq!(head_end(&accepted.answer), Some(accepted.answer.len()));
        assert_eq!(header(&accepted.answer, AGREED), Some("TLS 1.3"));
    }

    #[test]
    fn the_answer_to_another_key_is_refused() {
        let answer = accept(&request(1).bytes).unwrap().answer;
        assert_eq!(request(1).check(&answer), Err(HandshakeError::WrongAccept));
    }

    #[test]
    fn an_answer_that_is_no_plain_upgrade_is_refused() {
        let request = request(1);
        let refused = request.check(b"HTTP/1.1 503 Service Unavailable\r\n\r\n");
        assert_eq!(refused, Err(HandshakeError::Refused("HTTP/1.1 503 Service Unavailable".to_owned())));
        let mut compressed = accept(&request.bytes).unwrap().answer;
        compressed.truncate(compressed.len() - 2);
        compressed.extend_from_slice(b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n");
        let extension = HandshakeError::Extension("permessage-deflate".to_owned());
        assert_eq!(request.check(&compressed), Err(extension));
    }

    #[test]
    fn the_first_subprotocol_is_taken_and_a_plain_request_is_not() {
        let head = b"GET / HTTP/1.1\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: k\r\n\
                     Sec-WebSocket-Protocol: one, two\r\n\r\n";
        assert_eq!(header(&accept(head).unwrap().answer, "sec-websocket-protocol"), Some("one"));
        assert_eq!(accept(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Err(HandshakeError::NotAnUpgrade));
    }

    #[test]
    fn a_subprotocol_that_is_offered_must_be_chosen() {
        let plain = request(1);
        let unheard = accept(&plain.bytes).unwrap().answer;
        let offering = plain.offering("chat");
        assert_eq!(head_end(&offering.bytes), Some(offering.bytes.len()));
        let heard = accept(&offering.bytes).unwrap().answer;
        assert_eq!(offering.check(&heard), Ok(()));
        assert_eq!(offering.check(&unheard), Err(HandshakeError::Subprotocol(None)));
        let plain = Request { protocol: None, ..offering };
        assert_eq!(plain.check(&heard), Err(HandshakeError::Subprotocol(Some("chat".to_owned()))));
    }

    #[test]
    fn the_shim_is_promised_to_those_who_ask_for_its_version() {
        for (versions, promised) in [("1", true), ("1, 2", true), ("2", false)] {
            let head = format!(
                "GET / HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\
                 Steadfast-Shim: {versions}\r\n\r\n"
            );
            let Accepted { answer, shim } = accept(head.as_bytes()).unwrap();
            assert_eq!((shim, header(&answer, SHIM)), (promised, promised.then_some("1")), "{versions}");
        }
    }
}
