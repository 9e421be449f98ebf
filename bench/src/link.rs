//! A socket as the client and the backend use it: one buffer for reads, shared by the thread, and
//! one queue for writes, so that a connection costs a read and a write per batch and nothing else.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use steadfast_protocol::steadfast_v1::client_wire::PROTOCOL;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ClientConfig;

use crate::tls::{self, Agreed};
use crate::wire::handshake::{self, Request};
use stream::Stream;

mod stream;

/// Bytes of one read at most.
const READ_BYTES: usize = 256 * 1024;
/// From the connection's first packet to the end of the handshake.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(20);
/// From our end to the other side's, where TLS has an end of its own.
const END_TIME_MAX: Duration = Duration::from_secs(5);

thread_local! {
    static READ_BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// A server that links are opened to.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    address: SocketAddr,
    /// If it has TLS.
    config: Option<Arc<ClientConfig>>,
}

impl Target {
    /// At this address, with TLS if there is a file `ca` of the authority to trust.
    pub(crate) fn new(address: SocketAddr, ca: Option<&Path>, tickets: bool) -> io::Result<Self> {
        let config = ca.map(|ca| tls::client_config(ca, tickets)).transpose()?;
        Ok(Self { address, config })
    }

    /// Where it is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it has TLS.
    pub(crate) fn has_tls(&self) -> bool {
        self.config.is_some()
    }
}

impl From<SocketAddr> for Target {
    /// Without TLS.
    fn from(address: SocketAddr) -> Self {
        Self { address, config: None }
    }
}

/// What was agreed on both sides of a peer.
#[derive(Debug)]
pub(crate) struct Probe {
    /// With the client.
    pub(crate) client: Option<Agreed>,
    /// With the backend, as that says it.
    pub(crate) backend: Option<String>,
}

/// A connection with bytes queued for it.
#[derive(Debug)]
pub(crate) struct Link {
    stream: Stream,
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
        Ok(Self::over(Stream::Plain(stream), queued_max))
    }

    /// The same with TLS: does a server's handshake on the socket.
    pub(crate) async fn accept(
        stream: TcpStream,
        acceptor: &TlsAcceptor,
        queued_max: usize,
    ) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self::over(Stream::accept(stream, acceptor).await?, queued_max))
    }

    fn over(stream: Stream, queued_max: usize) -> Self {
        Self { stream, queued: Vec::new(), written: 0, queued_max }
    }

    /// Connects to `target` and upgrades as browser number `client`.
    pub(crate) async fn open(target: Target, client: u64) -> io::Result<Self> {
        let (link, _, early) = Self::opened(&target, |address| Request::browser(address, client)).await?;
        if !early.is_empty() {
            return Err(io::Error::other("the server spoke before the client did"));
        }
        Ok(link)
    }

    /// The same for a browser that links the shim. Also returns what the broker has said behind its
    /// handshake, since it speaks first.
    pub(crate) async fn open_shim(target: Target, client: u64) -> io::Result<(Self, Vec<u8>)> {
        let request = |address| Request::browser(address, client).offering(PROTOCOL);
        Self::opened(&target, request).await.map(|(link, _, early)| (link, early))
    }

    /// The same to a server that may speak first; also returns what it has said with its handshake.
    pub(crate) async fn open_greeted(target: Target, client: u64) -> io::Result<(Self, Vec<u8>)> {
        let request = |address| Request::browser(address, client).asking("EIO=4&transport=websocket");
        let opened = Self::opened(&target, request).await;
        opened.map(|(link, _, early)| (link, early))
    }

    /// The same to a server that may speak first; what it has said with its handshake is dropped.
    pub(crate) async fn open_to_speaker(target: Target, client: u64) -> io::Result<Self> {
        Ok(Self::opened(&target, |address| Request::browser(address, client)).await?.0)
    }

    /// Opens one, only to learn what was agreed.
    pub(crate) async fn probe(target: &Target) -> io::Result<Probe> {
        let (link, head, _) = Self::opened(target, |address| Request::browser(address, 0)).await?;
        let backend = handshake::header(&head, handshake::AGREED).map(str::to_owned);
        Ok(Probe { client: link.agreed(), backend })
    }

    /// The link, the head of the answer, and what has come behind it.
    async fn opened(
        target: &Target,
        request: impl FnOnce(SocketAddr) -> Request,
    ) -> io::Result<(Self, Vec<u8>, Vec<u8>)> {
        let opening = timeout(HANDSHAKE_TIME_MAX, Self::upgrade(target, &request(target.address))).await;
        opening.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the handshake took longer than 20 s"))?
    }

    /// Connects to `target`, and says nothing.
    pub(crate) async fn connect(target: &Target) -> io::Result<Self> {
        let connecting = timeout(HANDSHAKE_TIME_MAX, Self::connected(target)).await;
        connecting.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "connecting took longer than 20 s"))?
    }

    async fn connected(target: &Target) -> io::Result<Self> {
        let address = target.address;
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self::over(Stream::connect(stream, target).await?, usize::MAX))
    }

    async fn upgrade(target: &Target, request: &Request) -> io::Result<(Self, Vec<u8>, Vec<u8>)> {
        let mut link = Self::connected(target).await?;
        link.queued().extend_from_slice(&request.bytes);
        let (head, early) = link.read_head().await?;
        request.check(&head).map_err(io::Error::other)?;
        Ok((link, head, early))
    }

    /// What was agreed, if it has TLS.
    pub(crate) fn agreed(&self) -> Option<Agreed> {
        self.stream.agreed()
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

    /// The socket alone, without TLS. What is queued is dropped.
    pub(crate) fn into_socket(self) -> io::Result<TcpStream> {
        match self.stream {
            Stream::Plain(stream) => Ok(stream),
            Stream::Tls(_) => Err(io::Error::other("this is done without TLS alone")),
        }
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

    /// Ends a connection on which everything is said. With TLS both sides say so once more; one whose end
    /// stays unread would be ended by a reset.
    pub(crate) async fn end(mut self) -> io::Result<()> {
        self.flush().await?;
        if self.agreed().is_none() {
            return Ok(());
        }
        let leave = async {
            // The other side may have gone by now, without a word.
            let _ = self.stream.shutdown().await;
            let mut rest = [0; 1_024];
            while self.stream.read(&mut rest).await.is_ok_and(|n| n > 0) {}
        };
        timeout(END_TIME_MAX, leave).await.map_err(io::Error::from)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.queued.len() {
            let part = &self.queued[self.written..];
            self.written += ready!(Pin::new(&mut self.stream).poll_write(cx, part))?;
        }
        self.queued.clear();
        self.written = 0;
        // TLS may hold encrypted bytes back.
        Pin::new(&mut self.stream).poll_flush(cx)
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
