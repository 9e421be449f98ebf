//! What is sent, and the proof that exactly this came back: every byte of every answer is compared, as
//! it comes, so that a wrong relay cannot look fast and a large message needs no buffer.

use std::fmt;

use steadfast_protocol::steadfast_v1::client_wire::MESSAGE;

use super::conversation::Conversation;
use super::opening::Opening;
use super::{Dialect, MASK};
use crate::wire::control::Gather;
use crate::wire::frame::{self, FrameError, Header, Piece, Reader};
use crate::wire::protocols;

/// Bytes at the front of each message that name it: its number and its connection's.
pub(crate) const LABEL: usize = 16;

/// One connection's messages: all alike but for the number in front.
#[derive(Debug)]
pub(crate) struct Template {
    /// The whole frame, masked, with the number of the last message sent.
    frame: Vec<u8>,
    /// Where the payload begins.
    header: usize,
    /// What the payload of the answer that is due next must be.
    expected: Vec<u8>,
    /// Bytes of the payload before the label: none, or the kind, or what a protocol begins with.
    lead: usize,
    /// Of the whole message.
    opcode: u8,
    connection: u64,
    dialect: Dialect,
}

impl Template {
    /// Messages of `length` bytes, at least a label. A kind comes in addition.
    pub(crate) fn new(length: usize, connection: u64, dialect: Dialect) -> Self {
        if let Some(protocol) = dialect.protocol() {
            let (mut expected, mut frame) = (protocol.message(length, connection), Vec::new());
            frame::put_frame(&mut frame, frame::TEXT, Some(MASK), &expected);
            let (header, lead, opcode) = (frame.len() - expected.len(), protocol.number_at(), frame::TEXT);
            protocol.answer(&mut expected);
            return Self { frame, header, expected, lead, opcode, connection, dialect };
        }
        let mut expected = match dialect {
            Dialect::Shim => vec![MESSAGE],
            _ => Vec::new(),
        };
        let lead = expected.len();
        expected.extend((0..length.max(LABEL)).map(|at| (at * 31 + at / 251) as u8));
        expected[lead..lead + LABEL].copy_from_slice(&label(0, connection));
        let opcode = frame::BINARY;
        let mut frame = Vec::new();
        frame::put_frame(&mut frame, opcode, Some(MASK), &expected);
        let header = frame.len() - expected.len();
        Self { frame, header, expected, lead, opcode, connection, dialect }
    }

    fn number_to_send(&mut self, number: u64) -> &[u8] {
        let begin = self.header + self.lead;
        if self.dialect.protocol().is_some() {
            let mut digits = protocols::digits(number);
            frame::apply_mask(&mut digits, MASK, self.lead);
            self.frame[begin..begin + protocols::DIGITS].copy_from_slice(&digits);
        } else {
            let mut label = label(number, self.connection);
            frame::apply_mask(&mut label, MASK, self.lead);
            self.frame[begin..begin + LABEL].copy_from_slice(&label);
        }
        &self.frame
    }

    fn expect(&mut self, number: u64) {
        let rest = &mut self.expected[self.lead..];
        if self.dialect.protocol().is_some() {
            rest[..protocols::DIGITS].copy_from_slice(&protocols::digits(number));
        } else {
            rest[..LABEL].copy_from_slice(&label(number, self.connection));
        }
    }
}

fn label(number: u64, connection: u64) -> [u8; LABEL] {
    let mut label = [0; LABEL];
    label[..8].copy_from_slice(&number.to_le_bytes());
    label[8..].copy_from_slice(&connection.to_le_bytes());
    label
}

/// An answer that is not the one expected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// No frame at all.
    Frame(FrameError),
    /// A frame that is not one whole unmasked message of the right kind and length.
    Shape(Header),
    /// Another byte than was sent, in this message at this offset.
    Content(u64, usize),
    /// More answers than messages.
    Unasked,
    /// The broker or the server has said this of its own, and must not.
    Text(String),
    /// The peer closed, with this code.
    Closed(u16),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(error) => write!(f, "{error}"),
            Self::Shape(header) => write!(f, "not the frame that was expected: {header:?}"),
            Self::Content(number, offset) => {
                write!(f, "message {number} differs from what was sent at byte {offset}")
            }
            Self::Unasked => write!(f, "an answer to nothing"),
            Self::Text(text) => write!(f, "it was said `{text}`"),
            Self::Closed(code) => write!(f, "the peer closed with {code}"),
        }
    }
}

impl std::error::Error for Wrong {}

/// Numbers what is sent and judges what comes.
#[derive(Debug)]
pub(crate) struct Checker {
    template: Template,
    sent: u64,
    answered: u64,
    reader: Reader,
    header: Option<Header>,
    offset: usize,
    control: Gather,
    /// With a broker whose shim is linked.
    conversation: Option<Box<Conversation>>,
    /// With a server that speaks first, until it has taken the client.
    opening: Option<Box<Opening>>,
}

impl Checker {
    /// Nothing sent yet.
    pub(crate) fn new(template: Template) -> Self {
        let (reader, control) = (Reader::default(), Gather::default());
        let conversation = (template.dialect == Dialect::Shim).then(Box::default);
        let opening = (template.dialect == Dialect::SocketIo).then(Box::default);
        Self {
            template,
            sent: 0,
            answered: 0,
            reader,
            header: None,
            offset: 0,
            control,
            conversation,
            opening,
        }
    }

    /// Messages may be sent.
    pub(crate) fn is_welcomed(&self) -> bool {
        self.opening.is_none()
            && self.conversation.as_ref().is_none_or(|conversation| conversation.is_welcomed())
    }

    /// Appends an acknowledgement of the answers that have come, if one is due.
    pub(crate) fn acknowledge(&mut self, queue: &mut Vec<u8>) {
        if let Some(conversation) = &mut self.conversation {
            conversation.acknowledge(self.answered, queue);
        }
    }

    /// Appends the next message, behind an acknowledgement.
    pub(crate) fn send(&mut self, queue: &mut Vec<u8>) {
        self.acknowledge(queue);
        queue.extend_from_slice(self.template.number_to_send(self.sent));
        self.sent += 1;
    }

    /// Judges what has come, answers pings into `queue`, and returns how many messages are back.
    pub(crate) fn feed(&mut self, mut input: &[u8], queue: &mut Vec<u8>) -> Result<usize, Wrong> {
        let mut answers = 0;
        while let Some(piece) = self.reader.next(&mut input).map_err(Wrong::Frame)? {
            match (piece, self.header) {
                (Piece::Start(header), _) => self.start(header)?,
                (Piece::Payload { bytes, last }, Some(header)) if header.is_control() => {
                    let control = self.control.take(&header, bytes, last);
                    if let Some(code) = control.and_then(|control| control.answer(Some(MASK), queue)) {
                        return Err(Wrong::Closed(code));
                    }
                }
                (Piece::Payload { bytes, last }, Some(header)) if self.is_aside(&header) => {
                    if let Some(conversation) = &mut self.conversation {
                        conversation.take(bytes, last, self.sent, queue).map_err(Wrong::Text)?;
                    } else if let Some(opening) = &mut self.opening
                        && opening.take(bytes, last, queue).map_err(Wrong::Text)?
                    {
                        self.opening = None;
                    }
                }
                (Piece::Payload { bytes, last }, _) => {
                    self.compare(bytes)?;
                    if last {
                        self.answered += 1;
                        answers += 1;
                    }
                }
            }
        }
        Ok(answers)
    }

    fn start(&mut self, header: Header) -> Result<(), Wrong> {
        self.header = Some(header);
        if header.is_control() || self.is_aside(&header) {
            return Ok(());
        }
        let whole = header.fin && header.opcode == self.template.opcode && header.mask.is_none();
        if !whole || header.length != self.template.expected.len() as u64 {
            return Err(Wrong::Shape(header));
        }
        if self.answered == self.sent {
            return Err(Wrong::Unasked);
        }
        self.template.expect(self.answered);
        self.offset = 0;
        Ok(())
    }

    /// This frame is no answer, but something said of its own.
    fn is_aside(&self, header: &Header) -> bool {
        (self.conversation.is_some() || self.opening.is_some()) && Conversation::is_text(header)
    }

    fn compare(&mut self, bytes: &[u8]) -> Result<(), Wrong> {
        let expected = &self.template.expected[self.offset..self.offset + bytes.len()];
        if bytes != expected {
            let differs = bytes.iter().zip(expected).take_while(|(got, want)| got == want).count();
            return Err(Wrong::Content(self.answered, self.offset + differs));
        }
        self.offset += bytes.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: usize = 300;

    /// The unmasked echoes of `count` messages, as a right backend would send them.
    fn echoes(checker: &mut Checker, count: usize) -> Vec<u8> {
        let mut answers = Vec::new();
        for _ in 0..count {
            let mut sent = Vec::new();
            checker.send(&mut sent);
            let mut payload = sent.split_off(sent.len() - LENGTH);
            frame::apply_mask(&mut payload, MASK, 0);
            frame::put_frame(&mut answers, frame::BINARY, None, &payload);
        }
        answers
    }

    fn checker() -> Checker {
        Checker::new(Template::new(LENGTH, 3, Dialect::Plain))
    }

    /// One that links the shim and is welcomed.
    fn shim_checker() -> Checker {
        let mut checker = Checker::new(Template::new(LENGTH - 1, 3, Dialect::Shim));
        let welcome = format!("w {:032x} {} 0 fresh new", 1, "A".repeat(64));
        let mut input = Vec::new();
        frame::put_frame(&mut input, frame::TEXT, None, welcome.as_bytes());
        assert!(!checker.is_welcomed());
        assert_eq!(checker.feed(&input, &mut Vec::new()), Ok(0));
        assert!(checker.is_welcomed());
        checker
    }

    #[test]
    fn right_answers_are_counted_whatever_the_reads() {
        for (step, checker) in
            [1, 50, 5_000].into_iter().flat_map(|step| [(step, checker()), (step, shim_checker())])
        {
            let mut checker = checker;
            let answers = echoes(&mut checker, 9);
            let counted: Result<usize, Wrong> =
                answers.chunks(step).map(|part| checker.feed(part, &mut Vec::new())).sum();
            assert_eq!(counted, Ok(9), "in reads of {step}");
        }
    }

    #[test]
    fn answers_are_acknowledged_in_front_of_the_next_message() {
        let mut checker = shim_checker();
        let answers = echoes(&mut checker, 2);
        assert_eq!(checker.feed(&answers, &mut Vec::new()), Ok(2));
        let (mut queue, mut acknowledgement) = (Vec::new(), Vec::new());
        checker.send(&mut queue);
        frame::put_frame(&mut acknowledgement, frame::TEXT, Some(MASK), b"a 2");
        assert!(queue.starts_with(&acknowledgement));
        let before = queue.len();
        checker.send(&mut queue);
        assert_eq!(queue.len() - before, before - acknowledgement.len(), "once");
    }

    #[test]
    fn what_the_broker_says_of_its_own_is_judged() {
        let mut texts = Vec::new();
        frame::put_frame(&mut texts, frame::TEXT, None, b"a 1 1");
        assert_eq!(shim_checker().feed(&texts, &mut Vec::new()), Err(Wrong::Text("a 1 1".to_owned())));
        assert!(matches!(checker().feed(&texts, &mut Vec::new()), Err(Wrong::Shape(_))));
        let mut asked = shim_checker();
        let mut answers = echoes(&mut asked, 1);
        answers.extend_from_slice(&texts);
        assert_eq!(asked.feed(&answers, &mut Vec::new()), Ok(1));
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let good = echoes(&mut checker(), 2);
        for at in 0..good.len() {
            let mut checker = checker();
            let mut bad = echoes(&mut checker, 2);
            bad[at] ^= 1;
            assert!(checker.feed(&bad, &mut Vec::new()).is_err(), "byte {at}");
        }
    }

    #[test]
    fn swapped_repeated_and_foreign_answers_are_noticed() {
        let mut swapped = checker();
        let answers = echoes(&mut swapped, 2);
        let (first, second) = answers.split_at(answers.len() / 2);
        assert_eq!(swapped.feed(second, &mut Vec::new()), Err(Wrong::Content(0, 0)));

        let mut repeated = checker();
        let one = echoes(&mut repeated, 1);
        assert_eq!(repeated.feed(&one, &mut Vec::new()), Ok(1));
        assert!(matches!(repeated.feed(&one, &mut Vec::new()), Err(Wrong::Unasked)));

        let mut neighbour = Checker::new(Template::new(LENGTH, 4, Dialect::Plain));
        echoes(&mut neighbour, 1);
        assert_eq!(neighbour.feed(first, &mut Vec::new()), Err(Wrong::Content(0, 8)));
    }

    #[test]
    fn pings_are_answered_and_a_close_is_an_end() {
        let (mut checker, mut queue) = (checker(), Vec::new());
        let mut input = Vec::new();
        frame::put_frame(&mut input, frame::PING, None, b"k");
        assert_eq!(checker.feed(&input, &mut queue), Ok(0));
        let mut pong = Vec::new();
        frame::put_frame(&mut pong, frame::PONG, Some(MASK), b"k");
        assert_eq!(queue, pong);

        let mut close = Vec::new();
        frame::put_frame(&mut close, frame::CLOSE, None, &1001_u16.to_be_bytes());
        assert_eq!(checker.feed(&close, &mut queue), Err(Wrong::Closed(1001)));
    }
}
