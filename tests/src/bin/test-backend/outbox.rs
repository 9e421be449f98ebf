//! What a connection will send later: delayed answers and the feed.

use std::collections::VecDeque;
use std::time::Duration;

use steadfast_tests::frame::{Frame, PING};
use tokio::time::{Instant, sleep_until};

use crate::behaviour::Behaviour;

/// Frames with the moments at which they are due, in order.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    due: VecDeque<(Instant, Frame)>,
    pong: Option<(Instant, Frame)>,
    feeds: Vec<Feed>,
}

/// Frames in a steady beat.
#[derive(Debug)]
struct Feed {
    /// None of a feed of pings.
    name: Option<String>,
    next: usize,
    at: Instant,
    pause: Duration,
}

impl Outbox {
    /// The outbox of a connection that begins now.
    pub(crate) fn new(name: &str, behaviour: &Behaviour) -> Self {
        let start =
            |name, pause| Feed { name, next: 1, at: Instant::now(), pause: Duration::from_millis(pause) };
        let feed = behaviour.feed.map(|pause| start(Some(name.to_owned()), pause));
        let pings = behaviour.ping_every.map(|pause| start(None, pause));
        Self { due: VecDeque::new(), pong: None, feeds: feed.into_iter().chain(pings).collect() }
    }

    /// Sends `frame` after `delay`, or, when one follows the other, after the delay behind the one before.
    pub(crate) fn push(&mut self, frame: Frame, delay: Duration, one_by_one: bool) {
        let now = Instant::now();
        let start = self.due.back().map(|(at, _)| *at).filter(|_| one_by_one).unwrap_or(now);
        self.due.push_back((start + delay, frame));
    }

    /// Sends `pong` after `delay`, or in place of one that waits.
    pub(crate) fn replace_pong(&mut self, pong: Frame, delay: Duration) {
        let at = self.pong.as_ref().map_or_else(|| Instant::now() + delay, |(at, _)| *at);
        self.pong = Some((at, pong));
    }

    /// Waits for the next frame that is due. Cancelling it loses nothing.
    pub(crate) async fn next(&mut self) -> Frame {
        let answer_at = self.due.front().map(|(at, _)| *at);
        let feeds_at = self.feeds.iter().map(|feed| feed.at);
        let pong_at = self.pong.as_ref().map(|(at, _)| *at);
        let Some(at) = answer_at.into_iter().chain(feeds_at).chain(pong_at).min() else {
            return std::future::pending().await;
        };
        sleep_until(at).await;
        if let Some((_, pong)) = self.pong.take_if(|(due, _)| *due == at) {
            return pong;
        }
        match self.feeds.iter_mut().find(|feed| feed.at == at) {
            Some(feed) => feed.step(),
            None => self.due.pop_front().expect("the moment belongs to an answer if not to the feed").1,
        }
    }
}

impl Feed {
    fn step(&mut self) -> Frame {
        let frame = match &self.name {
            Some(name) => Frame::text(&format!("{name}:feed-{}", self.next)),
            None => Frame::new(PING, self.next.to_string()),
        };
        self.next += 1;
        self.at = Instant::now() + self.pause;
        frame
    }
}
