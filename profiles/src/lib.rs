//! Profiles: what the messages of known protocols mean to a session that moves from one backend to another.
//!
//! A profile knows one protocol. It is asked about each message of a session, and says what the session must keep of
//! it, what answers it, and what must not be passed on. It has no sockets, no clock and no randomness, and it keeps no
//! message: the session does that.
//!
//! ```text
//!   message of the client's  --> up   --> Up:   tell, ask, keep, retire, reply, beat
//!   message of the backend's --> down --> Down: push, answer, refusal, end, greeting, asks, beat, parting
//! ```
//!
//! [`rules`] is the engine for protocols that rules can tell, [`socket_io`] the one that takes code.

pub mod rules;
pub mod socket_io;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

pub use verdict::{Down, Keep, Key, Phase, Up, Words};

/// One whole message, as far as it is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// It is a text message; else it is binary.
    pub text: bool,
    /// Its payload, unmasked, as far as [`Machine::window`] goes.
    pub payload: &'a [u8],
    /// The whole payload is there.
    pub whole: bool,
}

/// Bytes of a payload by which most messages are known.
pub const HEAD: usize = 4;

/// One protocol, shared by all its sessions.
#[derive(Debug)]
pub enum Profile {
    /// Told by rules.
    Rules(Arc<rules::RuleSet>),
    /// Socket.IO 4 over Engine.IO 4.
    SocketIo(Arc<socket_io::SocketIoSettings>),
}

/// What one session's conversation has come to, as far as its protocol must know it.
#[derive(Debug)]
pub enum Machine {
    /// Told by rules.
    Rules(rules::RuleMachine),
    /// Socket.IO 4 over Engine.IO 4.
    SocketIo(Box<socket_io::SocketIoMachine>),
}

/// What the broker says in a backend's place, so that a client which expects signs of life does not give up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FillIn {
    /// After so much silence of the backend's.
    pub every: Duration,
    /// The client was told so. Else it expects a sign of life as often as it has had them, and none if it has had none.
    pub promised: bool,
    /// It is a text message.
    pub text: bool,
    /// Its payload.
    pub payload: Vec<u8>,
}

impl Profile {
    /// The beginning of a session's conversation. Its first backend is linked.
    pub fn begin(&self) -> Machine {
        match self {
            Profile::Rules(rules) => Machine::Rules(rules::RuleMachine::new(Arc::clone(rules))),
            Profile::SocketIo(settings) => {
                Machine::SocketIo(Box::new(socket_io::SocketIoMachine::new(Arc::clone(settings))))
            }
        }
    }
}

impl Machine {
    /// Says what a message of the client's is. `words` gets what is to be said in its place; it comes empty.
    pub fn up(&mut self, message: Message<'_>, words: &mut Words) -> Up {
        match self {
            Machine::Rules(machine) => machine.up(message, words),
            Machine::SocketIo(machine) => machine.up(message, words),
        }
    }

    /// Whether [`Machine::up`] would say of a message which begins like this, with [`HEAD`] bytes of its payload or all,
    /// that it is told, and nothing else. False: it must be looked at.
    #[inline]
    pub fn tells(&self, text: bool, head: &[u8]) -> bool {
        match self {
            Machine::Rules(_) => false,
            Machine::SocketIo(machine) => machine.tells(Message { text, payload: head, whole: false }),
        }
    }

    /// Says what a message of the backend's is. `words` gets what is to be said in its place; it comes empty.
    pub fn down(&mut self, message: Message<'_>, words: &mut Words) -> Down {
        match self {
            Machine::Rules(machine) => machine.down(message, words),
            Machine::SocketIo(machine) => machine.down(message, words),
        }
    }

    /// The backend was left: nobody understands its names any more, and the next one has neither said nor heard anything.
    pub fn left(&mut self) {
        match self {
            Machine::Rules(machine) => machine.left(),
            Machine::SocketIo(machine) => machine.left(),
        }
    }

    /// A backend speaks first: nothing is said to it before its greeting.
    pub fn greets(&self) -> bool {
        match self {
            Machine::Rules(machine) => machine.greets(),
            Machine::SocketIo(machine) => machine.greets(),
        }
    }

    /// A kept record of this slot was answered with `message`; `again`: not for the first time, so that the client does
    /// not get it.
    pub fn answered(&mut self, slot: Key, message: Message<'_>, again: bool) {
        match self {
            Machine::Rules(machine) => machine.answered(slot, message, again),
            Machine::SocketIo(machine) => machine.answered(slot, message, again),
        }
    }

    /// What the next backend is told in place of this record of the client's; `None`: the same.
    pub fn repeat(&mut self, slot: Key, message: Message<'_>) -> Option<Vec<u8>> {
        match self {
            Machine::Rules(machine) => machine.repeat(slot, message),
            Machine::SocketIo(machine) => machine.repeat(slot, message),
        }
    }

    /// The record of this slot is gone for good.
    pub fn forget(&mut self, slot: Key) {
        match self {
            Machine::Rules(machine) => machine.forget(slot),
            Machine::SocketIo(machine) => machine.forget(slot),
        }
    }

    /// What the broker says to the client while no backend does; `None`: nothing is expected.
    pub fn fill_in(&self) -> Option<FillIn> {
        match self {
            Machine::Rules(machine) => machine.fill_in(),
            Machine::SocketIo(machine) => machine.fill_in(),
        }
    }

    /// Bytes of a payload that are looked at, at the most.
    pub fn window(&self) -> usize {
        match self {
            Machine::Rules(machine) => machine.window(),
            Machine::SocketIo(machine) => machine.window(),
        }
    }
}
