//! How a client of Socket.IO begins: the server greets, the client connects, the server takes it.

use crate::client::MASK;
use crate::wire::frame;
use crate::wire::protocols::CONNECT;

/// A client that is not yet taken.
#[derive(Debug, Default)]
pub(super) struct Opening {
    text: Vec<u8>,
}

impl Opening {
    /// Takes a piece of a text, and appends to `queue` what is said to it. True: the server has taken the client. An
    /// error: it has said this, and should not.
    pub(super) fn take(&mut self, bytes: &[u8], last: bool, queue: &mut Vec<u8>) -> Result<bool, String> {
        self.text.extend_from_slice(bytes);
        if !last {
            return Ok(false);
        }
        let text = std::mem::take(&mut self.text);
        if text.starts_with(b"0{") {
            frame::put_frame(queue, frame::TEXT, Some(MASK), CONNECT);
            return Ok(false);
        }
        match text.starts_with(b"40{") {
            true => Ok(true),
            false => Err(String::from_utf8_lossy(&text).into_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::protocols::{CONNECTED, GREETING};

    #[test]
    fn a_client_connects_when_it_is_greeted() {
        let (mut opening, mut queue, mut expected) = (Opening::default(), Vec::new(), Vec::new());
        let (front, back) = GREETING.split_at(5);
        assert_eq!(opening.take(front, false, &mut queue), Ok(false));
        assert_eq!(queue, b"");
        assert_eq!(opening.take(back, true, &mut queue), Ok(false));
        frame::put_frame(&mut expected, frame::TEXT, Some(MASK), CONNECT);
        assert_eq!(queue, expected);
        assert_eq!(opening.take(CONNECTED, true, &mut queue), Ok(true));
        assert_eq!(opening.take(b"44", true, &mut queue), Err("44".to_owned()));
    }
}
