//! Drains that nobody has ordered: of backends that were taken away, and of those that ask for it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use steadfast_protocol::time::Time;

use super::kind::OperationCause;
use super::operation::{OperationTerms, Subject, Wish};
use super::{OperationState, Operations};
use crate::config::settings::DrainSettings;
use crate::upstream::backend::{AdminState, Backend};
use crate::upstream::pool::Pool;

/// What was answered already, by the backends' ids.
#[derive(Debug, Default)]
pub(super) struct Triggers {
    /// Taken away, and drained for that.
    removed: HashSet<usize>,
    /// Those that ask.
    asking: HashMap<usize, TriggeredDrain>,
}

/// What a backend has got that asks for a drain.
#[derive(Debug, Clone)]
struct TriggeredDrain {
    /// The operation's id.
    drain: String,
    /// What an operator had made of the backend before.
    before: AdminState,
}

impl Triggers {
    /// Looks at each backend of these pools.
    pub(super) fn look(
        &mut self,
        operations: &Operations,
        pools: &[&Arc<Pool>],
        drain: &DrainSettings,
        now: Time,
    ) {
        let (mut removed, mut asking) = (HashSet::new(), HashMap::new());
        for pool in pools {
            for backend in pool.removed() {
                if self.removed.contains(&backend.id) || clear(operations, pool, &backend, drain, now) {
                    removed.insert(backend.id);
                }
            }
            pool.grant_leaves(now);
            for backend in &pool.snapshot().backends {
                let asks = backend.asks_for_drain(now);
                if let Some(asked) = self.handle(operations, (pool, backend), asks, drain, now) {
                    asking.insert(backend.id, asked);
                }
            }
        }
        (self.removed, self.asking) = (removed, asking);
    }

    /// The drain that a backend has asked for, as long as it asks.
    fn handle(
        &self,
        operations: &Operations,
        (pool, backend): (&Arc<Pool>, &Arc<Backend>),
        asks: Option<String>,
        drain: &DrainSettings,
        now: Time,
    ) -> Option<TriggeredDrain> {
        match (asks, self.asking.get(&backend.id)) {
            // Once: what somebody has made of that drain meanwhile holds. What was inferred it may say later.
            (Some(_), Some(asked)) => {
                if backend.admin_state() == AdminState::Leaving {
                    backend.set_admin_state(now, backend.asked_state(), "it asks for it");
                }
                Some(asked.clone())
            }
            (Some(why), None) => {
                let before = backend.admin_state();
                let subject = Subject::drain(pool, backend, OperationCause::Backend, why);
                let begun = operations.begin(now, subject, unhurried(drain));
                begun.ok().map(|view| TriggeredDrain { drain: view.id, before })
            }
            (None, Some(TriggeredDrain { drain, before })) => {
                if operations.holds(now, drain, backend) {
                    operations.end_drain(now, backend, *before, "the backend asks for it no more");
                }
                None
            }
            (None, None) => None,
        }
    }
}

/// Empties a backend that was taken away, however long that takes. False: another operation does so at
/// present.
fn clear(
    operations: &Operations,
    pool: &Arc<Pool>,
    backend: &Arc<Backend>,
    drain: &DrainSettings,
    now: Time,
) -> bool {
    let why = backend.view(now).why;
    operations
        .begin(now, Subject::drain(pool, backend, OperationCause::Removed, why), unhurried(drain))
        .is_ok()
}

/// Nobody would begin it again when its time were over.
fn unhurried(drain: &DrainSettings) -> OperationTerms {
    OperationTerms { time_limit: None, ..OperationTerms::new(drain, Wish::default()) }
}

impl Operations {
    /// This drain has made the backend what it is: it runs, or has emptied it (so long ago, perhaps, that it
    /// is forgotten), and nobody has drained it again since.
    fn holds(&self, now: Time, id: &str, backend: &Backend) -> bool {
        let book = self.book();
        let drains =
            book.operations.iter().filter(|own| own.backend() == Some(backend.id) && !own.is_evacuation());
        let last = drains.last().map(|own| own.view(now));
        matches!(backend.admin_state(), AdminState::Draining | AdminState::Leaving)
            && last.is_none_or(|last| last.id == id && last.state != OperationState::Cancelled)
    }
}

#[cfg(test)]
mod tests {
    use steadfast_protocol::session::MoveOutcome;
    use steadfast_protocol::websocket::close_code::CloseCode;

    use super::super::HISTORY;
    use super::super::kind::OperationKind;
    use super::super::tests::{Rig, SECOND};
    use super::*;

    /// What the triggers make of it that backend `a` asks, or does not.
    fn handle(triggers: &mut Triggers, rig: &Rig, asks: bool) {
        let (pool, backend) = (rig.pool(), rig.backend("a"));
        let (drain, asks) =
            (&rig.context.current.get().settings.drain, asks.then(|| "it says so".to_owned()));
        let begun = triggers.handle(&rig.context.operations, (&pool, &backend), asks, drain, rig.now);
        triggers.asking = begun.map(|asked| (backend.id, asked)).into_iter().collect();
    }

    #[test]
    fn a_backend_that_asks_is_drained_until_it_asks_no_more() {
        let (mut triggers, rig) = (Triggers::default(), Rig::new(""));
        rig.sessions("a", 1);
        for _ in 0..3 {
            handle(&mut triggers, &rig, true);
            assert_eq!(
                (rig.states(), rig.backend("a").admin_state()),
                (vec![OperationState::Running], AdminState::Draining)
            );
        }
        handle(&mut triggers, &rig, false);
        assert_eq!(
            (rig.states(), rig.backend("a").admin_state()),
            (vec![OperationState::Cancelled], AdminState::Ready)
        );
        handle(&mut triggers, &rig, false);
        handle(&mut triggers, &rig, true);
        assert_eq!(rig.states(), [OperationState::Running, OperationState::Cancelled]);
    }

    #[test]
    fn what_an_operator_has_made_of_it_holds() {
        let (mut triggers, rig) = (Triggers::default(), Rig::new(""));
        rig.sessions("a", 1);
        handle(&mut triggers, &rig, true);
        rig.context.operations.undrain(rig.now, &rig.backend("a"), "the API was asked for it");
        handle(&mut triggers, &rig, true);
        assert_eq!(
            (rig.states(), rig.backend("a").admin_state()),
            (vec![OperationState::Cancelled], AdminState::Ready)
        );
        rig.drain("a").expect("nothing is in the way");
        handle(&mut triggers, &rig, false);
        assert_eq!(rig.backend("a").admin_state(), AdminState::Draining, "that drain is somebody else's");
    }

    #[test]
    fn one_that_was_emptied_gets_sessions_again() {
        let (mut triggers, rig) = (Triggers::default(), Rig::new(""));
        handle(&mut triggers, &rig, true);
        assert_eq!(
            (rig.states(), rig.backend("a").admin_state()),
            (vec![OperationState::Done], AdminState::Draining)
        );
        handle(&mut triggers, &rig, false);
        assert_eq!(rig.backend("a").admin_state(), AdminState::Ready);
    }

    #[test]
    fn who_asks_is_drained_without_a_time_limit() {
        let (mut triggers, rig) = (Triggers::default(), Rig::new(""));
        rig.sessions("a", 1);
        handle(&mut triggers, &rig, true);
        let drain = rig.context.operations.view(rig.now, "drain-1").expect("it has begun");
        assert_eq!(drain.terms.time_limit, None);
    }

    #[test]
    fn what_an_operator_has_taken_out_stays_out() {
        let (mut triggers, rig) = (Triggers::default(), Rig::new(""));
        rig.drain("a").expect("it has no sessions");
        handle(&mut triggers, &rig, true);
        handle(&mut triggers, &rig, false);
        assert_eq!(rig.backend("a").admin_state(), AdminState::Draining);
        let operations = &rig.context.operations;
        operations.set_enabled(rig.now, &rig.backend("a"), false).expect("no operation empties it");
        handle(&mut triggers, &rig, true);
        assert_eq!(rig.backend("a").admin_state(), AdminState::Draining);
        handle(&mut triggers, &rig, false);
        assert_eq!(rig.backend("a").admin_state(), AdminState::Disabled);
    }

    #[test]
    fn what_was_inferred_leaves_it_as_a_last_resort_until_it_says_so_itself() {
        let (mut triggers, rig) = (Triggers::default(), Rig::new(""));
        let backend = rig.backend("a");
        backend.closed_with(rig.now, rig.now, CloseCode::SERVICE_RESTART);
        rig.pool().grant_leaves(rig.now);
        handle(&mut triggers, &rig, true);
        assert_eq!(backend.admin_state(), AdminState::Leaving);
        backend.asked_in_upgrade(rig.now);
        handle(&mut triggers, &rig, true);
        assert_eq!(backend.admin_state(), AdminState::Draining);
        handle(&mut triggers, &rig, false);
        assert_eq!(backend.admin_state(), AdminState::Ready);
        rig.drain("a").expect("it has no sessions");
        handle(&mut triggers, &rig, true);
        assert_eq!(backend.admin_state(), AdminState::Draining, "an operator's word is stronger");
    }

    #[test]
    fn an_evacuation_after_its_drain_is_nobodys_word() {
        let (mut triggers, mut rig) = (Triggers::default(), Rig::new(""));
        rig.sessions("a", 12);
        handle(&mut triggers, &rig, true);
        rig.run(SECOND, |_| {});
        rig.moving().into_iter().skip(1).for_each(|own| rig.report(own, MoveOutcome::Closed));
        rig.round();
        rig.backend("a").checked(rig.now, Err("refused".to_owned()), 1, 1);
        rig.run(SECOND, |_| {});
        assert_eq!(rig.states(), [OperationState::Running, OperationState::Stopped]);
        assert_eq!(rig.view().kind, OperationKind::Evacuation);
        handle(&mut triggers, &rig, true);
        handle(&mut triggers, &rig, false);
        assert_eq!(rig.backend("a").admin_state(), AdminState::Ready);
    }

    #[test]
    fn one_whose_drain_is_long_forgotten_gets_sessions_again() {
        let (mut triggers, rig) = (Triggers::default(), Rig::new(""));
        handle(&mut triggers, &rig, true);
        for _ in 0..=HISTORY {
            rig.drain("b").expect("it has no sessions");
        }
        assert!(rig.context.operations.view(rig.now, "drain-1").is_err());
        handle(&mut triggers, &rig, true);
        handle(&mut triggers, &rig, false);
        assert_eq!(rig.backend("a").admin_state(), AdminState::Ready);
    }
}
