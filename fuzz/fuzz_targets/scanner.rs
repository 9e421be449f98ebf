//! Arbitrary bytes, cut at arbitrary places: the scanner never panics, and sees the same frames,
//! messages and breaches wherever the cuts are, also when payload is read past it.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use steadfast_protocol::websocket::frame::Opcode;
use steadfast_protocol::websocket::scanner::{FrameSender, Item, Scanner};
use steadfast_protocol::websocket::violation::Violation;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    from_client: bool,
    deflate: bool,
    limit: u16,
    cuts: Vec<u8>,
    bytes: &'a [u8],
}

impl Input<'_> {
    fn scanner(&self) -> Scanner {
        let sender = if self.from_client { FrameSender::Client } else { FrameSender::Backend };
        Scanner::new(sender, u32::from(self.limit), self.deflate)
    }

    /// The bytes in pieces, none of them empty.
    fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.bytes;
        let mut sizes = self.cuts.iter().map(|cut| usize::from(*cut) + 1);
        std::iter::from_fn(move || {
            let size = sizes.next().unwrap_or(rest.len()).min(rest.len());
            let (piece, later) = rest.split_at(size);
            rest = later;
            (!piece.is_empty()).then_some(piece)
        })
    }
}

/// What a scanner makes of a stream.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    data: Vec<u8>,
    messages: u32,
    /// Where the last message ended.
    whole: usize,
    controls: Vec<(Opcode, Vec<u8>)>,
    breach: Option<Violation>,
}

impl Seen {
    /// Scans a piece. False after a breach.
    fn scan(&mut self, scanner: &mut Scanner, mut input: &[u8]) -> bool {
        loop {
            match scanner.next(&mut input, &mut { u32::MAX }) {
                Ok(None) => break,
                Ok(Some(Item::Control(control))) => {
                    self.controls.push((control.opcode, control.payload().to_vec()));
                }
                Ok(Some(item)) => {
                    let Some(data) = item.data() else { continue };
                    assert!(data.whole <= data.bytes.len() && (data.whole > 0) == (data.messages > 0));
                    if data.messages > 0 {
                        self.whole = self.data.len() + data.whole;
                    }
                    self.messages += data.messages;
                    self.data.extend_from_slice(data.bytes);
                }
                Err(breach) => {
                    self.breach = Some(breach);
                    return false;
                }
            }
        }
        assert!(input.is_empty(), "bytes are left behind");
        true
    }

    /// Reads payload past the scanner, as the direct way does, and the rest through it.
    fn read_past(&mut self, scanner: &mut Scanner, piece: &[u8]) -> bool {
        let skipped = piece.len().min(usize::try_from(scanner.remaining()).unwrap_or(usize::MAX));
        let (past, through) = piece.split_at(skipped);
        self.data.extend_from_slice(past);
        if scanner.skip(skipped as u64) {
            self.messages += 1;
            self.whole = self.data.len();
        }
        self.scan(scanner, through)
    }
}

fuzz_target!(|input: Input<'_>| {
    let mut at_once = Seen::default();
    at_once.scan(&mut input.scanner(), input.bytes);
    let (mut in_pieces, mut scanner) = (Seen::default(), input.scanner());
    let _ = input.pieces().all(|piece| in_pieces.scan(&mut scanner, piece));
    assert_eq!(at_once, in_pieces);
    let (mut past, mut scanner) = (Seen::default(), input.scanner());
    let _ = input.pieces().all(|piece| past.read_past(&mut scanner, piece));
    assert_eq!(at_once, past);
});
