//! What time does to backends: ejections end, and sessions leave those that are down.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use steadfast_protocol::session::{Move, Status};
use steadfast_protocol::time::Time;
use tokio::time::sleep;

use super::context::OperationContext;
use crate::clock;
use crate::session::registry::Core;
use crate::upstream::pool::Pool;

/// How often it looks. A session's move takes longer than that in any case.
const ROUND: Duration = Duration::from_millis(250);

/// Rounds between two looks at all sessions while the same backends are left: some may stay on them
/// for good.
const CALM: u32 = 4;

/// Backends that are left, by their ids, and since when there is somebody beside them.
type Left = HashMap<usize, Time>;

/// Keeps the backends until it is dropped.
pub(crate) async fn keep(context: OperationContext) {
    let (mut left, mut rounds) = (Left::new(), 0);
    loop {
        sleep(ROUND).await;
        let now = clock::now();
        advance(&context, now);
        let (mut next, rooms) = survey(&context, now);
        for (id, since) in &mut next {
            *since = left.get(id).copied().unwrap_or(*since);
        }
        rounds = if next == left { rounds + 1 } else { 0 };
        if rounds % CALM == 0 && !(next.is_empty() && left.is_empty()) {
            move_sessions(&context, now, (&left, &next), rooms);
        }
        left = next;
    }
}

fn advance(context: &OperationContext, now: Time) {
    for pool in context.current.get().pools.values() {
        for backend in &pool.snapshot().backends {
            backend.advance(now);
        }
    }
}

/// The room beside the backends that are left, by pool.
type Rooms = HashMap<*const Pool, usize>;

/// The backends that are left and have somebody beside them, and their pools' room. Those that an
/// operation empties are its own.
fn survey(context: &OperationContext, now: Time) -> (Left, Rooms) {
    let (mut left, mut rooms) = (Left::new(), HashMap::new());
    let emptied = context.operations.drains();
    for pool in context.current.get().pools.values() {
        let (mut backends, room) = (pool.down(), pool.room_beside(now, None));
        backends.retain(|backend| !emptied.contains_key(&backend.id));
        if !backends.is_empty() && room > 0 {
            left.extend(backends.iter().map(|backend| (backend.id, now)));
            rooms.insert(Arc::as_ptr(pool), room);
        }
    }
    (left, rooms)
}

/// Sends sessions away from backends that are left, as many as there is room for elsewhere. Those of
/// backends that are well again remain.
fn move_sessions(context: &OperationContext, now: Time, (before, left): (&Left, &Left), mut rooms: Rooms) {
    let deadline = context.current.get().settings.drain.deadline;
    let entries = context.registry.all();
    for entry in &entries {
        let limited = rooms.get_mut(&Arc::as_ptr(&entry.binding.pool)).filter(|room| **room < usize::MAX);
        if let Some(room) = limited
            && seeks_place(entry.core().machine.status())
        {
            *room = room.saturating_sub(1);
        }
    }
    for entry in &entries {
        let pool = &entry.binding.pool;
        let mut core = entry.core();
        let Some(id) = core.lease.as_ref().map(|lease| lease.backend().id) else { continue };
        match (left.get(&id), rooms.get_mut(&Arc::as_ptr(pool))) {
            (Some(since), Some(room)) => {
                let breaks = pool.snapshot().settings.break_before_make;
                send_away(&mut core, now, (room, breaks), *since + deadline);
            }
            _ if before.contains_key(&id) => keep_back(&mut core),
            _ => {}
        }
    }
}

/// It has left a backend, and is one of those who look for room.
fn seeks_place(state: Status) -> bool {
    matches!(state, Status::Waiting | Status::Dialing)
}

/// `breaks`: a session that moved and found no place would be lost, so it does not move when there is no
/// room any more. Otherwise it has its place before it leaves.
fn send_away(core: &mut Core, now: Time, (room, breaks): (&mut usize, bool), force_at: Time) {
    match core.machine.moving() {
        Some(_) if !breaks => {}
        Some(_) if *room == 0 => keep_back(core),
        Some(_) => *room -= 1,
        None if *room == 0 => {}
        None => {
            if core.machine.relocate(now, Move { ticket: 0, force_at: Some(force_at) }) {
                *room -= 1;
                core.waker.wake_by_ref();
            }
        }
    }
}

/// What belongs to an operation is its own.
fn keep_back(core: &mut Core) {
    if core.machine.moving() == Some(0) {
        core.machine.remain();
        core.waker.wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use steadfast_protocol::session::{Opening, Session};

    use super::*;
    use crate::config::{Overrides, parse};
    use crate::upstream::pool::Ask;

    const ASK: Ask<'static> = Ask { affinity: None, just_failed: None, tried: &[] };

    fn pool(keys: &str) -> Pool {
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\n[[pool]]\nname = \"a\"\n{keys}\n\
             [[pool.backend]]\nurl = \"ws://127.0.0.1:1\""
        );
        let settings = parse(&text, &Overrides::default()).expect("a sound configuration");
        Pool::new(&settings.pools[0], &settings)
    }

    fn session(pool: &Pool, now: Time) -> Core {
        let machine = Session::new(Arc::clone(&pool.snapshot().session), now, Opening::default());
        let lease = pool.pick(now, &ASK).expect("a lease");
        Core { machine, lease: Some(lease), waker: Waker::noop().clone() }
    }

    /// Three sessions, and a round with so much room; how many are on their way after it.
    fn rounds(breaks: bool) -> impl FnMut(usize) -> usize {
        let keys = if breaks { "break_before_make = true" } else { "" };
        let (pool, now) = (pool(keys), clock::now());
        let mut sessions = [(); 3].map(|()| session(&pool, now));
        move |mut room| {
            for core in &mut sessions {
                send_away(core, now, (&mut room, breaks), now);
            }
            sessions.iter().filter(|core| core.machine.moving().is_some()).count()
        }
    }

    #[test]
    fn no_more_are_sent_than_there_is_room_for() {
        let mut round = rounds(true);
        assert_eq!((round(2), round(2)), (2, 2));
        assert_eq!(round(usize::MAX), 3);
        assert_eq!(round(1), 1, "room that somebody else has taken");
        assert_eq!(round(0), 0);
    }

    #[test]
    fn who_holds_its_next_place_is_not_called_back() {
        let mut round = rounds(false);
        assert_eq!((round(1), round(0), round(1), round(0)), (1, 1, 2, 2));
    }

    #[test]
    fn moves_of_operations_are_left_alone() {
        let (pool, now) = (pool("break_before_make = true"), clock::now());
        let mut core = session(&pool, now);
        assert!(core.machine.relocate(now, Move { ticket: 5, force_at: None }));
        keep_back(&mut core);
        send_away(&mut core, now, (&mut 0, true), now);
        assert_eq!(core.machine.moving(), Some(5));
    }
}
