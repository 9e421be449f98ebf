//! The exit codes and their names.

use std::process::ExitCode;

/// How the process ends. Scripts rely on the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, or stopped when asked to.
    Success = 0,
    /// An unexpected failure while running.
    Failure = 1,
    /// A command line that cannot be understood; clap gives this one.
    Usage = 2,
    /// An invalid configuration.
    Config = 3,
    /// An address cannot be bound.
    Bind = 4,
    /// Too few descriptors.
    Descriptors = 5,
    /// The admin API cannot be reached.
    Unreachable = 6,
    /// The admin API does not let us in.
    Refused = 7,
    /// What was named is not there.
    NotFound = 8,
    /// Another operation stands in the way, or the session has no backend that it could leave.
    Conflict = 9,
    /// The operation has ended without having done its work.
    Unfinished = 10,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
