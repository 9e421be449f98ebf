//! Asks of either side, and their answers.

use super::*;
use crate::session::tests::wire::{CONTINUATION, TEXT, masked, plain};

#[test]
fn an_ask_is_said_again_until_it_is_answered_also_when_a_pong_has_come() {
    let mut rig = logged_in(rig());
    rig.client_says(&of("ask", 1));
    rig.client_says("told");
    rig.client_says(&of("ask", 2));
    pongs(&mut rig);
    rig.backend_says(&of("answer", 1));
    assert_eq!(rig.session.unacknowledged(), 0, "the ring has let go of all");
    rig.backend_dies();
    rig.upstream();
    rig.downstream();
    taken(&mut rig);
    assert_eq!(messages(rig.upstream()), [said("login"), of("ask", 2)]);
    rig.backend_says(&of("answer", 2));
    assert_eq!(rig.downstream(), [of("answer", 2)]);
    let ledger = rig.session.ledger().upstream;
    assert_eq!((ledger.in_doubt, ledger.repeated, ledger.replayed), (1, 2, 0));
}

#[test]
fn an_ask_that_was_answered_is_not_said_again_also_when_no_pong_has_come() {
    let mut rig = logged_in(rig());
    rig.client_says(&of("ask", 1));
    rig.client_says("told");
    rig.backend_says(&of("answer", 1));
    rig.backend_dies();
    rig.upstream();
    rig.downstream();
    taken(&mut rig);
    assert_eq!(messages(rig.upstream()), [said("login"), "told".to_owned()]);
}

#[test]
fn what_waits_for_no_answer_is_done_by_its_pong() {
    let mut rig = logged_in(rig());
    rig.client_says("told");
    rig.backend_pongs();
    rig.client_says("told too");
    rig.backend_dies();
    rig.upstream();
    taken(&mut rig);
    assert_eq!(messages(rig.upstream()), [said("login"), "told too".to_owned()]);
}

#[test]
fn ids_may_be_used_again() {
    let mut rig = logged_in(rig());
    for round in 0..3 {
        rig.client_says(&of("ask", 1));
        rig.backend_pongs();
        rig.backend_dies();
        rig.upstream();
        rig.downstream();
        taken(&mut rig);
        assert_eq!(messages(rig.upstream()), [said("login"), of("ask", 1)], "round {round}");
        pongs(&mut rig);
        rig.backend_says(&of("answer", 1));
        rig.wait(secs(61));
    }
    assert_eq!(rig.session.open_asks(rig.now), Some(0));
}

#[test]
fn a_reply_to_a_backend_that_is_gone_does_not_reach_the_next() {
    let mut rig = logged_in(rig());
    rig.backend_says(&of("asks", 1));
    rig.backend_dies();
    taken(&mut rig);
    rig.upstream();
    rig.client_says(&of("reply", 1));
    assert_eq!(rig.upstream(), Vec::<String>::new());
    rig.backend_says(&of("asks", 1));
    rig.client_says(&of("reply", 1));
    assert_eq!(messages(rig.upstream()), [of("reply", 1)]);
    assert_eq!(rig.session.ledger().upstream.suppressed, 1);
}

#[test]
fn neither_does_one_that_was_on_its_way() {
    let mut rig = logged_in(rig());
    rig.backend_says(&of("asks", 1));
    rig.client_says(&of("reply", 1));
    rig.client_says("told");
    rig.backend_dies();
    rig.upstream();
    taken(&mut rig);
    assert_eq!(messages(rig.upstream()), [said("login"), "told".to_owned()]);
}

#[test]
fn one_that_is_said_while_there_is_no_backend_goes_nowhere() {
    let mut rig = logged_in(rig());
    rig.backend_says(&of("asks", 1));
    rig.backend_dies();
    rig.client_says(&of("reply", 1));
    rig.client_says("told");
    rig.upstream();
    taken(&mut rig);
    assert_eq!(messages(rig.upstream()), [said("login"), "told".to_owned()]);
    let ledger = rig.session.ledger().upstream;
    assert_eq!((ledger.forwarded, ledger.suppressed), (2, 1));
}

#[test]
fn messages_in_fragments_are_known_as_well() {
    let mut rig = logged_in(rig());
    let ask = of("ask", 5);
    let (head, tail) = ask.as_bytes().split_at(7);
    rig.client_sends(&masked(false, TEXT, head));
    rig.client_sends(&masked(true, CONTINUATION, tail));
    rig.backend_pongs();
    rig.backend_dies();
    rig.upstream();
    taken(&mut rig);
    assert_eq!(messages(rig.upstream()), [said("login"), ask]);
    let answer = of("answer", 5);
    let (head, tail) = answer.as_bytes().split_at(9);
    rig.backend_sends(&plain(false, TEXT, head));
    assert_eq!(rig.downstream(), Vec::<String>::new());
    rig.backend_sends(&plain(true, CONTINUATION, tail));
    assert_eq!((rig.downstream(), rig.session.open_asks(rig.now)), (vec![answer], Some(0)));
}

#[test]
fn half_an_answer_is_not_given() {
    let mut rig = logged_in(rig());
    rig.client_says(&of("ask", 5));
    rig.backend_pongs();
    let answer = of("answer", 5);
    rig.backend_sends(&plain(false, TEXT, &answer.as_bytes()[..9]));
    rig.backend_dies();
    rig.upstream();
    taken(&mut rig);
    assert_eq!(messages(rig.upstream()), [said("login"), of("ask", 5)]);
    rig.backend_says(&answer);
    assert_eq!(rig.downstream(), [answer]);
}

#[test]
fn bytes_in_any_portions_come_to_the_same() {
    let up: Vec<u8> =
        [1, 2, 3].iter().flat_map(|id| crate::session::tests::wire::upstream(&of("ask", *id))).collect();
    let down: Vec<u8> =
        [1, 3].iter().flat_map(|id| crate::session::tests::wire::downstream(&of("answer", *id))).collect();
    for portion in 1..40 {
        let mut rig = logged_in(rig());
        up.chunks(portion).for_each(|bytes| rig.client_sends(bytes));
        down.chunks(portion).for_each(|bytes| rig.backend_sends(bytes));
        assert_eq!(rig.downstream(), [of("answer", 1), of("answer", 3)], "portions of {portion}");
        rig.backend_pongs();
        rig.backend_dies();
        rig.upstream();
        taken(&mut rig);
        assert_eq!(messages(rig.upstream()), [said("login"), of("ask", 2)], "portions of {portion}");
    }
}

#[test]
fn large_ones_are_read_straight_and_known_by_their_head() {
    let mut rig = logged_in(rig());
    let filler = "x".repeat(100_000);
    let ask = format!(r#"{{"t":"ask","id":9,"filler":"{filler}"}}"#);
    rig.client_says(&ask);
    rig.backend_pongs();
    rig.backend_dies();
    rig.upstream();
    taken(&mut rig);
    assert_eq!(messages(rig.upstream()), [said("login"), ask]);
    let answer = format!(r#"{{"t":"answer","id":9,"filler":"{filler}"}}"#);
    rig.backend_says(&answer);
    assert_eq!((rig.downstream(), rig.session.open_asks(rig.now)), (vec![answer], Some(0)));
}
