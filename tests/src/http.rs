//! Just enough HTTP/1.1 to read an answer, whatever it is.

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// An answer's status, headers in order, and body.
#[derive(Debug, Clone, Default)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case, values as they came.
    pub headers: Vec<(String, String)>,
    /// Without chunk framing.
    pub body: Vec<u8>,
}

impl Response {
    /// The first value of the header `name`.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// All values of the header `name`, in order.
    pub fn header_values(&self, name: &str) -> Vec<&str> {
        header_values(&self.headers, name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// The first value of the header `name`, whatever its case.
pub fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    header_values(headers, name).first().copied()
}

/// All values of the header `name`, in order.
pub fn header_values<'a>(headers: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    headers
        .iter()
        .filter(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
        .collect()
}

/// A request's or an answer's head: its first line and its headers, names in lower case.
#[derive(Debug, Clone, Default)]
pub struct Head {
    /// Request line or status line.
    pub line: String,
    /// Names in lower case, values as they came.
    pub headers: Vec<(String, String)>,
}

/// How a client of HTTP/2 begins that asks nobody before (RFC 9113, 3.4): its preface, and empty settings.
pub const HTTP_2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// The sentence of a server that says in HTTP/2 that it needs HTTP/1.1: empty settings, and GOAWAY with
/// HTTP_1_1_REQUIRED before any stream (RFC 9113, 6.5, 6.8 and 7), and nothing else.
///
/// # Panics
/// If it says anything else.
pub fn http_2_goodbye(said: &[u8]) -> &str {
    let sentence = || {
        let goaway = said.strip_prefix(b"\0\0\0\x04\0\0\0\0\0")?;
        let ([0, high, low], rest) = goaway.split_first_chunk()? else { return None };
        let rest = rest.strip_prefix(b"\x07\0\0\0\0\0")?;
        (rest.len() == usize::from(u16::from_be_bytes([*high, *low])))
            .then_some(rest)?
            .strip_prefix(b"\0\0\0\0\0\0\0\x0d")
    };
    sentence()
        .and_then(|text| std::str::from_utf8(text).ok())
        .unwrap_or_else(|| panic!("{}", said.escape_ascii()))
}

/// Reads a head. `None` when the connection ends before the empty line. What follows stays in `buffer`.
pub async fn read_head<R: AsyncRead + Unpin>(stream: &mut R, buffer: &mut BytesMut) -> Option<Head> {
    loop {
        if let Some(end) = find(buffer, b"\r\n\r\n") {
            let bytes = buffer.split_to(end + 4);
            return Some(parse_head(&String::from_utf8_lossy(&bytes)));
        }
        if !matches!(stream.read_buf(buffer).await, Ok(1..)) {
            return None;
        }
    }
}

/// Reads a whole answer; a 101 ends with its head. `None` when the connection ends before the head does.
pub async fn read_response<R: AsyncRead + Unpin>(stream: &mut R, buffer: &mut BytesMut) -> Option<Response> {
    let head = read_head(stream, buffer).await?;
    let status = head.line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    let mut response = Response { status, headers: head.headers, body: Vec::new() };
    if status != 101 {
        response.body = read_body(stream, buffer, &response).await;
    }
    Some(response)
}

async fn read_body<R: AsyncRead + Unpin>(stream: &mut R, buffer: &mut BytesMut, head: &Response) -> Vec<u8> {
    if head.header("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
        return read_chunks(stream, buffer).await;
    }
    let length = head.header("content-length").and_then(|length| length.parse::<usize>().ok());
    while length.is_none_or(|length| buffer.len() < length) {
        if !matches!(stream.read_buf(buffer).await, Ok(1..)) {
            break;
        }
    }
    buffer.split_to(length.unwrap_or(buffer.len()).min(buffer.len())).to_vec()
}

async fn read_chunks<R: AsyncRead + Unpin>(stream: &mut R, buffer: &mut BytesMut) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        if let Some(line_end) = find(buffer, b"\r\n") {
            let size = String::from_utf8_lossy(&buffer[..line_end]).trim().to_owned();
            let size = usize::from_str_radix(&size, 16).expect("a chunk begins with its size");
            if buffer.len() >= line_end + 2 + size + 2 {
                buffer.advance(line_end + 2);
                body.extend_from_slice(&buffer.split_to(size));
                buffer.advance(2);
                if size == 0 {
                    return body;
                }
                continue;
            }
        }
        if !matches!(stream.read_buf(buffer).await, Ok(1..)) {
            return body;
        }
    }
}

fn parse_head(text: &str) -> Head {
    let mut lines = text.trim_end().split("\r\n");
    let line = lines.next().unwrap_or_default().to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Head { line, headers }
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(mut bytes: &[u8]) -> (Response, BytesMut) {
        let mut buffer = BytesMut::new();
        (read_response(&mut bytes, &mut buffer).await.expect("an answer"), buffer)
    }

    #[tokio::test]
    async fn a_body_ends_where_its_length_says() {
        let (response, rest) =
            read(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nX-A: 1\r\n\r\nnoMORE").await;
        assert_eq!((response.status, response.text().as_str()), (404, "no"));
        assert_eq!(response.header("x-a"), Some("1"));
        assert_eq!(&rest[..], b"MORE");
    }

    #[tokio::test]
    async fn chunks_are_joined() {
        let bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n";
        assert_eq!(read(bytes).await.0.text(), "abcd");
    }

    #[tokio::test]
    async fn what_follows_an_upgrade_is_kept() {
        let (response, rest) = read(b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x00").await;
        assert_eq!(response.status, 101);
        assert_eq!(&rest[..], b"\x81\x00");
    }
}
