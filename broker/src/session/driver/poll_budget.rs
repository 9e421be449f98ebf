//! How much one poll of a session may take over before other sessions of its worker get their turn. What it has read
//! beyond that waits with its socket.
//!
//! The smallest frames cost the most for each byte, so frames are counted too: a flood of empty pings would otherwise
//! take a hundred times as long as the same bytes in one message.

/// Frames of all sides together. At some 0.1 µs each they take no longer than the writes that follow them.
const FRAMES: u32 = 64;

/// Bytes of all sides together: two reads of a full buffer. With four times as many, a neighbour of one whose answers are
/// hardly read waits three times as long in the second in which the kernel's buffers fill.
const BYTES: usize = 128 * 1024;

/// What one poll may still take over.
#[derive(Debug)]
pub(super) struct PollBudget {
    /// Frames that may still begin.
    pub(super) frames: u32,
    /// Bytes that may still be taken; none when no frame may begin.
    pub(super) bytes: usize,
}

impl PollBudget {
    pub(super) fn new() -> PollBudget {
        PollBudget { frames: FRAMES, bytes: BYTES }
    }

    /// Whether it is the others' turn.
    #[inline]
    pub(super) fn is_spent(&self) -> bool {
        self.bytes == 0
    }

    /// So many bytes were taken, at most as many as were left.
    #[inline]
    pub(super) fn took(&mut self, bytes: usize) {
        self.bytes = if self.frames == 0 { 0 } else { self.bytes.saturating_sub(bytes) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_spent_by_frames_or_by_bytes() {
        let mut budget = PollBudget::new();
        budget.took(BYTES - 1);
        assert!(!budget.is_spent());
        budget.took(1);
        assert!(budget.is_spent());
        let mut budget = PollBudget::new();
        budget.frames = 0;
        budget.took(6);
        assert!(budget.is_spent());
    }
}
