//! What is too much, too old, or nothing that can be repeated.

use super::*;
use crate::session::{Event, Failure, Status};

#[test]
fn too_much_that_is_kept_makes_the_client_begin_anew() {
    let mut rig = logged_in(rig_with(|config| config.profile_records = 2000));
    rig.take_notes();
    let mut id = 0;
    while rig.take_events().is_empty() {
        id += 1;
        assert!(id < 100, "there is a bound");
        rig.client_says(&format!(r#"{{"t":"sub","id":{id},"filler":"{}"}}"#, "x".repeat(100)));
        rig.backend_pongs();
    }
    assert!(rig.session.begins_anew());
    rig.upstream();
    rig.client_says("it goes on");
    assert_eq!(messages(rig.upstream()), ["it goes on"]);
    rig.backend_dies();
    assert_eq!(rig.session.status(), Status::Orphaned);
    assert_eq!(rig.take_events(), [Event::Orphaned(Failure::Eof)]);
}

#[test]
fn what_cannot_be_repeated_is_not_repeated_by_half() {
    for linked in [false, true] {
        let mut rig = logged_in(rig_with(|config| config.profile_records = 2000));
        rig.client_says(&format!(r#"{{"t":"sub","id":1,"filler":"{}"}}"#, "x".repeat(1500)));
        pongs(&mut rig);
        rig.backend_dies();
        rig.take_notes();
        if linked {
            rig.link_next();
            rig.backend_says(&said("hello"));
            pongs(&mut rig);
        }
        // In the ring it is bounded by the ring; it is too much once it has been acknowledged.
        rig.client_says(&format!(r#"{{"t":"sub","id":2,"filler":"{}"}}"#, "x".repeat(1500)));
        if !linked {
            taken(&mut rig);
        } else {
            rig.backend_says(&said("ok"));
        }
        pongs(&mut rig);
        assert!(rig.session.begins_anew(), "linked: {linked}");
        rig.upstream();
        rig.backend_dies();
        assert_eq!(rig.session.status(), Status::Orphaned);
    }
}

#[test]
fn an_ask_that_nobody_has_answered_for_long_is_in_doubt_and_not_said_again() {
    let mut rig = logged_in(rig_with(|config| {
        (config.reply_timeout, config.stall_timeout) = (secs(30), secs(5));
    }));
    rig.client_says(&of("ask", 1));
    rig.backend_pongs();
    rig.wait(secs(29));
    rig.client_says(&of("ask", 2));
    rig.backend_pongs();
    rig.wait(secs(2));
    rig.backend_dies();
    rig.upstream();
    taken(&mut rig);
    assert_eq!(messages(rig.upstream()), [said("login"), of("ask", 2)]);
    assert_eq!(rig.session.ledger().upstream.in_doubt, 2);
}

#[test]
fn a_backend_that_may_stall_for_longer_may_answer_as_late() {
    let mut rig = logged_in(rig_with(|config| {
        (config.reply_timeout, config.stall_timeout) = (secs(30), secs(60));
    }));
    rig.client_says(&of("ask", 1));
    rig.backend_pongs();
    rig.wait(secs(40));
    rig.backend_dies();
    rig.upstream();
    taken(&mut rig);
    assert_eq!(messages(rig.upstream()), [said("login"), of("ask", 1)]);
}

#[test]
fn asks_that_are_never_answered_do_not_fill_the_ring_nor_the_memory() {
    let mut rig = logged_in(rig_with(|config| config.ring_limit = 10_000));
    for id in 0..1000 {
        rig.client_says(&of("ask", id));
        rig.backend_pongs();
    }
    assert!(rig.session.buffered() <= 10_000 + 200, "{}", rig.session.buffered());
    let (open, in_doubt) =
        (rig.session.open_asks(rig.now).unwrap_or(0), rig.session.ledger().upstream.in_doubt);
    assert_eq!(open + in_doubt, 1000);
    assert!(open > 100);
}

#[test]
fn messages_that_are_remembered_one_by_one_have_a_bound_until_a_pong_comes() {
    let mut rig = logged_in(rig());
    for _ in 0..20_000 {
        rig.client_says(&said("tock"));
    }
    assert!(rig.session.ring_is_full() && rig.client_pushed_back() > 0, "it is not read any more");
    let held = rig.session.unacknowledged();
    rig.client_says(&said("tock"));
    assert_eq!(rig.session.unacknowledged(), held);
    pongs(&mut rig);
    assert_eq!((rig.client_pushed_back(), rig.session.unacknowledged()), (0, 0));
}

#[test]
fn messages_are_held_for_ack_hold_after_their_pong() {
    let mut rig = logged_in(rig_with(|config| config.ack_hold = secs(3)));
    rig.wait(secs(4));
    rig.client_says("held");
    rig.backend_pongs();
    rig.backend_dies();
    rig.upstream();
    taken(&mut rig);
    assert_eq!(messages(rig.upstream()), [said("login"), "held".to_owned()]);
    pongs(&mut rig);
    rig.wait(secs(4));
    rig.backend_dies();
    taken(&mut rig);
    assert_eq!(messages(rig.upstream()), [said("login")]);
}

#[test]
fn a_client_without_a_profile_is_nobodys_business() {
    let mut rig = Rig::new();
    rig.client_says(&of("ask", 1));
    rig.backend_pongs();
    rig.backend_dies();
    rig.upstream();
    rig.link_next();
    assert_eq!(rig.upstream(), Vec::<String>::new(), "a pong is all that counts");
}
