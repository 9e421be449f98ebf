//! Sessions that wait for a place, when every backend of their pool is full.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, Notify};
use tokio::time::{Instant, timeout_at};

/// How soon the first in the line looks again, whatever it is told: a place may have gone to somebody
/// who could not use it.
pub(super) const LOOK: Duration = Duration::from_millis(250);

/// One pool's.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Sessions that have lost their backend. They go first: they would be lost, newcomers come again.
    movers: QueueLine,
    newcomers: QueueLine,
}

#[derive(Debug, Default)]
struct QueueLine {
    waiting: AtomicUsize,
    /// Who has it is the first. It goes to those who wait for it in their order.
    turn: Mutex<()>,
    moved: Notify,
}

/// A place in the queue; given back when dropped.
#[derive(Debug)]
pub(super) struct Ticket<'a> {
    queue: &'a Queue,
    newcomer: bool,
    until: Instant,
    turn: Option<MutexGuard<'a, ()>>,
}

impl Queue {
    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.movers.waiting() + self.newcomers.waiting()
    }

    /// Joins the end of its line, if fewer than `max` wait there.
    pub(super) fn join(&self, newcomer: bool, max: usize, timeout: Duration) -> Option<Ticket<'_>> {
        let more = |waiting| (waiting < max).then_some(waiting + 1);
        self.line(newcomer).waiting.fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(Ticket { queue: self, newcomer, until: Instant::now() + timeout, turn: None })
    }

    /// A place was given back, or a backend has changed: the first one looks.
    pub(super) fn notify(&self) {
        if self.waiting() > 0 {
            self.line(self.movers.waiting() == 0).moved.notify_one();
        }
    }

    fn line(&self, newcomer: bool) -> &QueueLine {
        if newcomer { &self.newcomers } else { &self.movers }
    }
}

impl QueueLine {
    fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }
}

impl Ticket<'_> {
    /// Waits until it is worth another look: only the first in the line looks, and as soon as it is
    /// that. False: the time is up.
    pub(super) async fn wait(&mut self) -> bool {
        let line = self.queue.line(self.newcomer);
        if self.turn.is_none() {
            self.turn = timeout_at(self.until, line.turn.lock()).await.ok();
            if self.turn.is_none() || !self.stands_back() {
                return self.turn.is_some();
            }
        }
        loop {
            let look = self.until.min(Instant::now() + LOOK);
            let moved = timeout_at(look, line.moved.notified()).await.is_ok();
            let in_time = moved || Instant::now() < self.until;
            if !in_time || !self.stands_back() {
                return in_time;
            }
        }
    }

    fn stands_back(&self) -> bool {
        self.newcomer && self.queue.movers.waiting() > 0
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.queue.line(self.newcomer).waiting.fetch_sub(1, Relaxed);
        self.queue.notify();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn no_more_than_so_many_wait() {
        let queue = Queue::default();
        let first = queue.join(true, 2, LONG).expect("room");
        let _second = queue.join(true, 2, LONG).expect("room");
        assert!(queue.join(true, 2, LONG).is_none());
        drop(first);
        assert_eq!(queue.waiting(), 1);
        assert!(queue.join(true, 2, LONG).is_some());
        assert!(Queue::default().join(true, 0, LONG).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_that_waits_is_the_first_to_look() {
        let queue = Queue::default();
        let mut first = queue.join(true, 2, LONG).expect("room");
        let mut second = queue.join(true, 2, LONG).expect("room");
        assert!(first.wait().await);
        let mut next = Box::pin(second.wait());
        assert!(futures::poll!(&mut next).is_pending());
        // However often it has looked in vain, it stays the first.
        assert!(first.wait().await && first.wait().await);
        queue.notify();
        assert!(futures::poll!(&mut next).is_pending());
        assert_eq!(futures::poll!(Box::pin(first.wait())), std::task::Poll::Ready(true));
        drop(first);
        assert_eq!(futures::poll!(&mut next), std::task::Poll::Ready(true), "it looks at once");
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_that_move_go_before_newcomers() {
        let queue = Queue::default();
        let mut newcomer = queue.join(true, 1, LONG).expect("room");
        let mut mover = queue.join(false, 1, LONG).expect("room");
        assert!(newcomer.queue.waiting() == 2 && mover.wait().await);
        let mut behind = Box::pin(newcomer.wait());
        assert!(futures::poll!(&mut behind).is_pending());
        queue.notify();
        tokio::time::advance(LOOK * 2).await;
        assert!(futures::poll!(&mut behind).is_pending());
        assert_eq!(futures::poll!(Box::pin(mover.wait())), std::task::Poll::Ready(true));
        drop(mover);
        assert_eq!(futures::poll!(&mut behind), std::task::Poll::Ready(true));
    }

    #[tokio::test(start_paused = true)]
    async fn it_looks_again_by_itself_until_its_time_is_up() {
        let queue = Queue::default();
        let mut ticket = queue.join(true, 1, LOOK * 3).expect("room");
        assert!(ticket.wait().await, "the first in the line");
        assert!(ticket.wait().await);
        assert!(ticket.wait().await);
        assert!(!ticket.wait().await);
    }
}
