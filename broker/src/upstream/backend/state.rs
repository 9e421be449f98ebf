//! Where a backend stands, in one word.

/// Where a backend stands, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BackendState {
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

impl BackendState {
    /// All of them, for the metrics.
    pub(crate) const ALL: [BackendState; 8] = [
        BackendState::Up,
        BackendState::Off,
        BackendState::Draining,
        BackendState::Disabled,
        BackendState::Ejected,
        BackendState::HalfOpen,
        BackendState::Down,
        BackendState::Removed,
    ];

    /// The word for logs, metrics and the API.
    pub(crate) fn name(self) -> &'static str {
        match self {
            BackendState::Up => "up",
            BackendState::Off => "off",
            BackendState::Draining => "draining",
            BackendState::Disabled => "disabled",
            BackendState::Ejected => "ejected",
            BackendState::HalfOpen => "half_open",
            BackendState::Down => "down",
            BackendState::Removed => "removed",
        }
    }
}
