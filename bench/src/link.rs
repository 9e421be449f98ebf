//! A socket as the client and the backend use it: one buffer for reads, shared by the thread, and
//! one queue for writes, so that a connection costs a read and a write per batch and nothing else.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use steadfast_protocol::steadfast_v1::client_wire::PROTOCOL;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::wire::handshake::{self, Request};

/// Bytes of one read at most.
const READ_BYTES: usize = 256 * 1024;
/// From the connection's first packet to the end of the handshake.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(20);

thread_local! {
    static READ_BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// A connection with bytes queued for it.
#[derive(Debug)]
pub(crate) struct Link {
    stream: TcpStream,
    queued: Vec<u8>,
    written: usize,
    /// With more than this queued, nothing is read.
    queued_max: usize,
}

impl Link {
    /// Takes over a connected socket. Reading pauses while more than `queued_max` bytes wait to be
    /// written; a side that must always read says `usize::MAX`.
    pub(crate) fn new(stream: TcpStream, queued_max: usize) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, queued: Vec::new(), written: 0, queued_max })
    }

    /// Connects to `address` and upgrades as browser number `client`.
    pub(crate) async fn open(address: SocketAddr, client: u64) -> io::Result<Self> {
        let (link, early) = Self::opened(address, &Request::browser(address, client)).await?;
        if !early.is_empty() {
            return Err(io::Error::other("the server spoke before the client did"));
        }
        Ok(link)
    }

    /// The same for a browser that links the shim. Also returns what the broker has said behind its
    /// handshake, since it speaks first.
    pub(crate) async fn open_shim(address: SocketAddr, client: u64) -> io::Result<(Self, Vec<u8>)> {
        Self::opened(address, &Request::browser(address, client).offering(PROTOCOL)).await
    }

    /// The same to a server that may speak first; what it has said with its handshake is dropped.
    pub(crate) async fn open_to_speaker(address: SocketAddr, client: u64) -> io::Result<Self> {
        Ok(Self::opened(address, &Request::browser(address, client)).await?.0)
    }

    async fn opened(address: SocketAddr, request: &Request) -> io::Result<(Self, Vec<u8>)> {
        let opening = timeout(HANDSHAKE_TIME_MAX, Self::upgrade(address, request)).await;
        opening.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the handshake took longer than 20 s"))?
    }

    async fn upgrade(address: SocketAddr, request: &Request) -> io::Result<(Self, Vec<u8>)> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        let mut link = Self::new(socket.connect(address).await?, usize::MAX)?;
        link.queued().extend_from_slice(&request.bytes);
        let (head, early) = link.read_head().await?;
        request.check(&head).map_err(io::Error::other)?;
        Ok((link, early))
    }

    /// The other side's handshake up to its empty line, and the bytes that came behind it.
    pub(crate) async fn read_head(&mut self) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let mut head = Vec::new();
        loop {
            if self.exchange(|bytes, _| head.extend_from_slice(bytes)).await?.is_none() {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed during the handshake"));
            }
            if let Some(end) = handshake::head_end(&head) {
                let early = head.split_off(end);
                return Ok((head, early));
            }
            if head.len() > handshake::HEAD_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a handshake without end"));
            }
        }
    }

    /// The socket alone. What is queued is dropped.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Where bytes to be written are appended. [`Self::exchange`] writes them.
    pub(crate) fn queued(&mut self) -> &mut Vec<u8> {
        &mut self.queued
    }

    /// Writes what is queued, and hands the next bytes that arrive to `take`, with the queue for what
    /// it has to answer. `None` at the end of the stream. Loses nothing when dropped at an await.
    pub(crate) async fn exchange<T>(
        &mut self,
        take: impl FnOnce(&[u8], &mut Vec<u8>) -> T,
    ) -> io::Result<Option<T>> {
        let mut take = Some(take);
        poll_fn(|cx| {
            if let Poll::Ready(Err(error)) = self.poll_flush(cx) {
                return Poll::Ready(Err(error));
            }
            if self.queued.len() - self.written > self.queued_max {
                return Poll::Pending;
            }
            self.poll_take(cx, &mut take)
        })
        .await
    }

    /// Writes what is queued to its end.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.queued.len() {
            let part = &self.queued[self.written..];
            self.written += ready!(Pin::new(&mut self.stream).poll_write(cx, part))?;
        }
        self.queued.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    fn poll_take<T>(
        &mut self,
        cx: &mut Context<'_>,
        take: &mut Option<impl FnOnce(&[u8], &mut Vec<u8>) -> T>,
    ) -> Poll<io::Result<Option<T>>> {
        READ_BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            // A read shorter than the buffer tells the runtime that nothing is left, which saves the
            // call that would say so.
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            let bytes = buffer.filled();
            let taken =
                if bytes.is_empty() { None } else { take.take().map(|take| take(bytes, &mut self.queued)) };
            Poll::Ready(Ok(taken))
        })
    }
}
