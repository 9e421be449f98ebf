//! Why a command has not done what was asked.

use std::fmt;

use crate::cli::Exit;

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

    /// The same, with the operation that stands in the way.
    pub(super) fn caused_by(self, operation: Option<String>) -> Trouble {
        Trouble { operation, ..self }
    }
}

impl fmt::Display for Trouble {
    /// On one line, whatever a broker has put into it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        f.write_str(&self.message.trim().chars().map(plain).collect::<String>())
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
