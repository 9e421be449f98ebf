//! What the echo server answers, without sockets and clock.
//!
//! Messages come back whole, never before their last frame is here, as from any real server. A pong
//! goes behind the answers to the messages before its ping, in the same bytes to be written. To a broker
//! that has asked for the shim, messages come back in commits, which hold all that was read at once, or
//! one each.

use std::collections::VecDeque;
use std::fmt;

use steadfast_protocol::steadfast_v1::service_wire::Malformed;
use tokio::time::Instant;

use super::commits::Commits;
use super::pace::Pace;
use crate::wire::control::{Control, Gather, put_close};
use crate::wire::frame::{self, FrameError, Header, Piece, Reader};
use crate::wire::protocols::{self, Protocol};

/// What a client must not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nonsense {
    /// Bytes that are no frame.
    Frame(FrameError),
    /// A broker that has asked for the shim begins with something other than ATTACH.
    NoAttach(Malformed),
}

impl fmt::Display for Nonsense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(error) => error.fmt(f),
            Self::NoAttach(why) => write!(f, "the first message is no ATTACH: {why}"),
        }
    }
}

impl std::error::Error for Nonsense {}

/// How a backend answers, on all its connections.
#[derive(Debug)]
pub(super) struct Manner {
    /// Put in front of every message.
    pub(super) name: Vec<u8>,
    /// How long it takes.
    pub(super) pace: Pace,
    /// Each message gets a commit of its own, where there are commits.
    pub(super) commit_each: bool,
    /// Whose words it answers in.
    pub(super) protocol: Option<Protocol>,
}

/// One connection's state.
#[derive(Debug)]
pub(super) struct Echo<'a> {
    manner: &'a Manner,
    reader: Reader,
    header: Option<Header>,
    control: Gather,
    /// For a broker that has asked for the shim.
    commits: Option<Commits>,
    /// The answer to a message of which a part is still to come.
    open: Vec<u8>,
    /// How much of the open frame's payload has been seen.
    offset: usize,
    /// Answers that wait for their time, in order.
    delayed: VecDeque<(Instant, Vec<u8>)>,
    closed: bool,
}

impl<'a> Echo<'a> {
    /// A server that answers like this. `shim`: by commits.
    pub(super) fn new(manner: &'a Manner, shim: bool) -> Self {
        Self {
            manner,
            reader: Reader::default(),
            header: None,
            control: Gather::default(),
            commits: shim.then(Commits::new),
            open: Vec::new(),
            offset: 0,
            delayed: VecDeque::new(),
            closed: false,
        }
    }

    /// Appends what it says first.
    pub(super) fn greet(&self, answers: &mut Vec<u8>) {
        if self.manner.protocol == Some(Protocol::SocketIo) {
            frame::put_frame(answers, frame::TEXT, None, protocols::GREETING);
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
    ) -> Result<(), Nonsense> {
        while let (false, Some(piece)) = (self.closed, self.reader.next(&mut input).map_err(Nonsense::Frame)?)
        {
            match (piece, self.header) {
                (Piece::Start(header), _) => self.start(header),
                (Piece::Payload { bytes, last }, Some(header)) if header.is_control() => {
                    let whole = self.control.take(&header, bytes, last);
                    whole.into_iter().for_each(|control| self.answer_control(control, now, answers));
                }
                (Piece::Payload { bytes, last }, Some(header)) => {
                    self.take_data(&header, bytes);
                    if last && header.fin {
                        self.end_message(now, answers)?;
                    }
                }
                (Piece::Payload { .. }, None) => {}
            }
        }
        self.commit(now, answers);
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
        let name = self.manner.name.as_slice();
        if let Some(commits) = &mut self.commits {
            return commits.start(&header, name);
        }
        let name = if header.opcode == frame::CONTINUATION { &[] } else { name };
        let answer = Header { mask: None, length: header.length + name.len() as u64, ..header };
        frame::put_header(&mut self.open, &answer);
        self.open.extend_from_slice(name);
    }

    fn take_data(&mut self, header: &Header, bytes: &[u8]) {
        let open = self.commits.as_mut().map_or(&mut self.open, Commits::payload);
        let start = open.len();
        open.extend_from_slice(bytes);
        if let Some(key) = header.mask {
            frame::apply_mask(&mut open[start..], key, self.offset);
        }
        self.offset += bytes.len();
    }

    fn end_message(&mut self, now: Instant, answers: &mut Vec<u8>) -> Result<(), Nonsense> {
        let Some(commits) = &mut self.commits else {
            self.word();
            self.answer(now, answers);
            return Ok(());
        };
        commits.end_message().map_err(Nonsense::NoAttach)?;
        if self.manner.commit_each {
            self.commit(now, answers);
        }
        Ok(())
    }

    /// Puts what is open into the protocol's words. Clients of one send no fragments, and no name is put before theirs.
    fn word(&mut self) {
        let Some(protocol) = self.manner.protocol else { return };
        let payload = self.open.len() - self.offset;
        if protocol == Protocol::SocketIo && &self.open[payload..] == protocols::CONNECT {
            self.open.clear();
            frame::put_frame(&mut self.open, frame::TEXT, None, protocols::CONNECTED);
        } else {
            protocol.answer(&mut self.open[payload..]);
        }
    }

    fn commit(&mut self, now: Instant, answers: &mut Vec<u8>) {
        if self.commits.as_mut().is_some_and(|commits| commits.commit(&mut self.open)) {
            self.answer(now, answers);
        }
    }

    /// What is open is an answer now.
    fn answer(&mut self, now: Instant, answers: &mut Vec<u8>) {
        let due = now + self.manner.pace.next();
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

    fn answer_control(&mut self, control: Control, now: Instant, answers: &mut Vec<u8>) {
        if let Some(code) = control.answer(None, answers) {
            // Behind our own Close nothing counts.
            self.commit(now, answers);
            put_close(answers, code);
            self.closed = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use steadfast_protocol::steadfast_v1::service_wire::{Attach, Envelope};

    use super::*;
    use crate::wire::frame::{BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, put_frame, put_header};

    const KEY: Option<[u8; 4]> = Some([1, 2, 3, 4]);

    fn manner(name: &[u8], delay_ms: u64) -> Manner {
        let pace = Pace::new(Duration::from_millis(delay_ms), Duration::ZERO);
        Manner { name: name.to_owned(), pace, commit_each: false, protocol: None }
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
        let manner = manner(b"a:", 0);
        for step in [1, 5, input.len()] {
            let mut server = Echo::new(&manner, false);
            assert_eq!(answers(&mut server, &input, step), expected, "in reads of {step}");
        }
    }

    #[test]
    fn a_fragmented_message_waits_for_its_end_and_a_ping_does_not() {
        let manner = manner(b"a:", 0);
        let mut server = Echo::new(&manner, false);
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
        let slow = manner(b"", 20);
        let mut server = Echo::new(&slow, false);
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
        let pace = Pace::new(Duration::ZERO, Duration::from_millis(50));
        let at_once_or_late = Manner { pace, ..manner(b"", 0) };
        let mut server = Echo::new(&at_once_or_late, false);
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
        let at_once = manner(b"", 0);
        let mut server = Echo::new(&at_once, false);
        let mut input = Vec::new();
        put_frame(&mut input, CLOSE, KEY, &1000_u16.to_be_bytes());
        put_frame(&mut input, BINARY, KEY, b"late");
        assert_eq!(answers(&mut server, &input, input.len()), [0x88, 2, 0x03, 0xE8]);
        assert!(server.is_closed());

        let mut bare = Vec::new();
        put_frame(&mut bare, CLOSE, KEY, b"");
        assert_eq!(answers(&mut Echo::new(&at_once, false), &bare, 1), [0x88, 0]);
    }

    const ATTACH: Attach<'_> =
        Attach { epoch: 2, applied: 7, committed: 40, session: [1; 16], capsule: Some(b"ignored") };

    /// Number, upto and outputs.
    type Said = (u64, u64, Vec<(bool, Vec<u8>)>);

    /// The commits in what a server has written; pongs are left out.
    fn commits(mut written: &[u8]) -> Vec<Said> {
        let (mut reader, mut commits, mut binary) = (Reader::default(), Vec::new(), false);
        while let Some(piece) = reader.next(&mut written).unwrap() {
            match piece {
                Piece::Start(header) => binary = header.opcode == BINARY,
                Piece::Payload { bytes, .. } if binary => {
                    let Ok(Envelope::Commit(commit)) = Envelope::decode(bytes) else {
                        panic!("no commit: {bytes:?}")
                    };
                    let outputs = commit.outputs.map(|output| (output.text, output.payload.to_vec()));
                    commits.push((commit.number, commit.upto, outputs.collect()));
                }
                Piece::Payload { .. } => {}
            }
        }
        commits
    }

    #[test]
    fn a_broker_that_asks_for_the_shim_gets_commits() {
        let mut input = Vec::new();
        put_frame(&mut input, BINARY, KEY, &ATTACH.encode());
        put_frame(&mut input, TEXT, KEY, b"one");
        put_frame(&mut input, PING, KEY, b"p");
        put_header(&mut input, &Header { fin: false, opcode: BINARY, mask: None, length: 1 });
        input.push(b't');
        put_frame(&mut input, CONTINUATION, KEY, b"wo");
        let outputs = [(true, b"a:one".to_vec()), (false, b"a:two".to_vec())];
        let [one, two] = outputs.clone();
        let each = [(8, 41, vec![one]), (9, 42, vec![two])];

        let together = manner(b"a:", 0);
        let written = answers(&mut Echo::new(&together, true), &input, input.len());
        assert_eq!(commits(&written), [(8, 42, outputs.to_vec())]);
        assert!(written.starts_with(&[0x8A, 1, b'p']), "a ping is answered at once");
        for step in [1, 2, 5] {
            let written = answers(&mut Echo::new(&together, true), &input, step);
            assert_eq!(commits(&written), each, "in reads of {step}");
        }
        let one_each = Manner { commit_each: true, ..manner(b"a:", 0) };
        assert_eq!(commits(&answers(&mut Echo::new(&one_each, true), &input, input.len())), each);
    }

    #[test]
    fn what_is_consumed_is_committed_before_the_close_is_answered() {
        let (at_once, mut input) = (manner(b"", 0), Vec::new());
        put_frame(&mut input, BINARY, KEY, &ATTACH.encode());
        put_frame(&mut input, BINARY, KEY, b"last");
        put_frame(&mut input, CLOSE, KEY, &1000_u16.to_be_bytes());
        let written = answers(&mut Echo::new(&at_once, true), &input, input.len());
        let close = written.len() - 4;
        assert_eq!(commits(&written[..close]), [(8, 41, vec![(false, b"last".to_vec())])]);
        assert_eq!(written[close..], [0x88, 2, 0x03, 0xE8]);
    }

    #[test]
    fn a_broker_that_does_not_attach_first_is_left() {
        let (at_once, mut text, mut input) = (manner(b"", 0), Vec::new(), Vec::new());
        put_frame(&mut text, TEXT, KEY, &ATTACH.encode());
        put_frame(&mut input, BINARY, KEY, b"hello");
        for input in [text, input] {
            let fed = Echo::new(&at_once, true).feed(&input, Instant::now(), &mut Vec::new());
            assert!(matches!(fed, Err(Nonsense::NoAttach(_))), "{fed:?}");
        }
    }
}
