//! Greeting, login and subscriptions at the next backend.

use super::*;
use crate::session::tests::wire::{downstream, upstream};
use crate::session::{EndCause, Event, Failure, Status};

#[test]
fn the_first_backend_and_the_client_hear_each_other_as_they_are() {
    let mut rig = rig();
    let said_up = [upstream(&said("login")), upstream("no JSON"), upstream(&of("ask", 1))].concat();
    rig.client_sends(&said_up);
    assert!(rig.link().reader.bytes.starts_with(&said_up));
    let said_down = [downstream(&said("hello")), downstream("a push"), downstream(&of("answer", 1))].concat();
    rig.backend_sends(&said_down);
    assert_eq!(rig.client.bytes, said_down);
    assert_eq!(rig.session.status(), Status::Relaying);
}

#[test]
fn the_next_backend_is_told_the_login_when_it_has_greeted() {
    let mut rig = logged_in(rig());
    rig.backend_dies();
    rig.link_next();
    assert_eq!((rig.upstream(), rig.session.status()), (Vec::<String>::new(), Status::Greeting));
    rig.backend_says(&said("hello"));
    assert_eq!(rig.upstream(), [said("login"), "<ping>".to_owned()]);
    rig.client_says("more");
    rig.backend_pongs();
    assert_eq!(rig.upstream(), Vec::<String>::new(), "its answer is waited for");
    rig.backend_says(&said("ok"));
    assert_eq!(rig.upstream(), ["more", "<ping>"]);
    rig.backend_pongs();
    assert_eq!((rig.downstream(), rig.session.status()), (Vec::<String>::new(), Status::Settling));
    let ledger = rig.session.ledger();
    assert_eq!((ledger.upstream.repeated, ledger.upstream.replayed), (1, 0));
    assert_eq!((ledger.upstream.forwarded, ledger.upstream.acknowledged), (2, 2));
    assert_eq!((ledger.downstream.suppressed, ledger.downstream.forwarded), (2, 2), "greeting and answer");
    assert_eq!(ledger.upstream.in_doubt, 0);
}

#[test]
fn a_push_of_the_next_backend_passes_before_it_has_taken_the_client() {
    let mut rig = logged_in(rig());
    rig.backend_dies();
    rig.link_next();
    rig.backend_sends(&[downstream("news"), downstream(&said("hello")), downstream("more")].concat());
    assert_eq!(rig.downstream(), ["news", "more"]);
}

#[test]
fn a_login_that_was_not_answered_gets_its_answer_from_the_next_one() {
    let mut rig = rig();
    rig.backend_says(&said("hello"));
    rig.client_says(&said("login"));
    rig.client_says("more");
    rig.backend_pongs();
    rig.backend_dies();
    rig.downstream();
    rig.link_next();
    rig.backend_says(&said("hello"));
    assert_eq!(messages(rig.upstream()), [said("login")]);
    rig.backend_says(&said("ok"));
    assert_eq!(rig.downstream(), [said("ok")]);
    assert_eq!(rig.session.ledger().upstream.in_doubt, 2, "A may have taken both");
}

#[test]
fn a_client_that_logs_in_again_is_repeated_with_its_last_login() {
    let mut rig = logged_in(rig());
    let again = r#"{"t":"login","as":"another"}"#;
    rig.client_says(again);
    rig.backend_says(&said("ok"));
    rig.backend_pongs();
    rig.backend_dies();
    rig.link_next();
    rig.backend_says(&said("hello"));
    assert_eq!(messages(rig.upstream()), [again]);
}

#[test]
fn what_stands_is_said_again_in_its_order_and_without_waiting() {
    let mut rig = logged_in(rig());
    for id in [1, 2, 3] {
        rig.client_says(&of("sub", id));
    }
    rig.backend_pongs();
    rig.backend_says(&of("over", 2));
    rig.backend_dies();
    rig.upstream();
    taken(&mut rig);
    assert_eq!(messages(rig.upstream()), [said("login"), of("sub", 1), of("sub", 3)]);
}

#[test]
fn a_record_that_is_still_in_the_ring_is_said_once() {
    let mut rig = logged_in(rig());
    rig.client_says(&of("sub", 1));
    rig.client_says("told");
    rig.backend_dies();
    taken(&mut rig);
    assert_eq!(messages(rig.upstream()), [said("login"), of("sub", 1), "told".to_owned()]);
    let ledger = rig.session.ledger().upstream;
    assert_eq!((ledger.repeated, ledger.replayed), (1, 2));
}

#[test]
fn what_the_client_has_ended_is_not_said_again_whether_its_end_was_read_or_not() {
    for read in [true, false] {
        let mut rig = logged_in(rig());
        rig.client_says(&of("sub", 1));
        rig.client_says(&of("sub", 2));
        rig.backend_pongs();
        rig.client_says(&of("unsub", 1));
        if read {
            rig.backend_pongs();
        }
        rig.backend_dies();
        rig.upstream();
        taken(&mut rig);
        assert_eq!(messages(rig.upstream()), [said("login"), of("sub", 2)], "read: {read}");
    }
}

#[test]
fn an_end_that_the_client_says_while_there_is_no_backend_takes_its_record_along() {
    let mut rig = logged_in(rig());
    rig.client_says(&of("sub", 1));
    rig.backend_pongs();
    rig.backend_dies();
    rig.client_says(&of("unsub", 1));
    rig.upstream();
    taken(&mut rig);
    assert_eq!(messages(rig.upstream()), [said("login")]);
    assert_eq!(rig.session.unacknowledged(), crate::session::tests::wire::upstream(&said("login")).len());
}

#[test]
fn an_end_that_is_read_ends_no_later_record_of_its_name() {
    let mut rig = rig();
    rig.client_says(&of("sub", 1));
    rig.backend_pongs();
    rig.client_sends(&[upstream(&of("unsub", 1)), upstream(&of("ask", 7))].concat());
    rig.backend_says(&of("answer", 7));
    rig.client_sends(&[of("sub", 1), of("ask", 8), of("unsub", 1)].map(|said| upstream(&said)).concat());
    // The first end is read, and with it the ask that was answered.
    rig.backend_pongs();
    rig.backend_says(&of("answer", 8));
    assert_eq!(rig.session.open_asks(rig.now), Some(0), "an answer finds its ask");
}

#[test]
fn backends_that_die_in_the_prologue_change_nothing() {
    let mut rig = logged_in(rig());
    rig.client_says(&of("ask", 1));
    rig.backend_pongs();
    rig.backend_dies();
    rig.upstream();
    for greets in [false, true, true] {
        rig.link_next();
        if greets {
            rig.backend_says(&said("hello"));
            assert_eq!(messages(rig.upstream()), [said("login")]);
        }
        rig.backend_dies();
    }
    taken(&mut rig);
    let mut got = messages(rig.upstream());
    while got.len() < 2 {
        rig.backend_pongs();
        got.extend(messages(rig.upstream()));
    }
    assert_eq!(got, [said("login"), of("ask", 1)]);
    rig.backend_says(&of("answer", 1));
    assert_eq!(rig.downstream(), [of("answer", 1)]);
}

#[test]
fn a_backend_that_does_not_take_the_client_any_more_is_left_for_another() {
    for closes in [false, true] {
        let mut rig = logged_in(rig());
        rig.backend_dies();
        rig.link_next();
        rig.take_notes();
        rig.backend_says(&said("hello"));
        match closes {
            true => rig.backend_closes(4403, "expired"),
            false => rig.backend_says(&said("no")),
        }
        assert_eq!(rig.take_events(), [Event::Denied, Event::Failed(Failure::Denied)]);
        taken(&mut rig);
        assert_eq!(rig.downstream(), Vec::<String>::new(), "closes: {closes}");
        assert_eq!(messages(rig.upstream()), [said("login")]);
        rig.backend_pongs();
        assert_eq!(rig.session.status(), Status::Settling);
    }
}

#[test]
fn a_client_that_two_do_not_take_any_more_begins_anew() {
    let mut rig = logged_in(rig());
    rig.backend_dies();
    for _ in 0..2 {
        rig.link_next();
        rig.backend_says(&said("hello"));
        rig.backend_says(&said("no"));
    }
    assert_eq!(rig.downstream(), ["<close 1012 the login is not taken any more; connect again>"]);
    rig.client_closes(1012, "");
    let end = rig.session.ended().expect("the end");
    assert_eq!(end.cause, EndCause::Reconnect);
}

#[test]
fn a_refusal_that_the_client_has_not_had_is_for_the_client() {
    let mut rig = rig();
    rig.client_says(&said("login"));
    rig.backend_says(&said("no"));
    assert_eq!(rig.downstream(), [said("no")]);
    rig.backend_pongs();
    rig.backend_dies();
    rig.upstream();
    rig.link_next();
    rig.backend_says(&said("hello"));
    assert_eq!(rig.upstream(), Vec::<String>::new(), "nothing is kept of it");
}

#[test]
fn a_close_with_a_code_of_failures_is_one_in_the_prologue_too() {
    let mut rig = logged_in(rig());
    rig.backend_dies();
    rig.link_next();
    rig.take_notes();
    rig.backend_closes(1012, "");
    assert_eq!(
        rig.take_events()[0],
        Event::Failed(Failure::Close(crate::websocket::close_code::CloseCode(1012)))
    );
}

#[test]
fn a_backend_that_goes_no_step_on_is_left() {
    let mut rig = logged_in(rig());
    rig.backend_dies();
    rig.link_next();
    rig.take_notes();
    rig.wait(secs(9));
    rig.backend_says(&said("hello"));
    rig.wait(secs(9));
    assert_eq!(rig.session.status(), Status::Greeting);
    rig.wait(secs(2));
    assert_eq!(rig.take_events()[0], Event::Failed(Failure::Prologue));
}

#[test]
fn a_login_that_replaces_another_is_heard_where_that_was() {
    let mut rig = logged_in(rig());
    rig.client_says(&of("sub", 1));
    rig.backend_pongs();
    let again = r#"{"t":"login","as":"another"}"#;
    rig.client_says(again);
    rig.backend_says(&said("ok"));
    for read in [false, true] {
        rig.backend_dies();
        rig.upstream();
        taken(&mut rig);
        assert_eq!(messages(rig.upstream()), [again.to_owned(), of("sub", 1)], "read: {read}");
        pongs(&mut rig);
        rig.wait(secs(61));
    }
}

#[test]
fn the_same_in_another_process() {
    let mut rig = logged_in(rig());
    rig.client_says(&of("sub", 1));
    rig.client_says(&of("ask", 7));
    rig.backend_pongs();
    rig.client_closes(1000, "");
    rig.restore();
    rig.upstream();
    taken(&mut rig);
    let mut got = messages(rig.upstream());
    got.retain(|message| !message.starts_with("<close"));
    assert_eq!(got, [said("login"), of("sub", 1), of("ask", 7)]);
}
