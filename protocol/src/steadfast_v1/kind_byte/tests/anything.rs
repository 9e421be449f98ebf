//! Random messages in random fragments and pieces.

use proptest::prelude::*;

use super::{masked, strip, strip_whole};
use crate::steadfast_v1::client_wire::FromClient;
use crate::websocket::frame::Opcode;
use crate::websocket::scanner::tests::cut;

/// A message in fragments, of which the first has at least the kind byte.
#[derive(Debug, Clone)]
struct Message {
    is_text: bool,
    kind: u8,
    payload: Vec<u8>,
    sizes: Vec<usize>,
    control: bool,
}

impl Message {
    fn ack(&self) -> Option<FromClient> {
        let text = [&[self.kind], self.payload.as_slice()].concat();
        (self.kind == b'a').then(|| FromClient::parse(&text).expect("an ack"))
    }

    fn frames(&self) -> Vec<u8> {
        let payload = [&[self.kind], self.payload.as_slice()].concat();
        let (mut rest, mut opcode) =
            (payload.as_slice(), if self.is_text { Opcode::Text } else { Opcode::Binary });
        let mut bytes = Vec::new();
        for size in &self.sizes {
            let least = usize::from(opcode != Opcode::Continuation);
            let (now, later) = rest.split_at((*size).max(least).min(rest.len()));
            bytes.extend(masked(false, opcode, now));
            if self.control {
                bytes.extend(masked(true, Opcode::Ping, b"between"));
            }
            (rest, opcode) = (later, Opcode::Continuation);
        }
        bytes.extend(masked(true, opcode, rest));
        bytes
    }
}

fn message() -> impl Strategy<Value = Message> {
    let sizes = prop::collection::vec(prop_oneof![3 => 0usize..8, 1 => 100usize..200], 0..4);
    let payload = prop_oneof![
        3 => prop::collection::vec(any::<u8>(), 0..20),
        1 => (120usize..140).prop_map(|len| vec![b'm'; len]),
        1 => (65_530usize..65_540).prop_map(|len| vec![7; len]),
    ];
    let kind = prop::sample::select(b"mmmmz?".to_vec());
    let application = (any::<bool>(), kind, payload, sizes.clone(), any::<bool>()).prop_map(
        |(is_text, kind, payload, sizes, control)| Message { is_text, kind, payload, sizes, control },
    );
    let ack = (0u64..1000, sizes, any::<bool>()).prop_map(|(seq, sizes, control)| Message {
        is_text: true,
        kind: b'a',
        payload: format!(" {seq}").into_bytes(),
        sizes,
        control,
    });
    prop_oneof![3 => application, 1 => ack]
}

proptest! {
    #[test]
    fn any_stream_in_any_pieces(
        sent in prop::collection::vec(message(), 0..6),
        sizes in prop::collection::vec(prop_oneof![1usize..10, 1000usize..40_000], 1..10),
        direct: bool,
    ) {
        let bytes: Vec<u8> = sent.iter().flat_map(Message::frames).collect();
        let out = strip(cut(&bytes, &sizes), direct);
        let expected: Vec<_> =
            sent.iter().filter(|it| it.kind == b'm').map(|it| (it.is_text, it.payload.clone())).collect();
        let acks: Vec<_> = sent.iter().filter_map(Message::ack).collect();
        prop_assert!(!out.bad);
        prop_assert_eq!(out.ring.whole_seq(), expected.len() as u64);
        prop_assert_eq!(out.ring.whole(), out.ring.end());
        prop_assert!(out.messages() == expected);
        prop_assert_eq!(&out.texts, &acks);
        prop_assert!(out.is_like(&strip_whole(&bytes)));
    }
}
