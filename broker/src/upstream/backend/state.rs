//! Where a backend stands, in one word.

use crate::words::words;

words! {
    /// Where a backend stands, in one word.
    pub(crate) enum BackendState {
        /// It gets sessions.
        Up = "up",
        /// Its weight is zero: it keeps its sessions and gets no new one.
        Off = "off",
        /// It is being emptied, or its agent says drain: it gets no new session.
        Draining = "draining",
        /// An operator has disabled it: it keeps its sessions and gets no new one.
        Disabled = "disabled",
        /// Too many of its sessions failed.
        Ejected = "ejected",
        /// One session at a time tries whether it is well again.
        HalfOpen = "half_open",
        /// Health checks or its agent say that it is down: its sessions move.
        Down = "down",
        /// It is no longer configured: its sessions move.
        Removed = "removed",
    }
}
