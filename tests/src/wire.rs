//! An HTTP/1.1 connection by hand, as a client or as a backend has it: what is sent is sent as it is, and what comes is
//! kept as it came.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::client::Client;
use crate::http::{Head, header, header_values, read_head};
use crate::upgrade::{Upgrade, bound, complete};
use crate::wait::bounded;

/// What is kept of the bytes that came, at the most.
const SEEN_MAX: usize = 1 << 20;

/// A connection.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    /// Has come and is not read.
    buffer: BytesMut,
    /// Has come.
    seen: Vec<u8>,
}

/// A request or an answer that has come whole.
#[derive(Debug, Clone, Default)]
pub struct Message {
    /// Request line or status line.
    pub line: String,
    /// Names in lower case, values as they came.
    pub headers: Vec<(String, String)>,
    /// Without chunk framing.
    pub body: Vec<u8>,
    /// What stands behind the last chunk, as headers.
    pub trailers: Vec<(String, String)>,
}

impl Message {
    /// An answer's status; 0 of what is none.
    pub fn status(&self) -> u16 {
        let code = self.line.split(' ').nth(1).filter(|_| self.line.starts_with("HTTP/"));
        code.and_then(|code| code.parse().ok()).unwrap_or_default()
    }

    /// A request's method.
    pub fn method(&self) -> &str {
        self.line.split(' ').next().unwrap_or_default()
    }

    /// A request's target.
    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }

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

/// Where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunks,
    /// With the connection.
    End,
}

impl Wire {
    /// Connects to `address`.
    pub async fn dial(address: SocketAddr) -> Wire {
        Self::over(bounded("a connection", TcpStream::connect(address)).await.expect("somebody listens"))
    }

    /// Connects to `address` from this address of this machine.
    pub async fn dial_from(address: SocketAddr, source: impl Into<IpAddr>) -> Wire {
        let connected = bounded("a connection", bound(source.into()).connect(address)).await;
        Self::over(connected.expect("somebody listens"))
    }

    /// Connects to `address`, with so many bytes for what has come and is not read, and for what has not gone. The system
    /// takes twice as much.
    pub async fn dial_narrow(address: SocketAddr, buffers: u32) -> Wire {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(buffers).expect("SO_RCVBUF");
        socket.set_send_buffer_size(buffers).expect("SO_SNDBUF");
        Self::over(bounded("a connection", socket.connect(address)).await.expect("somebody listens"))
    }

    /// On this connection.
    pub fn over(stream: TcpStream) -> Wire {
        stream.set_nodelay(true).expect("TCP_NODELAY");
        Wire { stream, buffer: BytesMut::new(), seen: Vec::new() }
    }

    /// Sends these bytes.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.expect("the connection takes bytes");
    }

    /// Sends these bytes, if the other end is there.
    ///
    /// # Errors
    /// The system's.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        bounded("bytes to be taken", self.stream.write_all(bytes.as_ref())).await
    }

    /// Sends what fits at once: how many of these bytes. 0 when the other end takes none now, or is gone.
    pub fn send_some(&self, bytes: &[u8]) -> usize {
        self.stream.try_write(bytes).unwrap_or_default()
    }

    /// Waits until the other end takes bytes, or is gone, but no longer than `patience`.
    pub async fn room(&self, patience: Duration) {
        // Errors are those of whoever writes.
        let _ = timeout(patience, self.stream.writable()).await;
    }

    /// Sends these bytes as a chunk; none are the last one, with no trailers.
    pub async fn send_chunk(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.send([format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()).await;
    }

    /// The next head. Panics when the connection ends before.
    pub async fn head(&mut self) -> Head {
        self.try_head()
            .await
            .unwrap_or_else(|| panic!("the connection ended before a head: {}", self.shown()))
    }

    /// The next head; `None` when the connection ends before.
    pub async fn try_head(&mut self) -> Option<Head> {
        while !self.buffer.windows(4).any(|window| window == b"\r\n\r\n") {
            if self.fill().await == 0 {
                return None;
            }
        }
        read_head(&mut self.stream, &mut self.buffer).await
    }

    /// The next request, whole. Panics when the connection ends before.
    pub async fn request(&mut self) -> Message {
        self.try_request().await.unwrap_or_else(|| panic!("no whole request came: {:?}", self.shown()))
    }

    /// The next request; `None` when the connection ends before all of it has come.
    pub async fn try_request(&mut self) -> Option<Message> {
        let head = self.try_head().await?;
        let framing = framing(&head).unwrap_or(Framing::Length(0));
        self.rest_of(head, framing).await
    }

    /// As [`Wire::try_request`], however long the connection is idle before.
    pub async fn idle_request(&mut self) -> Option<Message> {
        if self.buffer.is_empty() {
            self.stream.readable().await.ok()?;
        }
        self.try_request().await
    }

    /// The next answer, whole, also one that only announces another, such as 100. Panics when the connection ends
    /// before.
    pub async fn answer(&mut self) -> Message {
        self.try_answer().await.unwrap_or_else(|| panic!("no whole answer came: {}", self.shown()))
    }

    /// The next answer; `None` when the connection ends before all of it has come.
    pub async fn try_answer(&mut self) -> Option<Message> {
        let head = self.try_head().await?;
        let status = Message { line: head.line.clone(), ..Message::default() }.status();
        let framing = match status {
            100..200 | 204 | 304 => Framing::Length(0),
            _ => framing(&head).unwrap_or(Framing::End),
        };
        self.rest_of(head, framing).await
    }

    /// The next answer, to a HEAD.
    pub async fn answer_to_head(&mut self) -> Message {
        let head = self.head().await;
        Message { line: head.line, headers: head.headers, ..Message::default() }
    }

    async fn rest_of(&mut self, head: Head, framing: Framing) -> Option<Message> {
        let Head { line, headers } = head;
        let (body, trailers) = match framing {
            Framing::Length(length) => (self.try_bytes(length).await?, Vec::new()),
            Framing::End => (self.rest().await, Vec::new()),
            Framing::Chunks => {
                let mut body = Vec::new();
                loop {
                    match self.try_chunk().await? {
                        chunk if chunk.is_empty() => break,
                        chunk => body.extend(chunk),
                    }
                }
                (body, self.trailers().await?)
            }
        };
        Some(Message { line, headers, body, trailers })
    }

    /// The next `length` bytes. Panics when the connection ends before.
    pub async fn bytes(&mut self, length: usize) -> Vec<u8> {
        self.try_bytes(length)
            .await
            .unwrap_or_else(|| panic!("{length} bytes did not come: {}", self.shown()))
    }

    /// The next `length` bytes; `None` when the connection ends before.
    pub async fn try_bytes(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < length {
            if self.fill().await == 0 {
                return None;
            }
        }
        Some(self.buffer.split_to(length).to_vec())
    }

    /// What comes next, as soon as anything does; nothing when the connection has ended.
    pub async fn some(&mut self) -> Vec<u8> {
        if self.buffer.is_empty() {
            self.fill().await;
        }
        self.buffer.split().to_vec()
    }

    /// The next chunk; an empty one is the last. Panics when the connection ends before.
    pub async fn chunk(&mut self) -> Vec<u8> {
        self.try_chunk().await.unwrap_or_else(|| panic!("no whole chunk came: {}", self.shown()))
    }

    /// The next chunk; an empty one is the last, which [`Wire::trailers`] follow. `None` when the connection ends
    /// before.
    pub async fn try_chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.line().await?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16)
            .unwrap_or_else(|_| panic!("a chunk begins with its size, and not {line:?}"));
        let chunk = self.try_bytes(size).await?;
        if size > 0 {
            self.try_bytes(2).await?;
        }
        Some(chunk)
    }

    /// What follows the last chunk, up to the empty line. `None` when the connection ends before.
    pub async fn trailers(&mut self) -> Option<Vec<(String, String)>> {
        let mut trailers = Vec::new();
        loop {
            let line = self.line().await?;
            match line.split_once(':') {
                Some((name, value)) => trailers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
                None => return Some(trailers),
            }
        }
    }

    /// All that still comes, until the connection ends.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.fill().await > 0 {}
        self.buffer.split().to_vec()
    }

    /// Waits for the connection's end. Panics when a byte comes before.
    pub async fn end(&mut self) {
        let rest = self.rest().await;
        assert!(rest.is_empty(), "nothing more was to come: {}", String::from_utf8_lossy(&rest));
    }

    /// What has come, read or not; of much, the beginning.
    pub fn seen(&self) -> &[u8] {
        &self.seen
    }

    /// The same as text.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// Sends no more, and may read on.
    pub async fn finish(&mut self) {
        self.stream.shutdown().await.expect("a connection can be half closed");
    }

    /// Ends the connection with a reset.
    pub fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
    }

    /// The connection, of which all that has come is read.
    pub fn into_stream(self) -> TcpStream {
        assert!(self.buffer.is_empty(), "something is not read");
        self.stream
    }

    /// Sends an upgrade request, and goes on as a WebSocket.
    pub async fn upgrade(mut self, request: &Upgrade) -> Client {
        self.send(request.encode()).await;
        assert!(self.buffer.is_empty(), "nothing has come too early");
        let upgraded = bounded("the answer to an upgrade", complete(self.stream)).await;
        upgraded.unwrap_or_else(|response| panic!("the upgrade was refused: {response:?}"))
    }

    /// A line without its end.
    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer.split_to(end)).into_owned();
                self.buffer.advance(2);
                return Some(line);
            }
            if self.fill().await == 0 {
                return None;
            }
        }
    }

    /// Reads once; how many bytes came. A connection that is reset has ended, too.
    async fn fill(&mut self) -> usize {
        let before = self.buffer.len();
        let read = bounded("bytes, or an end", self.stream.read_buf(&mut self.buffer)).await;
        let room = SEEN_MAX.saturating_sub(self.seen.len());
        self.seen.extend(self.buffer[before..].iter().take(room));
        read.unwrap_or_default()
    }
}

/// What a head says of its body; `None` when it says nothing.
fn framing(head: &Head) -> Option<Framing> {
    let chunked = header(&head.headers, "transfer-encoding").is_some_and(|coding| coding.contains("chunked"));
    if chunked {
        return Some(Framing::Chunks);
    }
    let length = header(&head.headers, "content-length")?;
    Some(Framing::Length(length.parse().unwrap_or_else(|_| panic!("{length:?} is a length"))))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (Wire, Wire) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let client = Wire::dial(listener.local_addr().expect("it is bound")).await;
        (client, Wire::over(listener.accept().await.expect("a connection").0))
    }

    #[tokio::test]
    async fn messages_of_each_framing_are_read_to_their_ends() {
        let (mut client, mut server) = pair().await;
        client.send("POST /a HTTP/1.1\r\nContent-Length: 2\r\n\r\nabGET /b HTTP/1.1\r\n\r\n").await;
        client
            .send("PUT /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n")
            .await;
        let first = server.request().await;
        assert_eq!((first.method(), first.target(), first.text().as_str()), ("POST", "/a", "ab"));
        assert_eq!(server.request().await.target(), "/b");
        let third = server.request().await;
        assert_eq!(
            (third.text().as_str(), third.trailers),
            ("abc", vec![("x-t".to_owned(), "1".to_owned())])
        );
        server.send("HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n\r\nto the end").await;
        drop(server);
        assert_eq!(client.answer().await.status(), 204);
        assert_eq!(client.answer().await.text(), "to the end");
        client.end().await;
    }

    #[tokio::test]
    async fn what_is_cut_is_no_message() {
        for cut in ["HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", "HTTP/1.1 200 OK\r\n"] {
            let (mut client, mut server) = pair().await;
            server.send(cut).await;
            server.reset();
            assert!(client.try_answer().await.is_none(), "{cut:?}");
            assert_eq!(client.shown(), cut);
        }
    }
}
