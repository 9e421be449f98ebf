//! Evacuations with real session machines, in virtual time.

use std::cell::Cell;

use steadfast_protocol::session::{Move, MoveOutcome, Stay};

use super::super::kind::{OperationCause, OperationKind};
use super::super::operation::{Subject, Wish};
use super::super::tests::{BUSY, MOVED, NO_WISH, Rig, SECOND};
use super::super::{HISTORY, OperationRefusal, OperationSnapshot};
use super::*;
use crate::config::settings::BackendSettings;
use crate::config::{Overrides, parse};
use crate::tls::TlsSetup;
use crate::upstream::backend::Adjustment;

const BREAKS: &str = "break_before_make = true";

const CALLED_OFF: MoveOutcome = MoveOutcome::Stayed(Stay::Asked);

fn down(rig: &Rig, backend: &str) {
    rig.backend(backend).checked(rig.now, Err("refused".to_owned()), 1, 1);
}

fn well(rig: &Rig, backend: &str) {
    rig.backend(backend).checked(rig.now, Ok(()), 1, 1);
}

/// Room for so many sessions at `b`.
fn room(rig: &Rig, max: Option<usize>) {
    rig.backend("b").adjust(rig.now, Adjustment { weight: None, max_sessions: Some(max) });
}

/// Time in which all sessions are looked at; then who was called off has said so. How many move.
fn look(rig: &mut Rig) -> usize {
    let before = rig.moving();
    rig.run(SECOND, |_| {});
    let moving = rig.moving();
    before.iter().filter(|own| !moving.contains(own)).for_each(|own| rig.report(*own, CALLED_OFF));
    rig.round();
    rig.moving().len()
}

fn evacuations(rig: &Rig) -> Vec<OperationSnapshot> {
    let mut views = rig.context.operations.views(rig.now);
    views.retain(|view| view.kind == OperationKind::Evacuation);
    views
}

#[test]
fn the_sessions_of_a_backend_that_is_down_leave_it() {
    let mut rig = Rig::new("");
    rig.sessions("a", 300);
    rig.run(SECOND, |_| {});
    assert_eq!(rig.states(), [], "nothing is down");
    down(&rig, "a");
    rig.round();
    assert_eq!((rig.moving().len(), rig.context.operations.tickets.under_way()), (300, 0), "without a limit");
    let view = rig.view();
    assert_eq!(
        (view.id.as_str(), view.cause, view.backend.as_deref()),
        ("evacuation-1", OperationCause::Down, Some("a"))
    );
    assert_eq!(view.why, "its health checks fail: refused");
    rig.report_all(MOVED);
    rig.run(SECOND, |_| {});
    let view = rig.view();
    assert_eq!((view.state, view.total, view.moved), (OperationState::Done, 300, 300));
    assert_eq!((rig.backend("a").sessions(), rig.states().len()), (0, 1));
}

#[test]
fn no_more_are_sent_than_there_is_room_for() {
    let mut rig = Rig::new(BREAKS);
    rig.sessions("a", 3);
    room(&rig, Some(2));
    down(&rig, "a");
    assert_eq!((look(&mut rig), look(&mut rig)), (2, 2));
    room(&rig, None);
    assert_eq!(look(&mut rig), 3);
    room(&rig, Some(1));
    assert_eq!(look(&mut rig), 1, "room that somebody else has taken");
    down(&rig, "b");
    assert_eq!(look(&mut rig), 0);
    rig.round();
    assert_eq!(rig.view().state, OperationState::Waiting);
    assert_eq!(rig.view().message, "no other backend has room; the sessions stay until one has");
    well(&rig, "b");
    assert_eq!((look(&mut rig), rig.states()), (1, vec![OperationState::Running]));
}

#[test]
fn those_that_look_for_a_place_need_their_room() {
    for keys in [BREAKS, ""] {
        let mut rig = Rig::new(keys);
        rig.sessions("a", 3);
        let seeking = rig.sessions("b", 1)[0];
        assert!(rig.entry(seeking).core().machine.fail_over(rig.now));
        rig.entry(seeking).core().lease = None;
        room(&rig, Some(3));
        down(&rig, "a");
        rig.round();
        assert_eq!(rig.moving().len(), 2, "{keys}");
    }
}

#[test]
fn who_holds_its_next_place_is_not_called_back() {
    let mut rig = Rig::new("");
    rig.sessions("a", 3);
    room(&rig, Some(1));
    down(&rig, "a");
    rig.round();
    let first = rig.moving();
    let _next = rig.lease("b");
    assert_eq!((look(&mut rig), rig.moving()), (1, first), "it is its own place");
    room(&rig, Some(2));
    assert_eq!(look(&mut rig), 2);
    let _other = rig.lease("b");
    assert_eq!(look(&mut rig), 2);
}

#[test]
fn moves_of_operations_are_left_alone() {
    let mut rig = Rig::new(BREAKS);
    let id = rig.sessions("a", 2)[0];
    assert!(rig.entry(id).core().machine.relocate(rig.now, Move { ticket: 99, force_at: None }));
    down(&rig, "a");
    assert_eq!(look(&mut rig), 2);
    assert!(rig.moving().contains(&(id, 99)));
    down(&rig, "b");
    assert_eq!(look(&mut rig), 1);
    assert_eq!(rig.moving(), [(id, 99)]);
}

#[test]
fn nobody_leaves_while_there_is_no_room() {
    let mut rig = Rig::new("");
    rig.sessions("a", 1);
    down(&rig, "b");
    down(&rig, "a");
    rig.run(SECOND * 2, |_| {});
    assert_eq!(rig.states(), []);
    well(&rig, "b");
    rig.round();
    assert_eq!(rig.moving().len(), 1);
}

#[test]
fn who_is_still_there_when_it_is_well_again_stays() {
    let mut rig = Rig::new("");
    rig.sessions("a", 2);
    down(&rig, "a");
    rig.round();
    rig.report(rig.moving()[0], MOVED);
    well(&rig, "a");
    assert_eq!(rig.moving().len(), 1);
    rig.round();
    assert_eq!((rig.view().state, rig.moving().len()), (OperationState::Done, 0));
    assert_eq!(rig.view().message, "a is down no more; who has not left it stays");
    rig.run(SECOND, |_| {});
    assert_eq!((rig.states().len(), rig.backend("a").sessions()), (1, 1));
}

#[test]
fn whoever_wants_the_backend_otherwise_wins() {
    let orders: [fn(&Rig); 4] = [
        |rig| assert!(rig.drain("a").is_ok()),
        |rig| {
            let (pool, backend) = (rig.pool(), rig.backend("a"));
            let subject = Subject::failover(&pool, &backend, OperationCause::Operator, String::new());
            assert!(rig.begin(subject, NO_WISH).is_ok());
        },
        |rig| rig.pool().remove("a").expect("it is there"),
        |rig| {
            let (pool, backend) = (rig.pool(), rig.backend("a"));
            let subject = Subject::drain(&pool, &backend, OperationCause::Backend, String::new());
            assert!(rig.begin(subject, NO_WISH).is_ok());
        },
    ];
    for order in orders {
        let mut rig = Rig::new("");
        rig.sessions("a", 2);
        down(&rig, "a");
        rig.round();
        let moving = rig.moving();
        assert_eq!(moving.len(), 2);
        order(&rig);
        moving.iter().for_each(|own| rig.report(*own, CALLED_OFF));
        rig.run(SECOND, |_| {});
        let evacuations = evacuations(&rig);
        assert_eq!(evacuations.len(), 1, "none begins beside it");
        assert_eq!(evacuations[0].state, OperationState::Cancelled);
        assert!(evacuations[0].message.starts_with("it gives way: "), "{}", evacuations[0].message);
        assert_ne!(rig.view().kind, OperationKind::Evacuation);
        assert!(rig.moving().iter().all(|own| !moving.contains(own)), "its moves were called off");
    }
}

#[test]
fn it_begins_again_when_a_drain_has_ended_early() {
    let mut rig = Rig::new("");
    rig.sessions("a", 1);
    rig.drain("a").expect("nothing is in the way");
    down(&rig, "a");
    rig.run(SECOND, |_| {});
    assert_eq!(evacuations(&rig).len(), 0, "the drain empties it");
    let moving = rig.moving();
    rig.context.operations.cancel(rig.now, "drain-1").expect("it runs");
    moving.iter().for_each(|own| rig.report(*own, CALLED_OFF));
    rig.run(SECOND, |_| {});
    assert_eq!((evacuations(&rig).len(), rig.moving().len()), (1, 1));
    rig.context.operations.resume(rig.now, "drain-1").expect("an evacuation is not in the way");
    assert_eq!(evacuations(&rig)[0].state, OperationState::Cancelled);
}

#[test]
fn a_rebalance_runs_beside_it() {
    let mut rig = Rig::new("");
    rig.sessions("a", 1);
    down(&rig, "a");
    rig.round();
    let subject = Subject::rebalance(&rig.pool(), 10, OperationCause::Operator, String::new());
    rig.begin(subject, NO_WISH).expect("an evacuation is not in the way");
    assert_eq!(rig.states(), [OperationState::Running; 2]);
}

#[test]
fn who_has_cancelled_it_keeps_the_sessions_until_the_backend_is_down_anew() {
    let mut rig = Rig::new("");
    rig.sessions("a", 2);
    down(&rig, "a");
    rig.round();
    let moving = rig.moving();
    rig.context.operations.cancel(rig.now, "evacuation-1").expect("it runs");
    moving.iter().for_each(|own| rig.report(*own, CALLED_OFF));
    rig.run(SECOND * 3, |rig| assert!(rig.moving().is_empty()));
    assert_eq!(rig.states(), [OperationState::Cancelled]);
    rig.context.operations.resume(rig.now, "evacuation-1").expect("it was cancelled");
    rig.run(SECOND, |_| {});
    let moving = rig.moving();
    assert_eq!(moving.len(), 2);
    rig.context.operations.cancel(rig.now, "evacuation-1").expect("it runs");
    moving.iter().for_each(|own| rig.report(*own, CALLED_OFF));
    well(&rig, "a");
    rig.round();
    down(&rig, "a");
    rig.round();
    assert_eq!((rig.moving().len(), rig.view().id.as_str()), (2, "evacuation-2"));
}

#[test]
fn it_has_no_pace_to_change_and_can_be_forced() {
    let mut rig = Rig::new("");
    rig.sessions("a", 1);
    down(&rig, "a");
    rig.round();
    let snapshot = rig.context.current.get();
    let patch =
        |wish| rig.context.operations.patch(rig.now, "evacuation-1", (wish, &snapshot.settings.drain));
    for wish in [
        Wish { rate: Some(1), ..NO_WISH },
        Wish { concurrency: Some(1), ..NO_WISH },
        Wish { errors_max: Some(1), ..NO_WISH },
    ] {
        let Err(OperationRefusal::Conflict { message, .. }) = patch(wish) else { panic!("it is refused") };
        assert_eq!(message, "evacuation-1 has no pace to change; cancel it, or drain a");
    }
    assert!(patch(Wish { force: Some(true), ..NO_WISH }).is_ok_and(|view| view.terms.force));
}

/// Each try is shorter than the deadline, which counts from when there was room.
#[test]
fn who_never_falls_quiet_is_moved_by_force_when_there_was_room_for_so_long() {
    let mut rig = Rig::new(BREAKS);
    rig.sessions("a", 1);
    down(&rig, "a");
    rig.run(SECOND * 5, |rig| {
        rig.report_all(BUSY);
    });
    down(&rig, "b");
    rig.run(SECOND * 5, |rig| {
        rig.report_all(CALLED_OFF);
    });
    well(&rig, "b");
    let tries = Cell::new(0);
    let tried = |rig: &Rig| {
        let held = rig.holds_one();
        tries.set(tries.get() + rig.report_all(BUSY));
        held
    };
    rig.run(SECOND * 29, |rig| assert!(!tried(rig), "everything flows while it is waited for"));
    assert!((28..=60).contains(&tries.get()), "{} tries: it does not wait longer each time", tries.get());
    let forced = Cell::new(false);
    rig.run(SECOND * 2, |rig| forced.set(forced.get() || tried(rig)));
    assert!(forced.get());
}

#[test]
fn a_backend_that_comes_and_goes_pushes_no_other_operation_out() {
    let mut rig = Rig::new("");
    for _ in 0..HISTORY {
        rig.drain("a").expect("it has no sessions");
    }
    rig.context.operations.undrain(rig.now, &rig.backend("a"), "somebody wants it");
    rig.sessions("a", 1);
    for times in 1..=HISTORY + 5 {
        down(&rig, "a");
        rig.round();
        assert_eq!(rig.view().state, OperationState::Running, "{times}");
        well(&rig, "a");
        rig.report_all(CALLED_OFF);
        rig.round();
        assert_eq!(rig.view().state, OperationState::Done, "{times}");
    }
    assert_eq!((rig.states().len(), evacuations(&rig).len()), (HISTORY + 1, 1), "its last one is kept");
    assert!(rig.context.operations.view(rig.now, "drain-1").is_ok(), "the oldest is still there");
}

#[test]
fn only_so_many_that_ended_are_remembered() {
    let mut rig = Rig::new("");
    for _ in 0..HISTORY {
        rig.drain("a").expect("it has no sessions");
    }
    let like = rig.context.current.get().settings.pools[0].backends[0].clone();
    let ended = HISTORY + 5;
    for n in 0..ended {
        // Each time another backend.
        let name = format!("n{n}");
        let added = BackendSettings { name: name.clone(), ..like.clone() };
        rig.pool().add(&added).expect("a new name");
        rig.sessions(&name, 1);
        down(&rig, &name);
        rig.round();
        well(&rig, &name);
        rig.report_all(CALLED_OFF);
        rig.round();
    }
    // One more has ended since the last one began.
    assert_eq!(evacuations(&rig).len(), HISTORY + 1);
    assert!(rig.context.operations.view(rig.now, "drain-1").is_ok(), "they are counted apart");
}

#[test]
fn sessions_of_a_pool_that_is_gone_stay() {
    let mut rig = Rig::new("");
    rig.sessions("a", 1);
    down(&rig, "a");
    rig.round();
    let text = "[[listener]]\naddress = \"127.0.0.1:0\"\n[[pool]]\nname = \"other\"\n\
                [[pool.backend]]\nurl = \"ws://127.0.0.1:1\"";
    let settings = parse(text, &Overrides::default()).expect("a sound configuration");
    let current = &rig.context.current;
    current.replace(current.get().renewed(settings, TlsSetup::default(), &[([127, 0, 0, 1], 1).into()]));
    rig.round();
    assert_eq!((rig.view().state, rig.moving().len()), (OperationState::Cancelled, 0));
    assert_eq!(rig.view().message, "its pool is no longer in the configuration; its sessions stay");
    rig.run(SECOND, |_| {});
    assert_eq!(rig.states().len(), 1);
}
