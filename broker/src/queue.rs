//! Sessions that wait for a place, when every backend of their pool is full.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// How soon one that waits looks again, whatever it is told: a place may have gone to somebody who
/// could not use it.
const LOOK: Duration = Duration::from_millis(250);

/// One pool's.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: AtomicUsize,
    moved: Notify,
}

/// A place in the queue; given back when dropped.
#[derive(Debug)]
pub(crate) struct Ticket<'a> {
    queue: &'a Queue,
    until: Instant,
}

impl Queue {
    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// Joins the end, if fewer than `max` wait.
    pub(crate) fn join(&self, max: usize, timeout: Duration) -> Option<Ticket<'_>> {
        let more = |waiting| (waiting < max).then_some(waiting + 1);
        self.waiting.fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(Ticket { queue: self, until: Instant::now() + timeout })
    }

    /// A place was given back, or a backend has changed: the one that has waited longest looks.
    pub(crate) fn stir(&self) {
        if self.waiting() > 0 {
            self.moved.notify_one();
        }
    }
}

impl Ticket<'_> {
    /// Waits until it is worth another look. False: the time is up.
    pub(crate) async fn wait(&self) -> bool {
        let look = self.until.min(Instant::now() + LOOK);
        let moved = timeout_at(look, self.queue.moved.notified()).await.is_ok();
        moved || Instant::now() < self.until
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.queue.waiting.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn no_more_than_so_many_wait() {
        let queue = Queue::default();
        let first = queue.join(2, LONG).expect("room");
        let _second = queue.join(2, LONG).expect("room");
        assert!(queue.join(2, LONG).is_none());
        drop(first);
        assert_eq!(queue.waiting(), 1);
        assert!(queue.join(2, LONG).is_some());
        assert!(Queue::default().join(0, LONG).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_that_waits_is_the_first_to_look() {
        let queue = Queue::default();
        let (first, second) = (queue.join(2, LONG).expect("room"), queue.join(2, LONG).expect("room"));
        let mut first = Box::pin(first.wait());
        let mut second = Box::pin(second.wait());
        assert!(futures::poll!(&mut first).is_pending() && futures::poll!(&mut second).is_pending());
        queue.stir();
        assert!(futures::poll!(&mut second).is_pending());
        assert_eq!(futures::poll!(&mut first), std::task::Poll::Ready(true));
    }

    #[tokio::test(start_paused = true)]
    async fn it_looks_again_by_itself_until_its_time_is_up() {
        let queue = Queue::default();
        let ticket = queue.join(1, LOOK * 3).expect("room");
        assert!(ticket.wait().await);
        assert!(ticket.wait().await);
        assert!(!ticket.wait().await);
    }
}
