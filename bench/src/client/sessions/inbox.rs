//! A session's messages: how they are labelled, and how an answer tells what it answers and who gave
//! it. An answer is the message itself, behind the name of its backend (which may be empty).

use crate::client::MASK;
use crate::wire::control::{CODE_ABNORMAL, Gather};
use crate::wire::frame::{self, Header, Piece, Reader};

/// Bytes at the front of each message: its number and its session's.
pub(crate) const LABEL: usize = 16;
/// Bytes of a backend's name at most.
const NAME_MAX: usize = 256;

/// What has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// A message is back.
    Answer {
        /// Which, counted from 0.
        number: usize,
        /// Who answered; empty when the backend does not say.
        backend: String,
    },
    /// Something that was never sent on this session.
    Wrong,
    /// The connection has ended, with this code.
    Closed(u16),
}

impl News {
    /// An end without a Close frame.
    pub(super) const CLOSED_ABNORMALLY: Self = Self::Closed(CODE_ABNORMAL);
}

/// Writes and reads the messages of one session.
#[derive(Debug)]
pub(super) struct Inbox {
    session: u64,
    payload: Vec<u8>,
    reader: Reader,
    header: Option<Header>,
    control: Gather,
    open: Vec<u8>,
}

impl Inbox {
    /// Messages of `length` bytes, at least a label.
    pub(super) fn new(session: u64, length: usize) -> Self {
        let mut payload: Vec<u8> = (0..length.max(LABEL)).map(|at| b'a' + (at % 26) as u8).collect();
        payload[8..LABEL].copy_from_slice(&session.to_le_bytes());
        let (reader, control) = (Reader::default(), Gather::default());
        Self { session, payload, reader, header: None, control, open: Vec::new() }
    }

    /// Appends message `number`.
    pub(super) fn put_message(&mut self, number: usize, queue: &mut Vec<u8>) {
        self.payload[..8].copy_from_slice(&(number as u64).to_le_bytes());
        frame::put_frame(queue, frame::BINARY, Some(MASK), &self.payload);
    }

    /// Reads what has come; answers pings and a Close into `queue`.
    pub(super) fn feed(&mut self, mut input: &[u8], queue: &mut Vec<u8>) -> Vec<News> {
        let mut news = Vec::new();
        loop {
            match self.reader.next(&mut input) {
                Ok(Some(piece)) => news.extend(self.take(piece, queue)),
                Ok(None) => return news,
                Err(_) => {
                    // Behind bytes that are no frame nothing can be understood.
                    news.extend([News::Wrong, News::CLOSED_ABNORMALLY]);
                    return news;
                }
            }
        }
    }

    fn take(&mut self, piece: Piece<'_>, queue: &mut Vec<u8>) -> Option<News> {
        let (bytes, last) = match piece {
            Piece::Start(header) => {
                self.header = Some(header);
                return None;
            }
            Piece::Payload { bytes, last } => (bytes, last),
        };
        let header = self.header?;
        if header.is_control() {
            return self.take_control(self.header, bytes, last, queue);
        }
        // One byte too many is enough to know that it is wrong.
        let room = (self.payload.len() + NAME_MAX + 1).saturating_sub(self.open.len());
        self.open.extend_from_slice(&bytes[..bytes.len().min(room)]);
        (last && header.fin).then(|| self.judge())
    }

    fn take_control(
        &mut self,
        header: Option<Header>,
        bytes: &[u8],
        last: bool,
        queue: &mut Vec<u8>,
    ) -> Option<News> {
        self.control.take(&header?, bytes, last)?.answer(Some(MASK), queue).map(News::Closed)
    }

    fn judge(&mut self) -> News {
        let answer = std::mem::take(&mut self.open);
        self.read(&answer).unwrap_or(News::Wrong)
    }

    fn read(&self, answer: &[u8]) -> Option<News> {
        let (name, message) = answer.split_at_checked(answer.len().checked_sub(self.payload.len())?)?;
        let (number, rest) = message.split_first_chunk()?;
        let mine = rest[..8] == self.session.to_le_bytes() && rest[8..] == self.payload[LABEL..];
        let number = usize::try_from(u64::from_le_bytes(*number)).ok()?;
        let backend = String::from_utf8(name.to_vec()).ok()?;
        (mine && name.len() <= NAME_MAX).then_some(News::Answer { number, backend })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(session: u64, number: usize, name: &str) -> Vec<u8> {
        let mut sent = Vec::new();
        Inbox::new(session, 64).put_message(number, &mut sent);
        let mut payload = sent.split_off(sent.len() - 64);
        frame::apply_mask(&mut payload, MASK, 0);
        let mut answer = Vec::new();
        frame::put_frame(&mut answer, frame::BINARY, None, &[name.as_bytes(), &payload].concat());
        answer
    }

    fn news(input: &[u8], step: usize) -> Vec<News> {
        let mut inbox = Inbox::new(3, 64);
        input.chunks(step).flat_map(|part| inbox.feed(part, &mut Vec::new())).collect()
    }

    #[test]
    fn answers_name_their_message_and_their_backend() {
        let input = [answer(3, 5, "a:"), answer(3, 6, "")].concat();
        for step in [1, 10, 1_000] {
            let expected = [("a:", 5), ("", 6)]
                .map(|(backend, number)| News::Answer { number, backend: backend.to_owned() });
            assert_eq!(news(&input, step), expected, "in reads of {step}");
        }
    }

    #[test]
    fn foreign_changed_short_and_long_answers_are_wrong() {
        assert_eq!(news(&answer(4, 5, "a:"), 1_000), [News::Wrong]);
        let mut changed = answer(3, 5, "a:");
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(news(&changed, 1_000), [News::Wrong]);
        let mut short = Vec::new();
        frame::put_frame(&mut short, frame::BINARY, None, b"short");
        assert_eq!(news(&short, 1_000), [News::Wrong]);
        assert_eq!(news(&answer(3, 5, &"n".repeat(300)), 1_000), [News::Wrong]);
    }

    #[test]
    fn the_end_has_a_code() {
        let mut close = Vec::new();
        frame::put_frame(&mut close, frame::CLOSE, None, &1012_u16.to_be_bytes());
        assert_eq!(news(&close, 1), [News::Closed(1012)]);
        assert_eq!(news(&[0xC1, 0x00], 2), [News::Wrong, News::CLOSED_ABNORMALLY]);
    }
}
