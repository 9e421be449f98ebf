//! A WebSocket client down to its frames: it checks what it reads, and sends whatever it is told.

use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use socket2::Socket;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::frame::{CLOSE, CONTINUATION, End, Frame, FrameReader, PING, PONG, TEXT};
use crate::http::Response;
use crate::network::swallow;
use crate::payload::Payload;
use crate::stream::Stream;
use crate::wait::bounded;

/// What a client can see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A whole message.
    Message(Message),
    /// A pong.
    Pong(Vec<u8>),
    /// A ping; it has been answered, unless [`Client::ignore_pings`] was called.
    Ping(Vec<u8>),
    /// A Close: its code, if it has one, and its reason.
    Close(Option<u16>, String),
    /// The connection is over.
    End(End),
}

/// A whole message as it came.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// 1 text, 2 binary.
    pub opcode: u8,
    /// Reserved bits of the first frame.
    pub rsv: u8,
    /// The bytes of each fragment.
    pub fragments: Vec<usize>,
    /// The content of all fragments.
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} in {} frame(s)", Payload::of(&self.bytes), self.fragments.len())
    }
}

/// A connected client. Dropping it closes the socket without a Close.
#[derive(Debug)]
pub struct Client {
    response: Response,
    reader: FrameReader<ReadHalf<Stream>>,
    open: Option<Message>,
    answers_pings: bool,
    writer: Writer,
    /// The same socket, for its options.
    socket: Socket,
}

/// The sending half of a client. Clones send on the same socket, in the order of their calls.
#[derive(Debug, Clone)]
pub struct Writer {
    queue: mpsc::UnboundedSender<Item>,
    task: Arc<WriterTask>,
}

/// Bytes to be written, and where to say whether the kernel took them.
type Item = (Vec<u8>, oneshot::Sender<bool>);

#[derive(Debug)]
struct WriterTask(JoinHandle<()>);

impl Drop for WriterTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Client {
    /// A client on a stream, over this socket, whose upgrade was accepted; `read_ahead` came behind the answer.
    pub fn new(stream: Stream, socket: Socket, read_ahead: BytesMut, response: Response) -> Self {
        let (read, write) = tokio::io::split(stream);
        let reader = FrameReader::new(read, read_ahead);
        Self { response, reader, open: None, answers_pings: true, writer: Writer::new(write), socket }
    }

    /// The answer to the upgrade.
    pub fn response(&self) -> &Response {
        &self.response
    }

    /// The sending half, for a task of its own.
    pub fn writer(&self) -> Writer {
        self.writer.clone()
    }

    /// Leaves pings unanswered from now on.
    pub fn ignore_pings(&mut self) {
        self.answers_pings = false;
    }

    /// Sends a text message.
    pub async fn send(&self, text: &str) {
        self.writer.send(text).await;
    }

    /// Sends a frame, masked with a key of ours unless it has one.
    pub async fn send_frame(&self, frame: Frame) {
        self.writer.send_frame(frame).await;
    }

    /// Sends these bytes as they are.
    pub async fn send_raw(&self, bytes: Vec<u8>) {
        self.writer.send_raw(bytes).await;
    }

    /// The next thing that happens, pings included.
    pub async fn next(&mut self) -> Incoming {
        bounded("a frame from the broker", async {
            loop {
                match self.reader.next().await {
                    Ok(frame) => {
                        if let Some(incoming) = self.accept(frame) {
                            return incoming;
                        }
                    }
                    Err(end) => return Incoming::End(end),
                }
            }
        })
        .await
    }

    /// The next thing that is not a ping.
    pub async fn next_but_pings(&mut self) -> Incoming {
        loop {
            match self.next().await {
                Incoming::Ping(_) => {}
                other => return other,
            }
        }
    }

    /// The next message. Panics when anything else but pings and pongs comes.
    pub async fn message(&mut self) -> Message {
        // Pings come for as long as one waits.
        bounded("a message from the broker", async {
            loop {
                match self.next().await {
                    Incoming::Message(message) => return message,
                    Incoming::Ping(_) | Incoming::Pong(_) => {}
                    other => panic!("expected a message, got {other:?}"),
                }
            }
        })
        .await
    }

    /// The next message as text.
    pub async fn text(&mut self) -> String {
        let message = self.message().await;
        assert_eq!(message.opcode, TEXT, "expected text, got {message:?}");
        String::from_utf8(message.bytes).expect("text is UTF-8")
    }

    /// The next `n` messages as texts.
    pub async fn texts(&mut self, n: usize) -> Vec<String> {
        let mut texts = Vec::with_capacity(n);
        for _ in 0..n {
            texts.push(self.text().await);
        }
        texts
    }

    /// Sends `text` and expects `answer` as the very next message.
    pub async fn ask(&mut self, text: &str, answer: &str) {
        self.send(text).await;
        assert_eq!(self.text().await, answer);
    }

    /// The Close that must come next, but for pings and pongs.
    pub async fn closed(&mut self) -> (Option<u16>, String) {
        loop {
            match self.next().await {
                Incoming::Close(code, reason) => return (code, reason),
                Incoming::Ping(_) | Incoming::Pong(_) => {}
                other => panic!("expected a Close, got {other:?}"),
            }
        }
    }

    /// Expects the end of the connection next, but for pings and pongs.
    pub async fn ended(&mut self) -> End {
        loop {
            match self.next().await {
                Incoming::End(end) => return end,
                Incoming::Ping(_) | Incoming::Pong(_) => {}
                other => panic!("expected the connection's end, got {other:?}"),
            }
        }
    }

    /// Everything up to and including the connection's end, pings and pongs left out.
    pub async fn rest(&mut self) -> Vec<Incoming> {
        let mut rest = Vec::new();
        loop {
            match self.next().await {
                Incoming::Ping(_) | Incoming::Pong(_) => {}
                Incoming::End(end) => {
                    rest.push(Incoming::End(end));
                    return rest;
                }
                other => rest.push(other),
            }
        }
    }

    /// Sends a Close, reads up to the peer's, and returns that.
    pub async fn close(mut self, code: u16, reason: &str) -> (Option<u16>, String) {
        self.send_frame(Frame::close(code, reason)).await;
        self.closed().await
    }

    /// Ends the sending direction (FIN); reading goes on.
    pub fn finish_sending(&self) {
        self.socket.shutdown(Shutdown::Write).expect("a connected socket");
    }

    /// Closes the socket with a reset.
    pub async fn reset(self) {
        self.socket.set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
        drop(self.reader);
        drop(self.socket);
        self.writer.stop().await;
    }

    /// Makes the kernel's receive buffer small, so that a client that does not read soon pushes back.
    pub fn shrink_receive_buffer(&self, bytes: usize) {
        self.socket.set_recv_buffer_size(bytes).expect("SO_RCVBUF");
    }

    /// What the broker sends vanishes on the way from now on, and nothing acknowledges it.
    pub fn swallow(&self) {
        swallow(&self.socket);
    }

    fn accept(&mut self, frame: Frame) -> Option<Incoming> {
        assert_eq!(frame.mask, None, "a server's frame is not masked (RFC 6455 5.1): {frame:?}");
        match frame.opcode {
            PING => {
                if self.answers_pings {
                    self.writer.enqueue(Frame::new(PONG, frame.payload.clone()));
                }
                Some(Incoming::Ping(frame.payload))
            }
            PONG => Some(Incoming::Pong(frame.payload)),
            CLOSE => {
                let (code, reason) = frame.close_parts();
                Some(Incoming::Close(code, reason))
            }
            _ => self.assemble(frame).map(Incoming::Message),
        }
    }

    fn assemble(&mut self, frame: Frame) -> Option<Message> {
        assert_eq!(
            frame.opcode == CONTINUATION,
            self.open.is_some(),
            "continuation order (RFC 6455 5.4): {frame:?}"
        );
        let fresh =
            Message { opcode: frame.opcode, rsv: frame.rsv, fragments: Vec::new(), bytes: Vec::new() };
        let message = self.open.get_or_insert(fresh);
        message.fragments.push(frame.payload.len());
        if message.bytes.is_empty() {
            message.bytes = frame.payload;
        } else {
            message.bytes.extend_from_slice(&frame.payload);
        }
        if frame.fin { self.open.take() } else { None }
    }
}

impl Writer {
    fn new(socket: WriteHalf<Stream>) -> Self {
        let (queue, items) = mpsc::unbounded_channel();
        Self { queue, task: Arc::new(WriterTask(tokio::spawn(write_all(socket, items)))) }
    }

    /// Sends a text message; returns when the kernel has it. False when the connection is gone.
    pub async fn send(&self, text: &str) -> bool {
        self.send_frame(Frame::text(text)).await
    }

    /// Sends a frame, masked with a key of ours unless it has one.
    pub async fn send_frame(&self, frame: Frame) -> bool {
        self.send_raw(mask(frame).encode()).await
    }

    /// Sends these bytes as they are.
    pub async fn send_raw(&self, bytes: Vec<u8>) -> bool {
        let (done, written) = oneshot::channel();
        self.queue.send((bytes, done)).is_ok() && written.await.unwrap_or(false)
    }

    fn enqueue(&self, frame: Frame) {
        let (done, _) = oneshot::channel();
        // A connection that is gone needs no pong.
        let _ = self.queue.send((mask(frame).encode(), done));
    }

    async fn stop(self) {
        self.task.0.abort();
        bounded("the writer's end", async {
            while !self.task.0.is_finished() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

fn mask(frame: Frame) -> Frame {
    let key = (frame.payload.len() as u32).wrapping_mul(0x9e37_79b9) ^ 0x5a17_c3d1;
    if frame.mask.is_some() { frame } else { frame.masked(key.to_be_bytes()) }
}

async fn write_all(mut socket: WriteHalf<Stream>, mut items: mpsc::UnboundedReceiver<Item>) {
    while let Some((bytes, done)) = items.recv().await {
        let written = socket.write_all(&bytes).await.is_ok() && socket.flush().await.is_ok();
        // The sender may have stopped to wait.
        let _ = done.send(written);
    }
}
