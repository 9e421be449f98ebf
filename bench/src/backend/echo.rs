//! What the echo server answers, without sockets and clock.
//!
//! Messages come back whole, never before their last frame is here, as from any real server. A pong
//! goes behind the answers to the messages before its ping, in the same bytes to be written.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::pace::Pace;
use crate::wire::control::{CODE_NONE, Control, Gather};
use crate::wire::frame::{self, FrameError, Header, Piece, Reader};

/// One connection's state.
#[derive(Debug)]
pub(super) struct Echo<'a> {
    name: Vec<u8>,
    pace: &'a Pace,
    reader: Reader,
    header: Option<Header>,
    control: Gather,
    /// The answer to a message of which a part is still to come.
    open: Vec<u8>,
    /// How much of the open frame's payload has been seen.
    offset: usize,
    /// Answers that wait for their time, in order.
    delayed: VecDeque<(Instant, Vec<u8>)>,
    closed: bool,
}

impl<'a> Echo<'a> {
    /// A server that puts `name` in front of every message and answers at this pace.
    pub(super) fn new(name: &[u8], pace: &'a Pace) -> Self {
        Self {
            name: name.to_owned(),
            pace,
            reader: Reader::default(),
            header: None,
            control: Gather::default(),
            open: Vec::new(),
            offset: 0,
            delayed: VecDeque::new(),
            closed: false,
        }
    }

    /// The client has sent Close, and the answer to it is the last.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes what the client has sent; appends to `answers` what is to be written at once.
    pub(super) fn feed(
        &mut self,
        mut input: &[u8],
        now: Instant,
        answers: &mut Vec<u8>,
    ) -> Result<(), FrameError> {
        while let (false, Some(piece)) = (self.closed, self.reader.next(&mut input)?) {
            match (piece, self.header) {
                (Piece::Start(header), _) => self.start(header),
                (Piece::Payload { bytes, last }, Some(header)) if header.is_control() => {
                    let whole = self.control.take(&header, bytes, last);
                    whole.into_iter().for_each(|control| self.answer_control(control, answers));
                }
                (Piece::Payload { bytes, last }, Some(header)) => {
                    self.take_data(&header, bytes);
                    if last && header.fin {
                        self.answer_message(now, answers);
                    }
                }
                (Piece::Payload { .. }, None) => {}
            }
        }
        Ok(())
    }

    /// When the next delayed answer is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.delayed.front().map(|(due, _)| *due)
    }

    /// Appends the delayed answers whose time has come.
    pub(super) fn release(&mut self, now: Instant, answers: &mut Vec<u8>) {
        while self.next_due().is_some_and(|due| due <= now) {
            let answer = self.delayed.pop_front();
            answers.extend(answer.into_iter().flat_map(|(_, bytes)| bytes));
        }
    }

    fn start(&mut self, header: Header) {
        self.header = Some(header);
        self.offset = 0;
        if header.is_control() {
            return;
        }
        let name = if header.opcode == frame::CONTINUATION { &[] } else { self.name.as_slice() };
        let answer = Header { mask: None, length: header.length + name.len() as u64, ..header };
        frame::put_header(&mut self.open, &answer);
        self.open.extend_from_slice(name);
    }

    fn take_data(&mut self, header: &Header, bytes: &[u8]) {
        let start = self.open.len();
        self.open.extend_from_slice(bytes);
        if let Some(key) = header.mask {
            frame::apply_mask(&mut self.open[start..], key, self.offset);
        }
        self.offset += bytes.len();
    }

    fn answer_message(&mut self, now: Instant, answers: &mut Vec<u8>) {
        let due = now + self.pace.next();
        let due = self.delayed.back().map_or(due, |(before, _)| due.max(*before));
        if due > now || !self.delayed.is_empty() {
            self.delayed.push_back((due, std::mem::take(&mut self.open)));
        } else if answers.is_empty() {
            // A large message is not copied again.
            std::mem::swap(&mut self.open, answers);
        } else {
            answers.append(&mut self.open);
        }
    }

    fn answer_control(&mut self, control: Control, answers: &mut Vec<u8>) {
        match control {
            Control::Ping(payload) => frame::put_frame(answers, frame::PONG, None, &payload),
            Control::Pong => {}
            Control::Close(code) => {
                let payload = code.to_be_bytes();
                let sent = if code == CODE_NONE { &[] } else { payload.as_slice() };
                frame::put_frame(answers, frame::CLOSE, None, sent);
                self.closed = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::wire::frame::{BINARY, CLOSE, CONTINUATION, PING, PONG, put_frame, put_header};

    const KEY: Option<[u8; 4]> = Some([1, 2, 3, 4]);

    fn pace(delay_ms: u64) -> Pace {
        Pace::new(Duration::from_millis(delay_ms), Duration::ZERO)
    }

    fn answers(echo: &mut Echo<'_>, input: &[u8], step: usize) -> Vec<u8> {
        let mut answers = Vec::new();
        for part in input.chunks(step) {
            echo.feed(part, Instant::now(), &mut answers).unwrap();
        }
        answers
    }

    #[test]
    fn messages_and_pongs_come_back_in_order_whatever_the_reads() {
        let (mut input, mut expected) = (Vec::new(), Vec::new());
        for payload in [b"one".to_vec(), vec![7; 300], Vec::new()] {
            put_frame(&mut input, BINARY, KEY, &payload);
            put_frame(&mut input, PING, KEY, b"p");
            put_frame(&mut expected, BINARY, None, &[b"a:".as_slice(), &payload].concat());
            put_frame(&mut expected, PONG, None, b"p");
        }
        let at_once = pace(0);
        for step in [1, 5, input.len()] {
            let mut server = Echo::new(b"a:", &at_once);
            assert_eq!(answers(&mut server, &input, step), expected, "in reads of {step}");
        }
    }

    #[test]
    fn a_fragmented_message_waits_for_its_end_and_a_ping_does_not() {
        let at_once = pace(0);
        let mut server = Echo::new(b"a:", &at_once);
        let mut input = Vec::new();
        put_header(&mut input, &Header { fin: false, opcode: BINARY, mask: None, length: 2 });
        input.extend_from_slice(b"he");
        put_frame(&mut input, PING, KEY, b"");
        let mut pong = Vec::new();
        put_frame(&mut pong, PONG, None, b"");
        assert_eq!(answers(&mut server, &input, 3), pong);

        let mut rest = Vec::new();
        put_frame(&mut rest, CONTINUATION, KEY, b"y!");
        let whole = [&[0x02, 4][..], b"a:he", &[0x80, 2], b"y!"].concat();
        assert_eq!(answers(&mut server, &rest, 1), whole);
    }

    #[test]
    fn a_delayed_server_answers_pings_before_messages() {
        let slow = pace(20);
        let mut server = Echo::new(b"", &slow);
        let mut input = Vec::new();
        put_frame(&mut input, BINARY, KEY, b"slow");
        put_frame(&mut input, PING, KEY, b"");
        let (mut pong, mut message) = (Vec::new(), Vec::new());
        put_frame(&mut pong, PONG, None, b"");
        put_frame(&mut message, BINARY, None, b"slow");

        assert_eq!(answers(&mut server, &input, input.len()), pong);
        let due = server.next_due().expect("an answer is owed");
        let mut late = Vec::new();
        server.release(due - Duration::from_millis(1), &mut late);
        assert_eq!(late, b"");
        server.release(due, &mut late);
        assert_eq!(late, message);
        assert_eq!(server.next_due(), None);
    }

    #[test]
    fn no_answer_overtakes_one_that_is_late() {
        let at_once_or_late = Pace::new(Duration::ZERO, Duration::from_millis(50));
        let mut server = Echo::new(b"", &at_once_or_late);
        let (mut input, mut expected) = (Vec::new(), Vec::new());
        for n in 1..=21_u8 {
            put_frame(&mut input, BINARY, KEY, &[n]);
            put_frame(&mut expected, BINARY, None, &[n]);
        }
        let mut all = answers(&mut server, &input, input.len());
        assert_eq!(all, expected[..19 * 3]);
        // Its time has come, and nobody has looked yet.
        let due = server.next_due().expect("an answer is late");
        put_frame(&mut expected, BINARY, None, b"next");
        input.clear();
        put_frame(&mut input, BINARY, KEY, b"next");
        server.feed(&input, due, &mut all).unwrap();
        server.release(due, &mut all);
        assert_eq!(all, expected);
    }

    #[test]
    fn close_is_answered_with_its_code_and_ends_everything() {
        let at_once = pace(0);
        let mut server = Echo::new(b"", &at_once);
        let mut input = Vec::new();
        put_frame(&mut input, CLOSE, KEY, &1000_u16.to_be_bytes());
        put_frame(&mut input, BINARY, KEY, b"late");
        assert_eq!(answers(&mut server, &input, input.len()), [0x88, 2, 0x03, 0xE8]);
        assert!(server.is_closed());

        let mut bare = Vec::new();
        put_frame(&mut bare, CLOSE, KEY, b"");
        assert_eq!(answers(&mut Echo::new(b"", &at_once), &bare, 1), [0x88, 0]);
    }
}
