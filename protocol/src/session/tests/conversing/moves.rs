//! Planned moves.

use super::*;
use crate::session::{Event, Move, Status};

fn order() -> Move {
    Move { ticket: 1, force_at: None }
}

#[test]
fn a_move_waits_for_open_asks_however_quiet_it_is() {
    let mut rig = logged_in(rig());
    rig.client_says(&of("ask", 1));
    rig.backend_pongs();
    assert!(rig.session.relocate(rig.now, order()));
    rig.pump();
    rig.backend_pongs();
    rig.wait(secs(10));
    assert_eq!(rig.session.status(), Status::Quiescing);
    rig.backend_says(&of("answer", 1));
    rig.upstream();
    rig.downstream();
    rig.wait(secs(1));
    assert_eq!(rig.successor_dials, [1], "the next one is dialled when the session is ready, and no sooner");
    assert!(rig.link_successor());
    rig.successor_says(&said("hello"));
    rig.backend_closes(1001, "");
    assert_eq!(rig.session.status(), Status::Greeting);
    assert_eq!(messages(rig.upstream()), [said("login")], "its greeting had come before its turn");
    rig.client_says(&of("ask", 2));
    rig.backend_says(&said("ok"));
    assert_eq!(messages(rig.upstream()), [of("ask", 2)]);
    assert_eq!(rig.downstream(), Vec::<String>::new());
    assert_eq!(rig.session.ledger().upstream.in_doubt, 0);
}

#[test]
fn a_backend_that_says_it_goes_away_is_not_passed_on() {
    let mut rig = logged_in(rig());
    rig.take_notes();
    rig.backend_says(&said("bye"));
    assert_eq!(rig.take_events(), [Event::Parting]);
    assert_eq!(rig.downstream(), Vec::<String>::new());
}
