//! Why a backend was left, or none was reached.

use crate::websocket::close_code::CloseCode;

/// Why a backend was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Its connection ended without a Close.
    Eof,
    /// Its connection broke.
    Reset,
    /// It said Close with a code that stands for a failure.
    Close(CloseCode),
    /// It broke the protocol.
    Protocol,
    /// It owed an answer and said nothing.
    Silence,
    /// The connection to it is dead: its host takes nothing of what is sent.
    Dead,
    /// It kept a message open too long.
    SlowMessage,
    /// It links the shim and broke `steadfast.v1`.
    Breach,
    /// It cannot acknowledge what stands before a message that the client has cut.
    Cut,
    /// It took too long with a conversation that was repeated to it, or that cannot be repeated any more.
    Prologue,
    /// It does not take the client as the one before did.
    Denied,
    /// None: the session was to leave it.
    Planned,
    /// None: the session was told to go as if it had.
    Ordered,
    /// None: the broker's process has ended, and another one goes on with the session.
    Restored,
}

impl Failure {
    /// One for each word.
    pub const ALL: [Failure; 14] = [
        Failure::Eof,
        Failure::Reset,
        Failure::Close(CloseCode::INTERNAL_ERROR),
        Failure::Protocol,
        Failure::Silence,
        Failure::Dead,
        Failure::SlowMessage,
        Failure::Breach,
        Failure::Cut,
        Failure::Prologue,
        Failure::Denied,
        Failure::Planned,
        Failure::Ordered,
        Failure::Restored,
    ];

    /// The word for logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Failure::Eof => "eof",
            Failure::Reset => "reset",
            Failure::Close(_) => "close",
            Failure::Protocol => "protocol",
            Failure::Silence => "silence",
            Failure::Dead => "dead_connection",
            Failure::SlowMessage => "slow_message",
            Failure::Breach => "breach",
            Failure::Cut => "cut",
            Failure::Prologue => "prologue",
            Failure::Denied => "denied",
            Failure::Planned => "planned",
            Failure::Ordered => "ordered",
            Failure::Restored => "restored",
        }
    }

    /// Whether the backend may have died of a message. In a drain or a deploy (1001, 1012), or
    /// when it is overloaded (1013), it says goodbye of itself.
    pub(in crate::session) fn is_death(self) -> bool {
        !matches!(
            self,
            Failure::Close(CloseCode::GOING_AWAY | CloseCode::SERVICE_RESTART | CloseCode::TRY_AGAIN_LATER)
                | Failure::Breach
                | Failure::Dead
                | Failure::Cut
                | Failure::Prologue
                | Failure::Denied
                | Failure::Planned
                | Failure::Ordered
                | Failure::Restored
        )
    }
}

/// Why a dial brought no backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialFailure {
    /// None could be reached; later one may.
    Unreachable,
    /// Every one refuses this session.
    Refused,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The compiler sees to it that each failure has a word here.
    const SOURCE: &str = include_str!("failure.rs");

    #[test]
    fn the_list_has_each_word_once() {
        let words = BTreeSet::from(Failure::ALL.map(Failure::name));
        assert_eq!(words.len(), Failure::ALL.len());
        assert_eq!(words.len(), SOURCE.matches(" => \"").count());
    }
}
