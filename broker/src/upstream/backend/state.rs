//! Where a backend stands, in one word.

/// Where a backend stands, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It gets sessions.
    Up,
    /// Its weight is zero: it keeps its sessions and gets no new one.
    Off,
    /// It is being emptied, or its agent says drain: it gets no new session.
    Draining,
    /// An operator has disabled it: it keeps its sessions and gets no new one.
    Disabled,
    /// Too many of its sessions failed.
    Ejected,
    /// One session at a time tries whether it is well again.
    HalfOpen,
    /// Health checks or its agent say that it is down: its sessions move.
    Down,
    /// It is no longer configured: its sessions move.
    Removed,
}

impl State {
    /// All of them, for the metrics.
    pub(crate) const ALL: [State; 8] = [
        State::Up,
        State::Off,
        State::Draining,
        State::Disabled,
        State::Ejected,
        State::HalfOpen,
        State::Down,
        State::Removed,
    ];

    /// The word for logs, metrics and the API.
    pub(crate) fn name(self) -> &'static str {
        match self {
            State::Up => "up",
            State::Off => "off",
            State::Draining => "draining",
            State::Disabled => "disabled",
            State::Ejected => "ejected",
            State::HalfOpen => "half_open",
            State::Down => "down",
            State::Removed => "removed",
        }
    }
}
