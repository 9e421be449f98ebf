//! Messages of two protocols that profiles know, as long as one likes, all alike but for ten digits.

use std::fmt;

use clap::ValueEnum;

/// A protocol that a profile knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// Socket.IO 4 over Engine.IO 4: events, which are told.
    #[value(name = "socket.io")]
    SocketIo,
    /// JSON-RPC 2.0: calls, which are answered.
    #[value(name = "json-rpc")]
    JsonRpc,
}

/// Digits that number a message.
pub(crate) const DIGITS: usize = 10;
/// The number of the first message: numbers of JSON begin with no zero.
const FIRST: u64 = 1_000_000_000;

/// What a server of Socket.IO says first.
pub(crate) const GREETING: &[u8] = br#"0{"sid":"lv_VI97HAXpY6yYWAAAB","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
/// What its client connects with.
pub(crate) const CONNECT: &[u8] = b"40";
/// The answer to that.
pub(crate) const CONNECTED: &[u8] = br#"40{"sid":"wZX3oN0bSVIhsaknAAAI"}"#;

/// Around the digits of an event, which a server echoes.
const EVENT: [&[u8]; 3] = [br#"42["m",""#, b"", br#""]"#];
/// The same of a call, and of its answer, which is as long.
const CALL: [&[u8]; 3] = [br#"{"jsonrpc":"2.0","id":"#, br#","method":"m","params":[""#, br#""]}"#];
const RESULT: [&[u8]; 3] = [CALL[0], br#","result":"rrrrrrrrrrrrrr"#, br#"r"}"#];

impl Protocol {
    /// A client's message of `length` bytes, or the shortest there is, with room for its number.
    pub(crate) fn message(self, length: usize, connection: u64) -> Vec<u8> {
        let [begin, between, end] = self.shape();
        let around = begin.len() + DIGITS + between.len() + end.len();
        let filler = length.saturating_sub(around);
        let mut message = Vec::with_capacity(around + filler);
        message.extend_from_slice(begin);
        message.extend_from_slice(&digits(0));
        message.extend_from_slice(between);
        // What there is room for of the connection's number tells it from others.
        message.extend(format!("{connection:04}").bytes().chain((b'a'..=b'z').cycle()).take(filler));
        message.extend_from_slice(end);
        message
    }

    /// Where its number is, and that of its answer.
    pub(crate) fn number_at(self) -> usize {
        self.shape()[0].len()
    }

    /// Makes of a client's message what a server answers.
    pub(crate) fn answer(self, message: &mut [u8]) {
        let [_, between, end] = RESULT;
        let (from, length) = (CALL[0].len() + DIGITS, message.len());
        let is_call = message.starts_with(CALL[0]) && length >= from + between.len() + end.len();
        if self == Self::JsonRpc && is_call {
            message[from..from + between.len()].copy_from_slice(between);
            message[length - end.len()..].copy_from_slice(end);
        }
    }

    fn shape(self) -> [&'static [u8]; 3] {
        match self {
            Self::SocketIo => EVENT,
            Self::JsonRpc => CALL,
        }
    }
}

impl fmt::Display for Protocol {
    /// As on the command line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SocketIo => "socket.io",
            Self::JsonRpc => "json-rpc",
        })
    }
}

/// The digits of message `number`.
pub(crate) fn digits(number: u64) -> [u8; DIGITS] {
    let (mut digits, mut rest) = ([0; DIGITS], FIRST + number);
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_as_long_as_asked_for_and_what_they_should_be() {
        let event = Protocol::SocketIo.message(64, 7);
        assert_eq!(event.len(), 64);
        assert!(event.starts_with(br#"42["m","10000000000007abc"#) && event.ends_with(br#""]"#));
        let mut call = Protocol::JsonRpc.message(64, 7);
        assert_eq!(call, br#"{"jsonrpc":"2.0","id":1000000000,"method":"m","params":["0007"]}"#);
        Protocol::JsonRpc.answer(&mut call);
        assert_eq!(call, br#"{"jsonrpc":"2.0","id":1000000000,"result":"rrrrrrrrrrrrrr0007r"}"#);
        for length in [0, 60, 64, 1_024] {
            let mut call = Protocol::JsonRpc.message(length, 3);
            assert_eq!(call.len(), length.max(60));
            let asked: serde_json::Value = serde_json::from_slice(&call).unwrap();
            Protocol::JsonRpc.answer(&mut call);
            let answer: serde_json::Value = serde_json::from_slice(&call).unwrap();
            assert_eq!((call.len(), &answer["id"]), (length.max(60), &asked["id"]));
            assert!(answer["result"].is_string());
        }
    }

    #[test]
    fn numbers_have_ten_digits() {
        assert_eq!(digits(0), *b"1000000000");
        assert_eq!(digits(8_999_999_999), *b"9999999999");
    }
}
