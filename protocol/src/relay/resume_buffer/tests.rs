//! What a client's connections get, whatever is said and lost in whatever order.

use proptest::prelude::*;

use super::*;
use crate::websocket::frame::{Header, data_frame, encode_header};

/// A frame as a connection gets it.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    /// An application's message with this number. Its payload was right.
    Message(u64),
    /// One of our own.
    Said,
    Control(Opcode),
}

/// A message's payload.
fn payload(seq: u64, len: usize) -> Vec<u8> {
    let mut payload = format!("m{seq}:").into_bytes();
    payload.resize(payload.len() + len, b'x');
    payload
}

/// The frames of a message.
fn frames(seq: u64, len: usize, parts: usize) -> Vec<u8> {
    let payload = payload(seq, len);
    let size = payload.len().div_ceil(parts.max(1)).max(1);
    let count = payload.len().div_ceil(size);
    let mut bytes = Vec::new();
    for (n, part) in payload.chunks(size).enumerate() {
        let opcode = if n == 0 { Opcode::Text } else { Opcode::Continuation };
        let (header, len) = encode_header(n + 1 == count, opcode, part.len() as u64, None);
        bytes.extend_from_slice(&header[..len]);
        bytes.extend_from_slice(part);
    }
    bytes
}

fn whole(bytes: &[u8]) -> Data<'_> {
    Data { bytes, messages: 1, whole: bytes.len() }
}

/// What a connection has got, read strictly: whole frames, and none of ours within a message. The second is
/// what is there of a frame or message that is not whole.
fn read(mut bytes: &[u8]) -> (Vec<Got>, usize) {
    let (mut got, mut open): (Vec<Got>, Option<Vec<u8>>) = (Vec::new(), None);
    let mut behind = bytes.len();
    while let Some(header) = Header::parse(bytes).expect("legal") {
        let Some((frame, rest)) = bytes.split_at_checked(header.len + header.payload_len as usize) else {
            break;
        };
        assert_ne!(got.last(), Some(&Got::Control(Opcode::Close)), "a frame after a Close");
        bytes = rest;
        let payload = &frame[header.len..];
        if header.opcode.is_control() {
            assert!(open.is_none(), "{:?} within a message", header.opcode);
            got.push(Got::Control(header.opcode));
        } else {
            assert_eq!(header.opcode == Opcode::Continuation, open.is_some(), "the order of fragments");
            let mut message = open.take().unwrap_or_default();
            message.extend_from_slice(payload);
            if header.fin {
                got.push(meaning(&message));
            } else {
                open = Some(message);
            }
        }
        if open.is_none() {
            behind = bytes.len();
        }
    }
    (got, behind)
}

fn meaning(message: &[u8]) -> Got {
    let Some(text) = message.strip_prefix(b"m") else { return Got::Said };
    let text = std::str::from_utf8(text).expect("ASCII");
    let (seq, rest) = text.split_once(':').expect("a number");
    assert!(rest.bytes().all(|byte| byte == b'x'));
    Got::Message(seq.parse().expect("a number"))
}

/// Writes at most `room` bytes, and returns them.
fn write(kept: &mut ResumeBuffer, room: usize) -> Vec<u8> {
    let bytes: Vec<u8> =
        kept.transmit().pieces().iter().flat_map(|piece| piece.to_vec()).take(room).collect();
    kept.written(bytes.len());
    bytes
}

fn write_all(kept: &mut ResumeBuffer) -> Vec<u8> {
    let mut all = Vec::new();
    while kept.waiting() > 0 {
        let bytes = write(kept, usize::MAX);
        assert!(!bytes.is_empty(), "{} bytes wait and cannot be written", kept.waiting());
        all.extend(bytes);
    }
    all
}

fn with_messages(count: u64) -> ResumeBuffer {
    let mut kept = ResumeBuffer::default();
    (1..=count).for_each(|seq| kept.append(&whole(&frames(seq, 3, 1))));
    kept
}

#[test]
fn what_is_not_acknowledged_is_given_again() {
    let mut kept = with_messages(3);
    assert_eq!(read(&write_all(&mut kept)).0, [1, 2, 3].map(Got::Message));
    assert_eq!(kept.acknowledge(1), Ok(()));
    kept.detach();
    assert_eq!((kept.waiting(), write(&mut kept, 100)), (0, Vec::new()));
    kept.attach(None);
    assert_eq!(read(&write_all(&mut kept)).0, [2, 3].map(Got::Message));
    kept.attach(Some(2));
    assert_eq!(read(&write_all(&mut kept)).0, [3].map(Got::Message));
    assert_eq!(kept.acknowledge(3), Ok(()));
    assert!(kept.all_acknowledged() && kept.buffered() == 0);
}

#[test]
fn what_was_not_sent_cannot_be_acknowledged() {
    let mut kept = with_messages(3);
    assert_eq!(kept.acknowledge(1), Err(NotSent));
    let first = frames(1, 3, 1);
    write(&mut kept, first.len() - 1);
    assert_eq!(kept.acknowledge(1), Err(NotSent), "the last byte is missing");
    write(&mut kept, 1);
    assert_eq!((kept.acknowledge(1), kept.acknowledge(2)), (Ok(()), Err(NotSent)));
    assert_eq!(kept.acknowledge(0), Ok(()), "it says nothing new");
    write_all(&mut kept);
    kept.attach(Some(1));
    assert_eq!(kept.acknowledge(2), Err(NotSent), "it was sent, but not on this connection");
}

#[test]
fn a_client_can_come_back_with_what_it_was_given_and_has_not_acknowledged() {
    let mut kept = with_messages(3);
    write(&mut kept, frames(1, 3, 1).len() * 2 + 1);
    let reach = |kept: &ResumeBuffer| (0..5).map(|last| kept.reaches(last)).collect::<Vec<_>>();
    assert_eq!(reach(&kept), [true, true, true, false, false], "the third was given in part");
    assert_eq!(kept.acknowledge(1), Ok(()));
    assert_eq!(reach(&kept), [false, true, true, false, false]);
    kept.attach(Some(1));
    assert_eq!(reach(&kept), [false, true, true, false, false], "what an earlier connection took counts");
    assert_eq!(kept.ungiven(), 1);
}

#[test]
fn our_own_frames_wait_for_the_end_of_a_message_that_is_begun() {
    for parts in 1..4 {
        let message = frames(1, 20, parts);
        for room in 1..message.len() {
            let mut kept = ResumeBuffer::default();
            kept.append(&whole(&message));
            let mut got = write(&mut kept, room);
            kept.control(Opcode::Ping, b"");
            kept.append(&whole(&frames(2, 0, 1)));
            got.extend(write_all(&mut kept));
            assert_eq!(read(&got).0, [Got::Message(1), Got::Control(Opcode::Ping), Got::Message(2)]);
        }
    }
}

#[test]
fn nothing_follows_a_close_and_it_is_said_on_each_connection() {
    let mut kept = with_messages(1);
    for n in 0..200u8 {
        kept.control(Opcode::Pong, &[n; 120]);
    }
    kept.control(Opcode::Close, b"\x03\xE8");
    let (got, cut) = read(&write_all(&mut kept));
    assert_eq!((got.last(), cut), (Some(&Got::Control(Opcode::Close)), 0));
    assert_eq!(kept.waiting(), 0);
    kept.attach(Some(0));
    assert_eq!(read(&write_all(&mut kept)).0, [Got::Message(1), Got::Control(Opcode::Close)]);
}

#[test]
fn our_own_frames_do_not_grow_without_end() {
    let mut kept = with_messages(1);
    let said = data_frame(Opcode::Text, b"a 1 1", None);
    for n in 0..10_000u32 {
        kept.control(Opcode::Pong, &n.to_be_bytes());
        kept.say(&said);
    }
    assert!(kept.waiting() < 3 * OURS_ROOM, "{} bytes", kept.waiting());
    let bytes = write_all(&mut kept);
    assert!(bytes.windows(4).any(|window| window == 9_999u32.to_be_bytes()), "the latest ping is answered");
    assert!(bytes.ends_with(&said), "and the latest word is said");
}

#[test]
fn half_a_message_waits_for_its_end_or_is_dropped() {
    let (mut kept, message) = (with_messages(1), frames(2, 10, 2));
    kept.append(&Data { bytes: &message[..5], messages: 0, whole: 0 });
    assert_eq!(read(&write_all(&mut kept)).0, [Got::Message(1)]);
    assert!(kept.drop_open() && !kept.drop_open());
    kept.append(&whole(&frames(2, 0, 1)));
    assert_eq!(read(&write_all(&mut kept)).0, [Got::Message(2)]);
}

// ---- anything ----

#[derive(Debug, Clone)]
enum Op {
    /// A message of so many bytes, in fragments, of which the ring gets the first part by itself.
    Append {
        len: usize,
        parts: usize,
        cut: usize,
    },
    /// A message that has no end.
    Half(usize),
    Write(usize),
    Say,
    Ping,
    Pongs(usize),
    /// The client acknowledges all that it has but so many.
    Acknowledge(u64),
    Detach,
    /// It comes back, and says that it has all that it has but so many.
    Attach(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let len = || prop_oneof![3 => 0usize..30, 1 => 120usize..130, 1 => 3000usize..70_000];
    let room = prop_oneof![4 => 0usize..40, 2 => 100usize..5000, 2 => Just(usize::MAX)];
    let missing = || prop_oneof![2 => Just(0u64), 1 => 0u64..4];
    prop_oneof![
        5 => (len(), 1usize..4, any::<usize>()).prop_map(|(len, parts, cut)| Op::Append { len, parts, cut }),
        1 => len().prop_map(Op::Half),
        8 => room.prop_map(Op::Write),
        2 => Just(Op::Say),
        1 => Just(Op::Ping),
        1 => prop_oneof![Just(1usize), 1usize..60].prop_map(Op::Pongs),
        3 => missing().prop_map(Op::Acknowledge),
        1 => Just(Op::Detach),
        2 => missing().prop_map(Op::Attach),
    ]
}

/// One connection of the client's.
#[derive(Debug, Default)]
struct Connection {
    /// Seq of the last message that the client says to have.
    from: u64,
    bytes: Vec<u8>,
}

impl Connection {
    /// Seq of the last message that it has brought; each one must be there once, in order.
    fn last(&self) -> u64 {
        let messages = read(&self.bytes).0.into_iter().filter_map(|got| match got {
            Got::Message(seq) => Some(seq),
            _ => None,
        });
        messages.fold(self.from, |last, seq| {
            assert_eq!(seq, last + 1, "once, and in order");
            seq
        })
    }
}

/// A client that comes and goes.
struct World {
    kept: ResumeBuffer,
    said: u64,
    acknowledged: u64,
    /// Seq of the last message that ever came.
    has: u64,
    connection: Option<Connection>,
}

impl World {
    fn new() -> World {
        let connection = Some(Connection::default());
        World { kept: ResumeBuffer::default(), said: 0, acknowledged: 0, has: 0, connection }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Append { len, parts, cut } => {
                self.said += 1;
                let bytes = frames(self.said, len, parts);
                let (first, rest) = bytes.split_at(cut % bytes.len());
                self.kept.append(&Data { bytes: first, messages: 0, whole: 0 });
                self.kept.append(&whole(rest));
            }
            Op::Half(len) => {
                let bytes = frames(self.said + 1, len, 2);
                self.kept.append(&Data { bytes: &bytes[..bytes.len() / 2], messages: 0, whole: 0 });
                assert!(self.kept.drop_open());
            }
            Op::Write(room) => self.write(room),
            Op::Say if self.connection.is_some() => {
                self.kept.say(&data_frame(Opcode::Text, b"a 1 1", None));
            }
            Op::Ping if self.connection.is_some() => self.kept.control(Opcode::Ping, b"ping"),
            Op::Pongs(count) if self.connection.is_some() => {
                (0..count).for_each(|_| self.kept.control(Opcode::Pong, &[7; 120]));
            }
            Op::Acknowledge(missing) => self.acknowledge(missing),
            Op::Detach => {
                self.leave();
                self.kept.detach();
            }
            Op::Attach(missing) => self.come_back(missing),
            Op::Say | Op::Ping | Op::Pongs(_) => {}
        }
        self.check();
    }

    fn write(&mut self, room: usize) {
        let bytes = write(&mut self.kept, room);
        match &mut self.connection {
            Some(connection) => connection.bytes.extend(bytes),
            None => assert!(bytes.is_empty(), "nobody is there"),
        }
    }

    fn acknowledge(&mut self, missing: u64) {
        let Some(connection) = &self.connection else { return };
        let last = connection.last();
        let seq = last.saturating_sub(missing);
        self.acknowledged = self.acknowledged.max(seq);
        assert_eq!(self.kept.acknowledge(seq), Ok(()));
        assert_eq!(self.kept.acknowledge(last + 1), Err(NotSent));
        self.has = self.has.max(last);
    }

    /// Whatever was cut is lost.
    fn leave(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.has = self.has.max(connection.last());
        }
    }

    fn come_back(&mut self, missing: u64) {
        self.leave();
        let from = self.has.saturating_sub(missing).max(self.acknowledged);
        assert!(self.kept.reaches(from));
        assert!(!self.kept.reaches(self.has + 1), "never more than was given");
        self.kept.attach(Some(from));
        self.acknowledged = from;
        self.connection = Some(Connection { from, bytes: Vec::new() });
    }

    fn check(&self) {
        assert_eq!(self.kept.ring.base_seq(), self.acknowledged);
        let Some(connection) = &self.connection else { return };
        let (_, cut) = read(&connection.bytes);
        assert_eq!(connection.last(), self.kept.sent_seq());
        let words = self.kept.last_words(&[], usize::MAX).expect("it is connected");
        let (_, left) = read(&[&connection.bytes[..], &words].concat());
        assert_eq!(left, 0, "{cut} bytes of a frame are written, and what is told yet does not end it");
    }
}

proptest! {
    #[test]
    fn whole_frames_once_and_in_order_on_every_connection(ops in prop::collection::vec(op(), 1..60), closes: bool) {
        let mut world = World::new();
        ops.into_iter().for_each(|op| world.apply(op));
        if closes {
            world.kept.control(Opcode::Close, b"\x03\xE8bye");
        }
        if world.connection.is_none() {
            world.come_back(0);
        }
        let rest = write_all(&mut world.kept);
        let connection = world.connection.as_mut().expect("it is there");
        connection.bytes.extend(rest);
        let (got, cut) = read(&connection.bytes);
        prop_assert_eq!((connection.last(), cut), (world.said, 0));
        prop_assert_eq!(got.iter().filter(|got| **got == Got::Control(Opcode::Close)).count(), usize::from(closes));
        prop_assert_eq!(world.kept.ungiven(), 0);
        world.come_back(0);
        let rest = write_all(&mut world.kept);
        prop_assert_eq!(read(&rest).0.len(), usize::from(closes), "nothing but the Close comes again");
        prop_assert_eq!(world.kept.acknowledge(world.said), Ok(()));
        prop_assert!(world.kept.all_acknowledged());
    }
}
