//! Socket.IO 4 over Engine.IO 4.

use std::sync::Arc;

use crate::{Down, FillIn, Key, Message, Up, Words};

/// What an operator may say of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SocketIoSettings {
    /// The client does not hear that a next backend has taken it: it keeps the id that the first one gave it, and its
    /// `connect` event does not fire again.
    pub hide: bool,
    /// Events that are said again to the next backend, such as those that join a room.
    pub keep: Vec<String>,
    /// A server that stores a leaving client's state is asked to recover it.
    pub recover: bool,
}

/// One session's part.
#[derive(Debug)]
pub struct SocketIoMachine {
    settings: Arc<SocketIoSettings>,
}

impl SocketIoMachine {
    pub(crate) fn new(settings: Arc<SocketIoSettings>) -> SocketIoMachine {
        SocketIoMachine { settings }
    }

    pub(crate) fn up(&mut self, _message: Message<'_>, _words: &mut Words) -> Up {
        let _ = &self.settings;
        Up::Tell
    }

    pub(crate) fn down(&mut self, _message: Message<'_>, _words: &mut Words) -> Down {
        Down::Push
    }

    pub(crate) fn linked(&mut self) {}

    pub(crate) fn greets(&self) -> bool {
        true
    }

    pub(crate) fn answered(&mut self, _slot: Key, _message: Message<'_>, _again: bool) {}

    pub(crate) fn repeat(&mut self, _slot: Key, _message: Message<'_>) -> Option<Vec<u8>> {
        None
    }

    pub(crate) fn forget(&mut self, _slot: Key) {}

    pub(crate) fn rename(&mut self, _message: Message<'_>, _words: &mut Words) -> Option<Key> {
        None
    }

    pub(crate) fn fill_in(&self) -> Option<FillIn> {
        None
    }

    pub(crate) fn window(&self) -> usize {
        64 * 1024
    }
}
