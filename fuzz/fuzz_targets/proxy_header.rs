//! Arbitrary bytes in front of a connection, cut at arbitrary places, and arbitrary headers to be sent: reading one never
//! panics, keeps to its bound, takes no byte behind it and finds the same wherever the cuts are; what is sent is read
//! again as what was to be said, and what is read could have been sent.
#![no_main]

use std::net::SocketAddr;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use steadfast_proxy_protocol::{
    Announced, HEADER_MAX, HeaderBytes, HeaderFault, ProxiedEnds, ProxyHeader, SendProxy,
};

#[derive(Debug, Arbitrary)]
enum Input<'a> {
    /// Whatever may come.
    Anything { cuts: Vec<u8>, bytes: &'a [u8] },
    /// A header of version 2 whose count is right, with zeros at its end.
    Block { command: u8, family: u8, body: &'a [u8], zeros: u16, behind: &'a [u8] },
    /// What is to be sent.
    Sent { source: SocketAddr, destination: SocketAddr, host: Option<&'a str>, id: &'a str, behind: &'a [u8] },
}

/// What bytes have come to.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// They are no whole header yet.
    TooFew,
    Header(ProxyHeader),
    Fault(HeaderFault),
}

/// What is found in pieces, and how many of the bytes are the header's when there is one.
fn found<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Found, usize) {
    let (mut header, mut taken) = (HeaderBytes::default(), 0);
    for piece in pieces {
        let own = match header.take(piece) {
            Ok(own) => own,
            Err(fault) => return (Found::Fault(fault), 0),
        };
        taken += own;
        assert!(own <= piece.len() && taken <= HEADER_MAX, "{taken} bytes are taken");
        assert_eq!(header.is_empty(), taken == 0);
        match header.says() {
            Some(Ok(says)) => return (Found::Header(says), taken),
            Some(Err(fault)) => return (Found::Fault(fault), 0),
            None => assert!(own == piece.len() && taken < HEADER_MAX, "it asks for more and leaves bytes"),
        }
    }
    (Found::TooFew, 0)
}

/// Pieces of these sizes, none of them empty, and what is left in one.
fn pieces<'a>(mut rest: &'a [u8], cuts: &[u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut sizes = cuts.iter().map(|cut| usize::from(*cut) + 1);
    std::iter::from_fn(move || {
        let (piece, later) = rest.split_at(sizes.next().unwrap_or(rest.len()).min(rest.len()));
        rest = later;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Reads the bytes at once, one by one and by the cuts, and returns what is found in every way.
fn received(bytes: &[u8], cuts: &[u8]) -> (Found, usize) {
    let at_once = found(pieces(bytes, &[]));
    assert_eq!(at_once, found(bytes.chunks(1)), "one by one");
    assert_eq!(at_once, found(pieces(bytes, cuts)), "by the cuts");
    if let (Found::Header(header), length) = &at_once {
        assert_eq!(
            found(pieces(&bytes[..*length], &[])),
            (Found::Header(*header), *length),
            "nothing behind it"
        );
        assert_eq!(found(bytes[..length - 1].chunks(16)), (Found::TooFew, 0), "one byte is missing");
        if let ProxyHeader::Client(ends) = *header {
            let again = |version: SendProxy| version.of_client(Announced { ends, host: None, id: "" });
            for version in [SendProxy::V1, SendProxy::V2] {
                assert_eq!(found(again(version).chunks(7)).0, Found::Header(*header), "{version:?}");
            }
        }
    }
    at_once
}

fn sent(ends: ProxiedEnds, host: Option<&str>, id: &str, behind: &[u8]) {
    let [source, destination] =
        [ends.source, ends.destination].map(|end| SocketAddr::new(end.ip().to_canonical(), end.port()));
    let client = ProxyHeader::Client(ProxiedEnds { source, destination });
    for version in [SendProxy::V1, SendProxy::V2] {
        let headers =
            [(version.of_client(Announced { ends, host, id }), client), (version.of_own(), ProxyHeader::Own)];
        for (header, says) in headers {
            let bytes = [&header, behind].concat();
            assert_eq!(received(&bytes, &[14, 0, 3]), (Found::Header(says), header.len()), "{version:?}");
        }
    }
    assert!(SendProxy::Off.of_client(Announced { ends, host, id }).is_empty());
}

fuzz_target!(|input: Input<'_>| match input {
    Input::Anything { cuts, bytes } => {
        received(bytes, &cuts);
    }
    Input::Block { command, family, body, zeros, behind } => {
        let body = [body, &vec![0; zeros.into()]].concat();
        let Ok(length) = u16::try_from(body.len()) else { return };
        let head = [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, family], &length.to_be_bytes()].concat();
        match received(&[&head, &body, behind].concat(), &[15]) {
            (Found::Header(header), length) => {
                assert_eq!(length, head.len() + body.len());
                let is_client = matches!(header, ProxyHeader::Client(_));
                assert!(!is_client || command == 0x21 && matches!(family, 0x11 | 0x21));
            }
            (Found::Fault(_), _) => {}
            (Found::TooFew, _) => panic!("all of it is there"),
        }
    }
    Input::Sent { source, destination, host, id, behind } => {
        sent(ProxiedEnds { source, destination }, host, id, behind);
    }
});
