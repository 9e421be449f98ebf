//! Headers of both versions, as they are written by others and by us, and whatever else may come.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

/// Bytes that a header of version 2 may count.
const BLOCK_MAX: usize = HEADER_MAX - 16;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What follows a header and is not its.
const BEHIND: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

fn ends(source: &str, destination: &str) -> ProxiedEnds {
    let [source, destination] = [source, destination].map(|text| text.parse().expect("an address"));
    ProxiedEnds { source, destination }
}

fn client(source: &str, destination: &str) -> Result<ProxyHeader, HeaderFault> {
    Ok(ProxyHeader::Client(ends(source, destination)))
}

/// What bytes say that come in pieces of this size, and how many of them are a header's. `None`: they are no whole one.
fn said(bytes: &[u8], piece: usize) -> Option<(Result<ProxyHeader, HeaderFault>, usize)> {
    let (mut header, mut at) = (HeaderBytes::default(), 0);
    while at < bytes.len() {
        let end = (at + piece).min(bytes.len());
        match header.take(&bytes[at..end]) {
            Ok(own) => at += own,
            Err(fault) => return Some((Err(fault), 0)),
        }
        if let Some(says) = header.says() {
            return Some((says, at));
        }
        assert_eq!(at, end, "all is taken while it is not whole");
    }
    None
}

/// What a header says, in pieces of any size, with something behind it.
fn says(header: &[u8]) -> Result<ProxyHeader, HeaderFault> {
    let bytes = [header, BEHIND].concat();
    let whole = said(&bytes, bytes.len());
    for piece in [1, 2, 15, 16, 17] {
        assert_eq!(said(&bytes, piece), whole, "in pieces of {piece}: {}", header.escape_ascii());
    }
    let (says, length) = whole.expect("it is whole");
    assert!(says.is_err() || length == header.len(), "not one byte behind it is taken");
    says
}

/// A header of version 2.
fn block(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    [SIGNATURE, &[command, family], &(body.len() as u16).to_be_bytes(), body].concat()
}

/// 203.0.113.9:5678 to 192.0.2.1:443, with what follows.
fn v4(tlvs: &[u8]) -> Vec<u8> {
    [&[203, 0, 113, 9, 192, 0, 2, 1, 0x16, 0x2e, 1, 0xbb], tlvs].concat()
}

const V4: (&str, &str) = ("203.0.113.9:5678", "192.0.2.1:443");

#[test]
fn lines_are_read() {
    for (line, expected) in [
        ("PROXY TCP4 203.0.113.9 192.0.2.1 5678 443\r\n", client(V4.0, V4.1)),
        ("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n", client("0.0.0.0:0", "255.255.255.255:65535")),
        ("PROXY TCP6 2001:db8::9 ::1 1 2\r\n", client("[2001:db8::9]:1", "[::1]:2")),
        ("PROXY TCP6 ::ffff:203.0.113.9 ::ffff:192.0.2.1 5678 443\r\n", client(V4.0, V4.1)),
        ("PROXY UNKNOWN\r\n", Ok(ProxyHeader::Own)),
        ("PROXY UNKNOWN ffff::1 anything at all 1 2\r\n", Ok(ProxyHeader::Own)),
    ] {
        assert_eq!(says(line.as_bytes()), expected, "{line}");
    }
    // The longest that there is.
    let long = format!("PROXY TCP6 {0} {0} 65535 65535\r\n", ["ffff"; 8].join(":"));
    assert!(matches!(says(long.as_bytes()), Ok(ProxyHeader::Client(_))));
    let unknown = |length: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(length - 16));
    assert_eq!(says(unknown(107).as_bytes()), Ok(ProxyHeader::Own));
    assert_eq!(says(unknown(108).as_bytes()), Err(HeaderFault::Malformed));
}

#[test]
fn other_lines_are_refused() {
    for line in [
        "GET / HTTP/1.1\r\n",
        "\x16\x03\x01\x02\x00\x01\x00",
        "PROXIES\r\n",
        "PROXY\r\n",
        "PROXY  UNKNOWN\r\n",
        "PROXYxTCP4 203.0.113.9 192.0.2.1 5678 443\r\n",
        "PROXY UNKNOWN\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY UNKNOWN \r \r\n",
        "PROXY tcp4 203.0.113.9 192.0.2.1 5678 443\r\n",
        "PROXY TCP4 203.0.113.9 192.0.2.1 5678 443\n",
        "PROXY TCP4 203.0.113.9 192.0.2.1 5678 443 \r\n",
        "PROXY TCP4 203.0.113.9  192.0.2.1 5678 443\r\n",
        "PROXY TCP4 203.0.113.9 192.0.2.1 5678\r\n",
        "PROXY TCP4 203.0.113.9 192.0.2.1 5678 65536\r\n",
        "PROXY TCP4 203.0.113.9 192.0.2.1 +5678 443\r\n",
        "PROXY TCP4 203.0.113.9 192.0.2.1 05678 443\r\n",
        "PROXY TCP4 203.0.113.9 192.0.2.1  443\r\n",
        "PROXY TCP4 203.0.113.09 192.0.2.1 5678 443\r\n",
        "PROXY TCP4 2001:db8::9 ::1 5678 443\r\n",
        "PROXY TCP6 203.0.113.9 192.0.2.1 5678 443\r\n",
        "PROXY UDP4 203.0.113.9 192.0.2.1 5678 443\r\n",
    ] {
        assert_eq!(says(line.as_bytes()), Err(HeaderFault::Malformed), "{line:?}");
    }
}

#[test]
fn blocks_are_read() {
    let six = [&Ipv6Addr::LOCALHOST.octets()[..], &Ipv6Addr::UNSPECIFIED.octets(), &[0, 1, 0, 2]].concat();
    let tlvs = b"\x02\0\x01a\x05\0\x02id\xea\0\0\x20\0\x05\0\0\0\0\0\x04\0\0";
    for (bytes, expected) in [
        (block(0x21, 0x11, &v4(b"")), client(V4.0, V4.1)),
        (block(0x21, 0x11, &v4(tlvs)), client(V4.0, V4.1)),
        (block(0x21, 0x21, &six), client("[::1]:1", "[::]:2")),
        // Nothing of this is to be looked at.
        (block(0x20, 0x00, b""), Ok(ProxyHeader::Own)),
        (block(0x20, 0x11, b""), Ok(ProxyHeader::Own)),
        (block(0x20, 0xff, b"anything"), Ok(ProxyHeader::Own)),
        // A client's, of whom there is no address.
        (block(0x21, 0x00, b"anything"), Ok(ProxyHeader::Own)),
        (block(0x21, 0x12, &v4(b"")), Ok(ProxyHeader::Own)),
        (block(0x21, 0x31, &[b'/'; 216]), Ok(ProxyHeader::Own)),
    ] {
        assert_eq!(says(&bytes), expected, "{}", bytes.escape_ascii());
    }
    let padded = |length: u16| v4(&[&[4][..], &length.to_be_bytes(), &vec![0; length.into()]].concat());
    let most = BLOCK_MAX as u16 - 12 - 3;
    assert_eq!(says(&block(0x21, 0x11, &padded(most))), client(V4.0, V4.1));
    assert_eq!(says(&block(0x21, 0x11, &padded(most + 1))), Err(HeaderFault::Malformed));
}

#[test]
fn other_blocks_are_refused() {
    for bytes in [
        block(0x11, 0x11, &v4(b"")),
        block(0x22, 0x11, &v4(b"")),
        block(0x21, 0x41, &v4(b"")),
        block(0x21, 0x10, &v4(b"")),
        block(0x21, 0x11, &v4(b"")[..11]),
        block(0x21, 0x21, &v4(b"")),
        block(0x21, 0x11, &v4(b"\x04\0")),
        block(0x21, 0x11, &v4(b"\x04\0\x01")),
        block(0x21, 0x11, &v4(b"\x03\0\x02\0\0")),
        b"\r\n\r\nGET / HTTP/1.1".to_vec(),
    ] {
        assert_eq!(says(&bytes), Err(HeaderFault::Malformed), "{}", bytes.escape_ascii());
    }
    for cut in 0..28 {
        assert_eq!(said(&block(0x21, 0x11, &v4(b""))[..cut], 7), None, "{cut}");
    }
}

/// The specification has no example; this one is of another implementation.
#[test]
fn checksums_are_those_of_others() {
    let sound = b"\r\n\r\n\0\r\nQUIT\n \0\0\x0f\x03\0\x04\x88\x9d\xa1\xdf \0\x05\0\0\0\0\0";
    assert_eq!(says(sound), Ok(ProxyHeader::Own));
    for at in 16..sound.len() {
        let mut wrong = sound.to_vec();
        wrong[at] ^= 0x10;
        // What makes another type of the checksum, or another length, leaves nothing that can be checked.
        let expected = if [16, 17, 18, 23, 24, 25].contains(&at) {
            Ok(ProxyHeader::Own)
        } else {
            Err(HeaderFault::Checksum)
        };
        let found = says(&wrong);
        assert!(found == expected || found == Err(HeaderFault::Checksum), "{at}: {found:?}");
    }
}

#[test]
fn what_is_sent_is_what_others_send() {
    let announced = |ends| Announced { ends, host: Some("a.test"), id: "5e55" };
    let four = ends(V4.0, V4.1);
    assert_eq!(SendProxy::V1.of_client(announced(four)), b"PROXY TCP4 203.0.113.9 192.0.2.1 5678 443\r\n");
    let tlvs = b"\x02\0\x06a.test\x05\0\x045e55";
    assert_eq!(SendProxy::V2.of_client(announced(four)), block(0x21, 0x11, &v4(tlvs)));
    // Of one family, whatever the listener's is.
    let mixed = ends("203.0.113.9:5678", "[2001:db8::1]:443");
    let line = b"PROXY TCP6 ::ffff:203.0.113.9 2001:db8::1 5678 443\r\n";
    assert_eq!(SendProxy::V1.of_client(announced(mixed)), line);
    let dual = ends("[::ffff:203.0.113.9]:5678", "[::ffff:192.0.2.1]:443");
    assert_eq!(SendProxy::V1.of_client(announced(dual)), SendProxy::V1.of_client(announced(four)));
    // What may not be said is left out.
    let long = "a".repeat(256);
    let announced = Announced { ends: four, host: Some(&long), id: &long };
    assert_eq!(SendProxy::V2.of_client(announced), block(0x21, 0x11, &v4(b"")));
    let own = [SendProxy::Off, SendProxy::V1, SendProxy::V2].map(SendProxy::of_own);
    assert_eq!(own, [b"".to_vec(), b"PROXY UNKNOWN\r\n".to_vec(), block(0x20, 0, b"")]);
    assert_eq!(SendProxy::Off.of_client(announced), b"");
}

fn address() -> impl Strategy<Value = SocketAddr> {
    let ip = prop_oneof![
        any::<[u8; 4]>().prop_map(|octets| Ipv4Addr::from(octets).into()),
        any::<[u8; 16]>().prop_map(|octets| Ipv6Addr::from(octets).to_canonical()),
    ];
    (ip, any::<u16>()).prop_map(SocketAddr::from)
}

/// Bytes that are nearly a header.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        Just("PROXY"),
        Just(" "),
        Just("  "),
        Just("TCP4"),
        Just("TCP6"),
        Just("UNKNOWN"),
        Just("\r\n"),
        Just("\n"),
        Just("1.2.3.4"),
        Just("::"),
        Just("0"),
        Just("65535"),
        Just("65536"),
        Just("+1"),
        Just("\0"),
    ];
    let words =
        prop::collection::vec(word, 0..12).prop_map(|words| format!("PROXY{}", words.concat()).into_bytes());
    let fields = (0x10u8..0x30, any::<u8>(), prop::collection::vec(prop_oneof![0u8..6, any::<u8>()], 0..60));
    let family = prop_oneof![Just(0x11u8), Just(0x21), Just(0x31), Just(0), any::<u8>()];
    let blocks = (fields, family).prop_map(|((command, _, body), family)| block(command, family, &body));
    prop_oneof![words, blocks, prop::collection::vec(any::<u8>(), 0..40)]
}

proptest! {
    #[test]
    fn what_is_sent_is_read_again(source in address(), destination in address(), host in "[a-z.]{0,40}", id in "[0-9a-f]{0,32}") {
        let sent = ProxiedEnds { source, destination };
        for version in [SendProxy::V1, SendProxy::V2] {
            let bytes = version.of_client(Announced { ends: sent, host: Some(&host), id: &id });
            prop_assert_eq!(says(&bytes), Ok(ProxyHeader::Client(sent)));
            for end in 0..bytes.len() {
                prop_assert_eq!(said(&bytes[..end], 7), None, "cut at {}", end);
            }
        }
    }

    #[test]
    fn any_bytes_are_a_header_or_refused_or_too_few(bytes in nearly()) {
        let found = said(&bytes, bytes.len().max(1));
        prop_assert_eq!(said(&bytes, 1), found);
        // What is taken for a client's could have been sent so, but for what stands behind its addresses.
        let Some((Ok(ProxyHeader::Client(ends)), length)) = found else { return Ok(()) };
        let (bytes, announced) = (&bytes[..length], Announced { ends, host: None, id: "" });
        if bytes[0] == b'P' {
            prop_assert_eq!(says(&SendProxy::V1.of_client(announced)), Ok(ProxyHeader::Client(ends)));
            prop_assert_eq!(bytes.iter().filter(|byte| **byte == b' ').count(), 5);
        } else {
            prop_assert_eq!(bytes[12], 0x21);
            prop_assert!(bytes[13] == 0x11 || bytes[13] == 0x21);
        }
    }

    #[test]
    fn one_changed_bit_is_found_by_a_checksum(at in 12usize..39, bit in 0u8..8, source in any::<[u8; 4]>()) {
        let mut tlvs = v4(b"\x03\0\x04\0\0\0\0\x02\0\x01a");
        tlvs[..4].copy_from_slice(&source);
        let mut bytes = block(0x21, 0x11, &tlvs);
        let sum = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(&bytes);
        bytes[31..35].copy_from_slice(&sum.to_be_bytes());
        prop_assert!(matches!(says(&bytes), Ok(ProxyHeader::Client(_))));
        bytes[at] ^= 1 << bit;
        // It is another type, or all of it is not to be looked at.
        let excused = at == 28 || (at == 12 && bytes[12] == 0x20);
        let found = said(&bytes, 200);
        prop_assert!(excused || !matches!(found, Some((Ok(ProxyHeader::Client(_)), _))), "{:?}", found);
    }
}
