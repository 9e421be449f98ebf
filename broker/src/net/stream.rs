//! One connection, a client's or to a backend, whatever carries its bytes: TCP today. Who has one reads, writes and asks
//! here, and names no kind of socket.
//!
//! What the sessions call for each message is passed on as it is: nothing is boxed, nothing is looked up, and the kernel
//! is asked no more often than without this.

use std::future::{pending, poll_fn};
use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use steadfast_kernel_socket::{TcpState, tcp_state};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::coop::has_budget_remaining;

/// A connection, closed when dropped.
#[derive(Debug)]
pub(crate) struct Stream {
    tcp: TcpStream,
}

impl From<TcpStream> for Stream {
    fn from(tcp: TcpStream) -> Stream {
        Stream { tcp }
    }
}

impl Stream {
    /// Sends what is written at once, not held back to be joined with what comes next.
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2).
    pub(crate) fn set_nodelay(&self) -> io::Result<()> {
        self.tcp.set_nodelay(true)
    }

    /// Lets the kernel take no more than about `bytes` that it has not sent yet (`TCP_NOTSENT_LOWAT`, tcp(7)).
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2).
    pub(crate) fn set_unsent_max(&self, bytes: u32) -> io::Result<()> {
        SockRef::from(&self.tcp).set_tcp_notsent_lowat(bytes)
    }

    /// Makes the kernel ask the peer's for a sign of life when nothing else has been on its way for `every`. It counts in
    /// whole seconds.
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2), such as for less than a second.
    pub(crate) fn set_keepalive(&self, every: Duration) -> io::Result<()> {
        let keepalive = TcpKeepalive::new().with_time(every).with_interval(every);
        SockRef::from(&self.tcp).set_tcp_keepalive(&keepalive)
    }

    /// Returns this end's address.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2).
    pub(crate) fn local_address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Returns the other end's address.
    ///
    /// # Errors
    ///
    /// Those of getpeername(2).
    pub(crate) fn peer_address(&self) -> io::Result<SocketAddr> {
        self.tcp.peer_addr()
    }

    /// Returns what the kernel knows of it at this moment, for one system call.
    ///
    /// # Errors
    ///
    /// Those of [`tcp_state`].
    pub(crate) fn tcp_state(&self) -> io::Result<TcpState> {
        tcp_state(self.tcp.as_fd())
    }

    /// Whether tokio has been told that there is something to read, or an end, since this found nothing. Asks nobody.
    #[inline]
    pub(crate) fn may_be_readable(&self) -> bool {
        self.tcp.try_io(Interest::READABLE, || Ok(())).is_ok()
    }

    /// Reads what is there. Pending: nothing, and the task is not woken for what comes, see [`Stream::listen`].
    #[inline]
    pub(crate) fn read_now(&self, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let most = buffer.len();
        self.now(Interest::READABLE, most, || (&*SockRef::from(&self.tcp)).read(buffer))
    }

    /// Writes as much as the kernel takes. Pending: nothing, and the task is not woken when it takes more, see
    /// [`Stream::await_room`].
    #[inline]
    pub(crate) fn write_now(&self, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.now(Interest::WRITABLE, bytes.len(), || (&*SockRef::from(&self.tcp)).write(bytes))
    }

    /// As [`Stream::write_now`], of several pieces.
    pub(crate) fn write_pieces_now(&self, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let most = pieces.iter().map(|piece| piece.len()).sum();
        self.now(Interest::WRITABLE, most, || (&*SockRef::from(&self.tcp)).write_vectored(pieces))
    }

    /// Does what tokio has been told can be done. Whatever brings less than `most` has come to the end of what there is:
    /// the kernel need not be asked again to learn that.
    #[inline]
    fn now(
        &self,
        interest: Interest,
        most: usize,
        act: impl FnOnce() -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let mut done = Poll::Pending;
        let _ = self.tcp.try_io(interest, || {
            let some = act();
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

    /// Has the task woken when there is something to read, or an end. False: there may be by now, or the task has had its
    /// turn and is woken soon in any case.
    #[inline]
    pub(crate) fn listen(&self, cx: &mut Context<'_>) -> bool {
        self.tcp.poll_read_ready(cx).is_pending() && has_budget_remaining()
    }

    /// Has the task woken when the kernel takes more. False: it may by now.
    pub(crate) fn await_room(&self, cx: &mut Context<'_>) -> bool {
        self.tcp.poll_write_ready(cx).is_pending()
    }

    /// Waits until there is something to read, or an end. Tokio's own word for that may come too early; this looks.
    ///
    /// # Errors
    ///
    /// Those of recv(2).
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.peek(&mut [0]).await.map(drop)
    }

    /// Waits until the peer has ended it, with an error if it was not by a FIN. Behind bytes that nobody reads no end is seen.
    ///
    /// # Errors
    ///
    /// Those of recv(2).
    pub(crate) async fn ended(&self) -> io::Result<()> {
        match self.peek(&mut [0]).await? {
            0 => Ok(()),
            _ => pending().await,
        }
    }

    /// Waits until something is there, and copies what of it there is room for: it is read again. Returns how many bytes,
    /// 0 at the end. One task at a time may wait for it, as for a read.
    ///
    /// # Errors
    ///
    /// Those of recv(2).
    pub(crate) async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.tcp.poll_peek(cx, &mut ReadBuf::new(buffer))).await
    }

    /// Reads what is there, for one system call, and does not wait: the task is not woken for what comes later. Tokio
    /// asks a socket only after it has been told that there is something; this asks in any case.
    pub(crate) fn read_at_once(&self, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match (&*SockRef::from(&self.tcp)).read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            read => Poll::Ready(read),
        }
    }

    /// Looks whether something is there to be read, for one system call, whatever tokio knows of that yet.
    pub(crate) fn has_something_to_read(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        SockRef::from(&self.tcp).peek(&mut byte).is_ok_and(|read| read > 0)
    }

    /// Writes as much as the kernel takes, for one system call, and does not wait.
    ///
    /// # Errors
    ///
    /// Those of send(2), also when it takes nothing at the moment.
    pub(super) fn write_at_once(&self, bytes: &[u8]) -> io::Result<usize> {
        SockRef::from(&self.tcp).send(bytes)
    }

    /// Closes it hard: what was not sent yet never is, and the peer gets a reset.
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2). It is closed in any case, then in the kernel's own time.
    pub(crate) fn reset(self) -> io::Result<()> {
        self.tcp.set_zero_linger()
    }
}

impl AsyncRead for Stream {
    #[inline]
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    #[inline]
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }

    #[inline]
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, pieces)
    }

    #[inline]
    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    #[inline]
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    #[inline]
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// A connection, and its peer's end.
    async fn pair() -> (Stream, TcpStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let peer = TcpStream::connect(address).await.expect("it listens");
        let (stream, _) = listener.accept().await.expect("the peer connects");
        (stream.into(), peer)
    }

    #[tokio::test]
    async fn several_pieces_go_out_in_one_write() {
        let (mut stream, mut peer) = pair().await;
        assert!(stream.is_write_vectored());
        let pieces = [IoSlice::new(b"one, "), IoSlice::new(b"two")];
        let written = poll_fn(|cx| Pin::new(&mut stream).poll_write_vectored(cx, &pieces)).await;
        assert_eq!(written.expect("the socket takes it"), 8);
        stream.shutdown().await.expect("it stands");
        let mut heard = Vec::new();
        peer.read_to_end(&mut heard).await.expect("an orderly end");
        assert_eq!(heard, b"one, two");
    }

    /// Waits until tokio says that there is something to read.
    async fn news(stream: &Stream) {
        poll_fn(|cx| if stream.listen(cx) { Poll::Pending } else { Poll::Ready(()) }).await;
    }

    #[tokio::test]
    async fn who_has_read_all_that_there_is_asks_again_when_there_is_more() {
        let (stream, mut peer) = pair().await;
        let mut buffer = [0; 5];
        assert!(stream.read_now(&mut buffer).is_pending() && !stream.may_be_readable());
        peer.write_all(b"seven..").await.expect("the socket takes it");
        news(&stream).await;
        // As much as there was room for: more may be there, and is.
        assert!(matches!(stream.read_now(&mut buffer), Poll::Ready(Ok(5))));
        assert!(stream.may_be_readable());
        assert!(matches!(stream.read_now(&mut buffer), Poll::Ready(Ok(2))));
        assert!(!stream.may_be_readable() && stream.read_now(&mut buffer).is_pending());
        // No word of the kernel is lost between the look and the wait.
        peer.write_all(b"more").await.expect("the socket takes it");
        news(&stream).await;
        assert!(stream.may_be_readable());
        assert!(matches!(stream.read_now(&mut buffer), Poll::Ready(Ok(4))));
        drop(peer);
        news(&stream).await;
        assert!(matches!(stream.read_now(&mut buffer), Poll::Ready(Ok(0))));
        assert!(matches!(stream.read_now(&mut buffer), Poll::Ready(Ok(0))), "an end stays one");
    }

    #[tokio::test]
    async fn who_has_filled_the_kernel_waits_for_room() {
        let (stream, mut peer) = pair().await;
        let piece = vec![7; 1 << 20];
        let mut written = 0;
        while let Poll::Ready(n) = stream.write_now(&piece) {
            written += n.expect("it stands");
        }
        assert!(poll_fn(|cx| Poll::Ready(stream.await_room(cx))).await, "there is none");
        let mut heard = vec![0; written];
        peer.read_exact(&mut heard).await.expect("all of it comes");
        poll_fn(|cx| if stream.await_room(cx) { Poll::Pending } else { Poll::Ready(()) }).await;
        let pieces = [IoSlice::new(b"one, "), IoSlice::new(b"two")];
        assert!(matches!(stream.write_pieces_now(&pieces), Poll::Ready(Ok(8))));
        peer.read_exact(&mut heard[..8]).await.expect("both pieces come");
        assert_eq!(&heard[..8], b"one, two");
    }

    #[tokio::test]
    async fn what_is_there_is_read_without_a_wait() {
        let (stream, mut peer) = pair().await;
        let mut buffer = [0; 8];
        assert!(stream.read_at_once(&mut buffer).is_pending());
        peer.write_all(b"words").await.expect("the socket takes it");
        peer.shutdown().await.expect("it stands");
        for expected in [&b"words"[..], b""] {
            let read = loop {
                match stream.read_at_once(&mut buffer) {
                    Poll::Pending => tokio::task::yield_now().await,
                    Poll::Ready(read) => break read.expect("no reset"),
                }
            };
            assert_eq!(&buffer[..read], expected);
        }
    }

    #[tokio::test]
    async fn it_is_readable_when_something_is_there() {
        let (stream, mut peer) = pair().await;
        let mut readable = Box::pin(stream.readable());
        for _ in 0..100 {
            assert!(futures::poll!(&mut readable).is_pending(), "nothing is there");
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        peer.write_all(b"words").await.expect("the socket takes it");
        readable.await.expect("it stands");
        drop(peer);
        stream.readable().await.expect("it has ended");
    }

    #[tokio::test]
    async fn an_end_is_seen_unless_something_stands_before_it() {
        let (stream, peer) = pair().await;
        assert!(futures::poll!(Box::pin(stream.ended())).is_pending(), "it stands");
        drop(peer);
        stream.ended().await.expect("an orderly end");

        let (stream, mut peer) = pair().await;
        peer.write_all(b"words").await.expect("the socket takes it");
        drop(peer);
        stream.readable().await.expect("something is there");
        for _ in 0..100 {
            assert!(futures::poll!(Box::pin(stream.ended())).is_pending(), "the words are not read");
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_reset_is_what_the_peer_gets() {
        let (stream, mut peer) = pair().await;
        stream.reset().expect("the kernel lets it be set");
        let read = peer.read(&mut [0; 8]).await;
        assert_eq!(read.map_err(|error| error.kind()), Err(io::ErrorKind::ConnectionReset));
    }

    #[tokio::test]
    async fn options_are_those_of_the_socket() {
        let (stream, _peer) = pair().await;
        let every = Duration::from_secs(7);
        stream.set_nodelay().expect("the kernel lets it be set");
        stream.set_unsent_max(4096).expect("the kernel lets it be set");
        stream.set_keepalive(every).expect("the kernel lets it be set");
        let socket = SockRef::from(&stream.tcp);
        assert!(socket.tcp_nodelay().expect("it can be asked"));
        assert_eq!(socket.tcp_notsent_lowat().expect("it can be asked"), 4096);
        assert!(socket.keepalive().expect("it can be asked"));
        assert_eq!(socket.tcp_keepalive_time().expect("it can be asked"), every);
        assert!(stream.tcp_state().is_ok());
    }
}
