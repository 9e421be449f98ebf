//! What the application's handles and the task of the connection share.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;
use steadfast_protocol::steadfast_v1::client::{Client as Machine, Config, End};
use steadfast_protocol::time::Time;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Event;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct SharedClient {
    origin: Instant,
    state: Mutex<ClientState>,
    /// Wakes the task of the connection.
    pub(super) work: Notify,
    /// Wakes those who wait for the machine.
    changed: Notify,
    /// Wakes the one who takes events.
    reader: AtomicWaker,
}

/// What is locked, never across a wait.
#[derive(Debug)]
pub(super) struct ClientState {
    pub(super) machine: Machine,
    inbox: VecDeque<Event>,
    waiting: usize,
    limit: usize,
    /// Nobody takes events.
    discard: bool,
    /// Nobody holds the client any more.
    pub(super) abandoned: bool,
    pub(super) end: Option<End>,
}

impl ClientState {
    /// Keeps an event until it is taken.
    pub(super) fn tell(&mut self, event: Event) {
        if let Event::Closed(end) = &event {
            self.end = Some(end.clone());
        }
        if !self.discard {
            self.waiting += event.cost();
            self.inbox.push_back(event);
        }
    }

    /// Whether more events may come.
    pub(super) fn has_room(&self) -> bool {
        self.waiting < self.limit
    }

    fn take(&mut self) -> Option<Event> {
        let event = self.inbox.pop_front()?;
        self.waiting -= event.cost();
        Some(event)
    }
}

impl SharedClient {
    pub(super) fn new(config: Config, inbox: usize) -> SharedClient {
        let state = ClientState {
            machine: Machine::new(config, Time::ORIGIN),
            inbox: VecDeque::new(),
            waiting: 0,
            limit: inbox,
            discard: false,
            abandoned: false,
            end: None,
        };
        SharedClient {
            origin: Instant::now(),
            state: Mutex::new(state),
            work: Notify::new(),
            changed: Notify::new(),
            reader: AtomicWaker::new(),
        }
    }

    pub(super) fn now(&self) -> Time {
        Time::after_origin(self.origin.elapsed())
    }

    /// The moment on the runtime's clock.
    pub(super) fn instant(&self, time: Time) -> Instant {
        self.origin + time.since_origin()
    }

    /// No lock is held where something could panic halfway, so a poisoned one is sound.
    pub(super) fn lock(&self) -> MutexGuard<'_, ClientState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something may be new for the application.
    pub(super) fn wake(&self) {
        self.changed.notify_waiters();
        self.reader.wake();
    }

    /// Waits until the state says something.
    pub(super) async fn until<T>(&self, mut says: impl FnMut(&mut ClientState) -> Option<T>) -> T {
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
        let (full, event) = (!state.has_room(), state.take());
        if full && state.has_room() {
            self.work.notify_one();
        }
        match event {
            Some(event) => Poll::Ready(Some(event)),
            None if state.end.is_some() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    /// Nobody takes events any more.
    pub(super) fn discard(&self) {
        let mut state = self.lock();
        state.discard = true;
        (state.inbox, state.waiting) = (VecDeque::new(), 0);
        self.work.notify_one();
    }
}

/// Held by everything through which an application uses a client. With the last of them the connection goes.
#[derive(Debug)]
pub(super) struct Hold(Arc<SharedClient>);

impl Hold {
    pub(super) fn new(shared: Arc<SharedClient>) -> Hold {
        Hold(shared)
    }

    pub(super) fn shared(&self) -> &Arc<SharedClient> {
        &self.0
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.lock().abandoned = true;
        self.0.work.notify_one();
    }
}
