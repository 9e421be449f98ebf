//! Requests and their answers (RFC 9112), as a load generator and a backend need them: bodies have a `Content-Length`,
//! and their bytes are the same everywhere, so that each side knows what has to come.

use std::fmt;
use std::net::SocketAddr;
use std::sync::LazyLock;

use httparse::{EMPTY_HEADER, Header, Status};
use serde::Serialize;

/// Bytes of a body at most.
pub(crate) const BODY_MAX: usize = 1024 * 1024;
/// Bytes of a head at most.
const HEAD_MAX: usize = 16 * 1024;
/// Its headers at most.
const HEADERS_MAX: usize = 64;
/// Begins the path of a request; behind it is how many bytes it asks for.
const PATH: &str = "/bytes/";

/// What all bodies are the beginning of.
static BODY: LazyLock<Vec<u8>> = LazyLock::new(|| (0..BODY_MAX).map(pattern).collect());

/// The multiplication's upper bits repeat at no small distance: a piece that is missing or comes twice is seen.
fn pattern(at: usize) -> u8 {
    ((at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
}

/// A message that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HttpError {
    /// It is no HTTP/1.1.
    Malformed(httparse::Error),
    /// A head of more than 16 KiB.
    Endless,
    /// A request for something that there is not.
    NotFound,
    /// An answer other than 200. Carries its code and its reason.
    Refused(u16, String),
    /// A body whose length is not said in its head.
    NoLength,
    /// A body of more bytes than any has here.
    TooLong,
    /// A body that differs from what was sent.
    WrongBody,
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "a message that is no HTTP/1.1: {error}"),
            Self::Endless => write!(f, "a head of more than {} KiB", HEAD_MAX / 1024),
            Self::NotFound => write!(f, "a request for another path than {PATH}N"),
            Self::Refused(code, reason) => {
                write!(f, "the request was answered with `{code} {reason}` and not with 200")
            }
            Self::NoLength => {
                write!(f, "a body without Content-Length, so bodies are not passed on as they came")
            }
            Self::TooLong => write!(f, "a body of more than {BODY_MAX} bytes"),
            Self::WrongBody => write!(f, "a wrong body: it differs from what was sent"),
        }
    }
}

impl std::error::Error for HttpError {}

/// The shape of a request and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::Args)]
#[group(skip)]
pub(crate) struct Shape {
    /// Bytes of a request's body. One without is a GET, others are POSTs.
    #[arg(long, default_value_t = 0)]
    pub(crate) upload: usize,
    /// Bytes of an answer's body.
    #[arg(long)]
    pub(crate) answer: usize,
    /// Each request has a connection of its own, and says so.
    #[arg(long)]
    pub(crate) close: bool,
}

impl Shape {
    /// As on a command line.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = String> {
        let Self { upload, answer, close } = self;
        let sizes = [format!("--upload={upload}"), format!("--answer={answer}")];
        sizes.into_iter().chain(close.then(|| "--close".to_owned()))
    }

    /// The whole request, as a desktop browser sends it: a head of about 500 bytes.
    pub(crate) fn request(&self, host: SocketAddr) -> Vec<u8> {
        let (method, body) = match self.upload {
            0 => ("GET", String::new()),
            length => {
                ("POST", format!("Content-Type: application/octet-stream\r\nContent-Length: {length}\r\n"))
            }
        };
        let mut request = format!(
            "{method} {PATH}{answer} HTTP/1.1\r\n\
             Host: {host}\r\n\
             Connection: {connection}\r\n\
             User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
             Chrome/138.0.0.0 Safari/537.36\r\n\
             Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
             Accept-Encoding: gzip, deflate, br, zstd\r\n\
             Referer: https://app.example.com/catalogue?page=7\r\n\
             Sec-Fetch-Mode: navigate\r\n\
             Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
             Cookie: visitor=9e3779b97f4a7c15; consent=all; theme=dark; tz=Europe/Berlin\r\n\
             {body}\r\n",
            answer = self.answer,
            connection = if self.close { "close" } else { "keep-alive" },
        )
        .into_bytes();
        request.extend_from_slice(body_of(self.upload));
        request
    }
}

/// The whole answer to a request for so many bytes, with the headers that most servers send.
pub(crate) fn answer(length: usize) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\n\
         Date: Mon, 30 Nov 2026 12:00:00 GMT\r\n\
         Server: steadfast-bench\r\n\
         Content-Type: application/octet-stream\r\n\
         Cache-Control: no-cache\r\n\
         Content-Length: {length}\r\n\r\n"
    )
    .into_bytes();
    answer.extend_from_slice(body_of(length));
    answer
}

/// The answer to a request that cannot be taken, behind which the connection ends.
pub(crate) fn refusal(error: &HttpError) -> Vec<u8> {
    format!("HTTP/1.1 400 {error}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into_bytes()
}

/// A body of so many bytes, up to [`BODY_MAX`].
fn body_of(length: usize) -> &'static [u8] {
    BODY.get(..length).unwrap_or(BODY.as_slice())
}

/// A request that has come as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request {
    /// Bytes that it asks for.
    pub(crate) asks_for: usize,
    /// Nothing comes behind it.
    pub(crate) close: bool,
}

/// An answer that has come as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Bytes of its body.
    pub(crate) length: usize,
    /// Nothing comes behind it.
    pub(crate) close: bool,
}

/// A head, and how long it and its body are.
#[derive(Debug)]
struct Head<T> {
    message: T,
    head: usize,
    body: usize,
}

/// A message whose head has come.
#[derive(Debug)]
struct Open<T> {
    message: T,
    body: usize,
    /// Bytes of it that have come.
    at: usize,
}

/// Finds a head at the beginning of bytes, if all of it is there.
type Parse<T> = fn(&[u8]) -> Result<Option<Head<T>>, HttpError>;

/// Reads one side's messages, and checks their bodies.
#[derive(Debug)]
pub(crate) struct Reader<T> {
    parse: Parse<T>,
    /// The beginning of a head that has not come as a whole.
    begun: Vec<u8>,
    open: Option<Open<T>>,
}

impl Reader<Request> {
    /// Of a client.
    pub(crate) fn requests() -> Self {
        Self { parse: request, begun: Vec::new(), open: None }
    }
}

impl Reader<Answer> {
    /// Of a server.
    pub(crate) fn answers() -> Self {
        Self { parse: answered, begun: Vec::new(), open: None }
    }
}

impl<T> Reader<T> {
    /// The next message that ends in `bytes`; what was read is taken off them. `None` when all of them are read.
    pub(crate) fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<T>, HttpError> {
        if self.open.is_none() {
            self.open = self.head(bytes)?;
        }
        let Some(open) = &mut self.open else { return Ok(None) };
        let (part, rest) = bytes.split_at(bytes.len().min(open.body - open.at));
        if body_of(open.body).get(open.at..open.at + part.len()) != Some(part) {
            return Err(HttpError::WrongBody);
        }
        open.at += part.len();
        *bytes = rest;
        if open.at < open.body {
            return Ok(None);
        }
        Ok(self.open.take().map(|open| open.message))
    }

    fn head(&mut self, bytes: &mut &[u8]) -> Result<Option<Open<T>>, HttpError> {
        let before = self.begun.len();
        // Almost always a head comes as a whole.
        let parsed = if before == 0 {
            (self.parse)(bytes)?
        } else {
            self.begun.extend_from_slice(bytes);
            (self.parse)(&self.begun)?
        };
        let Some(Head { message, head, body }) = parsed else {
            if before == 0 {
                self.begun.extend_from_slice(bytes);
            }
            *bytes = &[];
            return if self.begun.len() > HEAD_MAX { Err(HttpError::Endless) } else { Ok(None) };
        };
        if body > BODY_MAX {
            return Err(HttpError::TooLong);
        }
        self.begun.clear();
        *bytes = bytes.get(head.saturating_sub(before)..).unwrap_or_default();
        Ok(Some(Open { message, body, at: 0 }))
    }
}

fn request(bytes: &[u8]) -> Result<Option<Head<Request>>, HttpError> {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let Status::Complete(head) = request.parse(bytes).map_err(HttpError::Malformed)? else { return Ok(None) };
    let asked = request.path.and_then(|path| path.strip_prefix(PATH)?.parse().ok());
    let asks_for = asked.filter(|length| *length <= BODY_MAX).ok_or(HttpError::NotFound)?;
    if value(request.headers, "transfer-encoding").is_some() {
        return Err(HttpError::NoLength);
    }
    let body = length(request.headers)?.unwrap_or(0);
    Ok(Some(Head { message: Request { asks_for, close: closes(request.headers) }, head, body }))
}

fn answered(bytes: &[u8]) -> Result<Option<Head<Answer>>, HttpError> {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut answer = httparse::Response::new(&mut headers);
    let Status::Complete(head) = answer.parse(bytes).map_err(HttpError::Malformed)? else { return Ok(None) };
    match answer.code {
        Some(200) => {}
        code => {
            let reason = answer.reason.unwrap_or_default().to_owned();
            return Err(HttpError::Refused(code.unwrap_or_default(), reason));
        }
    }
    let length = length(answer.headers)?.ok_or(HttpError::NoLength)?;
    Ok(Some(Head { message: Answer { length, close: closes(answer.headers) }, head, body: length }))
}

fn length(headers: &[Header<'_>]) -> Result<Option<usize>, HttpError> {
    value(headers, "content-length").map(|text| text.parse().map_err(|_| HttpError::NoLength)).transpose()
}

fn closes(headers: &[Header<'_>]) -> bool {
    value(headers, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
}

/// The value of the first header called `name`.
fn value<'a>(headers: &[Header<'a>], name: &str) -> Option<&'a str> {
    let header = headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
    std::str::from_utf8(header.value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 8080))
    }

    /// What comes of `bytes`, read in pieces of `size`.
    fn read<T>(mut reader: Reader<T>, bytes: &[u8], size: usize) -> Result<Vec<T>, HttpError> {
        let mut messages = Vec::new();
        for mut piece in bytes.chunks(size) {
            while let Some(message) = reader.next(&mut piece)? {
                messages.push(message);
            }
            assert!(piece.is_empty());
        }
        Ok(messages)
    }

    #[test]
    fn a_browser_sends_about_500_bytes() {
        let head = Shape { upload: 0, answer: 200, close: false }.request(host());
        assert!((450..=550).contains(&head.len()), "{} bytes", head.len());
    }

    #[test]
    fn messages_are_read_in_pieces_of_any_size() {
        let [page, form] =
            [(0, true), (700, false)].map(|(upload, close)| Shape { upload, answer: 200, close });
        let requests = [page.request(host()), form.request(host())].concat();
        let answers = [answer(200), answer(0), answer(3_000)].concat();
        for size in [1, 2, 7, 64, 500, 4_096] {
            let expected = [true, false].map(|close| Request { asks_for: 200, close });
            assert_eq!(read(Reader::requests(), &requests, size).as_deref(), Ok(&expected[..]), "{size}");
            let expected = [200, 0, 3_000].map(|length| Answer { length, close: false });
            assert_eq!(read(Reader::answers(), &answers, size).as_deref(), Ok(&expected[..]), "{size}");
        }
    }

    #[test]
    fn a_body_with_another_byte_or_with_one_missing_is_noticed() {
        let (head, mut changed) = (answer(0).len() + 2, answer(600));
        changed[head + 300] ^= 1;
        assert_eq!(read(Reader::answers(), &changed, 64), Err(HttpError::WrongBody));
        let mut shifted = answer(600);
        shifted.remove(head + 300);
        shifted.push(0);
        assert_eq!(read(Reader::answers(), &shifted, 64), Err(HttpError::WrongBody));
        assert!(read(Reader::answers(), &answer(600), 64).is_ok());
    }

    #[test]
    fn what_is_no_answer_of_the_backend_is_refused() {
        let of = |bytes: &[u8]| read(Reader::answers(), bytes, 4_096);
        let refused = HttpError::Refused(426, "Upgrade Required".to_owned());
        assert_eq!(of(b"HTTP/1.1 426 Upgrade Required\r\n\r\n"), Err(refused.clone()));
        let said = "the request was answered with `426 Upgrade Required` and not with 200";
        assert_eq!(refused.to_string(), said);
        assert_eq!(of(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), Err(HttpError::NoLength));
        assert_eq!(of(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n"), Err(HttpError::TooLong));
        assert!(matches!(of(b"\x16\x03\x01"), Err(HttpError::Malformed(_))));
        let endless = [b"HTTP/1.1 200 OK\r\nX: ".as_slice(), &[b'x'; 20_000]].concat();
        assert_eq!(read(Reader::answers(), &endless, 1_000), Err(HttpError::Endless));
    }

    #[test]
    fn a_refused_request_says_why() {
        let of = |bytes: &[u8]| read(Reader::requests(), bytes, 4_096);
        assert_eq!(of(b"GET / HTTP/1.1\r\n\r\n"), Err(HttpError::NotFound));
        assert_eq!(of(b"GET /bytes/1048577 HTTP/1.1\r\n\r\n"), Err(HttpError::NotFound));
        let chunked = of(b"POST /bytes/1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap_err();
        let heard = read(Reader::answers(), &refusal(&chunked), 4_096);
        assert_eq!(heard, Err(HttpError::Refused(400, chunked.to_string())));
    }
}
