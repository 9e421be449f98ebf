//! What a connection that was not made says: of the backend, or of this machine.

use std::io;

use nix::errno::Errno;

/// How a way failed.
#[derive(Debug)]
pub(super) struct ConnectFault {
    pub(super) error: io::Error,
    pub(super) kind: FaultKind,
}

/// What it says, the vaguest first. Where several ways fail, the clearest word counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FaultKind {
    /// There is no such way: this machine does not have the source at present, or no route.
    NoWay,
    /// There is no port left on it, or so it seems: a machine without IPv6 says the same of an IPv6
    /// address.
    UsedUp,
    /// Nothing came back, or that the host cannot be reached.
    Silence,
    /// This machine has nothing left to connect with, on a way of which it is known that it works.
    Local,
    /// The backend's host has answered.
    Refusal,
}

impl ConnectFault {
    /// Of a socket that could not be made, or not be given its source.
    pub(super) fn before(error: io::Error) -> ConnectFault {
        let kind = if is_used_up(&error) { FaultKind::NoWay } else { FaultKind::of(&error) };
        ConnectFault { error, kind }
    }

    /// Of a socket that could not be connected.
    pub(super) fn connecting(error: io::Error) -> ConnectFault {
        let kind = FaultKind::of(&error);
        ConnectFault { error, kind }
    }
}

impl FaultKind {
    fn of(error: &io::Error) -> FaultKind {
        let refusals = [Errno::ECONNREFUSED, Errno::ECONNRESET];
        if is_one_of(error, &refusals) {
            FaultKind::Refusal
        } else if is_used_up(error) {
            FaultKind::UsedUp
        } else if is_local(error) {
            FaultKind::Local
        } else if is_one_of(error, &[Errno::ENETUNREACH, Errno::EINVAL]) {
            FaultKind::NoWay
        } else {
            FaultKind::Silence
        }
    }
}

/// This source has no port left for this target, or is not this machine's at present.
pub(crate) fn is_used_up(error: &io::Error) -> bool {
    is_one_of(error, &[Errno::EADDRNOTAVAIL, Errno::EADDRINUSE])
}

/// "Out of file descriptors, or threads, here" is not "the backend is down".
pub(crate) fn is_local(error: &io::Error) -> bool {
    let local = [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM, Errno::EAGAIN];
    is_used_up(error) || is_one_of(error, &local)
}

fn is_one_of(error: &io::Error, codes: &[Errno]) -> bool {
    error.raw_os_error().is_some_and(|code| codes.contains(&Errno::from_raw(code)))
}

/// What the kernel said, in its words: `connection refused`.
pub(crate) fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => Errno::from_raw(code).desc().to_ascii_lowercase(),
        None => error.to_string(),
    }
}
