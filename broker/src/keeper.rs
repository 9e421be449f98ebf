//! What time does to backends: ejections end, and sessions leave those that are down or taken away.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use steadfast_protocol::session::State;
use steadfast_protocol::time::Time;
use tokio::time::sleep;

use crate::backend::Seat;
use crate::broker::Broker;
use crate::clock;
use crate::registry::Entry;

/// How often it looks. A session's move takes longer than that in any case.
const ROUND: Duration = Duration::from_millis(250);

/// Keeps the backends until it is dropped.
pub(crate) async fn keep(broker: Arc<Broker>) {
    let mut left = HashSet::new();
    loop {
        sleep(ROUND).await;
        let now = clock::now();
        advance(&broker, now);
        left = move_sessions(&broker, now, &left);
    }
}

fn advance(broker: &Broker, now: Time) {
    for pool in broker.setup().pools.values() {
        for backend in &pool.present().backends {
            backend.advance(now);
        }
    }
}

/// Sends sessions away from backends that are left, as long as there is another for them; those of
/// backends that are well again remain. Returns the ids of the backends that are left now.
fn move_sessions(broker: &Broker, now: Time, before: &HashSet<usize>) -> HashSet<usize> {
    let mut left = HashSet::new();
    for pool in broker.setup().pools.values() {
        let backends = pool.left().into_iter().map(|backend| backend.id);
        left.extend(backends.filter(|id| pool.has_other(now, *id)));
    }
    if left.is_empty() && before.is_empty() {
        return left;
    }
    for entry in broker.registry.all() {
        judge(&entry, now, &left, before);
    }
    left
}

fn judge(entry: &Entry, now: Time, left: &HashSet<usize>, before: &HashSet<usize>) {
    let mut core = entry.core();
    let Some(id) = core.seat.as_ref().map(Seat::backend).map(|backend| backend.id) else { return };
    let departing = core.machine.state() == State::Departing;
    if left.contains(&id) && !departing {
        if core.machine.relocate(now) {
            core.waker.wake_by_ref();
        }
    } else if before.contains(&id) && !left.contains(&id) && departing {
        core.machine.remain();
        core.waker.wake_by_ref();
    }
}
