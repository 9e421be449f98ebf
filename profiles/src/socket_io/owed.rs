//! What servers have asked and the client has not acknowledged.
//!
//! Servers count their ids from 0 or 1, each for itself, so two of them ask by the same one. Where the client still owes
//! an acknowledgement to an earlier server, the next one's question gets another id on its way down, and its
//! acknowledgement gets the server's own back on its way up.

use std::collections::BTreeMap;

use super::keys::{self, Sort};
use crate::Key;

/// Asks that are remembered; with one more the oldest is forgotten.
pub(super) const OWED_MAX: usize = 1024;

/// The first id that is made up. No server counts that far, and it fits 31 bits, as some clients' ids do.
pub(super) const FIRST_ALIAS: u64 = 1_000_000_000;

/// Behind the last one.
const LAST_ALIAS: u64 = 2_000_000_000;

#[derive(Debug, Clone, Copy)]
struct Ask {
    /// Which server has asked.
    link: u64,
    /// Which ask it was.
    turn: u64,
    /// The server's own id, where the client knows another.
    own: Option<u64>,
}

/// What is owed, by the ids that the client knows.
#[derive(Debug)]
pub(super) struct Owed {
    asks: BTreeMap<Key, Ask>,
    by_turn: BTreeMap<u64, Key>,
    link: u64,
    turn: u64,
    alias: u64,
}

/// How the client hears an ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) key: Key,
    /// The id that the client gets instead.
    pub(super) alias: Option<u64>,
}

impl Owed {
    pub(super) fn new() -> Owed {
        Owed { asks: BTreeMap::new(), by_turn: BTreeMap::new(), link: 0, turn: 0, alias: FIRST_ALIAS }
    }

    /// The next server is linked.
    pub(super) fn linked(&mut self) {
        self.link += 1;
    }

    /// The server asks.
    pub(super) fn asked(&mut self, namespace: &[u8], id: u64) -> Asked {
        let key = keys::of_ack(Sort::ServerAck, namespace, id);
        let taken = self.asks.get(&key).is_some_and(|ask| ask.link != self.link || ask.own.is_some());
        if !taken {
            self.owe(key, None);
            return Asked { key, alias: None };
        }
        // As many ids are taken as asks are remembered, so one of the next is free.
        loop {
            let alias = self.alias;
            self.alias = if alias + 1 < LAST_ALIAS { alias + 1 } else { FIRST_ALIAS };
            let key = keys::of_ack(Sort::ServerAck, namespace, alias);
            if !self.asks.contains_key(&key) {
                self.owe(key, Some(id));
                return Asked { key, alias: Some(alias) };
            }
        }
    }

    /// The key of what the client acknowledges, and the id that the server knows, if it is another.
    pub(super) fn named(&self, namespace: &[u8], id: u64) -> (Key, Option<u64>) {
        let key = keys::of_ack(Sort::ServerAck, namespace, id);
        (key, self.asks.get(&key).and_then(|ask| ask.own))
    }

    /// The client has acknowledged it, or has never heard it.
    pub(super) fn forget(&mut self, key: Key) {
        if let Some(ask) = self.asks.remove(&key) {
            self.by_turn.remove(&ask.turn);
        }
    }

    /// How many are remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.asks.len(), self.by_turn.len());
        self.asks.len()
    }

    fn owe(&mut self, key: Key, own: Option<u64>) {
        self.forget(key);
        if self.asks.len() >= OWED_MAX
            && let Some((_, oldest)) = self.by_turn.pop_first()
        {
            self.asks.remove(&oldest);
        }
        self.turn += 1;
        self.asks.insert(key, Ask { link: self.link, turn: self.turn, own });
        self.by_turn.insert(self.turn, key);
    }
}
