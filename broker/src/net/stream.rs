//! One connection, a client's or to a backend, whatever carries its bytes: TCP or a Unix domain socket, plain or with TLS.
//! Who has one reads, writes and asks here, and names no kind of socket.
//!
//! What the sessions call for each message is passed on as it is: of a plain connection nothing is boxed, nothing is
//! looked up, and the kernel is asked no more often than without this.

mod socket;
#[cfg(test)]
mod tests;
mod tls;

use std::future::{pending, poll_fn};
use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, CommonState, ServerConfig};
use steadfast_kernel_socket::TcpState;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::coop::has_budget_remaining;

use socket::{RawSocket, now};
use tls::TlsStream;

/// A connection, closed when dropped.
#[derive(Debug)]
pub(crate) struct Stream {
    carrier: Carrier,
}

#[derive(Debug)]
enum Carrier {
    Plain(RawSocket),
    Tls(Box<TlsStream>),
}

impl From<TcpStream> for Stream {
    fn from(tcp: TcpStream) -> Stream {
        RawSocket::Tcp(tcp).into()
    }
}

impl From<UnixStream> for Stream {
    fn from(unix: UnixStream) -> Stream {
        RawSocket::Unix(Box::new(unix)).into()
    }
}

impl From<RawSocket> for Stream {
    fn from(socket: RawSocket) -> Stream {
        Stream { carrier: Carrier::Plain(socket) }
    }
}

impl Stream {
    /// Does the handshake of a client that is to speak TLS, of which nothing has been read.
    ///
    /// # Errors
    ///
    /// What the client has done wrong, which an alert has told it, or that it has gone.
    pub(crate) async fn accept_tls(self, config: Arc<ServerConfig>) -> io::Result<Stream> {
        Ok(TlsStream::accept(self.plain()?, config).await?.into())
    }

    /// Does the handshake with a backend of that name.
    ///
    /// # Errors
    ///
    /// What the backend has done wrong, such as not to be that one, or that it has gone.
    pub(crate) async fn connect_tls(
        self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<Stream> {
        Ok(TlsStream::connect(self.plain()?, config, name).await?.into())
    }

    /// What was agreed in the handshake; `None`: it is plain.
    pub(crate) fn tls(&self) -> Option<&CommonState> {
        match &self.carrier {
            Carrier::Plain(_) => None,
            Carrier::Tls(tls) => Some(tls.common()),
        }
    }

    fn plain(self) -> io::Result<RawSocket> {
        match self.carrier {
            Carrier::Plain(socket) => Ok(socket),
            Carrier::Tls(_) => Err(io::Error::other("TLS within TLS")),
        }
    }

    #[inline]
    fn socket(&self) -> &RawSocket {
        match &self.carrier {
            Carrier::Plain(socket) => socket,
            Carrier::Tls(tls) => tls.socket(),
        }
    }

    /// Sends what is written at once, not held back to be joined with what comes next.
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2).
    pub(crate) fn set_nodelay(&self) -> io::Result<()> {
        self.socket().set_nodelay()
    }

    /// Lets the kernel take no more than about `bytes` that it has not sent yet (`TCP_NOTSENT_LOWAT`, tcp(7)).
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2).
    pub(crate) fn set_unsent_max(&self, bytes: u32) -> io::Result<()> {
        self.socket().set_unsent_max(bytes)
    }

    /// Makes the kernel ask the peer's for a sign of life when nothing else has been on its way for `every`. It counts in
    /// whole seconds.
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2), such as for less than a second.
    pub(crate) fn set_keepalive(&self, every: Duration) -> io::Result<()> {
        self.socket().set_keepalive(every)
    }

    /// Returns this end's address.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2); `Unsupported` of what is no TCP.
    pub(crate) fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket().local_address()
    }

    /// Returns the other end's address.
    ///
    /// # Errors
    ///
    /// Those of getpeername(2); `Unsupported` of what is no TCP.
    pub(crate) fn peer_address(&self) -> io::Result<SocketAddr> {
        self.socket().peer_address()
    }

    /// Returns what the kernel knows of it at this moment, for one system call.
    ///
    /// # Errors
    ///
    /// Those of [`steadfast_kernel_socket::tcp_state`]; `Unsupported` of what is no TCP.
    pub(crate) fn tcp_state(&self) -> io::Result<TcpState> {
        self.socket().tcp_state()
    }

    /// Bytes that were received and not read, or written and not sent, and are in no buffer of the kernel's.
    #[inline(always)]
    pub(crate) fn held(&self) -> usize {
        match &self.carrier {
            Carrier::Plain(_) => 0,
            Carrier::Tls(tls) => tls.held(),
        }
    }

    // ---- reading ----

    /// Whether tokio has been told that there is something to read, or an end, since this found nothing. Asks nobody.
    #[inline(always)]
    pub(crate) fn may_be_readable(&self) -> bool {
        match &self.carrier {
            Carrier::Plain(RawSocket::Tcp(tcp)) => tcp.try_io(Interest::READABLE, || Ok(())).is_ok(),
            other => other.may_be_readable(),
        }
    }

    /// Reads what is there. Pending: nothing, and the task is not woken for what comes, see [`Stream::listen`].
    #[inline(always)]
    pub(crate) fn read_now(&mut self, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match &mut self.carrier {
            Carrier::Plain(RawSocket::Tcp(tcp)) => {
                now(tcp, Interest::READABLE, buffer.len(), |mut socket| socket.read(buffer))
            }
            other => other.read_now(buffer),
        }
    }

    /// Has the task woken when there is something to read, or an end. False: there may be by now, or the task has had its
    /// turn and is woken soon in any case.
    #[inline(always)]
    pub(crate) fn listen(&self, cx: &mut Context<'_>) -> bool {
        match &self.carrier {
            Carrier::Plain(RawSocket::Tcp(tcp)) => {
                tcp.poll_read_ready(cx).is_pending() && has_budget_remaining()
            }
            other => other.listen(cx),
        }
    }

    /// Waits until there is something to read, or an end. Tokio's own word for that may come too early; this looks.
    ///
    /// # Errors
    ///
    /// Those of recv(2), and of TLS.
    pub(crate) async fn readable(&mut self) -> io::Result<()> {
        self.peek(&mut [0]).await.map(drop)
    }

    /// Waits until the peer has ended it, with an error if it was not by a FIN. Behind bytes that nobody reads no end is seen.
    ///
    /// # Errors
    ///
    /// Those of recv(2), and of TLS.
    pub(crate) async fn ended(&mut self) -> io::Result<()> {
        match self.peek(&mut [0]).await? {
            0 => Ok(()),
            _ => pending().await,
        }
    }

    /// Waits until there is something to read, and copies its first bytes without taking them, as many as there are and fit.
    /// Returns how many; 0: the end. One task at a time may wait for it, as for a read.
    ///
    /// # Errors
    ///
    /// Those of recv(2), and of TLS.
    pub(crate) async fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.carrier {
            Carrier::Plain(socket) => socket.peek(buffer).await,
            Carrier::Tls(tls) => {
                poll_fn(|cx| tls.poll_fill(cx)).await;
                tls.peek(buffer)
            }
        }
    }

    /// Reads what is there, for one system call, and does not wait: the task is not woken for what comes later. Tokio
    /// asks a socket only after it has been told that there is something; this asks in any case.
    pub(crate) fn read_at_once(&mut self, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match &mut self.carrier {
            Carrier::Plain(socket) => socket.read_at_once(buffer),
            Carrier::Tls(tls) => tls.read(buffer, RawSocket::read_at_once),
        }
    }

    /// Looks whether something is there to be read, for one system call, whatever tokio knows of that yet.
    pub(crate) fn has_something_to_read(&self) -> bool {
        self.socket().has_something_to_read()
    }

    // ---- writing ----

    /// Writes as much as the kernel takes. Pending: nothing, and the task is not woken when it takes more, see
    /// [`Stream::await_room`].
    #[inline(always)]
    pub(crate) fn write_now(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.carrier {
            Carrier::Plain(RawSocket::Tcp(tcp)) => {
                now(tcp, Interest::WRITABLE, bytes.len(), |mut socket| socket.write(bytes))
            }
            other => other.write_now(bytes),
        }
    }

    /// As [`Stream::write_now`], of several pieces.
    pub(crate) fn write_pieces_now(&mut self, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match &mut self.carrier {
            Carrier::Plain(socket) => socket.write_pieces_now(pieces),
            Carrier::Tls(tls) => tls.write_pieces(pieces),
        }
    }

    /// Has the task woken when the kernel takes more. False: it may by now.
    pub(crate) fn await_room(&self, cx: &mut Context<'_>) -> bool {
        self.socket().poll_write_ready(cx).is_pending()
    }

    /// Something that was written, or the end behind it, has not gone to the kernel: it is to be flushed.
    #[inline(always)]
    pub(crate) fn has_unsent(&self) -> bool {
        match &self.carrier {
            Carrier::Plain(_) => false,
            Carrier::Tls(tls) => tls.has_unsent(),
        }
    }

    /// Writes as much as the kernel takes, for one system call, and does not wait.
    ///
    /// # Errors
    ///
    /// Those of send(2), also when it takes nothing at the moment.
    pub(super) fn write_at_once(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.carrier {
            Carrier::Plain(socket) => socket.write_at_once(bytes),
            Carrier::Tls(tls) => match tls.write(bytes) {
                Poll::Ready(written) => written,
                Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
            },
        }
    }

    /// Closes it hard: what was not sent yet never is, and the peer gets a reset.
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2). It is closed in any case, then in the kernel's own time.
    pub(crate) fn reset(self) -> io::Result<()> {
        match self.carrier {
            Carrier::Plain(socket) => socket.reset(),
            Carrier::Tls(tls) => tls.reset(),
        }
    }
}

/// What is done for each message, for what is not plain TCP.
impl Carrier {
    #[inline(never)]
    fn may_be_readable(&self) -> bool {
        match self {
            Carrier::Plain(socket) => socket.may_be_readable(),
            Carrier::Tls(tls) => tls.has_news() || tls.socket().may_be_readable(),
        }
    }

    #[inline(never)]
    fn listen(&self, cx: &mut Context<'_>) -> bool {
        match self {
            Carrier::Plain(socket) => socket.listen(cx),
            Carrier::Tls(tls) => !tls.has_news() && tls.socket().listen(cx),
        }
    }

    #[inline(never)]
    fn read_now(&mut self, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Carrier::Plain(socket) => socket.read_now(buffer),
            Carrier::Tls(tls) => tls.read(buffer, RawSocket::read_now),
        }
    }

    #[inline(never)]
    fn write_now(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Carrier::Plain(socket) => socket.write_now(bytes),
            Carrier::Tls(tls) => tls.write(bytes),
        }
    }
}

impl From<TlsStream> for Stream {
    fn from(tls: TlsStream) -> Stream {
        Stream { carrier: Carrier::Tls(Box::new(tls)) }
    }
}

impl AsyncRead for Stream {
    #[inline]
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.carrier {
            Carrier::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
            Carrier::Tls(tls) => match tls.read(buffer.initialize_unfilled(), RawSocket::read_now) {
                Poll::Ready(read) => Poll::Ready(read.map(|n| buffer.advance(n))),
                Poll::Pending => {
                    ready!(tls.socket().poll_read_ready(cx))?;
                    // There is something by now, or more: after the others' turn.
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
            },
        }
    }
}

impl AsyncWrite for Stream {
    #[inline]
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.carrier {
            Carrier::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Carrier::Tls(tls) => {
                ready!(tls.poll_flush(cx))?;
                tls.write(bytes)
            }
        }
    }

    #[inline]
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.carrier {
            Carrier::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, pieces),
            Carrier::Tls(tls) => {
                ready!(tls.poll_flush(cx))?;
                tls.write_pieces(pieces)
            }
        }
    }

    #[inline]
    fn is_write_vectored(&self) -> bool {
        true
    }

    #[inline]
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.carrier {
            Carrier::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Carrier::Tls(tls) => tls.poll_flush(cx),
        }
    }

    #[inline]
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.carrier {
            Carrier::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Carrier::Tls(tls) => tls.poll_shutdown(cx),
        }
    }
}
