//! How the names of headers are spelled on a connection. They have no case (RFC 9110, 5.1), but there are
//! devices that compare it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How the names of headers are spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderCase {
    /// `sec-websocket-accept`
    Lower,
    /// `Sec-WebSocket-Accept`
    Title,
}

/// The only name whose spelling is not its words' (RFC 6455, 11.3), up to the letter that is.
const SEC_WEB: &[u8] = b"sec-web";

/// Spells the names of a whole head so.
pub(crate) fn spell(head: &mut [u8], case: HeaderCase) {
    if case == HeaderCase::Title {
        let mut speller = Speller::FirstLine;
        head.iter_mut().for_each(|byte| *byte = speller.spell(*byte));
    }
}

/// A connection on which the first head that is written has its names spelled so.
pub(crate) struct Spelled<S> {
    stream: S,
    /// `None`: what is written stays as it is.
    speller: Option<Speller>,
}

impl<S> Spelled<S> {
    pub(crate) fn new(stream: S, case: HeaderCase) -> Spelled<S> {
        let speller = match case {
            HeaderCase::Lower => None,
            HeaderCase::Title => Some(Speller::FirstLine),
        };
        Spelled { stream, speller }
    }

    pub(crate) fn into_inner(self) -> S {
        self.stream
    }
}

/// Where in a head the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speller {
    /// The request line or status line.
    FirstLine,
    Name {
        /// Bytes of the name so far.
        length: usize,
        /// Whether a word begins here.
        word: bool,
        /// Whether they are the beginning of [`SEC_WEB`], or it.
        sec_web: bool,
    },
    Value,
    /// Behind the empty line.
    Body,
}

impl Speller {
    const NAME: Speller = Speller::Name { length: 0, word: true, sec_web: true };

    /// Gives the byte as it is to be written. Lengths stay.
    fn spell(&mut self, byte: u8) -> u8 {
        let (next, spelled) = match *self {
            Speller::FirstLine | Speller::Value if byte == b'\n' => (Speller::NAME, byte),
            Speller::Name { length: 0, .. } if matches!(byte, b'\r' | b'\n') => (Speller::Body, byte),
            Speller::Name { .. } if byte == b':' => (Speller::Value, byte),
            Speller::Name { length, word, sec_web } => {
                let capital = word || (sec_web && length == SEC_WEB.len());
                let expected = SEC_WEB.get(length);
                let sec_web = sec_web && expected.is_some_and(|known| byte.eq_ignore_ascii_case(known));
                let next = Speller::Name { length: length + 1, word: byte == b'-', sec_web };
                (next, if capital { byte.to_ascii_uppercase() } else { byte })
            }
            same => (same, byte),
        };
        *self = next;
        spelled
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Spelled<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Spelled<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Some(mut speller) = self.speller else {
            return Pin::new(&mut self.stream).poll_write(context, bytes);
        };
        let mut ahead = speller;
        let spelled: Vec<u8> = bytes.iter().map(|byte| ahead.spell(*byte)).collect();
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, &spelled))?;
        for byte in bytes.iter().take(written) {
            speller.spell(*byte);
        }
        self.speller = Some(speller).filter(|speller| *speller != Speller::Body);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.speller {
            None => Pin::new(&mut self.stream).poll_write_vectored(context, pieces),
            Some(_) => {
                let first = pieces.iter().find(|piece| !piece.is_empty());
                self.poll_write(context, first.map_or(&[], |piece| piece))
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.speller.is_none() && self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const WRITTEN: &str = "GET /x-y: z HTTP/1.1\r\nhost: a-b.test\r\nsec-websocket-key: a-b\r\nX-webSocket-a: b\r\n\
                           sec-webx: c\r\nsec-web: d\r\nsteadfast-session: 1\r\nx_a--b: c\r\n\r\nnot-a: header\r\n";
    const TITLE: &str = "GET /x-y: z HTTP/1.1\r\nHost: a-b.test\r\nSec-WebSocket-Key: a-b\r\nX-WebSocket-A: b\r\n\
                         Sec-WebX: c\r\nSec-Web: d\r\nSteadfast-Session: 1\r\nX_a--B: c\r\n\r\nnot-a: header\r\n";

    /// What arrives when this is written, `size` bytes at a time, on a connection that takes `room`.
    async fn arrived(case: HeaderCase, size: usize, room: usize) -> String {
        let (ours, mut theirs) = duplex(room);
        let mut spelled = Spelled::new(ours, case);
        let writing = async move {
            for bytes in WRITTEN.as_bytes().chunks(size) {
                spelled.write_all(bytes).await.expect("it is read");
            }
        };
        let mut text = String::new();
        let (_, read) = tokio::join!(writing, theirs.read_to_string(&mut text));
        read.expect("text");
        text
    }

    #[test]
    fn names_of_a_whole_head_are_spelled() {
        for (case, expected) in [(HeaderCase::Title, TITLE), (HeaderCase::Lower, WRITTEN)] {
            let mut head = WRITTEN.as_bytes().to_vec();
            spell(&mut head, case);
            assert_eq!(String::from_utf8(head).expect("text"), expected);
        }
    }

    #[tokio::test]
    async fn names_of_the_head_are_spelled_however_it_is_cut() {
        for (size, room) in
            [(WRITTEN.len(), 4096), (1, 4096), (7, 4096), (WRITTEN.len(), 1), (WRITTEN.len(), 5)]
        {
            assert_eq!(arrived(HeaderCase::Title, size, room).await, TITLE, "{size} {room}");
            assert_eq!(arrived(HeaderCase::Lower, size, room).await, WRITTEN, "{size} {room}");
        }
    }
}
