//! Names of a conversation, as keys: each sort of name has a space of its own.

use crate::Key;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    /// A namespace that the client is in.
    Namespace = 1,
    /// The answer to its connect.
    Connect = 2,
    /// The acknowledgement of an event of the client's.
    Ack = 3,
    /// The acknowledgement of an event of the server's.
    ServerAck = 4,
    /// An event that is said again.
    Kept = 5,
}

/// FNV-1a, 64 bits: names are short, and who makes up two that collide harms the own session alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hash(u64);

impl Hash {
    /// The beginning of a name in a namespace.
    pub(super) fn new(sort: Sort, namespace: &[u8]) -> Hash {
        // No namespace has a 0 in its name that a parser of JSON text lets pass.
        Hash(0xcbf2_9ce4_8422_2325).add(&[sort as u8]).add(namespace).add(&[0])
    }

    /// What follows.
    pub(super) fn add(self, bytes: &[u8]) -> Hash {
        Hash(
            bytes
                .iter()
                .fold(self.0, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)),
        )
    }

    /// The name's end.
    pub(super) fn key(self) -> Key {
        Key(self.0)
    }
}

/// The key of a namespace.
pub(super) fn of_namespace(sort: Sort, namespace: &[u8]) -> Key {
    Hash::new(sort, namespace).key()
}

/// The key of an acknowledgement.
pub(super) fn of_ack(sort: Sort, namespace: &[u8], id: u64) -> Key {
    Hash::new(sort, namespace).add(&id.to_le_bytes()).key()
}
