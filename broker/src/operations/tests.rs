//! Operations with real session machines, in virtual time. What the sessions' own threads would do is done
//! here by hand.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use http::Request;
use steadfast_protocol::session::{Command, MoveOutcome, Opening, Session, Stay};

use super::context::OperationContext;
use super::progress::Tally;
use super::supervisor::Supervisor;
use super::*;
use crate::config::{Overrides, parse};
use crate::http::replay_request::Handshake;
use crate::routing::binding::RouteBinding;
use crate::session::registry::{Entry, NewSession};
use crate::snapshot::{Current, Snapshot};
use crate::tls::TlsSetup;
use crate::upstream::backend::Backend;
use crate::upstream::balance::Affinity;
use crate::upstream::pool::Ask;

pub(super) const MOVED: MoveOutcome = MoveOutcome::Moved { forced: false };
pub(super) const BUSY: MoveOutcome = MoveOutcome::Stayed(Stay::Busy);

pub(super) const NO_WISH: Wish =
    Wish { rate: None, concurrency: None, errors_max: None, time_limit: None, force: None };

/// A broker over the backends `a` and `b`, without threads.
pub(super) struct Rig {
    pub(super) context: OperationContext,
    supervisor: Supervisor,
    pub(super) now: Time,
    last: AtomicU32,
}

impl Rig {
    /// With these lines in the pool's table.
    pub(super) fn new(keys: &str) -> Rig {
        let backend =
            |name: &str| format!("[[pool.backend]]\nurl = \"ws://127.0.0.1:1\"\nname = \"{name}\"\n");
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\n[[pool]]\nname = \"chat\"\n{keys}\n{}{}",
            backend("a"),
            backend("b"),
        );
        let settings = parse(&text, &Overrides::default()).expect("a sound configuration");
        let registry: Arc<Registry> = Arc::default();
        let address = ([127, 0, 0, 1], 1).into();
        Rig {
            context: OperationContext {
                operations: Arc::new(Operations::new(Arc::clone(&registry), Arc::default())),
                registry,
                current: Arc::new(Current::new(Snapshot::new(settings, TlsSetup::default(), &[address]))),
            },
            supervisor: Supervisor::default(),
            now: clock::now(),
            last: AtomicU32::new(0),
        }
    }

    pub(super) fn pool(&self) -> Arc<Pool> {
        Arc::clone(&self.context.current.get().pools["chat"])
    }

    pub(super) fn backend(&self, name: &str) -> Arc<Backend> {
        self.pool().named(name).expect("it is there")
    }

    // ---- sessions ----

    /// So many sessions on this backend.
    pub(super) fn sessions(&self, backend: &str, count: usize) -> Vec<u128> {
        (0..count).map(|n| self.session(backend, n as u64, false)).collect()
    }

    fn session(&self, backend: &str, key: u64, pinned: bool) -> u128 {
        self.session_of(backend, key, Opening { no_failover: pinned, ..Opening::default() })
    }

    fn session_of(&self, backend: &str, key: u64, opening: Opening) -> u128 {
        let (pool, id) = (self.pool(), u128::from(1 + self.last.fetch_add(1, Relaxed)));
        let binding =
            RouteBinding { address: ([127, 0, 0, 1], 1).into(), route: None, pool: Arc::clone(&pool) };
        let new_session = NewSession {
            id,
            handshake: Handshake::new(&Request::new(()), None),
            agreed: Default::default(),
            affinity: Some(Affinity::of_hash(key)),
            attempts: AtomicU32::new(0),
            binding: Arc::new(binding),
        };
        let machine = Session::new(Arc::clone(&pool.snapshot().session), self.now, opening);
        let entry = Entry::new(new_session, ([127, 0, 0, 1], 2).into(), machine, self.lease(backend));
        self.context.registry.insert(Arc::new(entry));
        id
    }

    pub(super) fn lease(&self, backend: &str) -> crate::upstream::backend::BackendLease {
        let others: Vec<_> =
            self.pool().snapshot().backends.iter().map(|own| (own.name.clone(), own.id)).collect();
        let tried: Vec<usize> = others.iter().filter(|(name, _)| name != backend).map(|own| own.1).collect();
        let ask = Ask { preferred: None, affinity: None, just_failed: None, tried: &tried };
        self.pool().pick(self.now, &ask).expect("a lease")
    }

    pub(super) fn entry(&self, id: u128) -> Arc<Entry> {
        self.context.registry.get(id).expect("a live session")
    }

    /// The sessions that move, with their tickets.
    pub(super) fn moving(&self) -> Vec<(u128, u64)> {
        let all = self.context.registry.all();
        let mut moving: Vec<_> =
            all.iter().filter_map(|own| Some((own.id, own.core().machine.moving()?))).collect();
        moving.sort();
        moving
    }

    /// Whether a session that moves holds its client's messages, once its machine has seen what time it is.
    pub(super) fn holds_one(&self) -> bool {
        let holds = |id: u128| {
            let entry = self.entry(id);
            let mut core = entry.core();
            core.machine.advance(self.now, &mut || 0);
            core.machine.status().name() == "holding"
        };
        self.moving().iter().any(|(id, _)| holds(*id))
    }

    /// What a session's own thread does when its move has ended.
    pub(super) fn report(&self, (id, ticket): (u128, u64), outcome: MoveOutcome) {
        let entry = self.entry(id);
        entry.core().machine.remain();
        if outcome == MOVED {
            let target = self.context.operations.tickets.target(ticket);
            let here = entry.core().lease.as_ref().map(|lease| lease.backend().name.clone());
            let names = ["a", "b"];
            let other = |name: &&&str| Some(**name) != here.as_deref();
            let to = names.iter().find(other).expect("another");
            assert!(target.is_none_or(|target| target == self.backend(to).id));
            let lease = self.lease(to);
            entry.core().lease = Some(lease);
        }
        self.context.operations.tickets.ended(ticket, outcome);
    }

    pub(super) fn report_all(&self, outcome: MoveOutcome) -> usize {
        let moving = self.moving();
        moving.iter().for_each(|own| self.report(*own, outcome));
        moving.len()
    }

    fn end(&self, id: u128) {
        let ledger = self.entry(id).core().machine.ledger();
        self.entry(id).core().lease = None;
        self.context.registry.remove(id, ledger);
    }

    // ---- operations ----

    pub(super) fn drain(&self, backend: &str) -> Result<OperationSnapshot, OperationRefusal> {
        self.drain_as(backend, NO_WISH)
    }

    fn drain_as(&self, backend: &str, wish: Wish) -> Result<OperationSnapshot, OperationRefusal> {
        let why = "somebody wants it".to_owned();
        self.begin(Subject::drain(&self.pool(), &self.backend(backend), OperationCause::Operator, why), wish)
    }

    pub(super) fn begin(&self, subject: Subject, wish: Wish) -> Result<OperationSnapshot, OperationRefusal> {
        let terms = OperationTerms::new(&self.context.current.get().settings.drain, wish);
        self.context.operations.begin(self.now, subject, terms)
    }

    /// Rounds for so long, with whatever `between` does after each.
    pub(super) fn run(&mut self, time: Duration, between: impl Fn(&Rig)) {
        let end = self.now + time;
        while self.now < end {
            self.now = self.now + Duration::from_millis(100);
            self.supervisor.round(&self.context, self.now);
            between(self);
        }
    }

    pub(super) fn round(&mut self) {
        self.run(Duration::from_millis(100), |_| {});
    }

    /// The newest one.
    pub(super) fn view(&self) -> OperationSnapshot {
        self.context.operations.views(self.now).remove(0)
    }

    pub(super) fn states(&self) -> Vec<OperationState> {
        self.context.operations.views(self.now).iter().map(|view| view.state).collect()
    }
}

pub(super) const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_drain_moves_all_and_is_done() {
    let mut rig = Rig::new("");
    rig.sessions("a", 30);
    let wish = Wish { concurrency: Some(10), ..NO_WISH };
    assert_eq!(rig.drain_as("a", wish).expect("nothing is in the way").id, "drain-1");
    rig.run(SECOND, |rig| assert!(rig.moving().len() <= 10));
    assert_eq!((rig.moving().len(), rig.view().state), (10, OperationState::Running));
    assert_eq!((rig.view().total, rig.view().remaining.moving), (30, 10));
    rig.run(SECOND, |rig| {
        rig.report_all(MOVED);
    });
    let view = rig.view();
    assert_eq!((view.state, view.moved, view.remaining.remaining), (OperationState::Done, 30, 0));
    assert_eq!((rig.backend("a").sessions(), rig.backend("b").sessions()), (0, 30));
    assert_eq!(rig.backend("a").admin_state(), AdminState::Draining, "until somebody says otherwise");
}

#[test]
fn a_drain_keeps_its_rate() {
    let mut rig = Rig::new("");
    rig.sessions("a", 30);
    rig.drain_as("a", Wish { rate: Some(5), ..NO_WISH }).expect("nothing is in the way");
    rig.run(SECOND * 2, |_| {});
    assert!((10..=12).contains(&rig.moving().len()), "{}", rig.moving().len());
}

#[test]
fn an_empty_backend_is_drained_at_once_and_gets_nothing_more() {
    let rig = Rig::new("");
    let view = rig.drain("a").expect("nothing is in the way");
    assert_eq!((view.state, view.total), (OperationState::Done, 0));
    let ask = Ask { preferred: None, affinity: None, just_failed: None, tried: &[rig.backend("b").id] };
    assert!(rig.pool().pick(rig.now, &ask).is_err());
    rig.context.operations.undrain(rig.now, &rig.backend("a"), "somebody wants it");
    assert!(rig.pool().pick(rig.now, &ask).is_ok());
}

#[test]
fn busy_sessions_stay_and_are_tried_again() {
    let mut rig = Rig::new("");
    rig.sessions("a", 2);
    rig.session("a", 0, true);
    rig.drain("a").expect("nothing is in the way");
    rig.round();
    assert_eq!((rig.view().state, rig.report_all(BUSY)), (OperationState::Running, 2));
    rig.run(Duration::from_millis(900), |rig| assert!(rig.moving().is_empty()));
    rig.run(Duration::from_millis(500), |_| {});
    assert_eq!(
        (rig.view().state, rig.moving().len()),
        (OperationState::Waiting, 2),
        "another try of the same two"
    );
    rig.report_all(BUSY);
    rig.run(SECOND, |_| {});
    let Tally { remaining, busy, pinned, .. } = rig.view().remaining;
    assert_eq!((remaining, busy, pinned), (3, 2, 1));
    assert_eq!(rig.view().message, "2 never quiet, and tried again; 1 cannot move, and stay until they end");
    rig.run(SECOND * 2, |rig| {
        rig.report_all(MOVED);
    });
    assert_eq!((rig.view().moved, rig.view().state), (2, OperationState::Waiting));
}

#[test]
fn no_more_move_than_there_is_room_for() {
    let mut rig = Rig::new("");
    rig.sessions("a", 8);
    let limit = |max| crate::upstream::backend::Adjustment { weight: None, max_sessions: Some(max) };
    rig.backend("b").adjust(rig.now, limit(Some(3)));
    rig.drain("a").expect("nothing is in the way");
    rig.run(SECOND, |rig| assert!(rig.moving().len() <= 3));
    rig.report_all(MOVED);
    rig.run(SECOND * 2, |rig| assert!(rig.moving().is_empty()));
    assert_eq!((rig.view().state, rig.backend("a").sessions()), (OperationState::Waiting, 5));
    assert_eq!(rig.view().message, "no other backend has room; the sessions stay until one has");
    rig.backend("b").adjust(rig.now, limit(None));
    rig.run(SECOND, |rig| {
        rig.report_all(MOVED);
    });
    assert_eq!(rig.view().state, OperationState::Done);
}

#[test]
fn who_breaks_before_it_makes_stays_when_the_room_is_gone() {
    for (keys, left) in [("break_before_make = true", [1, 0]), ("", [3, 3])] {
        let mut rig = Rig::new(keys);
        rig.sessions("a", 3);
        rig.drain("a").expect("nothing is in the way");
        rig.run(SECOND, |_| {});
        let moving = rig.moving();
        assert_eq!(moving.len(), 3);
        let limit = crate::upstream::backend::Adjustment { weight: None, max_sessions: Some(Some(1)) };
        rig.backend("b").adjust(rig.now, limit);
        rig.round();
        assert_eq!(rig.moving().len(), left[0], "{keys}");
        for own in moving.iter().filter(|own| !rig.moving().contains(own)) {
            rig.report(*own, MoveOutcome::Stayed(Stay::Asked));
        }
        rig.backend("b").checked(rig.now, Err("refused".to_owned()), 1, 1);
        rig.round();
        assert_eq!(rig.moving().len(), left[1], "{keys}");
    }
}

#[test]
fn a_cancelled_drain_calls_its_moves_off_and_can_be_resumed() {
    let mut rig = Rig::new("");
    rig.sessions("a", 4);
    rig.drain("a").expect("nothing is in the way");
    rig.run(SECOND, |_| {});
    let moving = rig.moving();
    assert_eq!(moving.len(), 4);
    rig.report(moving[0], MOVED);
    let view = rig.context.operations.cancel(rig.now, "drain-1").expect("it runs");
    assert_eq!((view.state, rig.moving().len()), (OperationState::Cancelled, 0));
    assert!(rig.context.operations.cancel(rig.now, "drain-1").is_err());
    for own in &moving[1..] {
        rig.report(*own, MoveOutcome::Stayed(Stay::Asked));
    }
    rig.round();
    let view = rig.view();
    assert_eq!((view.total, view.moved, view.remaining.remaining, view.remaining.moving), (4, 1, 3, 0));
    assert_eq!(rig.backend("a").admin_state(), AdminState::Draining);
    rig.context.operations.resume(rig.now, "drain-1").expect("it was cancelled");
    rig.run(SECOND, |rig| {
        rig.report_all(MOVED);
    });
    let view = rig.view();
    assert_eq!((view.state, view.total, view.moved), (OperationState::Done, 4, 4));
    assert!(rig.context.operations.resume(rig.now, "drain-1").is_err(), "it is done");
}

#[test]
fn too_many_failures_stop_a_drain() {
    let mut rig = Rig::new("");
    rig.sessions("a", 9);
    rig.drain_as("a", Wish { errors_max: Some(1), concurrency: Some(3), ..NO_WISH }).expect("a drain");
    rig.run(SECOND, |_| {});
    let moving = rig.moving();
    rig.report(moving[0], MoveOutcome::FailedOver);
    rig.entry(moving[0].0).core().lease = Some(rig.lease("b"));
    rig.round();
    assert_eq!(rig.view().state, OperationState::Running);
    rig.report(moving[1], MoveOutcome::Ended);
    rig.run(SECOND, |_| {});
    let view = rig.view();
    assert_eq!(
        (view.state, view.failed, view.gone),
        (OperationState::Running, 1, 0),
        "it ends, and is no failure"
    );
    rig.end(moving[1].0);
    rig.run(SECOND, |_| {});
    let view = rig.view();
    assert_eq!((view.failed, view.gone, view.total), (1, 1, 9), "each is counted once");
    let next = *rig.moving().last().expect("another one's turn");
    rig.report(next, MoveOutcome::Closed);
    rig.round();
    let view = rig.view();
    assert_eq!((view.state, view.failed), (OperationState::Stopped, 2));
    assert_eq!(view.message, "2 moves failed, more than the 1 that are allowed");
    assert!(!rig.moving().contains(&moving[2]));
    let view = rig.context.operations.resume(rig.now, "drain-1").expect("it was stopped");
    assert_eq!(view.state, OperationState::Running);
    rig.round();
    assert_eq!(rig.view().state, OperationState::Running, "failures of before do not count again");
}

#[test]
fn a_drain_ends_with_its_time() {
    let mut rig = Rig::new("");
    rig.sessions("a", 1);
    rig.drain_as("a", Wish { time_limit: Some(SECOND * 3), ..NO_WISH }).expect("nothing is in the way");
    rig.run(SECOND * 2, |_| {});
    assert_eq!(rig.view().state, OperationState::Running);
    rig.run(SECOND * 2, |_| {});
    assert_eq!((rig.view().state, rig.moving().len()), (OperationState::Expired, 0));
    assert_eq!(rig.view().message, "its time limit of 3s has passed");
    assert_eq!(rig.backend("a").admin_state(), AdminState::Draining);
}

/// Each try is shorter than the deadline, which is the backend's and not the try's.
#[test]
fn who_never_falls_quiet_is_moved_by_force_from_a_backend_that_stays_down() {
    let mut rig = Rig::new("break_before_make = true");
    rig.sessions("a", 1);
    rig.backend("a").checked(rig.now, Err("refused".to_owned()), 1, 1);
    rig.drain("a").expect("nothing is in the way");
    let tries = |rig: &Rig| {
        let held = rig.holds_one();
        rig.report_all(BUSY);
        held
    };
    rig.run(SECOND * 29, |rig| assert!(!tries(rig), "everything flows while it is waited for"));
    let forced = Cell::new(false);
    rig.run(SECOND * 15, |rig| forced.set(forced.get() || tries(rig)));
    assert!(forced.get());
}

#[test]
fn sessions_that_end_or_come_meanwhile_are_counted() {
    let mut rig = Rig::new("");
    let late = rig.lease("a");
    let ids = rig.sessions("a", 3);
    rig.drain("a").expect("nothing is in the way");
    rig.round();
    rig.report_all(BUSY);
    rig.end(ids[0]);
    rig.run(SECOND * 2, |_| {});
    assert_eq!((rig.view().gone, rig.view().remaining.remaining), (1, 2));
    // One of those that move vanishes without a word.
    assert_eq!(rig.moving().len(), 2);
    rig.end(ids[1]);
    rig.run(SECOND * 2, |_| {});
    assert_eq!((rig.view().gone, rig.view().remaining.moving), (2, 1));
    rig.report_all(MOVED);
    rig.run(SECOND, |_| {});
    assert_eq!(
        (rig.view().state, rig.view().remaining.remaining),
        (OperationState::Running, 0),
        "a dial is under way"
    );
    drop(late);
    rig.round();
    let view = rig.view();
    assert_eq!((view.state, view.total, view.moved, view.gone), (OperationState::Done, 3, 1, 2));
}

#[test]
fn a_second_operation_of_one_backend_is_refused_by_name() {
    let rig = Rig::new("");
    rig.sessions("a", 1);
    rig.sessions("b", 1);
    rig.drain("a").expect("nothing is in the way");
    let Err(OperationRefusal::Conflict { operation, message }) = rig.drain("a") else {
        panic!("it is refused")
    };
    assert_eq!(operation, "drain-1");
    assert_eq!(message, "drain-1 drains a already; wait for it, or cancel it");
    let rebalance = Subject::rebalance(&rig.pool(), 10, OperationCause::Operator, String::new());
    assert!(rig.begin(rebalance, NO_WISH).is_err());
    let enabled = rig.context.operations.set_enabled(rig.now, &rig.backend("a"), true);
    assert!(matches!(enabled, Err(OperationRefusal::Conflict { .. })));
    assert_eq!(rig.drain("b").expect("another backend").id, "drain-2");
}

#[test]
fn a_backend_that_is_taken_away_is_drained_by_itself_and_once() {
    let mut rig = Rig::new("");
    rig.sessions("a", 2);
    rig.pool().remove("a").expect("it is there");
    rig.round();
    let view = rig.view();
    assert_eq!((view.cause, view.why.as_str()), (OperationCause::Removed, "the API was asked for it"));
    assert_eq!(view.terms.time_limit, None);
    let moving = rig.moving();
    rig.context.operations.cancel(rig.now, &view.id).expect("it runs");
    moving.iter().for_each(|own| rig.report(*own, MoveOutcome::Stayed(Stay::Asked)));
    rig.run(SECOND * 2, |_| {});
    assert_eq!(rig.states(), [OperationState::Cancelled]);
    rig.context.operations.resume(rig.now, &view.id).expect("it was cancelled");
    rig.run(SECOND, |rig| {
        rig.report_all(MOVED);
    });
    assert_eq!((rig.view().state, rig.view().moved), (OperationState::Done, 2));
}

#[test]
fn a_rebalance_moves_what_is_too_much() {
    let mut rig = Rig::new("");
    rig.sessions("a", 20);
    let subject = || Subject::rebalance(&rig.pool(), 10, OperationCause::Operator, String::new());
    rig.begin(subject(), NO_WISH).expect("nothing is in the way");
    assert!(rig.drain("a").is_err());
    rig.run(SECOND * 3, |rig| {
        rig.report_all(MOVED);
    });
    let view = rig.view();
    assert_eq!((view.state, view.moved, view.id.as_str()), (OperationState::Done, 9, "rebalance-1"));
    assert_eq!([rig.backend("a").sessions(), rig.backend("b").sessions()], [11, 9]);
}

#[test]
fn a_rebalance_takes_others_for_those_that_stay() {
    let mut rig = Rig::new("");
    let ids = rig.sessions("a", 8);
    let subject = Subject::rebalance(&rig.pool(), 10, OperationCause::Operator, String::new());
    rig.begin(subject, NO_WISH).expect("nothing is in the way");
    // Half of them are never quiet.
    let busy = &ids[..4];
    rig.run(SECOND * 10, |rig| {
        for own in rig.moving() {
            rig.report(own, if busy.contains(&own.0) { BUSY } else { MOVED });
        }
    });
    let view = rig.view();
    assert_eq!((view.state, view.moved), (OperationState::Done, 3));
    assert_eq!(rig.backend("a").sessions(), 5);
}

#[test]
fn keys_come_home() {
    let mut rig = Rig::new("balance = \"source\"");
    rig.sessions("a", 40);
    rig.sessions("b", 40);
    let subject = Subject::rebalance(&rig.pool(), 0, OperationCause::Operator, String::new());
    rig.begin(subject, NO_WISH).expect("nothing is in the way");
    rig.run(SECOND * 4, |rig| {
        rig.report_all(MOVED);
    });
    // Each key is there twice, once on either backend.
    assert_eq!((rig.view().state, rig.view().moved), (OperationState::Done, 40));
    let home = |id: u128| rig.entry(id).core().lease.as_ref().map(|lease| lease.backend().id);
    assert!((1..=40).all(|id| home(id) == home(id + 40)));
}

#[test]
fn an_unbalanced_pool_is_rebalanced_after_two_looks() {
    let mut rig = Rig::new("[pool.rebalance]\ninterval = \"2s\"");
    rig.sessions("a", 20);
    rig.run(Duration::from_millis(3900), |_| {});
    assert_eq!(rig.states(), []);
    rig.run(SECOND * 3, |rig| {
        rig.report_all(MOVED);
    });
    assert_eq!((rig.view().cause, rig.view().state), (OperationCause::Automatic, OperationState::Done));
    rig.run(SECOND * 10, |_| {});
    assert_eq!(rig.states().len(), 1, "it comes to rest");
}

#[test]
fn a_rebalance_is_done_when_a_last_look_finds_nothing_to_move() {
    let mut rig = Rig::new("");
    let ids = rig.sessions("a", 40);
    let subject = Subject::rebalance(&rig.pool(), 10, OperationCause::Operator, String::new());
    rig.begin(subject, NO_WISH).expect("nothing is in the way");
    rig.run(SECOND, |_| {});
    let moving = rig.moving();
    let stays = |id: &u128| moving.iter().all(|own| own.0 != *id);
    // While some move, of the others all but one end.
    ids.iter().filter(|id| stays(id)).skip(1).for_each(|id| rig.end(*id));
    rig.run(SECOND * 5, |rig| {
        rig.report_all(MOVED);
    });
    assert_eq!(rig.view().state, OperationState::Done);
    let held = [rig.backend("a").sessions(), rig.backend("b").sessions()];
    assert!(held[0].abs_diff(held[1]) <= 3, "each is within one of its share: {held:?}");
}

#[test]
fn sessions_that_cannot_move_begin_no_rebalance() {
    let mut rig = Rig::new("[pool.rebalance]\ninterval = \"1s\"");
    for key in 0..20 {
        rig.session("a", key, true);
    }
    rig.run(SECOND * 10, |_| {});
    assert_eq!(rig.states(), []);
    rig.session("a", 20, false);
    rig.run(SECOND * 10, |rig| {
        rig.report_all(MOVED);
    });
    assert_eq!((rig.states(), rig.view().moved), (vec![OperationState::Done], 1));
    assert_eq!(rig.view().message, "the pool is balanced, as far as its sessions can move");
}

#[test]
fn what_nobody_asked_for_gives_way() {
    let mut rig = Rig::new("[pool.rebalance]\ninterval = \"1s\"");
    rig.sessions("a", 20);
    rig.run(SECOND * 3, |_| {});
    assert_eq!(rig.states(), [OperationState::Running]);
    rig.drain("b").expect("an automatic one does not stand in the way");
    rig.run(SECOND * 3, |_| {});
    assert_eq!(rig.states(), [OperationState::Done, OperationState::Cancelled]);
    assert!(rig.moving().is_empty(), "its moves were called off");
}

#[test]
fn a_failover_tells_each_session_once() {
    let mut rig = Rig::new("");
    let ids = rig.sessions("a", 3);
    let pinned = rig.session("a", 0, true);
    let subject = Subject::failover(&rig.pool(), &rig.backend("a"), OperationCause::Operator, String::new());
    rig.begin(subject, Wish { concurrency: Some(2), ..NO_WISH }).expect("nothing is in the way");
    rig.run(SECOND, |_| {});
    let told = |rig: &Rig| -> Vec<u128> {
        let live = |id: &u128| rig.context.registry.get(*id);
        let left = |id: &u128| live(id).is_some_and(|own| survey::seeks_place(own.core().machine.status()));
        ids.iter().copied().filter(left).collect()
    };
    let first = told(&rig);
    assert_eq!((first.len(), rig.view().remaining.moving), (2, 2));
    // One gets a backend again, the other ends.
    let (entry, lease) = (rig.entry(first[0]), rig.lease("b"));
    let mut core = entry.core();
    core.machine.advance(rig.now, &mut || 0);
    let asked = std::iter::from_fn(|| core.machine.poll_command(rig.now + SECOND)).last();
    assert!(matches!(asked, Some(Command::Dial(_))), "{asked:?}");
    assert!(core.machine.handle_linked(rig.now, false, 2));
    core.lease = Some(lease);
    drop(core);
    rig.end(first[1]);
    rig.round();
    assert_eq!((rig.view().moved, rig.view().failed, told(&rig).len()), (1, 1, 1));
    rig.end(told(&rig)[0]);
    rig.round();
    let view = rig.view();
    assert_eq!((view.state, view.failed, view.remaining.pinned), (OperationState::Done, 2, 1));
    assert_eq!(rig.backend("a").admin_state(), AdminState::Ready);
    assert!(rig.entry(pinned).core().machine.status() == steadfast_protocol::session::Status::Relaying);
}

#[test]
fn clients_that_are_to_reconnect_are_counted() {
    let mut rig = Rig::new("");
    let anew = || Opening { begins_anew: true, ..Opening::default() };
    rig.session_of("a", 0, anew());
    let subject = Subject::failover(&rig.pool(), &rig.backend("a"), OperationCause::Operator, String::new());
    rig.begin(subject, NO_WISH).expect("nothing is in the way");
    rig.run(SECOND, |_| {});
    let view = rig.view();
    assert_eq!((view.state, view.moved, view.reconnected, view.failed), (OperationState::Done, 1, 1, 0));

    let mut rig = Rig::new("");
    rig.session_of("a", 0, anew());
    rig.drain("a").expect("nothing is in the way");
    rig.run(SECOND, |_| {});
    rig.report_all(MoveOutcome::Reconnects);
    rig.round();
    assert_eq!((rig.view().moved, rig.view().reconnected), (1, 1));
}

#[test]
fn only_so_many_that_ended_are_remembered() {
    let rig = Rig::new("");
    for _ in 0..HISTORY + 5 {
        rig.drain("a").expect("it has no sessions");
    }
    let views = rig.context.operations.views(rig.now);
    assert_eq!((views.len(), views[0].id.as_str(), views[99].id.as_str()), (HISTORY, "drain-105", "drain-6"));
}

#[test]
fn one_that_has_ended_is_remembered_while_sessions_move_for_it() {
    let mut rig = Rig::new("");
    let id = rig.sessions("a", 1)[0];
    rig.drain("a").expect("nothing is in the way");
    rig.round();
    rig.context.operations.cancel(rig.now, "drain-1").expect("it runs");
    for _ in 0..=HISTORY {
        rig.drain("b").expect("it has no sessions");
    }
    // It vanishes without a word.
    rig.end(id);
    rig.run(SECOND * 2, |_| {});
    assert_eq!(rig.context.operations.tickets.under_way(), 0);
    rig.drain("b").expect("it has no sessions");
    assert_eq!(rig.states().len(), HISTORY);
}

#[test]
fn a_patch_changes_how_it_goes_on() {
    let mut rig = Rig::new("");
    rig.sessions("a", 5);
    rig.drain_as("a", Wish { concurrency: Some(1), ..NO_WISH }).expect("nothing is in the way");
    rig.run(SECOND, |_| {});
    assert_eq!(rig.moving().len(), 1);
    let wish = Wish { concurrency: Some(3), force: Some(true), ..NO_WISH };
    let snapshot = rig.context.current.get();
    let view =
        rig.context.operations.patch(rig.now, "drain-1", (wish, &snapshot.settings.drain)).expect("it runs");
    assert_eq!((view.terms.concurrency, view.terms.force, view.terms.rate), (Some(3), true, Some(200)));
    rig.run(SECOND, |_| {});
    assert_eq!(rig.moving().len(), 3);
    assert!(rig.context.operations.patch(rig.now, "drain-9", (wish, &snapshot.settings.drain)).is_err());
}
