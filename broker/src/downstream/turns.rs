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
pub(super) struct RequestTurns {
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
    phase: TurnPhase,
    /// Until when the phase may last; `None`: what happens in it has limits of its own.
    until: Option<Instant>,
    /// Requests so far.
    requests: usize,
    /// What has come since the last request was answered, up to the next one.
    head: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TurnPhase {
    /// Nothing of a next request has come.
    Waiting,
    Reading,
    Answering,
    /// It may become a session's.
    Upgrading,
}

/// Where a connection stands at a moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct TurnStand {
    /// Until when things may stay as they are.
    pub(super) until: Option<Instant>,
    /// It waits for a next request, and nothing of that has come.
    pub(super) is_waiting: bool,
    /// It may become a session's.
    pub(super) is_upgrading: bool,
}

/// A request that is answered now.
#[derive(Debug)]
pub(super) struct RequestTurn {
    /// It is the first one of its connection.
    pub(super) is_first: bool,
    /// Its head as it came; `None`: it came along with the body of the one before.
    pub(super) head: Option<Vec<u8>>,
}

impl RequestTurns {
    /// Of a connection whose first request is to be there by `until`.
    pub(super) fn new(place: Place, until: Instant, idle: Duration, head: Duration) -> RequestTurns {
        let state =
            TurnState { phase: TurnPhase::Reading, until: Some(until), requests: 0, head: Some(Vec::new()) };
        RequestTurns { state: Mutex::new(state), place, idle, head }
    }

    /// Bytes have come. True: the first of a request is among them.
    pub(super) fn came(&self, bytes: &[u8]) -> bool {
        let mut state = self.state();
        let begins = state.phase == TurnPhase::Waiting && !bytes.is_empty();
        if begins {
            (state.phase, state.until) = (TurnPhase::Reading, Some(Instant::now() + self.head));
            self.place.busy();
        }
        if let Some(head) = &mut state.head {
            head.extend_from_slice(bytes);
        }
        begins
    }

    /// A request is there.
    pub(super) fn begins(&self) -> RequestTurn {
        self.enters(TurnPhase::Answering, None)
    }

    /// An upgrade request is there. What becomes of it takes no longer than until then.
    pub(super) fn upgrades(&self, until: Instant) {
        self.enters(TurnPhase::Upgrading, Some(until));
    }

    fn enters(&self, phase: TurnPhase, until: Option<Instant>) -> RequestTurn {
        let mut state = self.state();
        (state.phase, state.until) = (phase, until);
        state.requests += 1;
        RequestTurn { is_first: state.requests == 1, head: state.head.take() }
    }

    /// The answer is through.
    fn ends(&self) {
        let mut state = self.state();
        (state.phase, state.until) = (TurnPhase::Waiting, Some(Instant::now() + self.idle));
        state.head = Some(Vec::new());
        drop(state);
        self.place.idle();
    }

    /// Where it stands, for whoever looks after its end.
    pub(super) fn stand(&self) -> TurnStand {
        let state = self.state();
        TurnStand {
            until: state.until,
            is_waiting: state.phase == TurnPhase::Waiting,
            is_upgrading: state.phase == TurnPhase::Upgrading,
        }
    }

    /// Some request of it was answered, or is.
    pub(super) fn have_begun(&self) -> bool {
        self.state().requests > 0
    }

    /// No other thread waits for what only this connection's task has.
    fn state(&self) -> MutexGuard<'_, TurnState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer's body. When hyper is done with it the next turn comes.
pub(super) struct TurnBody {
    body: ResponseBody,
    turns: Arc<RequestTurns>,
}

impl TurnBody {
    pub(super) fn new(body: ResponseBody, turns: Arc<RequestTurns>) -> TurnBody {
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

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};
    use tokio::time::{advance, timeout};

    use super::*;
    use crate::net::address::Address;
    use crate::net::places::Places;

    const IDLE: Duration = Duration::from_secs(60);
    const HEAD: Duration = Duration::from_secs(10);

    async fn turns(places: &Arc<Places>) -> Arc<RequestTurns> {
        let place = places.take(Address::of([127, 0, 0, 1].into()), || ()).await.expect("there is room");
        place.busy();
        Arc::new(RequestTurns::new(place, Instant::now() + HEAD, IDLE, HEAD))
    }

    fn answered(turns: &Arc<RequestTurns>) {
        let body = Full::from("ok").map_err(|never| match never {}).boxed_unsync();
        drop(TurnBody::new(body, Arc::clone(turns)));
    }

    #[tokio::test(start_paused = true)]
    async fn each_step_has_its_own_time() {
        let (places, begun) = (Places::new(1), Instant::now());
        let turns = turns(&places).await;
        assert_eq!(turns.stand().until, Some(begun + HEAD), "the first head");
        advance(Duration::from_secs(5)).await;
        assert!(!turns.came(b"GET / HT"), "it is no next request");
        assert_eq!(turns.stand().until, Some(begun + HEAD), "however it trickles in");
        let first = turns.begins();
        assert!(first.is_first && turns.stand().until.is_none());
        assert_eq!(first.head.as_deref(), Some(&b"GET / HT"[..]));
        answered(&turns);
        assert!(turns.stand().is_waiting);
        let waits = Instant::now();
        assert_eq!(turns.stand().until, Some(waits + IDLE));
        assert!(!turns.came(b""), "nothing has come");
        advance(Duration::from_secs(20)).await;
        assert!(turns.came(b"G"), "the next one begins");
        assert_eq!(turns.stand().until, Some(waits + Duration::from_secs(20) + HEAD));
        let second = turns.begins();
        assert!(!second.is_first);
        assert_eq!(second.head.as_deref(), Some(&b"G"[..]), "the head of the first is gone");
    }

    /// A request that came along with the body before it has its head nowhere.
    #[tokio::test(start_paused = true)]
    async fn what_comes_while_an_answer_is_out_is_no_head() {
        let turns = turns(&Places::new(1)).await;
        turns.begins();
        assert!(!turns.came(b"body, and GET / HTTP/1.1"));
        assert_eq!(turns.begins().head, None);
    }

    #[tokio::test(start_paused = true)]
    async fn only_who_waits_is_told_to_go() {
        let places = Places::new(1);
        let turns = turns(&places).await;
        turns.begins();
        places.tell_one();
        assert!(timeout(IDLE, turns.place.told()).await.is_err(), "it answers");
        answered(&turns);
        places.tell_one();
        timeout(IDLE, turns.place.told()).await.expect("it waits, and is told");
    }
}
