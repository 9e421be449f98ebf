//! A socket of the kernel that carries a connection: TCP, or a Unix domain socket between processes of one machine. What
//! only TCP has does nothing on the other.
//!
//! What is done for each message is not inlined here: tokio's part of it is inlined where it is called once, and that is for
//! plain TCP, in [`super::Stream`].

use std::future::poll_fn;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use nix::sys::socket::{MsgFlags, recv};
use socket2::{SockRef, TcpKeepalive};
use steadfast_kernel_socket::{TcpState, tcp_state};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::coop::has_budget_remaining;

/// A connected socket, closed when dropped.
#[derive(Debug)]
pub(super) enum RawSocket {
    Tcp(TcpStream),
    /// Boxed, so that the other kind needs no room to tell them apart.
    Unix(Box<UnixStream>),
}

/// The same with a socket of either kind, which is asked for once: what is done for each message is compiled for each kind.
macro_rules! of_either {
    ($socket:expr, $io:ident => $act:expr) => {
        match $socket {
            RawSocket::Tcp($io) => $act,
            RawSocket::Unix($io) => $act,
        }
    };
}

impl AsFd for RawSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        of_either!(self, io => io.as_fd())
    }
}

/// What both kinds can do, each by a function of its own.
pub(super) trait Ready: AsFd {
    fn try_io<R>(&self, interest: Interest, act: impl FnOnce() -> io::Result<R>) -> io::Result<R>;
}

impl Ready for TcpStream {
    #[inline(always)]
    fn try_io<R>(&self, interest: Interest, act: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        self.try_io(interest, act)
    }
}

impl Ready for Box<UnixStream> {
    #[inline(always)]
    fn try_io<R>(&self, interest: Interest, act: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        UnixStream::try_io(self, interest, act)
    }
}

/// Does what tokio has been told can be done. Whatever brings less than `most` has come to the end of what there is: the
/// kernel need not be asked again to learn that.
#[inline(always)]
pub(super) fn now<Io: Ready>(
    io: &Io,
    interest: Interest,
    most: usize,
    act: impl FnOnce(&socket2::Socket) -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    let mut done = Poll::Pending;
    let _ = Ready::try_io(io, interest, || {
        let some = act(&SockRef::from(io));
        let more = match &some {
            Ok(n) => *n == 0 || *n >= most,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        };
        if more || some.is_ok() {
            done = Poll::Ready(some);
        }
        // Else tokio waits for the kernel's next word.
        if more { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
    });
    done
}

impl RawSocket {
    pub(super) fn set_nodelay(&self) -> io::Result<()> {
        match self {
            RawSocket::Tcp(tcp) => tcp.set_nodelay(true),
            RawSocket::Unix(_) => Ok(()),
        }
    }

    pub(super) fn set_unsent_max(&self, bytes: u32) -> io::Result<()> {
        match self {
            RawSocket::Tcp(tcp) => SockRef::from(tcp).set_tcp_notsent_lowat(bytes),
            RawSocket::Unix(_) => Ok(()),
        }
    }

    pub(super) fn set_keepalive(&self, every: Duration) -> io::Result<()> {
        let keepalive = TcpKeepalive::new().with_time(every).with_interval(every);
        match self {
            RawSocket::Tcp(tcp) => SockRef::from(tcp).set_tcp_keepalive(&keepalive),
            RawSocket::Unix(_) => Ok(()),
        }
    }

    pub(super) fn local_address(&self) -> io::Result<SocketAddr> {
        match self {
            RawSocket::Tcp(tcp) => tcp.local_addr(),
            RawSocket::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    pub(super) fn peer_address(&self) -> io::Result<SocketAddr> {
        match self {
            RawSocket::Tcp(tcp) => tcp.peer_addr(),
            RawSocket::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    pub(super) fn tcp_state(&self) -> io::Result<TcpState> {
        match self {
            RawSocket::Tcp(tcp) => tcp_state(tcp.as_fd()),
            RawSocket::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_either!(self, io => io.poll_read_ready(cx))
    }

    pub(super) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_either!(self, io => io.poll_write_ready(cx))
    }

    #[inline(never)]
    pub(super) fn may_be_readable(&self) -> bool {
        of_either!(self, io => io.try_io(Interest::READABLE, || Ok(())).is_ok())
    }

    #[inline(never)]
    pub(super) fn listen(&self, cx: &mut Context<'_>) -> bool {
        self.poll_read_ready(cx).is_pending() && has_budget_remaining()
    }

    #[inline(never)]
    pub(super) fn read_now(&self, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let most = buffer.len();
        of_either!(self, io => now(io, Interest::READABLE, most, |mut socket| socket.read(buffer)))
    }

    #[inline(never)]
    pub(super) fn write_now(&self, bytes: &[u8]) -> Poll<io::Result<usize>> {
        of_either!(self, io => now(io, Interest::WRITABLE, bytes.len(), |mut socket| socket.write(bytes)))
    }

    pub(super) fn write_pieces_now(&self, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let most = pieces.iter().map(|piece| piece.len()).sum();
        of_either!(self, io => now(io, Interest::WRITABLE, most, |mut socket| socket.write_vectored(pieces)))
    }

    /// Waits until something is there, and copies its first bytes without taking them; 0: it has ended.
    pub(super) async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_peek(cx, buffer)).await
    }

    fn poll_peek(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_read_ready(cx))?;
            let peek = || self.peek_at_once(buffer);
            match of_either!(self, io => io.try_io(Interest::READABLE, peek)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                peeked => return Poll::Ready(peeked),
            }
        }
    }

    fn peek_at_once(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(recv(self.as_fd().as_raw_fd(), buffer, MsgFlags::MSG_PEEK)?)
    }

    pub(super) fn read_at_once(&self, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match (&*SockRef::from(self)).read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            read => Poll::Ready(read),
        }
    }

    pub(super) fn has_something_to_read(&self) -> bool {
        self.peek_at_once(&mut [0]).is_ok_and(|peeked| peeked > 0)
    }

    pub(super) fn write_at_once(&self, bytes: &[u8]) -> io::Result<usize> {
        SockRef::from(self).send(bytes)
    }

    pub(super) fn shut_write(&self) -> io::Result<()> {
        match SockRef::from(self).shutdown(Shutdown::Write) {
            // The peer has ended both directions.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            shut => shut,
        }
    }

    /// Has it reset when it is closed.
    pub(super) fn reset(&self) -> io::Result<()> {
        match self {
            RawSocket::Tcp(tcp) => tcp.set_zero_linger(),
            // The kernel says so by itself if something is unread, and has no other way.
            RawSocket::Unix(_) => Ok(()),
        }
    }
}

impl AsyncRead for RawSocket {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        of_either!(self.get_mut(), io => Pin::new(io).poll_read(cx, buffer))
    }
}

impl AsyncWrite for RawSocket {
    #[inline]
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        of_either!(self.get_mut(), io => Pin::new(io).poll_write(cx, bytes))
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        of_either!(self.get_mut(), io => Pin::new(io).poll_write_vectored(cx, pieces))
    }

    #[inline]
    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Nothing waits here.
    #[inline]
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.shut_write())
    }
}
