//! Who gets a turn, and who waits.

use std::time::Duration;

use futures::FutureExt;
use proptest::prelude::*;
use tokio::time::timeout;

use super::*;
use DialFor::{Newcomer, Session};

/// A pool by its number.
fn pool(n: usize) -> Arc<str> {
    format!("pool-{n}").into()
}

/// One that stands in the line, or has its turn.
struct Dial<'a> {
    slot: DialSlot<'a>,
    comes: Arc<Notify>,
}

impl Dial<'_> {
    /// Whether its turn has come. Asked once.
    fn has_come(&self) -> bool {
        self.comes.notified().now_or_never().is_some()
    }
}

fn dial(slots: &DialSlots, of: usize, backend: usize, who: DialFor) -> Dial<'_> {
    let comes = Arc::new(Notify::new());
    if let Some(slot) = slots.free(&pool(of), backend, who) {
        comes.notify_one();
        return Dial { slot, comes };
    }
    Dial { slot: slots.join(&pool(of), backend, who, &comes), comes }
}

/// So many of one kind; those whose turn has come, and those that wait.
fn crowd(
    slots: &DialSlots,
    count: usize,
    (of, backend): (usize, usize),
    who: DialFor,
) -> (Vec<Dial<'_>>, Vec<Dial<'_>>) {
    (0..count).map(|_| dial(slots, of, backend, who)).partition(Dial::has_come)
}

#[test]
fn a_pool_gets_half_and_its_newcomers_leave_a_quarter_of_that_to_its_sessions() {
    let slots = DialSlots::new(16, 100);
    let (came, waits) = crowd(&slots, 50, (1, 1), Newcomer);
    assert_eq!((came.len(), waits.len()), (6, 44));
    let (sessions, _waiting) = crowd(&slots, 50, (1, 2), Session);
    assert_eq!(sessions.len(), 2, "half of all, with the newcomers");
    let (others, _) = crowd(&slots, 6, (2, 3), Newcomer);
    assert_eq!(others.len(), 6, "another pool has its own half");
    assert_eq!(crowd(&slots, 3, (2, 3), Session).0.len(), 2);
}

#[test]
fn newcomers_of_all_pools_leave_a_quarter_to_sessions() {
    let slots = DialSlots::new(16, 100);
    let crowds: Vec<_> = (0..8).map(|of| crowd(&slots, 50, (of, of), Newcomer)).collect();
    assert_eq!(crowds.iter().map(|(came, _)| came.len()).sum::<usize>(), 12);
    let (sessions, _) = crowd(&slots, 4, (9, 9), Session);
    assert_eq!(sessions.len(), 4);
}

#[test]
fn newcomers_to_one_backend_leave_a_quarter_of_its_dials_to_sessions() {
    let slots = DialSlots::new(1000, 8);
    let (came, _waits) = crowd(&slots, 50, (1, 1), Newcomer);
    assert_eq!(came.len(), 6);
    let (sessions, _waiting) = crowd(&slots, 5, (1, 1), Session);
    assert_eq!(sessions.len(), 2, "as many as there may be, with the newcomers");
    assert!(dial(&slots, 1, 2, Newcomer).has_come(), "another backend of the pool has its own");
}

#[test]
fn a_free_turn_goes_to_the_pool_with_the_fewest_and_there_to_a_session_first() {
    let slots = DialSlots::new(8, 100);
    let (mut first, _waiting) = crowd(&slots, 50, (1, 1), Session);
    let (second, _) = crowd(&slots, 3, (2, 2), Session);
    let (third, _) = crowd(&slots, 1, (3, 3), Session);
    assert_eq!((first.len(), second.len(), third.len()), (4, 3, 1));
    let newcomer = dial(&slots, 3, 3, Newcomer);
    let session = dial(&slots, 3, 3, Session);
    assert!(!newcomer.has_come() && !session.has_come());
    first.pop();
    assert!(session.has_come() && !newcomer.has_come());
    first.pop();
    assert!(!newcomer.has_come(), "both have two, and the other pool has waited longer for its last");
    first.pop();
    assert!(newcomer.has_come());
}

#[test]
fn with_one_turn_pools_take_turns_and_nothing_stands_still() {
    let slots = DialSlots::new(1, 1);
    let mut waiting: Vec<_> =
        (0..9).map(|n| (n < 6, dial(&slots, usize::from(n < 6), n, Newcomer))).collect();
    let mut order = Vec::new();
    while !waiting.is_empty() {
        let came: Vec<_> = (0..waiting.len()).filter(|n| waiting[*n].1.has_come()).collect();
        let [one] = came[..] else { panic!("{} have their turn", came.len()) };
        order.push(waiting.remove(one).0);
    }
    assert_eq!(order, [true, false, true, false, true, false, true, true, true]);
    assert!(slots.table.lock().pools.is_empty());
}

#[test]
fn who_waits_no_more_is_passed_over() {
    let slots = DialSlots::new(2, 100);
    let first = dial(&slots, 1, 1, Newcomer);
    let (gone, waits) = (dial(&slots, 1, 1, Newcomer), dial(&slots, 1, 1, Newcomer));
    assert!(first.has_come());
    drop(gone);
    assert!(!waits.has_come());
    drop(first);
    assert!(waits.has_come());
}

#[tokio::test]
async fn a_turn_is_waited_for() {
    let slots = DialSlots::new(1, 1);
    let pools = [pool(1), pool(2)];
    let first = slots.take(&pools[0], 1, Newcomer).await;
    let mut second = Box::pin(slots.take(&pools[1], 2, Session));
    assert!((&mut second).now_or_never().is_none());
    drop(first);
    timeout(Duration::from_secs(10), second).await.expect("it is free");
}

/// Whether a bound that a dial is subject to is reached.
type IsFull = Box<dyn Fn(&Ticket) -> bool>;

proptest! {
    /// In any order of events no bound is passed, a session's part is left to sessions, and no turn lies idle that
    /// somebody waits for and may have.
    #[test]
    fn bounds_hold_and_no_turn_lies_idle(
        (all, per_backend) in (1usize..20, 1usize..10),
        steps in prop::collection::vec((0usize..4, 0usize..2, any::<bool>(), any::<bool>(), any::<prop::sample::Index>()), 1..200),
    ) {
        let slots = DialSlots::new(all, per_backend);
        let (mut flying, mut waiting) = (Vec::new(), Vec::new());
        for (of, backend, session, comes, which) in steps {
            if comes {
                waiting.push(dial(&slots, of, 10 * of + backend, if session { Session } else { Newcomer }));
            } else if !flying.is_empty() {
                drop(flying.swap_remove(which.index(flying.len())));
            } else if !waiting.is_empty() {
                drop(waiting.swap_remove(which.index(waiting.len())));
            }
            let (came, waits): (Vec<_>, Vec<_>) = waiting.into_iter().partition(Dial::has_come);
            flying.extend(came);
            waiting = waits;
            let count = |fits: &dyn Fn(&Ticket) -> bool| flying.iter().filter(|dial| fits(&dial.slot.ticket)).count();
            let bounds = [(Bound::of(all), None, None)].into_iter()
                .chain((0..4).map(|of| (Bound::of((all / 2).max(1)), Some(pool(of)), None)))
                .chain((0..40).map(|id| (Bound::of(per_backend), None, Some(id))));
            let mut full: Vec<IsFull> = Vec::new();
            for (bound, name, id) in bounds {
                let within = move |ticket: &Ticket| {
                    name.as_ref().is_none_or(|name| *name == ticket.pool) && id.is_none_or(|id| id == ticket.backend)
                };
                let (every, newcomers) =
                    (count(&within), count(&|ticket| within(ticket) && ticket.who == Newcomer));
                prop_assert!(every <= bound.all && newcomers <= bound.newcomers);
                full.push(Box::new(move |ticket| {
                    within(ticket)
                        && (every == bound.all || ticket.who == Newcomer && newcomers == bound.newcomers)
                }));
            }
            for dial in &waiting {
                prop_assert!(full.iter().any(|is_full| is_full(&dial.slot.ticket)), "{:?} waits", dial.slot.ticket);
            }
        }
        drop((flying, waiting));
        let table = slots.table.lock();
        prop_assert!(table.pools.is_empty() && table.in_flight.all == 0 && table.in_flight.newcomers == 0);
        prop_assert_eq!(table.waiting, 0);
    }
}
