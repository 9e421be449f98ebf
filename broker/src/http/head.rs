//! The heads of messages, read from bytes by httparse, which reads them for hyper as well.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode, Uri};
use httparse::{Error, Header, ParserConfig, Status};

/// Lines of headers for which there is room without an allocation.
const USUAL: usize = 64;

/// Where a line of headers is to be read to.
type LineRoom<'a> = MaybeUninit<Header<'a>>;

/// An answer's head.
#[derive(Debug)]
pub(crate) struct AnswerHead {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Bytes of it, with the empty line.
    pub(crate) length: usize,
}

/// A request's head.
#[derive(Debug)]
pub(crate) struct RequestHead {
    pub(crate) request: Request<()>,
    /// Bytes of it, with the empty line.
    pub(crate) length: usize,
    /// The target that was sent has a fragment, which the request's has not.
    pub(crate) has_fragment: bool,
}

/// Reads the head of an answer at the beginning of `bytes`, with `lines` of headers at the most; `None`: it is not whole.
/// A space in front of a colon is taken out, and a folded line is put together (RFC 9112, 5.1 and 5.2).
///
/// # Errors
///
/// It is none, or has more lines.
pub(crate) fn answer(bytes: &Bytes, lines: usize) -> Result<Option<AnswerHead>, Error> {
    let mut usual = [const { LineRoom::uninit() }; USUAL];
    match answer_within(bytes, &mut usual[..lines.min(USUAL)]) {
        Err(Error::TooManyHeaders) if lines > USUAL => {
            answer_within(bytes, &mut vec![LineRoom::uninit(); lines])
        }
        read => read,
    }
}

fn answer_within<'a>(bytes: &'a Bytes, room: &mut [LineRoom<'a>]) -> Result<Option<AnswerHead>, Error> {
    let mut config = ParserConfig::default();
    config.allow_spaces_after_header_name_in_responses(true);
    config.allow_obsolete_multiline_headers_in_responses(true);
    let mut answer = httparse::Response::new(&mut []);
    let Status::Complete(length) = config.parse_response_with_uninit_headers(&mut answer, bytes, room)?
    else {
        return Ok(None);
    };
    let status = answer.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Error::Status)?;
    Ok(Some(AnswerHead { status, headers: headers(answer.headers, bytes)?, length }))
}

/// Reads the head of a request at the beginning of `bytes`, with `lines` of headers at the most. `None`: it is not whole,
/// or is no GET of HTTP/1.1, or something is wrong with it.
pub(crate) fn get_request(bytes: &Bytes, lines: usize) -> Option<RequestHead> {
    let mut room = [const { LineRoom::uninit() }; USUAL];
    let mut parsed = httparse::Request::new(&mut []);
    let read = ParserConfig::default().parse_request_with_uninit_headers(
        &mut parsed,
        bytes,
        &mut room[..lines.min(USUAL)],
    );
    let Ok(Status::Complete(length)) = read else { return None };
    let (Some("GET"), Some(target), Some(1)) = (parsed.method, parsed.path, parsed.version) else {
        return None;
    };
    let mut request = Request::new(());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = Uri::from_maybe_shared(bytes.slice_ref(target.as_bytes())).ok()?;
    *request.headers_mut() = headers(parsed.headers, bytes).ok()?;
    Some(RequestHead { request, length, has_fragment: target.contains('#') })
}

/// The head of a 101 with these lines.
pub(crate) fn switching(lines: &[(HeaderName, HeaderValue)]) -> Vec<u8> {
    let mut head = Vec::with_capacity(512);
    head.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
    for (name, value) in lines {
        put_line(&mut head, name.as_str(), value.as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// Writes a line of headers behind others.
pub(super) fn put_line(to: &mut Vec<u8>, name: &str, value: &[u8]) {
    to.extend_from_slice(name.as_bytes());
    to.extend_from_slice(b": ");
    to.extend_from_slice(value);
    to.extend_from_slice(b"\r\n");
}

/// Whether a head may end in `bytes`.
pub(crate) fn may_end_in(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|two| two == b"\n\n") || bytes.windows(3).any(|three| three == b"\n\r\n")
}

/// The values are parts of `bytes`, in which the lines stand.
fn headers(lines: &[Header<'_>], bytes: &Bytes) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::with_capacity(lines.len());
    for Header { name, value } in lines {
        let name = header_name(name).ok_or(Error::HeaderName)?;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(value))
            .or_else(|_| HeaderValue::from_bytes(&unfolded(value)))
            .map_err(|_| Error::HeaderValue)?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// A header's name. Those of browsers' handshakes are known as they are mostly spelled, which takes less than to find out.
fn header_name(name: &str) -> Option<HeaderName> {
    Some(match name {
        "Host" | "host" => header::HOST,
        "Upgrade" | "upgrade" => header::UPGRADE,
        "Connection" | "connection" => header::CONNECTION,
        "Sec-WebSocket-Key" | "sec-websocket-key" => header::SEC_WEBSOCKET_KEY,
        "Sec-WebSocket-Version" | "sec-websocket-version" => header::SEC_WEBSOCKET_VERSION,
        "Sec-WebSocket-Extensions" | "sec-websocket-extensions" => header::SEC_WEBSOCKET_EXTENSIONS,
        "Sec-WebSocket-Accept" | "sec-websocket-accept" => header::SEC_WEBSOCKET_ACCEPT,
        "Sec-WebSocket-Protocol" | "sec-websocket-protocol" => header::SEC_WEBSOCKET_PROTOCOL,
        "Origin" | "origin" => header::ORIGIN,
        "User-Agent" | "user-agent" => header::USER_AGENT,
        "Cookie" | "cookie" => header::COOKIE,
        "Accept-Encoding" | "accept-encoding" => header::ACCEPT_ENCODING,
        "Accept-Language" | "accept-language" => header::ACCEPT_LANGUAGE,
        "Cache-Control" | "cache-control" => header::CACHE_CONTROL,
        "Pragma" | "pragma" => header::PRAGMA,
        other => HeaderName::from_bytes(other.as_bytes()).ok()?,
    })
}

/// A value in one line (RFC 9112, 5.2).
fn unfolded(value: &[u8]) -> Vec<u8> {
    let lines: Vec<&[u8]> = value.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).collect();
    lines.join(&b" "[..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Bytes {
        Bytes::copy_from_slice(text.as_bytes())
    }

    const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nX-A : 1\r\nX-B: 2\r\n\t 3 \r\nx-a:\r\n\r\n";

    #[test]
    fn an_answer_is_read_when_it_is_whole() {
        let head = answer(&bytes(&format!("{SWITCHING}\x7f")), 4).expect("an answer").expect("it is whole");
        assert_eq!((head.status, head.length), (StatusCode::SWITCHING_PROTOCOLS, SWITCHING.len()));
        assert_eq!(
            (&head.headers["upgrade"], &head.headers["x-b"]),
            (&"websocket".parse().expect("a value"), &"2 3".parse().expect("a value"))
        );
        assert_eq!(head.headers.get_all("x-a").iter().collect::<Vec<_>>(), ["1", ""]);
        for end in 0..SWITCHING.len() {
            assert!(answer(&bytes(&SWITCHING[..end]), 4).expect("a part of one").is_none(), "{end}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let lines = [("upgrade", "websocket"), ("x-a", "1"), ("x-b", ""), ("x-a", "2")];
        let pair = |(name, value): (&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let lines = lines.map(pair);
        let head = answer(&switching(&lines).into(), 4).expect("an answer").expect("it is whole");
        assert_eq!(
            (head.status, head.headers),
            (StatusCode::SWITCHING_PROTOCOLS, lines.into_iter().collect())
        );
    }

    #[test]
    fn lines_are_counted() {
        for lines in [16, USUAL, USUAL + 1, 128] {
            let text = |count| format!("HTTP/1.1 200 OK\r\n{}\r\n", "X-A: 1\r\n".repeat(count));
            let head = answer(&bytes(&text(lines)), lines).expect("an answer").expect("it is whole");
            assert_eq!(head.headers.len(), lines);
            assert_eq!(answer(&bytes(&text(lines + 1)), lines).err(), Some(Error::TooManyHeaders));
        }
    }

    #[test]
    fn what_is_no_answer_is_said() {
        for (text, why) in [
            ("SSH-2.0-x\r\n\r\n", Error::Version),
            ("HTTP/1.1 099 x\r\n\r\n", Error::Status),
            ("HTTP/1.1 200 OK\r\na b: c\r\n\r\n", Error::HeaderName),
            ("HTTP/1.1 200 OK\r\na: \x01\r\n\r\n", Error::HeaderValue),
        ] {
            assert_eq!(answer(&bytes(text), 8).err(), Some(why), "{text:?}");
        }
    }

    #[test]
    fn a_request_is_read_when_it_is_whole_and_a_get() {
        let text = "GET /chat?a=b HTTP/1.1\r\nHost: a.test\r\nCookie: b\r\ncookie: c\r\n\r\n";
        let head = get_request(&bytes(&format!("{text}\x7f")), 3).expect("a request");
        assert_eq!((head.length, head.has_fragment), (text.len(), false));
        assert_eq!(
            (head.request.uri().to_string().as_str(), &head.request.headers()["host"]),
            ("/chat?a=b", &"a.test".parse().expect("a value"))
        );
        assert_eq!(head.request.headers().get_all("cookie").iter().collect::<Vec<_>>(), ["b", "c"]);
        for end in 0..text.len() {
            assert!(get_request(&bytes(&text[..end]), 3).is_none(), "{end}");
        }
        assert!(get_request(&bytes(text), 2).is_none(), "it has too many lines");
        for other in [text.replace("GET", "PUT"), text.replace("1.1", "1.0"), text.replace("Host", "Ho st")] {
            assert!(get_request(&bytes(&other), 3).is_none(), "{other}");
        }
        let head = get_request(&bytes(&text.replace("/chat", "/#chat")), 3).expect("a request");
        assert_eq!((head.request.uri().to_string().as_str(), head.has_fragment), ("/", true));
    }

    #[test]
    fn names_are_what_they_are_however_they_are_spelled() {
        for name in [
            "Host",
            "Upgrade",
            "Connection",
            "Sec-WebSocket-Key",
            "Sec-WebSocket-Version",
            "Sec-WebSocket-Extensions",
            "Sec-WebSocket-Accept",
            "Sec-WebSocket-Protocol",
            "Origin",
            "User-Agent",
            "Cookie",
            "Accept-Encoding",
            "Accept-Language",
            "Cache-Control",
            "Pragma",
            "X-Custom",
        ] {
            let known = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            for spelled in [name.to_owned(), name.to_ascii_lowercase(), name.to_ascii_uppercase()] {
                assert_eq!(header_name(&spelled).as_ref(), Some(&known), "{spelled}");
            }
        }
        assert_eq!(header_name("a b"), None);
    }

    #[test]
    fn an_end_is_seen_in_each_form() {
        for text in ["a: b\r\n\r\n", "a: b\n\r\nx", "a: b\n\n", "\n\r\n", "\n\n"] {
            assert!(may_end_in(text.as_bytes()), "{text:?}");
        }
        for text in ["", "\n", "\r\n", "\r\na\r\n", "\n\r", "\n\r\r\n"] {
            assert!(!may_end_in(text.as_bytes()), "{text:?}");
        }
    }
}
