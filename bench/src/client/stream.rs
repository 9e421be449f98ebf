//! Messages one behind the other, as fast as the peer takes them, and the time until a counting backend
//! has them all.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::MASK;
use crate::link::Link;
use crate::wire::control::{Gather, NORMAL};
use crate::wire::count::Count;
use crate::wire::frame::{self, FrameError, Header, Piece, Reader};

/// An answer longer than this is none.
const ANSWER_MAX: u64 = 100;

/// The arguments of `client stream`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// The peer, with a `backend --count` behind it.
    #[arg(long)]
    pub(crate) address: SocketAddr,
    /// Bytes of a message.
    #[arg(long)]
    pub(crate) payload: usize,
    /// Messages. All of them are in memory before the first is sent.
    #[arg(long)]
    pub(crate) messages: usize,
}

/// How long it took.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// From the first byte to the backend's answer, which has counted everything.
    pub(crate) seconds: f64,
}

/// Sends the messages and a text that asks how many have come, and waits for the right answer.
pub(crate) async fn run(options: Options) -> io::Result<Figures> {
    let Options { address, payload, messages } = options;
    let mut link = Link::open(address.into(), 0).await?;
    put_messages(link.queued(), payload, messages);
    let mut hearing = Hearing::new(Count { messages: messages as u64, bytes: (messages * payload) as u64 });
    let start = Instant::now();
    loop {
        let heard = link.exchange(|bytes, queue| hearing.feed(bytes, queue)).await?;
        if heard.ok_or(io::ErrorKind::UnexpectedEof)?.map_err(io::Error::other)? {
            break;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    // The session ends with it; the answer to it takes as long as the path.
    frame::put_frame(link.queued(), frame::CLOSE, Some(MASK), &NORMAL.to_be_bytes());
    link.flush().await?;
    Ok(Figures { seconds })
}

/// Appends all that is sent.
fn put_messages(queue: &mut Vec<u8>, payload: usize, messages: usize) {
    let mut message = Vec::new();
    frame::put_frame(&mut message, frame::BINARY, Some(MASK), &vec![0x5A; payload]);
    queue.reserve(message.len() * messages);
    (0..messages).for_each(|_| queue.extend_from_slice(&message));
    frame::put_frame(queue, frame::TEXT, Some(MASK), b"how many?");
}

/// What the peer must not say.
#[derive(Debug, PartialEq, Eq)]
enum Wrong {
    /// Bytes that are no frame.
    Frame(FrameError),
    /// A frame that is no whole unmasked text of a few bytes.
    Shape(Header),
    /// A text that is no count.
    Text(String),
    /// This has been counted, and that was sent.
    Count(Count, Count),
    /// The peer closed, with this code.
    Closed(u16),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(error) => write!(f, "{error}"),
            Self::Shape(header) => write!(f, "not the frame that was expected: {header:?}"),
            Self::Text(why) => write!(f, "{why}"),
            Self::Count(counted, sent) => {
                let (bytes, of) = (counted.bytes, sent.bytes);
                write!(f, "{} messages of {bytes} bytes have come, and ", counted.messages)?;
                write!(f, "{} of {of} bytes were sent", sent.messages)
            }
            Self::Closed(code) => write!(f, "the peer closed with {code} before everything was counted"),
        }
    }
}

impl std::error::Error for Wrong {}

/// Waits for the answer among control frames.
#[derive(Debug)]
struct Hearing {
    sent: Count,
    reader: Reader,
    header: Option<Header>,
    control: Gather,
    text: Vec<u8>,
}

impl Hearing {
    fn new(sent: Count) -> Self {
        let (reader, control) = (Reader::default(), Gather::default());
        Self { sent, reader, header: None, control, text: Vec::new() }
    }

    /// Takes what has come, and answers pings into `queue`. True: all that was sent has been counted.
    fn feed(&mut self, mut input: &[u8], queue: &mut Vec<u8>) -> Result<bool, Wrong> {
        while let Some(piece) = self.reader.next(&mut input).map_err(Wrong::Frame)? {
            match (piece, self.header) {
                (Piece::Start(header), _) => self.start(header)?,
                (Piece::Payload { bytes, last }, Some(header)) if header.is_control() => {
                    let control = self.control.take(&header, bytes, last);
                    if let Some(code) = control.and_then(|control| control.answer(Some(MASK), queue)) {
                        return Err(Wrong::Closed(code));
                    }
                }
                (Piece::Payload { bytes, last }, _) => {
                    self.text.extend_from_slice(bytes);
                    if last {
                        return self.judge().map(|()| true);
                    }
                }
            }
        }
        Ok(false)
    }

    fn judge(&self) -> Result<(), Wrong> {
        let counted = String::from_utf8_lossy(&self.text).parse().map_err(Wrong::Text)?;
        if counted == self.sent { Ok(()) } else { Err(Wrong::Count(counted, self.sent)) }
    }

    fn start(&mut self, header: Header) -> Result<(), Wrong> {
        self.header = Some(header);
        let whole = header.fin && header.opcode == frame::TEXT && header.mask.is_none();
        let fine = header.is_control() || (whole && header.length <= ANSWER_MAX);
        if fine { Ok(()) } else { Err(Wrong::Shape(header)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: Count = Count { messages: 3, bytes: 24_576 };

    #[test]
    fn the_count_is_found_among_pings_whatever_the_reads() {
        let (mut input, mut pong) = (Vec::new(), Vec::new());
        frame::put_frame(&mut input, frame::PING, None, b"p");
        frame::put_frame(&mut input, frame::TEXT, None, b"3 24576");
        frame::put_frame(&mut pong, frame::PONG, Some(MASK), b"p");
        for step in [1, 3, input.len()] {
            let (mut hearing, mut queue) = (Hearing::new(SENT), Vec::new());
            let heard: Vec<bool> =
                input.chunks(step).map(|part| hearing.feed(part, &mut queue).unwrap()).collect();
            let (last, before) = heard.split_last().unwrap();
            assert!(*last && !before.contains(&true), "in reads of {step}: {heard:?}");
            assert_eq!(queue, pong);
        }
    }

    #[test]
    fn anything_else_is_wrong() {
        let hear = |opcode, payload: &[u8]| {
            let mut input = Vec::new();
            frame::put_frame(&mut input, opcode, None, payload);
            Hearing::new(SENT).feed(&input, &mut Vec::new())
        };
        assert!(matches!(hear(frame::BINARY, b"3 24576"), Err(Wrong::Shape(_))));
        assert!(matches!(hear(frame::TEXT, b"how many?"), Err(Wrong::Text(_))));
        assert!(matches!(hear(frame::TEXT, &[b'1'; 101]), Err(Wrong::Shape(_))));
        assert_eq!(hear(frame::CLOSE, &1013_u16.to_be_bytes()), Err(Wrong::Closed(1013)));
        let lost = Count { messages: 2, bytes: 16_384 };
        assert_eq!(hear(frame::TEXT, b"2 16384"), Err(Wrong::Count(lost, SENT)));
    }

    #[test]
    fn what_is_sent_is_what_a_backend_counts() {
        let (mut queue, mut reader, mut seen) = (Vec::new(), Reader::default(), Vec::new());
        put_messages(&mut queue, 500, 3);
        let mut input = queue.as_slice();
        while let Some(piece) = reader.next(&mut input).unwrap() {
            if let Piece::Start(header) = piece {
                seen.push((header.opcode, header.length));
            }
        }
        let message = (frame::BINARY, 500);
        assert_eq!(seen, [message, message, message, (frame::TEXT, 9)]);
    }
}
