//! One socket of a session: what can be read and written at once, and the buffer that all sessions of a
//! thread share for it.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes};
use steadfast_protocol::buffer::chain::Gather;
use steadfast_protocol::session::{Session, SessionSide};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop::has_budget_remaining;
use tokio_util::io::poll_read_buf;

use crate::metric::{self, Limit};
use crate::net::stream::Stream;

/// Bytes of a thread's read buffer.
const READ: usize = 64 * 1024;

/// Bytes of several pieces up to which they are joined for one plain write.
const COPIED: usize = 4096;

thread_local! {
    pub(super) static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

/// One socket.
pub(super) struct SocketSide {
    pub(super) stream: Stream,
    /// A write has failed: what is still to be read is read, then the side is gone.
    pub(super) broken: bool,
    /// The write side is shut.
    pub(super) shut: bool,
    /// Nothing more can be read or written.
    pub(super) ended: bool,
    /// The task is woken when there is something to read: there was nothing when it was asked last, all that was read is
    /// taken over, and it is not broken.
    listens: bool,
    /// It is not read, since a limit is reached.
    pub(super) held_back: bool,
    /// The kernel asks the peer's for signs of life when nothing else is on its way.
    pub(super) asking: bool,
    /// What was read already, and is to be taken over before anything else.
    rest: Option<Box<Bytes>>,
}

/// What a read brought.
pub(super) enum Read {
    Bytes(usize),
    Nothing,
    End,
    Failed,
}

impl SocketSide {
    /// `early`: what has been read of it so far.
    pub(super) fn new(stream: Stream, early: Bytes) -> SocketSide {
        SocketSide {
            rest: (!early.is_empty()).then(|| Box::new(early)),
            stream,
            broken: false,
            shut: false,
            ended: false,
            listens: false,
            held_back: false,
            asking: false,
        }
    }

    /// Counts each time that a limit makes the client wait.
    pub(super) fn push_back(&mut self, tight: bool, full: bool) {
        if (tight || full) && !self.held_back {
            metric::LIMIT_HITS.count(if full { Limit::Ring } else { Limit::Buffers });
        }
        self.held_back = tight || full;
    }

    /// Whether there may be something to be taken over. A socket that the task is woken for is not asked again before
    /// that has come.
    #[inline]
    pub(super) fn is_readable(&mut self) -> bool {
        if self.listens && self.stream.may_be_readable() {
            self.listens = false;
        }
        !self.listens
    }

    /// Has the task woken for what comes next. False: something may be there by now.
    #[inline]
    pub(super) fn listen(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.listens {
            let whole = !self.broken && !self.ended && self.rest.is_none();
            self.listens = whole && self.stream.listen(cx);
        }
        self.listens
    }

    /// Bytes that were read and not taken over, or taken over and not sent.
    #[inline]
    pub(super) fn held(&self) -> usize {
        self.rest.as_ref().map_or(0, |rest| rest.len()) + self.stream.held()
    }

    /// Hands at most `max` bytes to `take`, which says how many of them it takes. The others come first the next
    /// time. The bytes of the answer are those that were taken.
    pub(super) fn read_with(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
        take: impl FnOnce(&mut Context<'_>, &[u8]) -> usize,
    ) -> Read {
        if let Some(rest) = &self.rest {
            let taken = take(cx, &rest[..max.min(rest.len())]);
            return self.took_of_rest(taken);
        }
        BUFFER.with_borrow_mut(|buffer| {
            let room = max.min(buffer.len());
            let read = self.read(cx, &mut buffer[..room]);
            let Read::Bytes(n) = read else { return read };
            let taken = take(cx, &buffer[..n]);
            if taken < n {
                self.rest = Some(Box::new(Bytes::copy_from_slice(&buffer[taken..n])));
            }
            Read::Bytes(taken)
        })
    }

    fn took_of_rest(&mut self, n: usize) -> Read {
        self.rest.take_if(|rest| {
            rest.advance(n);
            rest.is_empty()
        });
        Read::Bytes(n)
    }

    /// Reads what is there. The write that has failed on a broken socket may have come before the news that there is
    /// something to read.
    fn read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Read {
        self.listens = false;
        if self.broken {
            let read = self.stream.read_at_once(buffer);
            return self.brought(read);
        }
        let read = self.stream.read_now(buffer);
        match read {
            // Something may have come between the two.
            Poll::Pending if !self.listen(cx) => {
                let mut buffer = ReadBuf::new(buffer);
                let read = Pin::new(&mut self.stream).poll_read(cx, &mut buffer);
                self.note_listening(&read);
                self.brought(read.map_ok(|()| buffer.filled().len()))
            }
            read => self.brought(read),
        }
    }

    /// Reads at most `max` bytes to the end of `tail`, within its capacity.
    pub(super) fn read_to(&mut self, cx: &mut Context<'_>, tail: &mut Vec<u8>, max: usize) -> Read {
        if let Some(rest) = &self.rest {
            let n = max.min(rest.len()).min(tail.capacity() - tail.len());
            tail.extend_from_slice(&rest[..n]);
            return self.took_of_rest(n);
        }
        let read = if self.broken {
            let max = max.min(tail.capacity() - tail.len());
            BUFFER.with_borrow_mut(|buffer| {
                let room = max.min(buffer.len());
                let read = self.stream.read_at_once(&mut buffer[..room]);
                read.map_ok(|n| {
                    tail.extend_from_slice(&buffer[..n]);
                    n
                })
            })
        } else {
            let read = poll_read_buf(Pin::new(&mut self.stream), cx, &mut tail.limit(max));
            self.note_listening(&read);
            read
        };
        self.brought(read)
    }

    /// Tokio has read by itself, and has the task woken if there was nothing; unless it has held the task back, and has
    /// then asked the socket nothing.
    fn note_listening<T>(&mut self, read: &Poll<T>) {
        self.listens = read.is_pending() && has_budget_remaining();
    }

    fn brought(&mut self, read: Poll<io::Result<usize>>) -> Read {
        match read {
            Poll::Pending => Read::Nothing,
            Poll::Ready(Err(_)) => Read::Failed,
            Poll::Ready(Ok(0)) => Read::End,
            Poll::Ready(Ok(n)) => Read::Bytes(n),
        }
    }

    /// Writes what the socket takes at once and returns how much that was.
    pub(super) fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> usize {
        self.write_by(cx, |stream| stream.write_now(bytes))
    }

    #[inline]
    fn write_by(
        &mut self,
        cx: &mut Context<'_>,
        write: impl Fn(&mut Stream) -> Poll<io::Result<usize>>,
    ) -> usize {
        if self.broken || self.ended {
            return 0;
        }
        // Room may have come between the two, so that the task is not woken for it. Once more, in a loop so that what is
        // called is inlined.
        for _ in 0..2 {
            let written = write(&mut self.stream);
            if written.is_ready() || self.stream.await_room(cx) {
                return self.taken(written);
            }
        }
        // It comes again.
        cx.waker().wake_by_ref();
        0
    }

    /// Writes what the session has for its backend.
    #[inline]
    pub(super) fn write_upstream(&mut self, cx: &mut Context<'_>, machine: &Session) -> usize {
        let joined = BUFFER.with_borrow_mut(|buffer| {
            let n = machine.copy_transmit(&mut buffer[..COPIED]);
            (n > 0).then(|| self.write(cx, &buffer[..n]))
        });
        joined.unwrap_or_else(|| self.write_all_of(cx, &machine.poll_transmit(SessionSide::Backend)))
    }

    pub(super) fn write_all_of(&mut self, cx: &mut Context<'_>, gather: &Gather<'_>) -> usize {
        match gather.pieces() {
            [] => 0,
            _ if self.broken || self.ended => 0,
            [piece] => self.write(cx, piece),
            // A message and the ping behind it: to copy them costs less than a vectored write.
            pieces if pieces.iter().map(|piece| piece.len()).sum::<usize>() <= COPIED => BUFFER
                .with_borrow_mut(|buffer| {
                    let mut end = 0;
                    for piece in pieces {
                        buffer[end..end + piece.len()].copy_from_slice(piece);
                        end += piece.len();
                    }
                    self.write(cx, &buffer[..end])
                }),
            pieces => self.write_by(cx, |stream| stream.write_pieces_now(pieces)),
        }
    }

    fn taken(&mut self, written: Poll<io::Result<usize>>) -> usize {
        match written {
            Poll::Pending => 0,
            Poll::Ready(Ok(n)) => n,
            Poll::Ready(Err(_)) => {
                // Not gone yet: a Close or last answers may stand in the socket.
                self.break_off();
                0
            }
        }
    }

    /// Sends what was taken and waits before the kernel. Has the task woken when it takes more.
    #[inline]
    pub(super) fn flush(&mut self, cx: &mut Context<'_>) {
        if self.stream.has_unsent() && !self.broken && !self.ended {
            self.flush_unsent(cx);
        }
    }

    #[inline(never)]
    fn flush_unsent(&mut self, cx: &mut Context<'_>) {
        let stream = Pin::new(&mut self.stream);
        let flushed = if self.shut { stream.poll_shutdown(cx) } else { stream.poll_flush(cx) };
        if matches!(flushed, Poll::Ready(Err(_))) {
            self.break_off();
        }
    }

    /// A write has failed.
    #[cold]
    fn break_off(&mut self) {
        (self.broken, self.listens) = (true, false);
    }

    pub(super) fn shut_write(&mut self, cx: &mut Context<'_>) {
        self.shut = true;
        // A socket that cannot be shut is broken; reading finds that out.
        let _ = Pin::new(&mut self.stream).poll_shutdown(cx);
    }

    /// Drops the connection hard.
    pub(super) fn reset(self) {
        if let Err(error) = self.stream.reset() {
            tracing::debug!(%error, "a socket cannot be reset; it is closed");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// A side of which `early` has been read, and its peer.
    async fn side(early: &'static [u8]) -> (SocketSide, TcpStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let peer = TcpStream::connect(address).await.expect("it listens");
        let (stream, _) = listener.accept().await.expect("the peer connects");
        (SocketSide::new(stream.into(), Bytes::from_static(early)), peer)
    }

    /// The next bytes of which `most` are taken, when there are some.
    async fn take(side: &mut SocketSide, most: usize) -> Vec<u8> {
        poll_fn(|cx| {
            let mut taken = Vec::new();
            let read = side.read_with(cx, READ, |_, bytes| {
                taken.extend_from_slice(&bytes[..most.min(bytes.len())]);
                taken.len()
            });
            match read {
                Read::Bytes(n) => {
                    assert_eq!(n, taken.len());
                    Poll::Ready(taken)
                }
                Read::Nothing => Poll::Pending,
                Read::End | Read::Failed => panic!("the peer is there"),
            }
        })
        .await
    }

    #[tokio::test]
    async fn what_is_not_taken_comes_first_the_next_time() {
        let (mut side, mut peer) = side(b"early ").await;
        peer.write_all(b"words").await.expect("the socket takes it");
        let mut heard = Vec::new();
        while heard.len() < 11 {
            assert!(side.is_readable());
            heard.extend(take(&mut side, 2).await);
            assert!(side.held() <= 6);
        }
        assert_eq!((heard.as_slice(), side.held()), (&b"early words"[..], 0));
    }

    #[tokio::test]
    async fn what_is_left_of_a_frame_is_not_read_past() {
        let (mut side, _peer) = side(b"payload, and more").await;
        let mut tail = Vec::with_capacity(64);
        let read = poll_fn(|cx| Poll::Ready(side.read_to(cx, &mut tail, 7))).await;
        assert!(matches!(read, Read::Bytes(7)));
        assert_eq!((tail.as_slice(), side.held()), (&b"payload"[..], 10));
        assert_eq!(take(&mut side, READ).await, b", and more");
    }

    #[tokio::test]
    async fn a_write_that_has_failed_has_a_side_read_that_listens() {
        let (mut side, peer) = side(b"").await;
        poll_fn(|cx| {
            assert!(matches!(side.read_with(cx, READ, |_, _| 0), Read::Nothing));
            assert!(side.listen(cx) && !side.is_readable());
            Poll::Ready(())
        })
        .await;
        peer.set_zero_linger().expect("it is connected");
        drop(peer);
        // The runtime has had no turn, so it knows nothing of the reset.
        poll_fn(|cx| {
            assert!(!side.is_readable());
            assert_eq!(side.write(cx, b"words"), 0);
            assert!(side.broken && side.is_readable());
            assert!(!side.listen(cx), "it is read at once");
            Poll::Ready(())
        })
        .await;
    }

    #[tokio::test]
    async fn a_broken_side_still_gives_what_was_read() {
        let (mut side, peer) = side(b"last").await;
        drop(peer);
        side.broken = true;
        assert_eq!(take(&mut side, READ).await, b"last");
        let read = poll_fn(|cx| match side.read_with(cx, READ, |_, _| 0) {
            Read::Nothing => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            read => Poll::Ready(read),
        });
        assert!(matches!(read.await, Read::End));
    }
}
