//! What a client is told when no backend keeps its session: the word of the last one, if each of them has said one.
//!
//! Backends that fail one after the other with Close 1011 and a reason say what is wrong better than the broker can,
//! and a client may know that code. A backend that was not reached, or died without a word, has said nothing.

use crate::time::Time;
use crate::websocket::close_code::CloseCode;

use super::super::Session;
use crate::session::report::{EndCause, Failure};

/// What the backends of an episode have said when they left.
#[derive(Debug, Default)]
pub(in crate::session) struct Words {
    /// The payload of the last one's Close.
    last: Option<Box<[u8]>>,
    /// One has failed without a Close, or could not be reached.
    silence: bool,
}

impl Words {
    /// A backend was left, or not reached.
    fn add(&mut self, close: Option<Box<[u8]>>) {
        match close {
            Some(payload) => self.last = Some(payload),
            None => self.silence = true,
        }
    }
}

impl Session {
    /// Keeps the Close with which a backend fails.
    pub(in crate::session) fn keep_word(&mut self, payload: &[u8]) {
        self.exceptions().word = Some(payload.into());
    }

    /// A backend was left: what it has said, if anything, belongs to the episode.
    pub(in crate::session) fn hear_word(&mut self, failure: Failure) {
        let word = self.exceptions().word.take().filter(|_| matches!(failure, Failure::Close(_)));
        if failure == Failure::Planned {
            return;
        }
        if let Some(episode) = self.underway.episode_mut() {
            episode.words.add(word);
        }
    }

    /// A message fails every backend.
    pub(in crate::session) fn convicted(&mut self, now: Time) {
        let codes = self.config.codes;
        let silent = self.underway.episode().is_none_or(|episode| episode.words.last.is_none());
        // Where some have said Close and some have died, it is not sure that the message is to blame.
        let (code, reason) = match silent {
            true => (codes.poison, "a message fails every backend"),
            false => (codes.deadline, "no backend can go on with the session"),
        };
        self.dismiss_with_their_word(now, (code, reason), EndCause::Poison);
    }

    /// Sends the client away: with the last backend's own Close, if all have said one, else with the broker's.
    pub(in crate::session) fn dismiss_with_their_word(
        &mut self,
        now: Time,
        (code, reason): (CloseCode, &str),
        cause: EndCause,
    ) {
        let words = self.underway.episode().map(|episode| &episode.words);
        match words.filter(|words| !words.silence).and_then(|words| words.last.clone()) {
            Some(payload) => self.dismiss_as(now, &payload, cause, false),
            None => self.dismiss(now, code, reason, cause, false),
        }
    }
}
