//! The kind byte comes off and goes on, however the stream of frames is cut.

mod anything;

use serde_json::Value;

use super::*;
use crate::websocket::frame::data_frame;
use crate::websocket::scanner::{FrameSender, Item, Scanner};

const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// A client's frame.
fn masked(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let (header, len) = encode_header(fin, opcode, payload.len() as u64, Some(KEY));
    let mut frame = [&header[..len], payload].concat();
    apply_mask(&mut frame[len..], KEY, 0);
    frame
}

/// A backend's frame.
fn plain(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let (header, len) = encode_header(fin, opcode, payload.len() as u64, None);
    [&header[..len], payload].concat()
}

fn text(payload: &[u8]) -> Vec<u8> {
    masked(true, Opcode::Text, payload)
}

/// The messages whose frames these are: text or not, and the payload. The last one may have no end.
fn messages(mut bytes: &[u8]) -> Vec<(bool, Vec<u8>)> {
    let mut messages: Vec<(bool, Vec<u8>)> = Vec::new();
    while let Some(header) = Header::parse(bytes).expect("legal") {
        let (frame, rest) = bytes.split_at(header.len + header.payload_len as usize);
        bytes = rest;
        let mut payload = frame[header.len..].to_vec();
        apply_mask(&mut payload, header.mask.unwrap_or_default(), 0);
        match (header.opcode, messages.last_mut()) {
            (Opcode::Continuation, Some((_, open))) => open.extend(payload),
            (opcode, _) => messages.push((opcode == Opcode::Text, payload)),
        }
    }
    messages
}

/// What has come of a client's stream.
#[derive(Debug, Default)]
struct Stripped {
    ring: Ring,
    texts: Vec<FromClient>,
    controls: usize,
    bad: bool,
}

impl Stripped {
    fn bytes(&self) -> Vec<u8> {
        self.ring.bytes_at(self.ring.base()).0.slices(0).flatten().copied().collect()
    }

    fn messages(&self) -> Vec<(bool, Vec<u8>)> {
        messages(&self.bytes())
    }

    /// Nothing tells one from the other.
    fn is_like(&self, other: &Stripped) -> bool {
        let ring = self.bytes() == other.bytes() && self.ring.messages().eq(other.ring.messages());
        let rest = |it: &Stripped| (it.ring.whole(), it.controls, it.bad);
        ring && self.texts == other.texts && rest(self) == rest(other)
    }
}

/// Takes the kind byte off a stream that comes in these pieces. `direct`: payload goes past the scanner where
/// that is allowed.
fn strip<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, direct: bool) -> Stripped {
    let (mut scanner, mut strip, mut out) =
        (Scanner::new(FrameSender::Client, 1 << 24, false), Strip::default(), Stripped::default());
    for mut piece in pieces {
        while !piece.is_empty() && !out.bad {
            if direct && strip.in_message() && scanner.remaining() > 0 {
                let n = piece.len().min(scanner.remaining() as usize);
                let tail = out.ring.tail(n);
                let (now, rest) = piece.split_at(n.min(tail.capacity() - tail.len()));
                tail.extend_from_slice(now);
                let ended = scanner.skip(now.len() as u64);
                strip.skip(now.len() as u64);
                out.ring.grown(now.len(), ended);
                piece = rest;
                continue;
            }
            match scanner.next(&mut piece, &mut { u32::MAX }).expect("legal frames") {
                Some(Item::Control(_)) => out.controls += 1,
                Some(item) => {
                    let data = item.data().expect("data");
                    let mut bytes = data.bytes;
                    while !out.bad && !bytes.is_empty() {
                        match strip.pass(&mut bytes, Some(&mut out.ring)) {
                            Ok(text) => out.texts.extend(text),
                            Err(BadFrame) => out.bad = true,
                        }
                    }
                }
                None => break,
            }
        }
    }
    out
}

fn strip_whole(bytes: &[u8]) -> Stripped {
    strip([bytes], false)
}

/// Puts the kind byte on a stream that comes in these pieces, and gathers it as a session does.
fn add<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, direct: bool) -> Ring {
    let (mut scanner, mut add, mut out) =
        (Scanner::new(FrameSender::Backend, 1 << 24, false), AddKind::default(), Ring::default());
    for mut piece in pieces {
        while !piece.is_empty() {
            if direct && scanner.remaining() > 0 {
                let n = piece.len().min(scanner.remaining() as usize);
                let (now, rest) = piece.split_at(n);
                let ended = scanner.skip(n as u64);
                add.skip(n as u64);
                out.append(&Data {
                    bytes: now,
                    messages: u32::from(ended),
                    whole: if ended { n } else { 0 },
                });
                piece = rest;
                continue;
            }
            match scanner.next(&mut piece, &mut { u32::MAX }).expect("legal frames") {
                Some(Item::Control(_)) => {}
                Some(item) => {
                    let data = item.data().expect("data");
                    let kinded = add.pass(data.bytes);
                    assert_eq!(kinded.data().messages, data.messages, "as many end as before");
                    out.append(&kinded.data());
                }
                None => break,
            }
        }
    }
    out
}

fn bytes_of(ring: &Ring) -> Vec<u8> {
    ring.bytes_at(ring.base()).0.slices(0).flatten().copied().collect()
}

/// Every cut of the stream into two, and into single bytes, makes no difference.
fn assert_cuts_do_not_matter(bytes: &[u8]) {
    let whole = strip_whole(bytes);
    for direct in [false, true] {
        for cut in 0..=bytes.len() {
            let halves = strip([&bytes[..cut], &bytes[cut..]], direct);
            assert!(halves.is_like(&whole), "cut at {cut}, direct {direct}");
        }
        assert!(strip(bytes.chunks(1), direct).is_like(&whole), "single bytes, direct {direct}");
    }
}

// ---- the vectors ----

fn run(run: &Value) -> Vec<u8> {
    let hex = |text: &Value| -> Vec<u8> {
        let digits = text.as_str().expect("hex digits").as_bytes();
        let byte =
            |two: &[u8]| u8::from_str_radix(std::str::from_utf8(two).expect("ASCII"), 16).expect("hex");
        digits.chunks(2).map(byte).collect()
    };
    match run {
        Value::String(_) => hex(run),
        _ => hex(&run["hex"]).repeat(run["times"].as_u64().expect("times") as usize),
    }
}

fn frame(vector: &Value, field: &str) -> Vec<u8> {
    vector[field].as_array().expect("runs").iter().flat_map(run).collect()
}

/// What must come before the vector's frame, and what becomes of it.
fn before(vector: &Value, bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let off = vector["way"] == "off";
    match (bytes[0] & 0x0F, off) {
        (0, true) => {
            (masked(false, Opcode::Text, b"m"), [0x01, 0x80, KEY[1], KEY[2], KEY[3], KEY[0]].to_vec())
        }
        (0, false) => (plain(false, Opcode::Text, b""), plain(false, Opcode::Text, b"m")),
        _ => Default::default(),
    }
}

#[test]
fn frames_become_what_the_vectors_say() {
    let file: Value = serde_json::from_str(include_str!("../../../vectors/frames.json")).expect("JSON");
    let vectors = file["vectors"].as_array().expect("vectors");
    assert!(vectors.len() >= 20);
    for vector in vectors {
        let (frame, wanted) = (frame(vector, "in"), frame(vector, "out"));
        let (before, then) = before(vector, &frame);
        let (bytes, wanted) = ([before, frame].concat(), [then, wanted].concat());
        for direct in [false, true] {
            for size in [1, 5, bytes.len()] {
                let got = match vector["way"] == "off" {
                    true => strip(bytes.chunks(size), direct).bytes(),
                    false => bytes_of(&add(bytes.chunks(size), direct)),
                };
                assert!(got == wanted, "{} in pieces of {size}", vector["about"]);
            }
        }
    }
}

// ---- off ----

#[test]
fn messages_go_on_and_texts_are_read() {
    let bytes = [
        text(b"a 7"),
        text(b"mone"),
        masked(true, Opcode::Binary, b"m\0\xFF"),
        text(b"q"),
        text(b"m"),
        text(b"a 12 and more of a later version"),
    ]
    .concat();
    let out = strip_whole(&bytes);
    assert_eq!(out.messages(), [(true, b"one".to_vec()), (false, b"\0\xFF".to_vec()), (true, Vec::new())]);
    assert_eq!(out.texts, [FromClient::Ack(7), FromClient::Query, FromClient::Ack(12)]);
    assert_eq!(out.ring.whole_seq(), 3);
    assert_cuts_do_not_matter(&bytes);
}

#[test]
fn fragments_of_every_kind_of_message() {
    let bytes = [
        masked(false, Opcode::Text, b"mhel"),
        masked(false, Opcode::Continuation, b""),
        masked(true, Opcode::Continuation, b"lo"),
        masked(false, Opcode::Text, b"m"),
        masked(true, Opcode::Continuation, b"world"),
        masked(false, Opcode::Text, b"m"),
        masked(true, Opcode::Continuation, b""),
        masked(false, Opcode::Text, b"a"),
        masked(false, Opcode::Continuation, b" 1"),
        masked(true, Opcode::Continuation, b"23"),
        masked(false, Opcode::Text, b"q"),
        masked(true, Opcode::Continuation, b""),
        masked(false, Opcode::Binary, b"?"),
        masked(true, Opcode::Continuation, b"mm"),
        masked(true, Opcode::Text, b"mend"),
    ]
    .concat();
    let out = strip_whole(&bytes);
    let texts: Vec<_> = out.messages().into_iter().map(|(_, payload)| payload).collect();
    assert_eq!(texts, [b"hello".to_vec(), b"world".to_vec(), Vec::new(), b"end".to_vec()]);
    assert_eq!(out.texts, [FromClient::Ack(123), FromClient::Query]);
    assert_cuts_do_not_matter(&bytes);
}

#[test]
fn control_frames_stand_between_fragments() {
    let bytes = [
        masked(false, Opcode::Text, b"mhel"),
        masked(true, Opcode::Ping, b"?"),
        masked(true, Opcode::Continuation, b"lo"),
        masked(false, Opcode::Text, b"a"),
        masked(true, Opcode::Pong, b""),
        masked(true, Opcode::Continuation, b" 5"),
    ]
    .concat();
    let out = strip_whole(&bytes);
    assert_eq!((out.messages(), out.controls), (vec![(true, b"hello".to_vec())], 2));
    assert_eq!(out.texts, [FromClient::Ack(5)]);
    assert_cuts_do_not_matter(&bytes);
}

#[test]
fn unknown_kinds_are_skipped_whatever_their_length() {
    for len in [1, 2, 125, 126, 127, TEXT_MAX + 1, 65_535, 65_536, 65_537, 300_000] {
        let payload = [b"z".as_slice(), &vec![b'm'; len - 1]].concat();
        let fragments = [masked(false, Opcode::Text, &payload), masked(true, Opcode::Continuation, &payload)];
        let bytes = [masked(true, Opcode::Binary, &payload), fragments.concat(), text(b"mnext")].concat();
        for size in [1, 1000, bytes.len()] {
            let out = strip(bytes.chunks(size), true);
            assert_eq!(out.messages(), [(true, b"next".to_vec())], "{len} bytes");
            assert!(out.texts.is_empty() && !out.bad);
        }
    }
}

#[test]
fn what_has_no_kind_or_cannot_be_read_is_a_breach() {
    let long = [b"a 1 ".as_slice(), &[b'x'; TEXT_MAX - 3]].concat();
    let bad = [
        text(b""),
        masked(true, Opcode::Binary, b""),
        masked(false, Opcode::Text, b""),
        text(b"a"),
        text(b"a "),
        text(b"a x"),
        text(b"a -1"),
        text(b"a 01"),
        text(b"a 9007199254740992"),
        text(b"ab 1"),
        text(b"a\xFF"),
        text(b"query"),
        text(&long),
        [masked(false, Opcode::Text, b"a 1 "), masked(true, Opcode::Continuation, &[b'x'; TEXT_MAX - 3])]
            .concat(),
    ];
    for bytes in bad {
        let stream = [text(b"mbefore"), bytes, text(b"mbehind")].concat();
        for size in [1, 3, stream.len()] {
            let out = strip(stream.chunks(size), false);
            assert!(out.bad, "{stream:?} in pieces of {size}");
            assert_eq!(out.messages(), [(true, b"before".to_vec())], "nothing behind it goes on");
        }
    }
}

/// It need not end to be too long.
#[test]
fn a_text_is_refused_as_soon_as_it_is_too_long() {
    let begun = masked(false, Opcode::Text, &[b"a 1 ".as_slice(), &[b'x'; TEXT_MAX]].concat());
    assert!(strip_whole(&begun).bad);
    let fits = text(&[b"a 1 ".as_slice(), &[b'x'; TEXT_MAX - 4]].concat());
    assert_eq!(strip_whole(&fits).texts, [FromClient::Ack(1)]);
}

#[test]
fn without_a_ring_texts_are_still_read() {
    let bytes = [
        text(b"a 1"),
        text(b"mlost"),
        masked(false, Opcode::Text, b"ml"),
        masked(true, Opcode::Continuation, b"ost"),
        text(b"q"),
    ]
    .concat();
    let (mut strip, mut rest) = (Strip::default(), bytes.as_slice());
    assert_eq!(strip.pass(&mut rest, None), Ok(Some(FromClient::Ack(1))));
    assert_eq!(strip.pass(&mut rest, None), Ok(Some(FromClient::Query)));
    assert!(rest.is_empty());
}

#[test]
fn lengths_at_the_borders_of_their_encoding() {
    for len in [1, 2, 125, 126, 127, 128, 65_535, 65_536, 65_537] {
        let payload = [b"m".as_slice(), &vec![b'x'; len - 1]].concat();
        let bytes = [text(&payload), text(b"mnext")].concat();
        let expected = [(true, payload[1..].to_vec()), (true, b"next".to_vec())];
        for direct in [false, true] {
            for cut in (0..20).chain(bytes.len().saturating_sub(20)..bytes.len()) {
                let cut = cut.min(bytes.len());
                let out = strip([&bytes[..cut], &bytes[cut..]], direct);
                assert!(out.messages() == expected, "{len} bytes cut at {cut}");
                assert_eq!(out.ring.whole_seq(), 2);
            }
        }
    }
}

// ---- on ----

#[test]
fn every_message_of_a_backend_gets_its_kind() {
    let bytes = [
        plain(true, Opcode::Text, b"one"),
        plain(true, Opcode::Text, b""),
        plain(false, Opcode::Binary, b""),
        plain(true, Opcode::Ping, b"?"),
        plain(false, Opcode::Continuation, b"\0"),
        plain(true, Opcode::Continuation, b""),
        plain(true, Opcode::Text, b"end"),
    ]
    .concat();
    let whole = add([bytes.as_slice()], false);
    let expected =
        [(true, b"mone".to_vec()), (true, b"m".to_vec()), (false, b"m\0".to_vec()), (true, b"mend".to_vec())];
    assert_eq!((messages(&bytes_of(&whole)), whole.whole_seq()), (expected.to_vec(), 4));
    let ends: Vec<_> = whole.messages().collect();
    for direct in [false, true] {
        for cut in 0..=bytes.len() {
            let halves = add([&bytes[..cut], &bytes[cut..]], direct);
            assert_eq!(halves.messages().collect::<Vec<_>>(), ends, "cut at {cut}");
            assert_eq!(bytes_of(&halves), bytes_of(&whole), "cut at {cut}");
        }
        assert_eq!(bytes_of(&add(bytes.chunks(1), direct)), bytes_of(&whole));
    }
}

#[test]
fn a_header_with_and_without_the_kind() {
    for len in [0, 1, 124, 125, 126, 65_534, 65_535, 65_536] {
        for is_text in [false, true] {
            let opcode = if is_text { Opcode::Text } else { Opcode::Binary };
            let payload = vec![b'x'; len];
            let (header, n) = message_header(is_text, len, false);
            assert_eq!([&header[..n], &payload].concat(), data_frame(opcode, &payload, None));
            let (header, n) = message_header(is_text, len, true);
            let kinded = [b"m".as_slice(), &payload].concat();
            assert_eq!([&header[..n], &payload].concat(), data_frame(opcode, &kinded, None));
        }
    }
}
