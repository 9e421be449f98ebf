//! What goes to the client: whole messages, and the broker's own control frames between them.
//!
//! ```text
//!   backend bytes --> held (the open message) --> out (whole frames) --> client
//!                        |                          ^
//!                        | backend fails            | pongs, pings, Close
//!                        v
//!                     dropped: half a message cannot be taken back once given
//! ```

use crate::chain::{Chain, Gather};
use crate::frame::{Opcode, control_frame};
use crate::frames::Frames;
use crate::scanner::Data;

/// While more than this waits for the client, its pings are answered one at a time, the latest
/// first (RFC 6455, 5.5.3 allows it), so that a flood of pings cannot grow the queue.
const PONG_ROOM: usize = 4096;

/// Tries to write straight to the client and returns how many bytes it took; zero when it would
/// block.
pub type DirectWrite<'a> = dyn FnMut(&[u8]) -> usize + 'a;

/// One session's way down.
#[derive(Debug, Default)]
pub(crate) struct Downlink {
    queues: Option<Box<Queues>>,
    /// Messages that were read whole from a backend.
    messages: u64,
    /// A Close is queued or written; nothing follows it.
    closed: bool,
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

impl Downlink {
    /// Takes a span of backend frames. Whole messages go straight to the client when nothing
    /// waits in front of them; what it does not take is queued.
    pub(crate) fn append(&mut self, data: &Data<'_>, direct: &mut DirectWrite<'_>) {
        self.messages += u64::from(data.messages);
        let (whole, open) = data.bytes.split_at(data.whole);
        if !whole.is_empty() {
            self.deliver(whole, direct);
        }
        if !open.is_empty() {
            self.queues().held.push(open);
        }
    }

    fn deliver(&mut self, whole: &[u8], direct: &mut DirectWrite<'_>) {
        if self.queues.is_none() {
            let taken = direct(whole).min(whole.len());
            if taken < whole.len() {
                let queues = self.queues();
                queues.out.push(whole);
                queues.consume(taken);
            }
            return;
        }
        let queues = self.queues();
        queues.release_held();
        queues.out.push(whole);
    }

    /// Room for payload bytes of the open message that need no scanning; see [`Chain::tail`].
    pub(crate) fn tail(&mut self, want: usize) -> &mut Vec<u8> {
        self.queues().held.tail(want)
    }

    /// Counts `n` bytes that were put there, the last of which may have ended the message.
    pub(crate) fn grown(&mut self, n: usize, message_ended: bool) {
        let queues = self.queues();
        queues.held.grown(n);
        if message_ended {
            queues.release_held();
            self.messages += 1;
        }
    }

    /// Takes over what another backend has said, behind what waits. The open message must be dropped.
    pub(crate) fn absorb(&mut self, next: Downlink) {
        self.messages += next.messages;
        if let Some(mut next) = next.queues {
            let queues = self.queues();
            queues.out.append(&mut next.out);
            queues.held = next.held;
        }
    }

    /// Queues a control frame behind what waits.
    pub(crate) fn control(&mut self, opcode: Opcode, payload: &[u8]) {
        if self.closed {
            return;
        }
        self.closed = opcode == Opcode::Close;
        let frame = control_frame(opcode, payload, None);
        let queues = self.queues();
        match opcode {
            Opcode::Pong => queues.pong(frame),
            _ => queues.out.push(&frame),
        }
        if opcode == Opcode::Close {
            queues.late_pong = None;
        }
    }

    /// What can be written now.
    pub(crate) fn transmit(&self) -> Gather<'_> {
        let mut gather = Gather::new();
        if let Some(queues) = &self.queues {
            queues.out.gather(0, queues.out.len(), &mut gather);
        }
        gather
    }

    /// Notes that the client's socket took `n` bytes of it.
    pub(crate) fn written(&mut self, n: usize) {
        if let Some(queues) = &mut self.queues {
            queues.progress += n as u64;
            queues.consume(n);
        }
        self.tidy();
    }

    /// Drops the open message, which will never be whole, and says whether there was one.
    pub(crate) fn drop_open(&mut self) -> bool {
        let dropped = self.queues.as_mut().is_some_and(|queues| {
            let any = !queues.held.is_empty();
            queues.held.clear();
            any
        });
        self.tidy();
        dropped
    }

    /// The client is gone: drops everything and returns how many whole messages it has missed.
    pub(crate) fn abandon(&mut self) -> u64 {
        let queues = self.queues.take();
        queues.map_or(0, |queues| queues.unwritten_messages())
    }

    /// Messages that were read whole from a backend.
    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    /// Those of them that the client's socket has not taken to their last byte.
    pub(crate) fn unwritten(&self) -> u64 {
        self.queues.as_ref().map_or(0, |queues| queues.unwritten_messages())
    }

    /// A figure that changes whenever the client's socket takes some of what waits.
    pub(crate) fn progress(&self) -> u64 {
        self.queues.as_ref().map_or(0, |queues| queues.progress)
    }

    /// Bytes that could be written now.
    pub(crate) fn waiting(&self) -> usize {
        self.queues.as_ref().map_or(0, |queues| queues.out.len())
    }

    /// Bytes kept in all.
    pub(crate) fn buffered(&self) -> usize {
        self.queues.as_ref().map_or(0, |queues| queues.out.len() + queues.held.len())
    }

    fn queues(&mut self) -> &mut Queues {
        self.queues.get_or_insert_default()
    }

    /// Gives the memory back when nothing is left.
    fn tidy(&mut self) {
        if self.queues.as_ref().is_some_and(|queues| queues.is_empty()) {
            self.queues = None;
        }
    }
}

impl Queues {
    fn is_empty(&self) -> bool {
        self.out.is_empty() && self.held.is_empty() && self.late_pong.is_none()
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
    use crate::scanner::{Item, Scanner, Sender};

    /// Feeds backend bytes; the client takes at most `room` of them directly.
    fn feed(down: &mut Downlink, bytes: &[u8], mut room: usize) -> Vec<u8> {
        let mut scanner = Scanner::new(Sender::Backend, 1 << 20, false);
        let (mut input, mut got) = (bytes, Vec::new());
        while let Some(Item::Data(data)) = scanner.next(&mut input).expect("legal") {
            down.append(&data, &mut |bytes| {
                let n = bytes.len().min(room);
                room -= n;
                got.extend_from_slice(&bytes[..n]);
                n
            });
        }
        got
    }

    fn drain(down: &mut Downlink) -> Vec<u8> {
        let mut got = Vec::new();
        while down.waiting() > 0 {
            let piece = down.transmit().pieces()[0].to_vec();
            down.written(piece.len());
            got.extend(piece);
        }
        got
    }

    const TWO: &[u8] = b"\x82\x03one\x82\x03two";

    #[test]
    fn whole_messages_go_straight_through() {
        let mut down = Downlink::default();
        assert_eq!(feed(&mut down, TWO, 100), TWO);
        assert_eq!((down.messages(), down.buffered(), down.queues.is_none()), (2, 0, true));
    }

    #[test]
    fn an_open_message_is_held_and_can_be_dropped() {
        let mut down = Downlink::default();
        assert_eq!(feed(&mut down, b"\x82\x03one\x82\x05tw", 100), b"\x82\x03one");
        assert_eq!((down.waiting(), down.buffered()), (0, 4));
        assert!(down.drop_open());
        assert_eq!((down.buffered(), down.messages()), (0, 1));
        assert!(!down.drop_open());
    }

    #[test]
    fn what_the_socket_does_not_take_follows_in_order() {
        let mut down = Downlink::default();
        let mut got = feed(&mut down, TWO, 2);
        down.control(Opcode::Ping, b"p");
        got.extend(feed(&mut down, b"\x82\x01x", 100));
        got.extend(drain(&mut down));
        assert_eq!(got, [TWO, b"\x89\x01p\x82\x01x"].concat());
        assert!(down.queues.is_none());
    }

    #[test]
    fn control_frames_never_stand_inside_an_open_message() {
        let mut down = Downlink::default();
        feed(&mut down, b"\x82\x05tw", 100);
        down.control(Opcode::Pong, b"");
        assert_eq!(drain(&mut down), b"\x8A\x00");
        assert_eq!(down.buffered(), 4);
    }

    #[test]
    fn counts_what_a_client_has_missed() {
        let mut down = Downlink::default();
        feed(&mut down, TWO, 0);
        assert_eq!(down.abandon(), 2);
        feed(&mut down, TWO, 3);
        assert_eq!(down.abandon(), 2, "a message cut in the middle is missed too");
        feed(&mut down, TWO, 5);
        assert_eq!(down.abandon(), 1);
    }

    #[test]
    fn a_flood_of_pings_does_not_grow_the_queue() {
        let mut down = Downlink::default();
        for i in 0..10_000u32 {
            down.control(Opcode::Pong, &i.to_be_bytes());
        }
        assert!(down.waiting() < PONG_ROOM + 200);
        let sent = drain(&mut down);
        assert!(sent.ends_with(&9_999u32.to_be_bytes()), "the latest is answered");
    }
}
