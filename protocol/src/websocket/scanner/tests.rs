use super::*;
use crate::websocket::frame::control_frame;
use proptest::prelude::*;

/// The bytes in pieces of these sizes, which come again when they are used up.
pub(crate) fn cut<'a>(bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let (mut rest, mut pieces) = (bytes, Vec::new());
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (now, later) = rest.split_at((*size).min(rest.len()));
        pieces.push(now);
        rest = later;
    }
    pieces
}

/// What a scanner makes of a stream: data bytes, message ends, control payloads.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    data: Vec<u8>,
    ends: Vec<usize>,
    messages: u32,
    controls: Vec<(Opcode, Vec<u8>)>,
}

fn scan(scanner: &mut Scanner, bytes: &[u8], seen: &mut Seen) -> Result<(), Violation> {
    let mut input = bytes;
    scan_some(scanner, &mut input, &mut { u32::MAX }, seen)?;
    assert!(input.is_empty());
    Ok(())
}

fn scan_some(
    scanner: &mut Scanner,
    input: &mut &[u8],
    frames: &mut u32,
    seen: &mut Seen,
) -> Result<(), Violation> {
    while let Some(item) = scanner.next(input, frames)? {
        if let Some(data) = item.data() {
            if data.messages > 0 {
                seen.ends.push(seen.data.len() + data.whole);
            }
            seen.messages += data.messages;
            seen.data.extend_from_slice(data.bytes);
        }
        if let Item::Control(control) = item {
            seen.controls.push((control.opcode, control.payload().to_vec()));
        }
    }
    Ok(())
}

fn client() -> Scanner {
    Scanner::new(FrameSender::Client, 1000, false)
}

fn backend() -> Scanner {
    Scanner::new(FrameSender::Backend, 1000, true)
}

fn outcome(mut scanner: Scanner, bytes: &[u8]) -> Result<Seen, Violation> {
    let mut seen = Seen::default();
    scan(&mut scanner, bytes, &mut seen).map(|()| seen)
}

#[test]
fn a_run_of_frames_is_one_span() {
    let bytes = b"\x81\x01a\x01\x01b\x80\x01c\x82\x05he";
    let seen = outcome(backend(), bytes).expect("legal");
    assert_eq!((seen.data.as_slice(), seen.messages, seen.ends), (&bytes[..], 2, vec![9]));
}

/// Every form of a header, and one byte more or less than each wants.
#[test]
fn what_is_there_at_once_is_judged_as_byte_by_byte() {
    let first = [0x81, 0x82, 0xC1, 0xC2, 0x91, 0x83, 0x80, 0x01, 0x88, 0x89, 0x8A, 0xCA, 0x0A, 0x8B];
    let second = [0, 1, 2, 125, 126, 127];
    let length: [&[u8]; 6] = [b"", &[0, 125], &[0, 126], &[3, 0xE8], &[3, 0xE9], &[0, 0, 0, 0, 0, 1, 0, 0]];
    for make in [client, backend, || Scanner::new(FrameSender::Client, 1000, true)] {
        for (first, second) in first.iter().flat_map(|first| second.map(|second| (*first, second))) {
            for (mask, length) in [0, 0x80].iter().flat_map(|mask| length.map(|length| (mask, length))) {
                let mut bytes = vec![first, second | mask];
                bytes.extend(length);
                bytes.extend(std::iter::repeat_n(0x8A, 1010));
                for n in [2, 3, 4, 6, 7, 8, 130, 133, 134, 135, 1004, 1005, 1008, 1009] {
                    let bytes = &bytes[..n.min(bytes.len())];
                    let mut seen = Seen::default();
                    let mut slow = make();
                    let judged =
                        cut(bytes, &[1]).iter().try_for_each(|byte| scan(&mut slow, byte, &mut seen));
                    assert_eq!(outcome(make(), bytes), judged.map(|()| seen), "{bytes:x?}");
                }
            }
        }
    }
}

#[test]
fn control_frames_are_taken_out_of_the_stream() {
    let ping = control_frame(Opcode::Ping, b"hey", Some([1, 2, 3, 4]));
    let bytes = [b"\x01\x81\0\0\0\0a", ping.as_slice(), b"\x80\x81\0\0\0\0b"].concat();
    let seen = outcome(client(), &bytes).expect("legal");
    assert_eq!(seen.data, b"\x01\x81\0\0\0\0a\x80\x81\0\0\0\0b");
    assert_eq!((seen.messages, seen.controls), (1, vec![(Opcode::Ping, b"hey".to_vec())]));
}

#[test]
fn no_more_frames_begin_than_allowed() {
    let bytes = b"\x89\x00\x81\x01a\x8A\x00\x82\x00";
    let (mut scanner, mut seen, mut input) = (backend(), Seen::default(), &bytes[..]);
    for (frames, rest) in [(0, 9), (2, 4), (0, 4), (1, 2), (9, 0)] {
        let mut left = frames;
        scan_some(&mut scanner, &mut input, &mut left, &mut seen).expect("legal");
        assert_eq!(input.len(), rest, "after {frames} more");
        assert_eq!(left, if frames == 9 { 8 } else { 0 });
    }
    assert_eq!((seen.messages, seen.controls.len()), (2, 2));
}

#[test]
fn what_has_begun_goes_on_when_no_frame_may_begin() {
    let (mut scanner, mut seen) = (client(), Seen::default());
    for (piece, rest) in [(&b"\x81\x82\0"[..], 0), (b"\0\0\0a", 0), (b"b\x81\x80\0\0\0\0", 6)] {
        let (mut input, mut frames) = (piece, u32::from(piece[0] == 0x81));
        scan_some(&mut scanner, &mut input, &mut frames, &mut seen).expect("legal");
        assert_eq!(input.len(), rest);
    }
    assert_eq!((seen.data.as_slice(), seen.messages), (&b"\x81\x82\0\0\0\0ab"[..], 1));
}

#[test]
fn breaches_that_depend_on_the_connection() {
    let cases: [(Scanner, &[u8], Violation); 8] = [
        (client(), b"\x81\x01a", Violation::Unmasked),
        (backend(), b"\x81\x81\0\0\0\0a", Violation::Masked),
        (client(), b"\xC1\x80\0\0\0\0", Violation::ReservedBits),
        (backend(), b"\x01\x01a\xC0\x01b", Violation::ReservedBits),
        (backend(), b"\xC9\x00", Violation::ReservedBits),
        (backend(), b"\x80\x00", Violation::UnexpectedContinuation),
        (backend(), b"\x01\x00\x81\x00", Violation::ExpectedContinuation),
        (backend(), b"\x88\x01a", Violation::ShortClose),
    ];
    for (scanner, bytes, violation) in cases {
        assert_eq!(outcome(scanner, bytes), Err(violation));
    }
    assert!(outcome(backend(), b"\xC1\x01a").is_ok(), "compressed, as agreed");
}

#[test]
fn what_precedes_a_breach_is_still_handed_out() {
    let mut scanner = backend();
    let mut seen = Seen::default();
    let bytes = b"\x81\x01a\x83\x00";
    assert_eq!(scan(&mut scanner, bytes, &mut seen), Err(Violation::ReservedOpcode(3)));
    assert_eq!((seen.data.as_slice(), seen.messages), (&b"\x81\x01a"[..], 1));
}

#[test]
fn the_limit_counts_all_fragments_and_is_judged_by_headers() {
    let big = [0x82, 0x7E, 0x03, 0xE9];
    assert_eq!(outcome(backend(), &big), Err(Violation::MessageTooBig));
    let mut two = vec![0x02, 0x7E, 0x03, 0xE8];
    two.extend([0; 1000]);
    two.extend([0x80, 0x01]);
    assert_eq!(outcome(backend(), &two), Err(Violation::MessageTooBig));
    two.truncate(1004);
    two.extend([0x80, 0x00]);
    assert_eq!(outcome(backend(), &two), Err(Violation::MessageTooBig), "headers of fragments count");
    two[0] = 0x82;
    two.truncate(1004);
    assert!(outcome(backend(), &two).is_ok(), "exactly the limit");
}

#[test]
fn payload_can_be_read_past_the_scanner() {
    let mut scanner = backend();
    let mut seen = Seen::default();
    scan(&mut scanner, b"\x82\x05he", &mut seen).expect("legal");
    assert_eq!(scanner.remaining(), 3);
    assert!(!scanner.skip(2));
    assert!(scanner.message_open() && !scanner.at_boundary());
    assert!(scanner.skip(1));
    assert!(scanner.at_boundary() && !scanner.skip(1));
}

fn frames() -> impl Strategy<Value = Vec<u8>> {
    let payload = proptest::collection::vec(any::<u8>(), 0..200);
    let message =
        (payload, any::<bool>(), proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20)));
    proptest::collection::vec(message, 1..8).prop_map(|messages| {
        messages.into_iter().flat_map(|(payload, split, ping)| encode(&payload, split, ping)).collect()
    })
}

fn encode(payload: &[u8], split: bool, ping: Option<Vec<u8>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let at = if split { payload.len() / 2 } else { payload.len() };
    let mut frame = |first: u8, part: &[u8]| {
        bytes.push(first);
        match part.len() {
            n @ 0..126 => bytes.push(n as u8),
            n => bytes.extend([126, (n >> 8) as u8, n as u8]),
        }
        bytes.extend(part);
    };
    frame(if split { 0x02 } else { 0x82 }, &payload[..at]);
    if let Some(ping) = ping {
        frame(0x89, &ping);
    }
    if split {
        frame(0x80, &payload[at..]);
    }
    bytes
}

proptest! {
    #[test]
    fn where_the_stream_is_cut_makes_no_difference(bytes in frames(), cuts in proptest::collection::vec(1usize..40, 1..50)) {
        let whole = outcome(backend(), &bytes).expect("legal");
        let mut scanner = backend();
        let mut seen = Seen::default();
        for piece in cut(&bytes, &cuts) {
            scan(&mut scanner, piece, &mut seen).expect("legal");
        }
        prop_assert_eq!((&seen.data, seen.messages, &seen.controls), (&whole.data, whole.messages, &whole.controls));
        prop_assert_eq!(seen.ends.last(), whole.ends.last());
        prop_assert!(scanner.at_boundary());
    }

    #[test]
    fn where_frames_are_held_back_makes_no_difference(
        bytes in frames(),
        cuts in proptest::collection::vec(1usize..40, 1..50),
        most in 1u32..4,
    ) {
        let whole = outcome(backend(), &bytes).expect("legal");
        let (mut scanner, mut seen) = (backend(), Seen::default());
        for piece in cut(&bytes, &cuts) {
            let mut input = piece;
            while !input.is_empty() {
                let before = seen.controls.len() as u32 + seen.messages;
                scan_some(&mut scanner, &mut input, &mut { most }, &mut seen).expect("legal");
                // One may have begun before.
                prop_assert!(seen.controls.len() as u32 + seen.messages <= before + most + 1);
            }
        }
        prop_assert_eq!((&seen.data, seen.messages, &seen.controls), (&whole.data, whole.messages, &whole.controls));
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 0usize..300) {
        let cut = cut.min(bytes.len());
        for mut scanner in [client(), backend()] {
            let mut seen = Seen::default();
            if scan(&mut scanner, &bytes[..cut], &mut seen).is_ok() {
                let _ = scan(&mut scanner, &bytes[cut..], &mut seen);
            }
        }
    }
}
