//! What a session holds of the memory of all.

/// What a session holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    /// Bytes in all.
    pub bytes: usize,
    /// The most that it holds for one reason,
    pub part: usize,
    /// which is this.
    pub what: HeldFor,
    /// A figure that changes whenever the part has grown or gone on.
    pub moved: u64,
    /// It does not go on since it is not read, for want of memory.
    pub paused: bool,
    /// Its client is away, and has never shown that it knows its token.
    pub unproven: bool,
}

/// Whom something is held for that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldFor {
    /// The client, to end the message that it has begun.
    ClientMessage,
    /// The backend, likewise.
    BackendMessage,
    /// The client, to take what is for it, or to acknowledge it.
    Client,
    /// The client, to come back.
    Absent,
    /// The backend, to acknowledge what it has got or is to get.
    Backend,
}
