//! What a Close says about why: the codes of the RFC and those registered since.

use std::fmt;

/// A Close's code (RFC 6455, 7.4): those of 7.4.1, the registry of 11.7, and any other number that a peer
/// sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// What the connection was for is done.
    pub const NORMAL: CloseCode = CloseCode(1000);
    /// The endpoint goes away: a server ends, or a page is left.
    pub const GOING_AWAY: CloseCode = CloseCode(1001);
    /// The peer has broken the protocol.
    pub const PROTOCOL_ERROR: CloseCode = CloseCode(1002);
    /// Stands for a Close without a code, and never in a frame.
    pub const NO_CODE: CloseCode = CloseCode(1005);
    /// A policy forbids it, and no other code says more.
    pub const POLICY_VIOLATION: CloseCode = CloseCode(1008);
    /// A message is larger than it may be.
    pub const MESSAGE_TOO_BIG: CloseCode = CloseCode(1009);
    /// The server met what it did not expect.
    pub const INTERNAL_ERROR: CloseCode = CloseCode(1011);
    /// The service restarts: come again.
    pub const SERVICE_RESTART: CloseCode = CloseCode(1012);
    /// The server is overloaded: come again later.
    pub const TRY_AGAIN_LATER: CloseCode = CloseCode(1013);
    /// A gateway got no valid answer from the server behind it.
    pub const BAD_GATEWAY: CloseCode = CloseCode(1014);

    /// The codes that may stand in a frame, in words.
    pub const IN_A_FRAME: &str = "1000 to 1003, 1007 to 1014 and 3000 to 4999";

    /// The code of a Close's payload (RFC 6455, 5.5.1); `None` for an empty one.
    pub fn of(payload: &[u8]) -> Option<CloseCode> {
        payload.first_chunk().map(|code| CloseCode(u16::from_be_bytes(*code)))
    }

    /// Whether it may stand in a frame (RFC 6455, 7.4.1 and 7.4.2, and those registered since).
    pub fn may_stand_in_a_frame(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }

    /// Whether the application gives it its meaning: a library's (3000 to 3999) or its own (RFC 6455,
    /// 7.4.2).
    pub fn is_private(self) -> bool {
        matches!(self.0, 3000..=4999)
    }
}

impl From<u16> for CloseCode {
    fn from(code: u16) -> CloseCode {
        CloseCode(code)
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> u16 {
        code.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_the_first_two_bytes() {
        assert_eq!(CloseCode::of(b"\x03\xE9bye"), Some(CloseCode::GOING_AWAY));
        assert_eq!((CloseCode::of(b""), CloseCode::of(b"\x03")), (None, None));
    }

    #[test]
    fn codes_of_the_wire() {
        for code in [1000, 1003, 1007, 1014, 3000, 4999] {
            assert!(CloseCode(code).may_stand_in_a_frame(), "{code}");
        }
        for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, u16::MAX] {
            assert!(!CloseCode(code).may_stand_in_a_frame(), "{code}");
        }
        assert!(!CloseCode::GOING_AWAY.is_private() && CloseCode(3000).is_private());
    }
}
