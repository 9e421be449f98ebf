//! What goes to the client: whole messages, and the broker's own control frames between them.
//!
//! ```text
//!   backend bytes --> held (the open message) --> out (whole frames) --> client
//!                        |                          ^
//!                        | backend fails            | pongs, pings, Close
//!                        v
//!                     dropped: half a message cannot be taken back once given
//! ```

use crate::buffer::chain::{Chain, Gather};
use crate::buffer::frame_iter::Frames;
use crate::buffer::ring::Ring;
use crate::relay::resume_buffer::{NotSent, ResumeBuffer};
use crate::websocket::frame::{Opcode, control_frame};
use crate::websocket::scanner::Data;

/// While more than this waits for the client, its pings are answered one at a time, the latest
/// first (RFC 6455, 5.5.3 allows it), so that a flood of pings cannot grow the queue.
const PONG_ROOM: usize = 4096;

/// The unit in which it is kept how far a client was asked.
const GRAIN: u32 = 256;

/// Behind so many grains a client may be asked how far it has read.
const MARK: u16 = 256;

/// More grains than this are not kept apart: so much lies in no kernel's buffers.
const FAR: u16 = 1 << 15;

/// Tries to write straight to the client and returns how many bytes it took; zero when it would
/// block.
pub type DirectWrite<'a> = dyn FnMut(&[u8]) -> usize + 'a;

/// One session's way downstream.
#[derive(Debug, Default)]
pub(crate) struct DownstreamWriter {
    /// `None`: nothing waits.
    queues: Option<Box<ClientQueue>>,
    /// Messages that were read whole from a backend.
    messages: u64,
    /// Bytes that were read for the client, as far as 32 bits go.
    bytes: u32,
    /// How many of them it was asked about, in [`GRAIN`]s, as far as 16 bits go.
    marked: u16,
    /// A Close is queued or written; nothing follows it.
    closed: bool,
}

/// What is kept of what goes downstream.
#[derive(Debug)]
enum ClientQueue {
    /// What the socket has not taken yet.
    Passing(Queues),
    /// What the client has not acknowledged: it may come back for it on another connection.
    Kept(ResumeBuffer),
}

#[derive(Debug, Default)]
struct Queues {
    held: Chain,
    out: Chain,
    /// Bytes that the client's socket has taken since they were last empty.
    progress: u64,
    /// Where the first frame that is not yet begun starts in `out`.
    next_frame: usize,
    /// The frame before it, of which a part is written, ends a message.
    cut_ends_message: bool,
    /// Where the last pong in `out` ends.
    pong_end: usize,
    /// The latest pong that found no room.
    late_pong: Option<Vec<u8>>,
}

impl DownstreamWriter {
    /// For a client that may come back.
    pub(crate) fn keeping() -> DownstreamWriter {
        DownstreamWriter {
            queues: Some(Box::new(ClientQueue::Kept(ResumeBuffer::default()))),
            ..DownstreamWriter::default()
        }
    }

    /// Takes a span of backend frames. Whole messages go straight to the client when nothing
    /// waits in front of them; what it does not take is queued.
    pub(crate) fn append(&mut self, data: &Data<'_>, direct: &mut DirectWrite<'_>) {
        self.messages += u64::from(data.messages);
        self.bytes = self.bytes.wrapping_add(data.bytes.len() as u32);
        if let Some(kept) = self.kept_mut() {
            return kept.append(data);
        }
        let (whole, open) = data.bytes.split_at(data.whole);
        if !whole.is_empty() {
            self.deliver(whole, direct);
        }
        if !open.is_empty()
            && let Some(queues) = self.passing()
        {
            queues.held.push(open);
        }
    }

    /// Takes over a whole message, the bytes of `chunk` from `start` on. No other may be open.
    pub(crate) fn adopt(&mut self, chunk: Vec<u8>, start: usize, direct: &mut DirectWrite<'_>) {
        self.messages += 1;
        let message = chunk.get(start..).unwrap_or_default();
        self.bytes = self.bytes.wrapping_add(message.len() as u32);
        if let Some(kept) = self.kept_mut() {
            let whole = message.len();
            return kept.ring.adopt(chunk, start, 1, whole);
        }
        let taken = if self.queues.is_none() { direct(message).min(message.len()) } else { 0 };
        if taken < message.len()
            && let Some(queues) = self.passing()
        {
            queues.out.adopt(chunk, start);
            if taken > 0 {
                queues.consume(taken);
            }
        }
    }

    /// As [`DownstreamWriter::append`], for frames that were put together for this client.
    pub(crate) fn append_made(
        &mut self,
        bytes: Vec<u8>,
        (messages, whole): (u32, usize),
        direct: &mut DirectWrite<'_>,
    ) {
        // Memory that is mostly empty is not to be kept.
        let full = bytes.capacity() / 2 <= bytes.len();
        let Some(kept) = self.kept_mut().filter(|_| full) else {
            return self.append(&Data { bytes: &bytes, messages, whole }, direct);
        };
        let len = bytes.len() as u32;
        kept.ring.adopt(bytes, 0, messages, whole);
        self.messages += u64::from(messages);
        self.bytes = self.bytes.wrapping_add(len);
    }

    fn deliver(&mut self, whole: &[u8], direct: &mut DirectWrite<'_>) {
        let mut taken = 0;
        if self.queues.is_none() {
            taken = direct(whole).min(whole.len());
            if taken == whole.len() {
                return;
            }
        }
        if let Some(queues) = self.passing() {
            queues.release_held();
            queues.out.push(whole);
            if taken > 0 {
                queues.consume(taken);
            }
        }
    }

    /// Room for payload bytes of the open message that need no scanning; see [`Chain::tail`].
    pub(crate) fn tail(&mut self, want: usize) -> &mut Vec<u8> {
        match &mut **self.way() {
            ClientQueue::Passing(queues) => queues.held.tail(want),
            ClientQueue::Kept(kept) => kept.ring.tail(want),
        }
    }

    /// Counts `n` bytes that were put there, the last of which may have ended the message.
    pub(crate) fn grown(&mut self, n: usize, message_ended: bool) {
        self.messages += u64::from(message_ended);
        self.bytes = self.bytes.wrapping_add(n as u32);
        match &mut **self.way() {
            ClientQueue::Kept(kept) => kept.ring.grown(n, message_ended),
            ClientQueue::Passing(queues) => {
                queues.held.grown(n);
                if message_ended {
                    queues.release_held();
                }
            }
        }
    }

    /// Takes over what another backend has said, behind what waits. The open message must be dropped.
    pub(crate) fn absorb(&mut self, next: DownstreamWriter) {
        self.messages += next.messages;
        self.bytes = self.bytes.wrapping_add(next.bytes);
        if let Some(kept) = self.kept_mut() {
            next.hand_over(&mut kept.ring);
        } else if let Some(ClientQueue::Passing(mut next)) = next.queues.map(|way| *way)
            && let Some(queues) = self.passing()
        {
            queues.out.append(&mut next.out);
            queues.held = next.held;
        }
    }

    /// All bytes that are kept here, which nobody may come back for.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        let Some(ClientQueue::Passing(queues)) = self.queues.map(|way| *way) else { return Vec::new() };
        queues.out.slices(0).chain(queues.held.slices(0)).flatten().copied().collect()
    }

    /// Puts what is kept here to the end of `ring`.
    fn hand_over(self, ring: &mut Ring) {
        let Some(ClientQueue::Passing(queues)) = self.queues.map(|way| *way) else { return };
        let whole = queues.out.len();
        let mut passed = 0;
        for bytes in queues.out.slices(0) {
            passed += bytes.len();
            let messages = if passed == whole { self.messages as u32 } else { 0 };
            ring.append(&Data { bytes, messages, whole: if messages > 0 { bytes.len() } else { 0 } });
        }
        for bytes in queues.held.slices(0) {
            ring.append(&Data { bytes, messages: 0, whole: 0 });
        }
    }

    /// Queues a control frame: a Close behind what waits, others too unless the client may come back.
    pub(crate) fn control(&mut self, opcode: Opcode, payload: &[u8]) {
        if self.closed {
            return;
        }
        self.closed = opcode == Opcode::Close;
        match &mut **self.way() {
            ClientQueue::Kept(kept) => kept.control(opcode, payload),
            ClientQueue::Passing(queues) => queues.control(opcode, payload),
        }
    }

    /// What can be written now.
    pub(crate) fn transmit(&self) -> Gather<'_> {
        match self.queues.as_deref() {
            None => Gather::new(),
            Some(ClientQueue::Kept(kept)) => kept.transmit(),
            Some(ClientQueue::Passing(queues)) => {
                let mut gather = Gather::new();
                queues.out.gather(0, queues.out.len(), &mut gather);
                gather
            }
        }
    }

    /// Notes that the client's socket took `n` bytes of it.
    pub(crate) fn written(&mut self, n: usize) {
        match self.queues.as_deref_mut() {
            None => {}
            Some(ClientQueue::Kept(kept)) => kept.written(n),
            Some(ClientQueue::Passing(queues)) => {
                queues.progress += n as u64;
                queues.consume(n);
                self.tidy();
            }
        }
    }

    /// Drops the open message, which will never be whole, and says whether there was one.
    pub(crate) fn drop_open(&mut self) -> bool {
        let dropped = match self.queues.as_deref_mut() {
            None => false,
            Some(ClientQueue::Kept(kept)) => return kept.drop_open(),
            Some(ClientQueue::Passing(queues)) => {
                let any = !queues.held.is_empty();
                queues.held.clear();
                any
            }
        };
        self.tidy();
        dropped
    }

    /// Drops what the client has got nothing of, and returns how many whole messages that were; `None`: it has
    /// a part of a frame, whose rest is kept.
    pub(crate) fn drop_unbegun(&mut self) -> Option<u64> {
        let unwritten = self.unwritten();
        let between = match self.queues.as_deref_mut() {
            None => true,
            Some(ClientQueue::Kept(_)) => false,
            Some(ClientQueue::Passing(queues)) => queues.drop_unbegun(),
        };
        self.tidy();
        between.then_some(unwritten)
    }

    /// The client is gone: drops everything and returns how many whole messages it has missed.
    pub(crate) fn abandon(&mut self) -> u64 {
        let missed = self.unwritten();
        self.queues = None;
        missed
    }

    /// The client's socket is at its end, and it may come back.
    pub(crate) fn detach(&mut self) {
        if let Some(kept) = self.kept_mut() {
            kept.detach();
        }
    }

    /// The client has acknowledged everything up to `seq`.
    pub(crate) fn acknowledge(&mut self, seq: u64) -> Result<(), NotSent> {
        self.kept_mut().map_or(Ok(()), |kept| kept.acknowledge(seq))
    }

    /// What is kept for a client that may come back.
    pub(crate) fn kept(&self) -> Option<&ResumeBuffer> {
        match self.queues.as_deref() {
            Some(ClientQueue::Kept(kept)) => Some(kept),
            _ => None,
        }
    }

    /// As [`DownstreamWriter::kept`].
    pub(crate) fn kept_mut(&mut self) -> Option<&mut ResumeBuffer> {
        match self.queues.as_deref_mut() {
            Some(ClientQueue::Kept(kept)) => Some(kept),
            _ => None,
        }
    }

    /// Messages that were read whole from a backend.
    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    /// Those of them that the client's socket has not taken to their last byte.
    pub(crate) fn unwritten(&self) -> u64 {
        match self.queues.as_deref() {
            None => 0,
            Some(ClientQueue::Kept(kept)) => kept.ungiven(),
            Some(ClientQueue::Passing(queues)) => queues.unwritten_messages(),
        }
    }

    /// Bytes that were read for the client, as far as 32 bits go.
    pub(crate) fn position(&self) -> u32 {
        self.bytes
    }

    /// The client was not asked about so many bytes of them at the least that it may be.
    #[inline]
    pub(crate) fn unmarked(&mut self) -> bool {
        let grains = self.unmarked_grains();
        if grains > FAR {
            self.marked = self.marked.wrapping_add(grains - FAR);
        }
        grains >= MARK
    }

    /// How many bytes it was not asked about.
    pub(crate) fn beyond_mark(&self) -> u32 {
        u32::from(self.unmarked_grains()) * GRAIN
    }

    /// It is asked about all of them.
    pub(crate) fn mark(&mut self) {
        self.marked = (self.bytes / GRAIN) as u16;
    }

    #[inline]
    fn unmarked_grains(&self) -> u16 {
        ((self.bytes / GRAIN) as u16).wrapping_sub(self.marked)
    }

    /// A figure that changes whenever the client's socket takes some of what waits.
    #[inline]
    pub(crate) fn progress(&self) -> u64 {
        match self.queues.as_deref() {
            None => 0,
            Some(ClientQueue::Kept(kept)) => kept.progress(),
            Some(ClientQueue::Passing(queues)) => queues.progress,
        }
    }

    /// Something is kept: what the client does not take yet, a message that is open, or what it may come back for.
    #[inline]
    pub(crate) fn waits(&self) -> bool {
        self.queues.is_some()
    }

    /// Bytes that could be written now.
    #[inline]
    pub(crate) fn waiting(&self) -> usize {
        match self.queues.as_deref() {
            None => 0,
            Some(ClientQueue::Kept(kept)) => kept.waiting(),
            Some(ClientQueue::Passing(queues)) => queues.out.len(),
        }
    }

    /// Bytes kept in all.
    pub(crate) fn buffered(&self) -> usize {
        match self.queues.as_deref() {
            None => 0,
            Some(ClientQueue::Kept(kept)) => kept.buffered(),
            Some(ClientQueue::Passing(queues)) => queues.out.len() + queues.held.len(),
        }
    }

    /// A Close is queued or written.
    #[cfg(debug_assertions)]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Panics if something does not hold that does at any time.
    #[cfg(debug_assertions)]
    pub(crate) fn check_invariants(&self) {
        match self.queues.as_deref() {
            None => {}
            Some(ClientQueue::Kept(kept)) => kept.check_invariants(),
            Some(ClientQueue::Passing(queues)) => queues.check_invariants(self.closed),
        }
    }

    fn way(&mut self) -> &mut Box<ClientQueue> {
        self.queues.get_or_insert_with(|| Box::new(ClientQueue::Passing(Queues::default())))
    }

    fn passing(&mut self) -> Option<&mut Queues> {
        match &mut **self.way() {
            ClientQueue::Passing(queues) => Some(queues),
            ClientQueue::Kept(_) => None,
        }
    }

    /// Gives the memory back when nothing is left.
    fn tidy(&mut self) {
        if matches!(self.queues.as_deref(), Some(ClientQueue::Passing(queues)) if queues.is_empty()) {
            self.queues = None;
        }
    }
}

impl Queues {
    #[cfg(debug_assertions)]
    fn check_invariants(&self, closed: bool) {
        assert!(!self.is_empty(), "an empty queue holds no memory");
        let len = self.out.len();
        assert!(self.next_frame <= len && self.pong_end <= len, "positions behind the {len} bytes that wait");
        if len > 1024 {
            return;
        }
        let (mut open, mut over) = (false, false);
        for frame in Frames::new(&self.out, self.next_frame) {
            assert!(!over, "something follows a Close");
            over = closed && frame.header.opcode == Opcode::Close;
            if !frame.header.opcode.is_control() {
                open = !frame.header.fin;
            }
        }
        assert!(!open, "a message waits to be written whose end is not there");
    }

    fn is_empty(&self) -> bool {
        self.out.is_empty() && self.held.is_empty() && self.late_pong.is_none()
    }

    fn control(&mut self, opcode: Opcode, payload: &[u8]) {
        let frame = control_frame(opcode, payload, None);
        match opcode {
            Opcode::Pong => self.pong(frame),
            _ => self.out.push(&frame),
        }
        if opcode == Opcode::Close {
            self.late_pong = None;
        }
    }

    /// Keeps no more than the rest of a frame that is begun. True: there is none.
    fn drop_unbegun(&mut self) -> bool {
        self.held.clear();
        self.late_pong = None;
        self.out.truncate(self.next_frame);
        self.next_frame == 0
    }

    fn release_held(&mut self) {
        self.out.append(&mut self.held);
    }

    fn consume(&mut self, n: usize) {
        if n > self.next_frame {
            let begun = Frames::new(&self.out, self.next_frame).find(|frame| frame.end >= n);
            self.next_frame = begun.map_or(n, |frame| frame.end);
            self.cut_ends_message = begun.is_some_and(|frame| frame.end > n && frame.ends_message());
        }
        self.out.consume(n);
        self.next_frame -= n;
        if self.next_frame == 0 {
            self.cut_ends_message = false;
        }
        self.pong_end = self.pong_end.saturating_sub(n);
        if let Some(pong) = self.late_pong.take() {
            self.pong(pong);
        }
    }

    fn pong(&mut self, frame: Vec<u8>) {
        if self.out.len() > PONG_ROOM && self.pong_end > 0 {
            self.late_pong = Some(frame);
        } else {
            self.out.push(&frame);
            self.pong_end = self.out.len();
        }
    }

    /// Messages whose last byte is still here, also those of which the first bytes are not.
    fn unwritten_messages(&self) -> u64 {
        let later = Frames::new(&self.out, self.next_frame).filter(|frame| frame.ends_message()).count();
        later as u64 + u64::from(self.cut_ends_message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::scanner::{FrameSender, Item, Scanner};

    /// Feeds backend bytes; the client takes at most `room` of them directly.
    fn feed(downstream: &mut DownstreamWriter, bytes: &[u8], mut room: usize) -> Vec<u8> {
        let mut scanner = Scanner::new(FrameSender::Backend, 1 << 20, false);
        let (mut input, mut got) = (bytes, Vec::new());
        while let Some(Item::Data(data)) = scanner.next(&mut input, &mut { u32::MAX }).expect("legal") {
            downstream.append(&data, &mut |bytes| {
                let n = bytes.len().min(room);
                room -= n;
                got.extend_from_slice(&bytes[..n]);
                n
            });
        }
        got
    }

    fn drain(downstream: &mut DownstreamWriter) -> Vec<u8> {
        let mut got = Vec::new();
        while downstream.waiting() > 0 {
            let piece = downstream.transmit().pieces()[0].to_vec();
            downstream.written(piece.len());
            got.extend(piece);
        }
        got
    }

    const TWO: &[u8] = b"\x82\x03one\x82\x03two";

    #[test]
    fn whole_messages_go_straight_through() {
        let mut downstream = DownstreamWriter::default();
        assert_eq!(feed(&mut downstream, TWO, 100), TWO);
        assert_eq!((downstream.messages(), downstream.buffered(), downstream.queues.is_none()), (2, 0, true));
    }

    #[test]
    fn an_open_message_is_held_and_can_be_dropped() {
        let mut downstream = DownstreamWriter::default();
        assert_eq!(feed(&mut downstream, b"\x82\x03one\x82\x05tw", 100), b"\x82\x03one");
        assert_eq!((downstream.waiting(), downstream.buffered()), (0, 4));
        assert!(downstream.drop_open());
        assert_eq!((downstream.buffered(), downstream.messages()), (0, 1));
        assert!(!downstream.drop_open());
    }

    #[test]
    fn what_the_socket_does_not_take_follows_in_order() {
        let mut downstream = DownstreamWriter::default();
        let mut got = feed(&mut downstream, TWO, 2);
        downstream.control(Opcode::Ping, b"p");
        got.extend(feed(&mut downstream, b"\x82\x01x", 100));
        got.extend(drain(&mut downstream));
        assert_eq!(got, [TWO, b"\x89\x01p\x82\x01x"].concat());
        assert!(downstream.queues.is_none());
    }

    #[test]
    fn control_frames_never_stand_inside_an_open_message() {
        let mut downstream = DownstreamWriter::default();
        feed(&mut downstream, b"\x82\x05tw", 100);
        downstream.control(Opcode::Pong, b"");
        assert_eq!(drain(&mut downstream), b"\x8A\x00");
        assert_eq!(downstream.buffered(), 4);
    }

    #[test]
    fn counts_what_a_client_has_missed() {
        let mut downstream = DownstreamWriter::default();
        feed(&mut downstream, TWO, 0);
        assert_eq!(downstream.abandon(), 2);
        feed(&mut downstream, TWO, 3);
        assert_eq!(downstream.abandon(), 2, "a message cut in the middle is missed too");
        feed(&mut downstream, TWO, 5);
        assert_eq!(downstream.abandon(), 1);
    }

    #[test]
    fn a_flood_of_pings_does_not_grow_the_queue() {
        let mut downstream = DownstreamWriter::default();
        for i in 0..10_000u32 {
            downstream.control(Opcode::Pong, &i.to_be_bytes());
        }
        assert!(downstream.waiting() < PONG_ROOM + 200);
        let sent = drain(&mut downstream);
        assert!(sent.ends_with(&9_999u32.to_be_bytes()), "the latest is answered");
    }
}
