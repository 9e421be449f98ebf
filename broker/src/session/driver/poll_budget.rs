//! How much one poll of a session may take over before other sessions of its worker get their turn. What it has read
//! beyond that waits with its socket.
//!
//! The smallest frames cost the most for each byte, so frames are counted too: a flood of empty pings would otherwise
//! take a hundred times as long as the same bytes in one message.

/// Frames of all sides together. At some 0.1 µs each they take less than a poll that writes to a socket.
const FRAMES: u32 = 512;

/// Bytes of all sides together: four reads of a full buffer.
const BYTES: usize = 256 * 1024;

/// What one poll may still take over.
#[derive(Debug)]
pub(super) struct PollBudget {
    /// Frames that may still begin.
    pub(super) frames: u32,
    /// Bytes that may still be taken.
    pub(super) bytes: usize,
}

impl PollBudget {
    pub(super) fn new() -> PollBudget {
        PollBudget { frames: FRAMES, bytes: BYTES }
    }

    /// Whether it is the others' turn.
    pub(super) fn is_spent(&self) -> bool {
        self.frames == 0 || self.bytes == 0
    }

    /// So many bytes were taken, at most as many as were left.
    pub(super) fn took(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}
