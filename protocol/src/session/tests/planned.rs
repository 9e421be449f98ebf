//! What tests of planned moves begin with: the order, and the session that has got it.

use super::rig::Rig;
use crate::session::{Event, Move, MoveOutcome, Status};

/// What a backend hears that is left by plan.
pub(super) const GOING_AWAY: &str = "<close 1001>";

/// Leave at a quiet moment, or not at all.
pub(super) const ORDER: Move = Move { ticket: 7, force_at: None };

/// How the move of [`ORDER`] has ended.
pub(super) fn ended(outcome: MoveOutcome) -> Event {
    Event::MoveEnded { ticket: ORDER.ticket, outcome }
}

/// The session migrates, with nothing under way. Its backend has proven that it lives.
pub(super) fn quiescing(mut rig: Rig) -> Rig {
    assert!(rig.session.relocate(rig.now, ORDER));
    rig.pump();
    rig.backend_pongs();
    assert_eq!((rig.upstream(), rig.session.status()), (vec!["<ping>".to_owned()], Status::Quiescing));
    rig
}

/// The session is to leave, its backend has proven that it lives, and the next one is connected.
pub(super) fn sets_out(rig: &mut Rig) {
    assert!(rig.session.relocate(rig.now, ORDER));
    rig.pump();
    assert!(rig.link_successor());
    rig.backend_pongs();
}

pub(super) fn outcomes(rig: &mut Rig) -> Vec<Event> {
    let mut notes = rig.take_events();
    notes.retain(|note| matches!(note, Event::MoveEnded { .. }));
    notes
}

/// How moves have ended since the last call, whoever ordered them.
pub(super) fn move_outcomes(rig: &mut Rig) -> Vec<MoveOutcome> {
    let outcome = |note| if let Event::MoveEnded { outcome, .. } = note { Some(outcome) } else { None };
    outcomes(rig).into_iter().filter_map(outcome).collect()
}
