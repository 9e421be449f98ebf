//! What is kept in memory: chains of bytes that are shared, and the ring of messages for a replay. Knows nothing of what
//! the bytes say.

pub mod chain;
pub mod ring;
