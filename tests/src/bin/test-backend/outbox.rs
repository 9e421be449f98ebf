//! What a connection will send later: delayed answers and the feed.

use std::collections::VecDeque;
use std::time::Duration;

use steadfast_tests::frame::Frame;
use tokio::time::{Instant, sleep_until};

use crate::behaviour::Behaviour;

/// Frames with the moments at which they are due, in order.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    due: VecDeque<(Instant, Frame)>,
    feed: Option<Feed>,
}

#[derive(Debug)]
struct Feed {
    name: String,
    next: usize,
    at: Instant,
    pause: Duration,
}

impl Outbox {
    /// The outbox of a connection that begins now.
    pub(crate) fn new(name: &str, behaviour: &Behaviour) -> Self {
        let start = |pause| Feed {
            name: name.to_owned(),
            next: 1,
            at: Instant::now(),
            pause: Duration::from_millis(pause),
        };
        Self { due: VecDeque::new(), feed: behaviour.feed.map(start) }
    }

    /// Sends `frame` after `delay`, or, when one follows the other, after the delay behind the one before.
    pub(crate) fn push(&mut self, frame: Frame, delay: Duration, one_by_one: bool) {
        let now = Instant::now();
        let start = self.due.back().map(|(at, _)| *at).filter(|_| one_by_one).unwrap_or(now);
        self.due.push_back((start + delay, frame));
    }

    /// Waits for the next frame that is due. Cancelling it loses nothing.
    pub(crate) async fn next(&mut self) -> Frame {
        let answer_at = self.due.front().map(|(at, _)| *at);
        let feed_at = self.feed.as_ref().map(|feed| feed.at);
        let Some(at) = answer_at.into_iter().chain(feed_at).min() else {
            return std::future::pending().await;
        };
        sleep_until(at).await;
        match &mut self.feed {
            Some(feed) if feed.at == at => feed.step(),
            _ => self.due.pop_front().expect("the moment belongs to an answer if not to the feed").1,
        }
    }
}

impl Feed {
    fn step(&mut self) -> Frame {
        let frame = Frame::text(&format!("{}:feed-{}", self.name, self.next));
        self.next += 1;
        self.at = Instant::now() + self.pause;
        frame
    }
}
