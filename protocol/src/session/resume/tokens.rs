//! The tokens by which a client shows that a session is its own.
//!
//! ```text
//!   issue ----> valid ------ another one's connection is confirmed, or a later one is shown ----> gone
//!                 |
//!                 '--------- its connection's first frame: confirmed; all others are gone
//! ```
//!
//! A client that does not hear its welcome has the token before it, so one stays valid until the client
//! has shown that it has the next.

use crate::steadfast_v1::SessionId;
use crate::steadfast_v1::client_wire::Token;

/// Tokens that are valid at once, at the most.
const VALID_MAX: usize = 4;

/// A session's tokens.
#[derive(Debug)]
pub(in crate::session) struct Tokens {
    session: SessionId,
    /// The last is that of the present connection.
    valid: Vec<Token>,
    /// The client has shown that it knows one.
    proven: bool,
}

impl Tokens {
    pub(in crate::session) fn new(session: SessionId) -> Tokens {
        Tokens { session, valid: Vec::with_capacity(1), proven: false }
    }

    pub(in crate::session) fn session(&self) -> SessionId {
        self.session
    }

    /// Makes the token of a new connection.
    pub(in crate::session) fn issue(&mut self, secret: [u8; 32]) -> Token {
        let token = Token::new(self.session, secret);
        // The oldest but one goes: the oldest is the one that the client has shown or confirmed.
        if self.valid.len() == VALID_MAX {
            self.valid.remove(1);
        }
        self.valid.push(token);
        token
    }

    /// The client has read what stands behind its welcome.
    pub(in crate::session) fn prove(&mut self) {
        self.proven = true;
    }

    /// Whether the client has shown that it knows one.
    pub(in crate::session) fn is_proven(&self) -> bool {
        self.proven
    }

    pub(in crate::session) fn admits(&self, token: &Token) -> bool {
        // All are looked at, so that the time says nothing.
        self.valid.iter().fold(false, |found, valid| found | valid.is(token))
    }

    /// The client has shown this one, so it has heard it, and uses none from before it any more.
    pub(in crate::session) fn shown(&mut self, token: &Token) {
        let before = self.valid.iter().position(|valid| valid.is(token)).unwrap_or(0);
        self.proven = true;
        self.valid.drain(..before);
    }

    /// The present connection's token has come to the client.
    pub(in crate::session) fn confirm(&mut self) {
        let unconfirmed = self.valid.len().saturating_sub(1);
        self.proven = true;
        self.valid.drain(..unconfirmed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(count: u8) -> (Tokens, Vec<Token>) {
        let mut tokens = Tokens::new([7; 16]);
        let issued = (0..count).map(|n| tokens.issue([n; 32])).collect();
        (tokens, issued)
    }

    #[test]
    fn the_one_before_is_valid_until_the_next_is_confirmed() {
        let (mut tokens, issued) = tokens(2);
        assert!(issued.iter().all(|token| tokens.admits(token)));
        tokens.confirm();
        assert_eq!(issued.iter().map(|token| tokens.admits(token)).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn no_other_is_valid() {
        let (tokens, _) = tokens(2);
        assert!(!tokens.admits(&Token::new([7; 16], [9; 32])));
        assert!(!tokens.admits(&Token::new([8; 16], [0; 32])), "another session's");
    }

    #[test]
    fn there_are_never_many_and_the_confirmed_one_stays() {
        let (mut tokens, issued) = tokens(1);
        tokens.confirm();
        let later: Vec<_> = (1..100).map(|n| tokens.issue([n; 32])).collect();
        assert_eq!(tokens.valid.len(), VALID_MAX);
        assert!(tokens.admits(&issued[0]));
        assert!(later[later.len() - 3..].iter().all(|token| tokens.admits(token)));
    }

    /// Its frames may be lost as often as its welcomes.
    #[test]
    fn one_that_is_shown_stays_though_it_was_never_confirmed() {
        let (mut tokens, issued) = tokens(2);
        for n in 3..100 {
            assert!(tokens.admits(&issued[1]));
            tokens.shown(&issued[1]);
            tokens.issue([n; 32]);
        }
        assert!(!tokens.admits(&issued[0]), "the client has a later one");
        assert_eq!(tokens.valid.len(), VALID_MAX);
    }
}
