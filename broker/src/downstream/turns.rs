//! The turns of a connection on which one request comes after another: whether it waits for one, reads its head or answers
//! it, and how long that may take. hyper reads and writes; what it does not tell is seen here, from the bytes that it is
//! given and from the body that it is done with.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::response::ResponseBody;
use crate::net::places::Place;
use crate::upstream::forward::AnswerFault;

/// Where a connection stands.
#[derive(Debug)]
pub(super) struct Turns {
    state: Mutex<TurnState>,
    /// Told to go while it waits.
    pub(super) place: Place,
    /// How long it may wait for the next request.
    idle: Duration,
    /// How long the head of that may take.
    head: Duration,
}

#[derive(Debug)]
struct TurnState {
    phase: Phase,
    /// Until when the phase may last; `None`: what happens in it has limits of its own.
    until: Option<Instant>,
    /// Requests so far.
    requests: usize,
    /// What has come since the last request was answered, up to the next one.
    head: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing of a next request has come.
    Waiting,
    Reading,
    Answering,
}

/// A request that is answered now.
#[derive(Debug)]
pub(super) struct Turn {
    /// It is the first one of its connection.
    pub(super) is_first: bool,
    /// Its head as it came; `None`: it came along with the body of the one before.
    pub(super) head: Option<Vec<u8>>,
}

impl Turns {
    /// Of a connection whose first request is to be there by `until`.
    pub(super) fn new(place: Place, until: Instant, idle: Duration, head: Duration) -> Turns {
        let state =
            TurnState { phase: Phase::Reading, until: Some(until), requests: 0, head: Some(Vec::new()) };
        Turns { state: Mutex::new(state), place, idle, head }
    }

    /// Bytes have come. True: the first of a request is among them.
    pub(super) fn came(&self, bytes: &[u8]) -> bool {
        let mut state = self.state();
        let begins = state.phase == Phase::Waiting && !bytes.is_empty();
        if begins {
            (state.phase, state.until) = (Phase::Reading, Some(Instant::now() + self.head));
            self.place.busy();
        }
        if let Some(head) = &mut state.head {
            head.extend_from_slice(bytes);
        }
        begins
    }

    /// A request is there. What becomes of it takes no longer than until then.
    pub(super) fn begins(&self, until: Option<Instant>) -> Turn {
        let mut state = self.state();
        (state.phase, state.until) = (Phase::Answering, until);
        state.requests += 1;
        Turn { is_first: state.requests == 1, head: state.head.take() }
    }

    /// The answer is through.
    fn ends(&self) {
        let mut state = self.state();
        (state.phase, state.until) = (Phase::Waiting, Some(Instant::now() + self.idle));
        state.head = Some(Vec::new());
        drop(state);
        self.place.idle();
    }

    /// Until when things may stay as they are.
    pub(super) fn until(&self) -> Option<Instant> {
        self.state().until
    }

    /// Some request of it was answered, or is.
    pub(super) fn have_begun(&self) -> bool {
        self.state().requests > 0
    }

    /// It waits for a next request, and nothing of that has come.
    pub(super) fn is_waiting(&self) -> bool {
        self.state().phase == Phase::Waiting
    }

    /// No other thread waits for what only this connection's task has.
    fn state(&self) -> MutexGuard<'_, TurnState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer's body. When hyper is done with it the next turn comes.
pub(super) struct TurnBody {
    body: ResponseBody,
    turns: Arc<Turns>,
}

impl TurnBody {
    pub(super) fn new(body: ResponseBody, turns: Arc<Turns>) -> TurnBody {
        TurnBody { body, turns }
    }
}

impl Drop for TurnBody {
    fn drop(&mut self) {
        self.turns.ends();
    }
}

impl Body for TurnBody {
    type Data = Bytes;
    type Error = AnswerFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerFault>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
