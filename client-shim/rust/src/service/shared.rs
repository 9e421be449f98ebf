//! What a service's handles of one session and the task of its connection share.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;
use steadfast_protocol::steadfast_v1::service::{Misuse, Service as Machine};
use tokio::sync::Notify;

use crate::wire;

use super::{End, Event, Options};

/// See the [module](self).
#[derive(Debug)]
pub(super) struct SharedSession {
    state: Mutex<ServiceState>,
    /// Wakes the task of the connection.
    pub(super) work: Notify,
    /// Wakes those who wait for room, or for a commit to be applied.
    changed: Notify,
    /// Wakes the one who takes events.
    reader: AtomicWaker,
}

/// What is locked, never across a wait.
#[derive(Debug)]
pub(super) struct ServiceState {
    pub(super) machine: Machine,
    inbox: VecDeque<Event>,
    waiting: usize,
    inbox_limit: usize,
    outbox: VecDeque<Vec<u8>>,
    unwritten: usize,
    outbox_limit: usize,
    /// The service's goodbye, behind everything else.
    close: Option<wire::Close>,
    closing: bool,
    /// The session was dropped.
    pub(super) abandoned: bool,
    pub(super) end: Option<End>,
}

/// Why something is not sent now.
pub(super) enum Unsent {
    /// There is no room.
    Full,
    /// The session has ended, or is being closed.
    Ended,
    /// It must not be sent at all.
    Misuse(Misuse),
}

impl ServiceState {
    /// Keeps an event until it is taken. Of commits that are applied only the last one matters.
    pub(super) fn tell(&mut self, event: Event) {
        if let (Event::Applied(_), Some(last @ Event::Applied(_))) = (&event, self.inbox.back_mut()) {
            *last = event;
            return;
        }
        self.waiting += event.cost();
        self.inbox.push_back(event);
    }

    /// Whether more events may come.
    pub(super) fn has_room(&self) -> bool {
        self.waiting < self.inbox_limit
    }

    /// Queues what `make` makes, if there is room for it.
    pub(super) fn send<T>(
        &mut self,
        make: impl FnOnce(&mut Machine) -> Result<(T, Option<Vec<u8>>), Misuse>,
    ) -> Result<T, Unsent> {
        if self.end.is_some() || self.closing {
            return Err(Unsent::Ended);
        }
        if self.unwritten >= self.outbox_limit {
            return Err(Unsent::Full);
        }
        let (made, message) = make(&mut self.machine).map_err(Unsent::Misuse)?;
        if let Some(message) = message {
            self.unwritten += message.len();
            self.outbox.push_back(message);
        }
        Ok(made)
    }

    /// The next thing to write.
    pub(super) fn next(&mut self) -> Option<wire::Outgoing> {
        if let Some(message) = self.outbox.pop_front() {
            self.unwritten -= message.len();
            return Some(wire::data(false, message));
        }
        self.close.take().map(wire::close)
    }

    pub(super) fn close(&mut self, close: wire::Close) {
        if !self.closing && self.end.is_none() {
            (self.close, self.closing) = (Some(close), true);
        }
    }

    /// The service has said goodbye.
    pub(super) fn is_closing(&self) -> bool {
        self.closing
    }
}

impl SharedSession {
    pub(super) fn new(options: &Options) -> SharedSession {
        let state = ServiceState {
            machine: Machine::new(options.limits),
            inbox: VecDeque::new(),
            waiting: 0,
            inbox_limit: options.inbox,
            outbox: VecDeque::new(),
            unwritten: 0,
            outbox_limit: options.outbox,
            close: None,
            closing: false,
            abandoned: false,
            end: None,
        };
        SharedSession {
            state: Mutex::new(state),
            work: Notify::new(),
            changed: Notify::new(),
            reader: AtomicWaker::new(),
        }
    }

    /// No lock is held where something could panic halfway, so a poisoned one is sound.
    pub(super) fn lock(&self) -> MutexGuard<'_, ServiceState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something may be new for the service.
    pub(super) fn wake(&self) {
        self.changed.notify_waiters();
        self.reader.wake();
    }

    /// Waits until the state says something.
    pub(super) async fn until<T>(&self, mut says: impl FnMut(&mut ServiceState) -> Option<T>) -> T {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(said) = says(&mut self.lock()) {
                return said;
            }
            changed.await;
        }
    }

    pub(super) fn poll_event(&self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.reader.register(cx.waker());
        let mut state = self.lock();
        if let Some(event) = state.inbox.pop_front() {
            let full = !state.has_room();
            state.waiting -= event.cost();
            if full && state.has_room() {
                self.work.notify_one();
            }
            return Poll::Ready(Some(event));
        }
        if state.end.is_some() { Poll::Ready(None) } else { Poll::Pending }
    }
}
