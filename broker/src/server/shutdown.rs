//! How far the broker's end has come.

/// What the broker is asked to do; it only ever grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// Go on.
    Running,
    /// Take no more sessions, let those that are there go on for the grace time, then close them.
    Graceful,
    /// End at once.
    Now,
}
