//! What a peer can do wrong, and the close code that the RFC gives it.

use std::fmt;

use super::close_code::CloseCode;

/// A breach of RFC 6455 or RFC 7692, or of the message limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// RSV2 or RSV3 is set, or RSV1 where no compressed message may begin.
    ReservedBits,
    /// An opcode that the RFC reserves.
    ReservedOpcode(u8),
    /// A control frame without FIN.
    FragmentedControl,
    /// A control frame with more than 125 bytes.
    LongControl,
    /// A length in more bytes than it needs.
    NonMinimalLength,
    /// A 64-bit length with its most significant bit set.
    LengthTopBit,
    /// A client frame without a mask.
    Unmasked,
    /// A backend frame with one.
    Masked,
    /// A continuation frame where no message is open.
    UnexpectedContinuation,
    /// A new message where one is still open.
    ExpectedContinuation,
    /// A Close whose payload is one byte, too short for a code.
    ShortClose,
    /// A message over the limit.
    MessageTooBig,
}

impl Violation {
    /// The close code for it (RFC 6455, 7.4.1): 1009 for size, 1002 for all else.
    pub fn close_code(self) -> CloseCode {
        match self {
            Violation::MessageTooBig => CloseCode::MESSAGE_TOO_BIG,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }

    /// What is wrong, short enough for a Close (123 bytes).
    pub fn close_reason(self) -> &'static str {
        match self {
            Violation::ReservedBits => "reserved bits are set",
            Violation::ReservedOpcode(_) => "the opcode is reserved",
            Violation::FragmentedControl => "a control frame is fragmented",
            Violation::LongControl => "a control frame is longer than 125 bytes",
            Violation::NonMinimalLength => "a length is not encoded in the fewest bytes",
            Violation::LengthTopBit => "a length has its top bit set",
            Violation::Unmasked => "a client frame is not masked",
            Violation::Masked => "a backend frame is masked",
            Violation::UnexpectedContinuation => "a continuation without a message",
            Violation::ExpectedContinuation => "a new message inside another",
            Violation::ShortClose => "a close frame with one byte of payload",
            Violation::MessageTooBig => "a message is over the limit",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::ReservedOpcode(code) => write!(f, "{} (0x{code:X})", self.close_reason()),
            _ => f.write_str(self.close_reason()),
        }
    }
}

impl std::error::Error for Violation {}
