//! What is kept in memory: chains of bytes that are shared, the frames in them, and the ring of messages for a replay.
//! Knows nothing of what the messages say.

pub mod chain;
pub(crate) mod frame_iter;
pub mod ring;
