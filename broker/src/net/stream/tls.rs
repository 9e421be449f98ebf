//! TLS on a socket (RFC 8446, RFC 5246), either end of it. rustls keeps keys and the state of the handshake here, and no
//! buffers: what is encrypted passes through two of the thread's. An idle connection holds nothing but keys.
//!
//! ```text
//!   socket --> RECEIVE (thread) --> records --> the reader's buffer, then `plain`
//!                   ^     what is no whole record yet --> `received`
//!   socket <-- SEND (thread) <-- records <-- what is written;    what the socket does not take --> `unsent`
//! ```
//!
//! Bounds: `received` is shorter than a record, or than a message of a handshake; `plain` is a record at the most, and
//! `unsent` what one write has become. What is encrypted cannot be encrypted again, so nothing is while `unsent` waits.

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, ServerConfig};

use super::socket::RawSocket;

/// Bytes that are received at a time: more than a record, and few enough to stay in the processor's first cache until they
/// are decrypted.
const READ: usize = 20 * 1024;

/// Room for what is received: a message of a handshake of 64 KiB in records that may be smaller, and one more record.
const RECEIVE_ROOM: usize = 96 * 1024;

/// Bytes that one write encrypts at the most: two records.
const WRITE: usize = 32 * 1024;

/// Reads in a row that may bring nothing for the reader: tickets, and parts of records. A peer could send them without end.
const FRUITLESS: usize = 4;

/// Room for what one write becomes, and for what rustls itself has to say.
const SEND_ROOM: usize = WRITE + 2 * 1024;

/// Bytes of what rustls itself has to say that may wait for a peer who reads nothing.
const UNSENT_MAX: usize = 64 * 1024;

/// Steps that what is to be said before the end may take: a flight of the handshake, and an alert.
const LAST_STEPS: usize = 32;

const ENDLESS: &str = "a message of the handshake has no end";
const DEAF: &str = "it asks for answers and does not read them";

thread_local! {
    static RECEIVE: RefCell<Box<[u8]>> = RefCell::new(vec![0; RECEIVE_ROOM].into_boxed_slice());
    static SEND: RefCell<Box<[u8]>> = RefCell::new(vec![0; SEND_ROOM].into_boxed_slice());
}

/// A connection whose handshake is done, or is being done.
pub(super) struct TlsStream {
    socket: RawSocket,
    end: TlsEnd,
    /// Received, and no whole record yet.
    received: BytesMut,
    /// Decrypted, and not read yet.
    plain: BytesMut,
    /// Encrypted, and not sent yet.
    unsent: BytesMut,
    /// Nothing more comes.
    over: Option<Over>,
    /// close_notify is said, or cannot be.
    silent: bool,
    /// The socket is shut for writing.
    shut: bool,
}

/// Which end of the connection this is.
enum TlsEnd {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// Why nothing more comes.
#[derive(Debug, Clone)]
enum Over {
    /// The peer has ended it, with or without close_notify: a WebSocket has a Close of its own, and many never say it.
    Ended,
    /// It was cut in the middle of a record.
    Cut,
    /// What came is no TLS, or was tampered with.
    Broken(rustls::Error),
    /// The socket has failed so.
    Failed(io::ErrorKind),
}

/// How far rustls has come with what was received.
enum Progress {
    /// It has more to do.
    Goes,
    NeedsMore,
    /// The peer has said close_notify.
    Ended,
}

/// Where decrypted bytes go: to the reader as long as there is room, then to `plain`.
struct Sink<'a> {
    room: &'a mut [u8],
    filled: usize,
    plain: &'a mut BytesMut,
}

impl Sink<'_> {
    fn put(&mut self, bytes: &[u8]) {
        let n = bytes.len().min(self.room.len() - self.filled);
        let (now, later) = bytes.split_at(n);
        self.room[self.filled..self.filled + n].copy_from_slice(now);
        self.filled += n;
        self.plain.extend_from_slice(later);
    }
}

/// What is to be encrypted.
#[derive(Clone, Copy)]
enum Say<'a> {
    Data(&'a [u8]),
    CloseNotify,
}

impl TlsEnd {
    fn common(&self) -> &CommonState {
        match self {
            TlsEnd::Server(server) => server,
            TlsEnd::Client(client) => client,
        }
    }

    /// Goes a step on with what was received: all that was not discarded before, since rustls remembers how far it has
    /// read. Returns how much of it is to be discarded now.
    fn step(
        &mut self,
        received: &mut [u8],
        unsent: &mut BytesMut,
        sink: &mut Sink<'_>,
    ) -> (usize, Result<Progress, rustls::Error>) {
        match self {
            TlsEnd::Server(server) => follow(server.process_tls_records(received), unsent, sink),
            TlsEnd::Client(client) => follow(client.process_tls_records(received), unsent, sink),
        }
    }

    /// Encrypts to the beginning of `out`, and returns how long that has become. `received` is as for [`TlsEnd::step`].
    fn say(&mut self, received: &mut [u8], what: Say<'_>, out: &mut [u8]) -> io::Result<usize> {
        let mut before = 0;
        loop {
            let room = &mut out[before..];
            let said = match self {
                TlsEnd::Server(server) => say(server.process_tls_records(received), what, room),
                TlsEnd::Client(client) => say(client.process_tls_records(received), what, room),
            };
            match said? {
                Said::All(length) => return Ok(before + length),
                Said::Own(length) => before += length,
            }
        }
    }
}

/// Does what rustls asks for.
fn follow<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    unsent: &mut BytesMut,
    sink: &mut Sink<'_>,
) -> (usize, Result<Progress, rustls::Error>) {
    let UnbufferedStatus { mut discard, state } = status;
    let progress = match state {
        Err(error) => return (discard, Err(error)),
        Ok(ConnectionState::ReadTraffic(mut traffic)) => {
            while let Some(record) = traffic.next_record() {
                match record {
                    Ok(record) => {
                        discard += record.discard;
                        sink.put(record.payload);
                    }
                    Err(error) => return (discard, Err(error)),
                }
            }
            Progress::Goes
        }
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            let at = unsent.len();
            if let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) {
                unsent.resize(at + size.required_size, 0);
                // It has as much as it asks for.
                let encoded = data.encode(&mut unsent[at..]);
                unsent.truncate(at + encoded.unwrap_or_default());
            }
            Progress::Goes
        }
        Ok(ConnectionState::TransmitTlsData(data)) => {
            // It has what it is to send from here on.
            data.done();
            Progress::Goes
        }
        Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Progress::Ended,
        // Early data is never taken, so there is none.
        Ok(_) => Progress::NeedsMore,
    };
    (discard, Ok(progress))
}

/// What was encrypted, and how long it is.
enum Said {
    All(usize),
    /// Something of rustls' own, which comes first.
    Own(usize),
}

fn say<Data>(status: UnbufferedStatus<'_, '_, Data>, what: Say<'_>, out: &mut [u8]) -> io::Result<Said> {
    match status.state.map_err(io::Error::other)? {
        ConnectionState::WriteTraffic(mut traffic) => {
            let said = match what {
                Say::Data(bytes) => traffic.encrypt(bytes, out),
                Say::CloseNotify => traffic.queue_close_notify(out),
            };
            said.map(Said::All).map_err(io::Error::other)
        }
        ConnectionState::EncodeTlsData(mut data) => data.encode(out).map(Said::Own).map_err(io::Error::other),
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            Ok(Said::Own(0))
        }
        // It comes once, and one may go on talking behind it.
        ConnectionState::PeerClosed => Ok(Said::Own(0)),
        _ => Err(io::ErrorKind::NotConnected.into()),
    }
}

impl TlsStream {
    /// Does the handshake of a client's connection.
    ///
    /// # Errors
    ///
    /// What the peer has done wrong, or that it has gone. It has then got an alert that says so (RFC 8446, 6.2).
    pub(super) async fn accept(socket: RawSocket, config: Arc<ServerConfig>) -> io::Result<TlsStream> {
        let server = UnbufferedServerConnection::new(config).map_err(io::Error::other)?;
        TlsStream::handshake(socket, TlsEnd::Server(server)).await
    }

    /// Does the handshake of a connection to a backend.
    ///
    /// # Errors
    ///
    /// As [`TlsStream::accept`], and that it is not who it should be.
    pub(super) async fn connect(
        socket: RawSocket,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<TlsStream> {
        let client = UnbufferedClientConnection::new(config, name).map_err(io::Error::other)?;
        TlsStream::handshake(socket, TlsEnd::Client(client)).await
    }

    async fn handshake(socket: RawSocket, end: TlsEnd) -> io::Result<TlsStream> {
        let mut tls = TlsStream {
            socket,
            end,
            received: BytesMut::new(),
            plain: BytesMut::new(),
            unsent: BytesMut::new(),
            over: None,
            silent: false,
            shut: false,
        };
        // A client begins.
        tls.decrypt(&mut [], &mut []);
        poll_fn(|cx| tls.poll_handshake(cx)).await?;
        Ok(tls)
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            // What the other end has done wrong it is told, if the socket takes that.
            let flushed = self.poll_flush(cx);
            if !self.end.common().is_handshaking() {
                // What is left to be sent are tickets. Whoever reads is told of an end that has come by now.
                return flushed.map(|_| Ok(()));
            }
            if let Some(over) = &self.over {
                return Poll::Ready(Err(over.in_handshake()));
            }
            ready!(flushed)?;
            if self.receive(&mut [], RawSocket::read_now).is_pending() {
                ready!(self.socket.poll_read_ready(cx))?;
            }
        }
    }

    pub(super) fn socket(&self) -> &RawSocket {
        &self.socket
    }

    /// What was agreed.
    pub(super) fn common(&self) -> &CommonState {
        self.end.common()
    }

    /// Bytes that it holds of either direction.
    pub(super) fn held(&self) -> usize {
        self.received.len() + self.plain.len() + self.unsent.len()
    }

    // ---- reading ----

    /// What is decrypted by now, or the end, needs nobody's word.
    pub(super) fn has_news(&self) -> bool {
        !self.plain.is_empty() || self.over.is_some()
    }

    /// Reads what is there, asking the socket by `read`. Pending: nothing, or only what is rustls' own, and it is the others'
    /// turn.
    pub(super) fn read(
        &mut self,
        room: &mut [u8],
        read: impl Fn(&RawSocket, &mut [u8]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        for _ in 0..FRUITLESS {
            if !self.plain.is_empty() {
                let n = room.len().min(self.plain.len());
                self.plain.copy_to_slice(&mut room[..n]);
                release(&mut self.plain);
                return Poll::Ready(Ok(n));
            }
            match &self.over {
                None => {}
                Some(Over::Ended) => return Poll::Ready(Ok(0)),
                Some(over) => return Poll::Ready(Err(over.in_traffic())),
            }
            if let n @ 1.. = ready!(self.receive(room, &read)) {
                return Poll::Ready(Ok(n));
            }
        }
        Poll::Pending
    }

    /// Has the next bytes decrypted, if there are none. Pending: nothing has come, or only what is rustls' own, and it is the
    /// others' turn.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..FRUITLESS {
            if self.has_news() {
                return Poll::Ready(());
            }
            if self.receive(&mut [], RawSocket::read_now).is_pending()
                && ready!(self.socket.poll_read_ready(cx)).is_err()
            {
                self.over = Some(Over::Failed(io::ErrorKind::Other));
            }
        }
        if self.has_news() {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Copies the first of what is decrypted; 0: the end.
    pub(super) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.over {
            Some(over @ (Over::Cut | Over::Broken(_) | Over::Failed(_))) if self.plain.is_empty() => {
                Err(over.in_traffic())
            }
            _ => {
                let n = buffer.len().min(self.plain.len());
                buffer[..n].copy_from_slice(&self.plain[..n]);
                Ok(n)
            }
        }
    }

    /// Receives once, and decrypts to `room` what is whole: as much as fits, and of a record more to `plain`. Returns how
    /// much is in `room`, which may be nothing. Pending: nothing was there.
    fn receive(
        &mut self,
        room: &mut [u8],
        read: impl Fn(&RawSocket, &mut [u8]) -> Poll<io::Result<usize>>,
    ) -> Poll<usize> {
        RECEIVE.with_borrow_mut(|scratch| {
            let kept = self.received.len();
            let most = READ.min(scratch.len() - kept);
            let came = match ready!(read(&self.socket, &mut scratch[kept..kept + most])) {
                Ok(0) if most == 0 => Err(Over::Broken(rustls::Error::General(ENDLESS.to_owned()))),
                Ok(0) if kept == 0 => Err(Over::Ended),
                Ok(0) => Err(Over::Cut),
                Err(error) => Err(Over::Failed(error.kind())),
                Ok(came) => Ok(came),
            };
            let came = match came {
                Ok(came) => came,
                Err(over) => {
                    self.over = Some(over);
                    return Poll::Ready(0);
                }
            };
            scratch[..kept].copy_from_slice(&self.received);
            self.received.clear();
            let filled = self.decrypt(&mut scratch[..kept + came], room);
            release(&mut self.received);
            Poll::Ready(filled)
        })
    }

    /// Decrypts what was received, and answers what is rustls' to answer. What is left of it is kept.
    fn decrypt(&mut self, received: &mut [u8], room: &mut [u8]) -> usize {
        let mut sink = Sink { room, filled: 0, plain: &mut self.plain };
        let mut at = 0;
        loop {
            let (discard, progress) = self.end.step(&mut received[at..], &mut self.unsent, &mut sink);
            at += discard;
            match progress {
                Ok(Progress::Goes) if self.unsent.len() > UNSENT_MAX => {
                    self.over = Some(Over::Broken(rustls::Error::General(DEAF.to_owned())));
                    break;
                }
                Ok(Progress::Goes) => {}
                Ok(Progress::NeedsMore) => {
                    self.received.extend_from_slice(&received[at..]);
                    break;
                }
                Ok(Progress::Ended) => {
                    self.over = Some(Over::Ended);
                    break;
                }
                Err(error) => {
                    // The alert for it comes behind what was to be said before. Nothing else is looked at any more.
                    for _ in 0..LAST_STEPS {
                        if !self.end.common().wants_write() {
                            break;
                        }
                        let _ = self.end.step(&mut received[at..], &mut self.unsent, &mut sink);
                    }
                    (self.over, self.silent) = (Some(Over::Broken(error)), true);
                    break;
                }
            }
        }
        let filled = sink.filled;
        if !self.unsent.is_empty() {
            // Whoever comes next tries again.
            let _ = self.send_unsent();
        }
        filled
    }

    // ---- writing ----

    /// Something encrypted waits for the socket, or for the end that was asked for.
    #[inline]
    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Writes as much as may be. Pending: the socket takes nothing. What is taken is on its way when nothing is unsent.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.silent {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        ready!(self.send_unsent())?;
        let mut taken = 0;
        while taken < bytes.len() {
            let n = WRITE.min(bytes.len() - taken);
            if let Err(error) = self.encrypt(Say::Data(&bytes[taken..taken + n])) {
                return Poll::Ready(Err(error));
            }
            taken += n;
            if self.has_unsent() {
                break;
            }
        }
        Poll::Ready(Ok(taken))
    }

    /// As [`TlsStream::write`], of several pieces, which become as few records as may be.
    pub(super) fn write_pieces(&mut self, pieces: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if let [piece, ..] = pieces
            && piece.len() >= WRITE
        {
            return self.write(piece);
        }
        let mut joined = BytesMut::with_capacity(WRITE.min(pieces.iter().map(|piece| piece.len()).sum()));
        for piece in pieces {
            let room = WRITE - joined.len();
            joined.extend_from_slice(&piece[..room.min(piece.len())]);
        }
        self.write(&joined)
    }

    /// Encrypts, and sends. What the socket does not take is kept.
    fn encrypt(&mut self, what: Say<'_>) -> io::Result<()> {
        SEND.with_borrow_mut(|scratch| {
            let length = self.end.say(&mut self.received, what, scratch)?;
            let sent = match self.socket.write_now(&scratch[..length]) {
                Poll::Ready(sent) => sent?,
                Poll::Pending => 0,
            };
            self.unsent.extend_from_slice(&scratch[sent..length]);
            Ok(())
        })
    }

    /// Sends what waits.
    pub(super) fn send_unsent(&mut self) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let sent = ready!(self.socket.write_now(&self.unsent))?;
            self.unsent.advance(sent);
            release(&mut self.unsent);
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.send_unsent() {
                Poll::Ready(sent) => return Poll::Ready(sent),
                Poll::Pending => ready!(self.socket.poll_write_ready(cx))?,
            }
        }
    }

    /// Says that nothing more comes, and shuts the socket behind that.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.take_leave();
        ready!(self.poll_flush(cx))?;
        if std::mem::replace(&mut self.shut, true) {
            Poll::Ready(Ok(()))
        } else {
            Poll::Ready(self.socket.shut_write())
        }
    }

    /// Says close_notify (RFC 8446, 6.1), once, and only behind all that was written.
    fn take_leave(&mut self) {
        if !std::mem::replace(&mut self.silent, true) {
            if self.has_unsent() {
                let _ = self.send_unsent();
            }
            SEND.with_borrow_mut(|scratch| {
                if let Ok(length) = self.end.say(&mut self.received, Say::CloseNotify, scratch) {
                    self.unsent.extend_from_slice(&scratch[..length]);
                }
            });
            let _ = self.send_unsent();
        }
    }

    /// Closes it hard.
    pub(super) fn reset(mut self) -> io::Result<()> {
        self.silent = true;
        self.socket.reset()
    }
}

/// What was said last is still said, if the socket takes it at once.
impl Drop for TlsStream {
    fn drop(&mut self) {
        self.take_leave();
    }
}

/// An empty buffer holds no memory.
fn release(buffer: &mut BytesMut) {
    if buffer.is_empty() {
        *buffer = BytesMut::new();
    }
}

impl Over {
    /// What it means to whoever waits for the handshake.
    fn in_handshake(&self) -> io::Error {
        match self {
            Over::Ended | Over::Cut => {
                io::Error::new(io::ErrorKind::UnexpectedEof, "it ended in the middle of the TLS handshake")
            }
            over => over.in_traffic(),
        }
    }

    /// What it means to whoever reads.
    fn in_traffic(&self) -> io::Error {
        match self {
            Over::Ended | Over::Cut => io::ErrorKind::UnexpectedEof.into(),
            Over::Broken(error) => io::Error::new(io::ErrorKind::InvalidData, error.clone()),
            Over::Failed(kind) => (*kind).into(),
        }
    }
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("socket", &self.socket).field("over", &self.over).finish_non_exhaustive()
    }
}
