//! What a counting backend says of a session's binary messages, when a text asks for it.

use std::fmt;
use std::str::FromStr;

/// How much has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Whole messages.
    pub(crate) messages: u64,
    /// Bytes of their payloads.
    pub(crate) bytes: u64,
}

impl fmt::Display for Count {
    /// As it is said: both numbers, with a blank between them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.messages, self.bytes)
    }
}

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once(' ').and_then(|(messages, bytes)| {
            Some(Self { messages: messages.parse().ok()?, bytes: bytes.parse().ok()? })
        });
        numbers.ok_or_else(|| format!("`{text}` is no count of messages and bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_read_as_it_was_said() {
        let count = Count { messages: 10, bytes: 81_920 };
        assert_eq!(count.to_string().parse(), Ok(count));
        for wrong in ["", "10", "10 ", "10 x", "10 1 1"] {
            assert!(wrong.parse::<Count>().is_err(), "{wrong}");
        }
    }
}
