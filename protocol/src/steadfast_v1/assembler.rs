//! Puts a message's payload together from its frames.

use crate::websocket::frame::{Header, Opcode};

/// A large message's room grows by at most so many bytes ahead of what has come, whatever its headers say.
const AHEAD: usize = 256 * 1024;

/// The message that is open.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    /// The payload bytes of the present frame that are still to come.
    left: u64,
    /// The present frame is its message's last.
    fin: bool,
    /// A message has begun and not ended.
    open: bool,
    text: bool,
    payload: Vec<u8>,
}

/// A step through the input.
#[derive(Debug)]
pub(crate) enum AssemblyStep<'a> {
    /// A whole message that lies in the input.
    Whole { text: bool, payload: &'a [u8] },
    /// A message is whole that came in parts: see [`Assembler::take`].
    Assembled,
}

impl Assembler {
    /// Takes bytes of frames off the front of `input` up to the end of a message; `None`: none ends
    /// there. The frames must be unmasked, and every header whole, as they are where a scanner has passed.
    pub(crate) fn next<'i>(&mut self, input: &mut &'i [u8]) -> Option<AssemblyStep<'i>> {
        while !input.is_empty() {
            if self.left == 0 {
                let header = Header::parse(input).ok()??;
                *input = &input[header.len..];
                if let Some(whole) = self.begin(&header, input) {
                    return Some(whole);
                }
            }
            let n = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len());
            let (now, rest) = input.split_at(n);
            self.payload.extend_from_slice(now);
            *input = rest;
            if self.skip(n as u64) {
                return Some(AssemblyStep::Assembled);
            }
        }
        None
    }

    fn begin<'i>(&mut self, header: &Header, input: &mut &'i [u8]) -> Option<AssemblyStep<'i>> {
        let first = !std::mem::replace(&mut self.open, true);
        if first {
            self.text = header.opcode == Opcode::Text;
        }
        let whole = usize::try_from(header.payload_len).ok().and_then(|len| input.split_at_checked(len));
        if let (true, true, Some((payload, rest))) = (first, header.fin, whole) {
            (self.open, *input) = (false, rest);
            return Some(AssemblyStep::Whole { text: self.text, payload });
        }
        (self.left, self.fin) = (header.payload_len, header.fin);
        // An empty last fragment has no payload that could end it.
        if self.skip(0) { Some(AssemblyStep::Assembled) } else { None }
    }

    /// Room for payload bytes that need no look, in the payload.
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        let ahead = usize::try_from(self.left).unwrap_or(usize::MAX).min(AHEAD);
        self.payload.reserve(ahead);
        &mut self.payload
    }

    /// Counts `n` payload bytes of the present frame that were put there. True: they end the message.
    pub(crate) fn skip(&mut self, n: u64) -> bool {
        self.left = self.left.saturating_sub(n);
        let ended = self.left == 0 && self.fin && self.open;
        self.open &= !ended;
        ended
    }

    /// The message that is whole now: whether it is text, and its payload.
    pub(crate) fn take(&mut self) -> (bool, Vec<u8>) {
        (self.text, std::mem::take(&mut self.payload))
    }

    /// Bytes that are kept.
    pub(crate) fn len(&self) -> usize {
        self.payload.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::websocket::frame::encode_header;
    use crate::websocket::scanner::tests::cut;
    use crate::websocket::scanner::{FrameSender, Scanner};

    fn frame(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
        let (header, len) = encode_header(fin, opcode, payload.len() as u64, None);
        [&header[..len], payload].concat()
    }

    /// The messages of a stream that comes in pieces. `direct`: payload goes past the scanner where it can.
    fn assemble<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, direct: bool) -> Vec<(bool, Vec<u8>)> {
        let (mut scanner, mut open, mut got) =
            (Scanner::new(FrameSender::Backend, 1 << 24, false), Assembler::default(), Vec::new());
        for mut piece in pieces {
            while !piece.is_empty() {
                if direct && scanner.remaining() > 0 {
                    let tail = open.tail();
                    let room = (tail.capacity() - tail.len()).min(scanner.remaining() as usize);
                    let (now, rest) = piece.split_at(room.min(piece.len()));
                    tail.extend_from_slice(now);
                    scanner.skip(now.len() as u64);
                    if open.skip(now.len() as u64) {
                        got.push(open.take());
                    }
                    piece = rest;
                    continue;
                }
                let Some(item) = scanner.next(&mut piece, &mut { u32::MAX }).expect("legal") else { break };
                let Some(data) = item.data() else { continue };
                let mut input = data.bytes;
                while let Some(step) = open.next(&mut input) {
                    got.push(match step {
                        AssemblyStep::Whole { text, payload } => (text, payload.to_vec()),
                        AssemblyStep::Assembled => open.take(),
                    });
                }
            }
        }
        assert_eq!(open.len(), 0, "nothing is left");
        got
    }

    fn messages() -> (Vec<u8>, Vec<(bool, Vec<u8>)>) {
        let bytes = [
            frame(true, Opcode::Text, b"one"),
            frame(true, Opcode::Binary, b""),
            frame(false, Opcode::Binary, b""),
            frame(false, Opcode::Continuation, b"\0"),
            frame(true, Opcode::Ping, b"?"),
            frame(true, Opcode::Continuation, b""),
            frame(false, Opcode::Text, b"t"),
            frame(true, Opcode::Continuation, b"wo"),
            frame(true, Opcode::Binary, b"end"),
        ];
        let got = [(true, "one"), (false, ""), (false, "\0"), (true, "two"), (false, "end")];
        (bytes.concat(), got.map(|(text, payload)| (text, payload.as_bytes().to_vec())).to_vec())
    }

    #[test]
    fn every_cut_makes_the_same_messages() {
        let (bytes, expected) = messages();
        for direct in [false, true] {
            for cut in 0..=bytes.len() {
                assert_eq!(assemble([&bytes[..cut], &bytes[cut..]], direct), expected, "cut at {cut}");
            }
            assert_eq!(assemble(bytes.chunks(1), direct), expected);
        }
    }

    #[test]
    fn a_message_that_lies_in_the_input_is_not_copied() {
        let bytes = frame(true, Opcode::Binary, b"here");
        let (mut open, mut input) = (Assembler::default(), bytes.as_slice());
        let Some(AssemblyStep::Whole { text: false, payload }) = open.next(&mut input) else {
            panic!("whole")
        };
        assert_eq!(payload.as_ptr(), bytes[2..].as_ptr());
        assert_eq!((open.len(), open.payload.capacity()), (0, 0));
    }

    /// Room is made for what a header announces, but not for all of it at once.
    #[test]
    fn what_is_announced_takes_no_room_before_it_comes() {
        let (header, len) = encode_header(true, Opcode::Binary, 1 << 24, None);
        let (mut open, mut input) = (Assembler::default(), &header[..len]);
        assert!(open.next(&mut input).is_none());
        assert!(open.payload.capacity() == 0);
        let room = open.tail().capacity();
        assert!((1..=AHEAD).contains(&room), "{room} bytes");
    }

    proptest! {
        #[test]
        fn any_message_in_any_pieces(
            payloads in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..400), 1usize..5), 0..5),
            sizes in prop::collection::vec(1usize..300, 1..10),
            direct: bool,
        ) {
            let mut bytes = Vec::new();
            for (text, payload, parts) in &payloads {
                let opcode = if *text { Opcode::Text } else { Opcode::Binary };
                let size = payload.len().div_ceil(*parts).max(1);
                bytes.extend(frame(false, opcode, b""));
                payload.chunks(size).for_each(|part| bytes.extend(frame(false, Opcode::Continuation, part)));
                bytes.extend(frame(true, Opcode::Continuation, b""));
                bytes.extend(frame(true, opcode, payload));
            }
            let expected: Vec<_> =
                payloads.into_iter().flat_map(|(text, payload, _)| [(text, payload.clone()), (text, payload)]).collect();
            prop_assert_eq!(assemble(cut(&bytes, &sizes), direct), expected);
        }
    }
}
