//! What earlier connections to a backend have taught.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::time::Instant;

use super::way::Won;
use crate::lock::rank::WaysRank;
use crate::lock::{OrderedMutex, OrderedMutexGuard};

/// How long a source that was overtaken comes last. Then it is tried in its turn again, since one lost
/// packet looks the same.
const ASIDE: Duration = Duration::from_secs(30);

/// What is known of the ways to one backend's port.
#[derive(Debug, Default)]
pub(crate) struct History(OrderedMutex<Learnt, WaysRank>);

#[derive(Debug, Default)]
struct Learnt {
    /// The address that took the last connection.
    reached: Option<SocketAddr>,
    /// Sources that were silent where another one got through, and until when they come last; one entry
    /// for each at the most.
    aside: Vec<(IpAddr, Instant)>,
}

impl History {
    /// Returns the address that took the last connection.
    pub(super) fn reached(&self) -> Option<SocketAddr> {
        self.learnt().reached
    }

    /// Returns `sources` in the order in which to use them.
    pub(super) fn ordered(&self, sources: &[IpAddr]) -> Vec<IpAddr> {
        let now = Instant::now();
        let learnt = self.learnt();
        let aside = |source: &IpAddr| learnt.aside.iter().any(|(one, until)| one == source && now < *until);
        let (last, first): (Vec<_>, Vec<_>) = sources.iter().copied().partition(aside);
        [first, last].concat()
    }

    /// Learns from a connection, and returns it.
    pub(super) fn keep<S>(&self, won: Won<S>) -> S {
        let until = Instant::now() + ASIDE;
        let mut learnt = self.learnt();
        learnt.reached = Some(won.way.target);
        let stays = |one: &IpAddr| Some(*one) != won.way.source && !won.overtaken.contains(one);
        learnt.aside.retain(|(one, end)| stays(one) && Instant::now() < *end);
        learnt.aside.extend(won.overtaken.iter().map(|source| (*source, until)));
        won.stream
    }

    fn learnt(&self) -> OrderedMutexGuard<'_, Learnt> {
        self.0.lock()
    }
}
