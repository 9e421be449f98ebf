//! What time does to backends: ejections end, and sessions leave those that are down or taken away.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use steadfast_protocol::session::{Move, State};
use steadfast_protocol::time::Time;
use tokio::time::sleep;

use crate::broker::Broker;
use crate::clock;
use crate::pool::Pool;
use crate::registry::Core;

/// How often it looks. A session's move takes longer than that in any case.
const ROUND: Duration = Duration::from_millis(250);

/// Rounds between two looks at all sessions while the same backends are left: some may stay on them
/// for good.
const CALM: u32 = 4;

/// Longest wait for a quiet moment.
const DEADLINE: Duration = Duration::from_secs(30);

/// Keeps the backends until it is dropped.
pub(crate) async fn keep(broker: Arc<Broker>) {
    let (mut left, mut rounds) = (HashSet::new(), 0);
    loop {
        sleep(ROUND).await;
        let now = clock::now();
        advance(&broker, now);
        let (next, rooms) = survey(&broker, now);
        rounds = if next == left { rounds + 1 } else { 0 };
        if rounds % CALM == 0 && !(next.is_empty() && left.is_empty()) {
            move_sessions(&broker, now, (&left, &next), rooms);
        }
        left = next;
    }
}

fn advance(broker: &Broker, now: Time) {
    for pool in broker.setup().pools.values() {
        for backend in &pool.present().backends {
            backend.advance(now);
        }
    }
}

/// The room beside the backends that are left, by pool.
type Rooms = HashMap<*const Pool, usize>;

/// The ids of the backends that are left and have somebody beside them, and their pools' room.
fn survey(broker: &Broker, now: Time) -> (HashSet<usize>, Rooms) {
    let (mut left, mut rooms) = (HashSet::new(), HashMap::new());
    for pool in broker.setup().pools.values() {
        let (backends, room) = (pool.down(), pool.room_beside(now, None));
        if !backends.is_empty() && room > 0 {
            left.extend(backends.iter().map(|backend| backend.id));
            rooms.insert(Arc::as_ptr(pool), room);
        }
    }
    (left, rooms)
}

/// Sends sessions away from backends that are left, as many as there is room for elsewhere: one that
/// moved and found no place would be lost, and one that stays is not. Those of backends that are well
/// again remain.
fn move_sessions(
    broker: &Broker,
    now: Time,
    (before, left): (&HashSet<usize>, &HashSet<usize>),
    mut rooms: Rooms,
) {
    let entries = broker.registry.all();
    for entry in &entries {
        let limited = rooms.get_mut(&Arc::as_ptr(&entry.gate.pool)).filter(|room| **room < usize::MAX);
        if let Some(room) = limited
            && seeks_place(entry.core().machine.state())
        {
            *room = room.saturating_sub(1);
        }
    }
    for entry in &entries {
        let mut core = entry.core();
        let Some(id) = core.seat.as_ref().map(|seat| seat.backend().id) else { continue };
        match rooms.get_mut(&Arc::as_ptr(&entry.gate.pool)).filter(|_| left.contains(&id)) {
            Some(room) => send_away(&mut core, now, room),
            None if before.contains(&id) => keep_back(&mut core),
            None => {}
        }
    }
}

/// It has left a backend, and is one of those who look for room.
fn seeks_place(state: State) -> bool {
    matches!(state, State::Waiting | State::Dialing)
}

fn send_away(core: &mut Core, now: Time, room: &mut usize) {
    let departing = core.machine.moving().is_some();
    if *room == 0 {
        return keep_back(core);
    }
    if core.machine.relocate(now, Move { ticket: 0, force_at: Some(now + DEADLINE) }) {
        *room -= 1;
        if !departing {
            core.waker.wake_by_ref();
        }
    }
}

fn keep_back(core: &mut Core) {
    if core.machine.moving() == Some(0) {
        core.machine.remain();
        core.waker.wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use steadfast_protocol::session::Session;

    use super::*;
    use crate::config::{Overrides, parse};
    use crate::pool::Ask;

    const ASK: Ask<'static> = Ask { key: None, just_failed: None, tried: &[] };

    fn pool() -> Pool {
        let text = r#"
            [[listener]]
            address = "127.0.0.1:0"
            [[pool]]
            name = "a"
            [[pool.backend]]
            url = "ws://127.0.0.1:1"
        "#;
        let settings = parse(text, &Overrides::default()).expect("a sound configuration");
        Pool::new(&settings.pools[0], &settings)
    }

    fn session(pool: &Pool, now: Time) -> Core {
        let machine = Session::new(Arc::clone(&pool.present().session), now, false, false);
        let seat = pool.pick(now, &ASK).expect("a seat");
        Core { machine, seat: Some(seat), waker: Waker::noop().clone() }
    }

    #[test]
    fn no_more_are_sent_than_there_is_room_for() {
        let (pool, now) = (pool(), clock::now());
        let mut sessions = [(); 3].map(|()| session(&pool, now));
        let mut round = |mut room| {
            for core in &mut sessions {
                send_away(core, now, &mut room);
            }
            sessions.iter().filter(|core| core.machine.state() == State::Departing).count()
        };
        assert_eq!((round(2), round(2)), (2, 2));
        assert_eq!(round(usize::MAX), 3);
        assert_eq!(round(1), 1, "room that somebody else has taken");
        assert_eq!(round(0), 0);
    }
}
