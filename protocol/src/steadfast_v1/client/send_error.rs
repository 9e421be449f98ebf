//! Why a message of the application's is not taken.

/// Why a message is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendError {
    /// As many bytes as are allowed wait for the broker. There will be room again.
    Full,
    /// The message is longer than any may be.
    TooBig {
        /// How long it is, in bytes.
        len: usize,
        /// How long it may be.
        limit: usize,
    },
    /// The client is over, or was told to close.
    Closed,
}

impl std::fmt::Display for SendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SendError::Full => {
                f.write_str("the buffer of messages that the broker does not have yet is full")
            }
            SendError::TooBig { len, limit } => write!(f, "a message of {len} bytes; the limit is {limit}"),
            SendError::Closed => f.write_str("the client is closed"),
        }
    }
}

impl std::error::Error for SendError {}
