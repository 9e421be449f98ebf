//! Frames that RFC 6455 forbids a server.

use steadfast_tests::frame::{BINARY, CONTINUATION, Frame, PING, TEXT};

/// One kind of bad frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadFrame(String);

impl BadFrame {
    pub(crate) fn parse(kind: &str) -> Self {
        Self(kind.to_owned())
    }

    /// The bytes that break the protocol.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let text = Frame::text("bad");
        match self.0.as_str() {
            "masked" => text.masked([1, 2, 3, 4]).encode(),
            "rsv1" => text.reserved(0b100).encode(),
            "rsv2" => text.reserved(0b010).encode(),
            "rsv3" => text.reserved(0b001).encode(),
            "opcode" => Frame::new(0x3, "bad").encode(),
            "control-opcode" => Frame::new(0xB, "bad").encode(),
            "length-2" => text.encode_wide(2),
            "length-8" => text.encode_wide(8),
            "length-top-bit" => Frame::new(BINARY, []).header(1 << 63, 8),
            "long-ping" => Frame::new(PING, vec![0; 126]).encode(),
            "fragmented-ping" => Frame::new(PING, []).unfinished().encode(),
            "stray-continuation" => Frame::new(CONTINUATION, "bad").encode(),
            "nested" => [Frame::new(TEXT, "a").unfinished().encode(), text.encode()].concat(),
            unknown => panic!("unknown bad frame {unknown}"),
        }
    }
}
