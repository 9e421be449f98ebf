//! Why a command has not done what was asked.

use std::fmt;

use http::StatusCode;

use crate::api::client::Error;
use crate::cli::exit::Exit;
use crate::cli::printable::printable;

/// One line for people, and an exit code for scripts.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) exit: Exit,
    message: String,
    /// The operation that stands in the way, if one does.
    pub(super) operation: Option<String>,
}

impl Trouble {
    /// `message`: what happened, where, and what to do.
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Trouble {
        Trouble { exit, message: message.into(), operation: None }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        let trouble = Trouble::new(exit_of(&error), advice(&error));
        match error {
            Error::Refused { operation, .. } => Trouble { operation, ..trouble },
            _ => trouble,
        }
    }
}

/// The error, with what to do at a command line.
fn advice(error: &Error) -> String {
    match error {
        Error::Unreachable { .. } => format!(
            "{error}; is a broker with this admin.address running? another address is given by --admin or \
             STEADFAST_ADMIN"
        ),
        Error::Refused { address, status: StatusCode::UNAUTHORIZED, message: Some(_), .. } => format!(
            "the admin API at {address} wants another token: set STEADFAST_TOKEN to that of the broker's [admin] \
             table"
        ),
        Error::Refused { address, status: StatusCode::FORBIDDEN, message: Some(message), .. } => {
            format!("the admin API at {address} is closed: {message}")
        }
        _ => error.to_string(),
    }
}

fn exit_of(error: &Error) -> Exit {
    match error {
        Error::Unreachable { .. } => Exit::Unreachable,
        Error::Refused { status, .. } => match *status {
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => Exit::Usage,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Exit::Refused,
            StatusCode::NOT_FOUND => Exit::NotFound,
            StatusCode::CONFLICT => Exit::Conflict,
            _ => Exit::Failure,
        },
        Error::Malformed(_) => Exit::Failure,
    }
}

impl fmt::Display for Trouble {
    /// On one line, whatever a broker has put into it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(self.message.trim()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_one_line() {
        let trouble = Trouble::new(Exit::Failure, "first\nsecond\u{1b}[31m third\n");
        assert_eq!(trouble.to_string(), "first second [31m third");
    }
}
