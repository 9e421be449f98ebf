//! The server that the cases are run against: it echoes messages in one frame, checks all that RFC 6455 tells a
//! server to check, and knows each case by the path that the client asks for. Compressed messages are echoed as
//! they came.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use steadfast_tests::frame::{CLOSE, CONTINUATION, Frame, PING, PONG, RSV1, TEXT};
use steadfast_tests::http::{Head, header, read_head};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::case::Case;

/// A running reference server. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Reference {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Reference {
    /// Starts a server that knows `cases`.
    pub(crate) async fn start(cases: &[Case]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port on loopback");
        let address = listener.local_addr().expect("a bound socket");
        let cases: HashMap<_, _> = cases.iter().map(|case| (format!("/{}", case.id), case.clone())).collect();
        Self { address, task: tokio::spawn(accept(listener, Arc::new(cases))) }
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, cases: Arc<HashMap<String, Case>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let cases = cases.clone();
        connections.spawn(async move {
            // A connection that breaks off has its effect on the client, which is where the case looks.
            let _ = serve(stream, &cases).await;
        });
    }
}

async fn serve(mut stream: TcpStream, cases: &HashMap<String, Case>) -> std::io::Result<()> {
    let mut buffer = BytesMut::new();
    let Some(head) = read_head(&mut stream, &mut buffer).await else { return Ok(()) };
    let path = head.line.split(' ').nth(1).unwrap_or_default();
    let case = cases.get(path).unwrap_or_else(|| panic!("no case {path:?}"));
    let mut bytes = acceptance(&head, case.agree.as_deref());
    case.serve.iter().for_each(|frame| bytes.extend(frame.bytes(false)));
    stream.write_all(&bytes).await?;
    let has_closed = case.serve.iter().any(|frame| frame.send.as_deref() == Some("close"));
    let mut server = Echo { stream, compresses: case.agree.is_some(), has_closed, open: None };
    loop {
        match take_frame(&mut buffer) {
            Ok(Some(frame)) => {
                if server.receive(frame).await?.is_end() {
                    return Ok(());
                }
            }
            Ok(None) => {
                if server.stream.read_buf(&mut buffer).await? == 0 {
                    return Ok(());
                }
            }
            Err(Violation) => return server.fail(1002).await.map(drop),
        }
    }
}

fn acceptance(request: &Head, extensions: Option<&str>) -> Vec<u8> {
    let key = header(&request.headers, "sec-websocket-key").unwrap_or_default();
    let extensions = extensions.map(|value| format!("Sec-WebSocket-Extensions: {value}\r\n"));
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n{}\r\n",
        derive_accept_key(key.as_bytes()),
        extensions.unwrap_or_default()
    )
    .into_bytes()
}

/// Bytes that are no frame of a client.
struct Violation;

/// Whether the connection goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Frame,
    End,
}

impl Next {
    fn is_end(self) -> bool {
        self == Self::End
    }
}

struct Echo {
    stream: TcpStream,
    compresses: bool,
    has_closed: bool,
    /// The message of which not all fragments have come.
    open: Option<Frame>,
}

impl Echo {
    async fn receive(&mut self, frame: Frame) -> std::io::Result<Next> {
        if !self.is_allowed(&frame) {
            return self.fail(1002).await;
        }
        match frame.opcode {
            PING => self.write(&Frame::new(PONG, frame.payload)).await,
            PONG => Ok(Next::Frame),
            CLOSE => self.receive_close(frame).await,
            _ => self.receive_data(frame).await,
        }
    }

    /// RFC 6455 5.2, 5.4 and 5.5; for the first reserved bit, RFC 7692 6.
    fn is_allowed(&self, frame: &Frame) -> bool {
        let rsv_allowed = if self.compresses && matches!(frame.opcode, 1 | 2) { RSV1 } else { 0 };
        let fits = match frame.opcode {
            CONTINUATION => self.open.is_some(),
            1 | 2 => self.open.is_none(),
            8..=10 => frame.fin && frame.payload.len() <= 125,
            _ => false,
        };
        fits && frame.mask.is_some() && frame.rsv & !rsv_allowed == 0
    }

    async fn receive_data(&mut self, frame: Frame) -> std::io::Result<Next> {
        let fin = frame.fin;
        match &mut self.open {
            Some(open) => open.payload.extend(frame.payload),
            None => self.open = Some(Frame { mask: None, fin: true, ..frame }),
        }
        let Some(message) = self.open.take_if(|_| fin) else { return Ok(Next::Frame) };
        let is_plain_text = message.opcode == TEXT && message.rsv == 0;
        if is_plain_text && str::from_utf8(&message.payload).is_err() {
            return self.fail(1007).await;
        }
        self.write(&message).await
    }

    async fn receive_close(&mut self, frame: Frame) -> std::io::Result<Next> {
        if self.has_closed {
            return Ok(Next::End);
        }
        let (code, _) = frame.close_parts();
        let is_valid = match code {
            Some(code) => matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999),
            None => frame.payload.is_empty(),
        };
        if !is_valid {
            return self.fail(1002).await;
        }
        if str::from_utf8(frame.payload.get(2..).unwrap_or_default()).is_err() {
            return self.fail(1007).await;
        }
        let answer = Frame::new(CLOSE, code.map(|code| code.to_be_bytes().to_vec()).unwrap_or_default());
        self.write(&answer).await?;
        Ok(Next::End)
    }

    async fn fail(&mut self, code: u16) -> std::io::Result<Next> {
        self.write(&Frame::close(code, "")).await?;
        Ok(Next::End)
    }

    async fn write(&mut self, frame: &Frame) -> std::io::Result<Next> {
        self.stream.write_all(&frame.encode()).await?;
        Ok(Next::Frame)
    }
}

/// Takes a whole frame off the buffer. Lengths that are not in their shortest form, or that no frame can have, are
/// violations (RFC 6455 5.2).
fn take_frame(buffer: &mut BytesMut) -> Result<Option<Frame>, Violation> {
    let [first, second, rest @ ..] = &buffer[..] else { return Ok(None) };
    let (first, second) = (*first, *second);
    let (width, length, minimum) = match (second & 0x7f, rest) {
        (126, [a, b, ..]) => (2, u64::from(u16::from_be_bytes([*a, *b])), 126),
        (127, [a, b, c, d, e, f, g, h, ..]) => {
            (8, u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), 0x1_0000)
        }
        (126 | 127, _) => return Ok(None),
        (short, _) => (0, u64::from(short), 0),
    };
    if length < minimum || length >= 1 << 63 {
        return Err(Violation);
    }
    let is_masked = second & 0x80 != 0;
    let header = 2 + width + if is_masked { 4 } else { 0 };
    if ((buffer.len() as u64).saturating_sub(header as u64)) < length || buffer.len() < header {
        return Ok(None);
    }
    let mask = is_masked.then(|| [0, 1, 2, 3].map(|at| buffer[header - 4 + at]));
    buffer.advance(header);
    let mut payload = buffer.split_to(length as usize).to_vec();
    for (byte, key) in payload.iter_mut().zip(mask.iter().flatten().cycle()) {
        *byte ^= key;
    }
    let (fin, rsv, opcode) = (first & 0x80 != 0, first >> 4 & 0b111, first & 0x0f);
    Ok(Some(Frame { fin, rsv, opcode, mask, payload }))
}
