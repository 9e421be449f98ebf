//! A planned move that makes before it breaks: the next backend is connected and held while the present one
//! still serves.

use super::planned::{GOING_AWAY, ORDER, ended, outcomes};
use super::rig::{Drop, NOTHING, Rig, ms, secs};
use super::wire::{self, CLOSE, CONTINUATION, PING, TEXT, close_payload, masked, plain};
use crate::session::{Command, Config, EndCause, Event, Failure, Move, MoveOutcome, Status, Stay};
use crate::websocket::close_code::CloseCode;

/// The driver was told to dial the next backend.
fn dialing_with(change: impl FnOnce(&mut Config)) -> Rig {
    let mut rig = Rig::with(change);
    assert!(rig.session.relocate(rig.now, ORDER));
    rig.pump();
    assert_eq!(rig.successor_dials, [ORDER.ticket]);
    assert_eq!(rig.upstream(), ["<ping>"]);
    rig
}

fn dialing() -> Rig {
    dialing_with(|_| {})
}

/// The next backend is connected, and the present one has shown that it lives.
fn waiting_with(change: impl FnOnce(&mut Config)) -> Rig {
    let mut rig = dialing_with(change);
    assert!(rig.link_successor());
    rig.backend_pongs();
    rig
}

fn waiting() -> Rig {
    waiting_with(|_| {})
}

/// The present one was told to go.
fn draining() -> Rig {
    let mut rig = waiting();
    rig.wait(ms(500));
    assert_eq!((rig.upstream(), rig.session.status()), (vec![GOING_AWAY.to_owned()], Status::Draining));
    rig
}

/// A session that is never quiet for half a second, and whose messages are held therefore.
fn holding() -> Rig {
    let mut rig = waiting();
    chatter(&mut rig, secs(30));
    assert_eq!(rig.session.status(), Status::Holding);
    rig.upstream();
    rig.downstream();
    rig
}

/// Questions and answers for so long.
fn chatter(rig: &mut Rig, time: std::time::Duration) {
    let end = rig.now + time;
    while rig.now < end {
        rig.client_says("question");
        if !rig.link().reader.pings.is_empty() {
            rig.backend_pongs();
            rig.backend_says("answer");
        }
        rig.wait(ms(250).min(end.since(rig.now)));
    }
}

/// The session is where it was, and works.
fn assert_stays(rig: &mut Rig, why: Stay) {
    assert_eq!(outcomes(rig), [ended(MoveOutcome::Stayed(why))]);
    assert_eq!((rig.session.status(), rig.successor.is_none()), (Status::Relaying, true));
    assert!(!rig.session.wants_successor());
    rig.upstream();
    rig.downstream();
    rig.client_says("still here");
    rig.backend_says("so am I");
    assert_eq!((rig.upstream()[0].as_str(), rig.downstream()), ("still here", vec!["so am I".to_owned()]));
    assert_eq!(rig.links.len(), 1);
}

// ---- the arrows of the quiet session ----

#[test]
fn traffic_flows_while_the_next_backend_is_dialled_and_held() {
    let mut rig = dialing();
    assert_eq!(rig.session.status(), Status::Quiescing);
    rig.client_says("one");
    rig.backend_says("answer one");
    assert!(rig.link_successor());
    rig.client_says("two");
    rig.backend_says("answer two");
    assert_eq!(rig.upstream(), ["one", "two"]);
    assert_eq!(rig.downstream(), ["answer one", "answer two"]);
    assert!(
        rig.successor.as_ref().is_some_and(|successor| successor.reader.bytes.is_empty()),
        "it is told nothing"
    );
}

#[test]
fn a_quiet_session_crosses_to_the_next_backend_at_once() {
    let mut rig = draining();
    rig.client_says("one");
    rig.backend_says("last words");
    rig.wait(ms(20));
    assert_eq!((rig.upstream(), rig.downstream()), (vec![], vec!["last words".to_owned()]));
    rig.backend_closes(1001, "");
    assert_eq!(rig.links[0].dropped, Some(Drop::Closed), "both have said Close: an orderly end");
    assert_eq!(
        rig.take_notes(),
        [
            Event::Failed(Failure::Planned),
            ended(MoveOutcome::Moved { forced: false }),
            Event::Linked { pause: ms(20), replayed: 0 },
        ]
    );
    assert_eq!((rig.links.len(), rig.upstream()), (2, vec!["one".to_owned(), "<ping>".to_owned()]));
    rig.backend_says("answer");
    assert_eq!(rig.downstream(), ["answer"]);
    let ledger = rig.session.ledger().upstream;
    assert_eq!((ledger.replayed, ledger.in_doubt, ledger.lost), (0, 0, 0));
    assert_eq!((rig.session.moves(), rig.session.failovers()), (1, 0));
}

#[test]
fn what_the_next_backend_says_early_comes_behind_the_last_words() {
    let mut rig = waiting();
    rig.successor_says("welcome");
    rig.successor_sends(&plain(false, TEXT, b"half a"));
    rig.wait(ms(500));
    rig.backend_says("last words");
    assert_eq!(rig.downstream(), ["last words"]);
    rig.backend_closes(1001, "");
    assert_eq!(rig.downstream(), ["welcome"]);
    rig.backend_sends(&plain(true, CONTINUATION, b" message"));
    assert_eq!(rig.downstream(), ["half a message"]);
    assert_eq!(rig.session.ledger().downstream.forwarded, 3);
}

#[test]
fn the_next_backend_may_say_much_before_its_turn() {
    let mut rig = waiting();
    let news = "n".repeat(64 * 1024);
    for _ in 0..8 {
        rig.successor_says(&news);
    }
    assert!(!rig.session.listens_to_successor(), "what is held is bounded");
    assert!(rig.session.buffered() < 400 * 1024);
    rig.wait(ms(500));
    rig.backend_closes(1001, "");
    assert_eq!(rig.downstream().len(), 8, "what stood in its socket follows");
}

#[test]
fn pings_of_the_next_backend_are_answered_before_and_after_its_turn() {
    let mut rig = waiting();
    rig.successor_sends(&plain(true, PING, b"are you there"));
    let successor = rig.successor.as_mut().expect("a next backend");
    assert_eq!(successor.reader.drain(), ["<pong are you there>"]);
    rig.wait(ms(500));
    rig.successor_sends(&plain(true, PING, b"and now"));
    rig.backend_closes(1001, "");
    assert_eq!(rig.upstream(), ["<pong and now>"]);
}

#[test]
fn a_session_can_be_moved_on_at_once() {
    let mut rig = draining();
    rig.backend_closes(1001, "");
    assert_eq!(rig.session.status(), Status::Settling);
    rig.take_notes();
    assert!(rig.session.relocate(rig.now, Move { ticket: 8, force_at: None }));
    rig.pump();
    assert!(rig.link_successor());
    rig.backend_pongs();
    rig.wait(ms(500));
    rig.backend_closes(1001, "");
    assert_eq!((rig.links.len(), rig.session.moves()), (3, 2));
}

// ---- the next backend fails ----

#[test]
fn without_a_next_backend_the_session_stays() {
    let mut rig = dialing();
    rig.fail_successor();
    assert_stays(&mut rig, Stay::NoTarget);
    assert!(rig.session.relocate(rig.now, ORDER), "it can be tried again");
}

#[test]
fn a_next_backend_that_is_lost_before_our_close_changes_nothing() {
    let deaths: [fn(&mut Rig); 3] = [
        |rig| rig.successor_dies(),
        |rig| rig.successor_sends(&plain(true, CLOSE, &close_payload(4001, "not you"))),
        |rig| rig.successor_sends(b"\xff\xff"),
    ];
    for die in deaths {
        let mut rig = waiting();
        rig.successor_says("welcome");
        die(&mut rig);
        assert_eq!(
            (rig.successor_dials.len(), outcomes(&mut rig)),
            (1, vec![]),
            "it is dialled anew when it can be left"
        );
        rig.wait(ms(500));
        assert_eq!(rig.successor_dials.len(), 2);
        rig.fail_successor();
        assert_stays(&mut rig, Stay::NoTarget);
    }
}

#[test]
fn messages_flow_again_when_no_next_backend_comes_while_they_are_held() {
    let mut rig = holding();
    rig.client_says("held");
    assert_eq!(rig.upstream(), [""; 0]);
    rig.successor_dies();
    assert_eq!((rig.upstream(), outcomes(&mut rig)), (vec![], vec![]), "another may come in time");
    rig.wait(secs(3));
    assert!(rig.upstream().contains(&"held".to_owned()));
    assert_eq!(outcomes(&mut rig), [ended(MoveOutcome::Stayed(Stay::Busy))]);
}

#[test]
fn a_next_backend_that_is_lost_after_our_close_makes_it_a_failover() {
    let mut rig = draining();
    rig.client_says("one");
    rig.successor_dies();
    rig.backend_closes(1001, "");
    assert_eq!(outcomes(&mut rig), [ended(MoveOutcome::FailedOver)]);
    rig.link_next();
    assert_eq!(rig.dials.last().map(|dial| dial.1.held), Some(false));
    assert_eq!(rig.upstream(), ["one", "<ping>"]);
}

#[test]
fn a_late_next_backend_is_not_wanted() {
    let mut rig = dialing();
    rig.session.remain();
    rig.pump();
    assert!(!rig.session.wants_successor());
    assert!(!rig.link_successor());
    assert_stays(&mut rig, Stay::Asked);
}

// ---- the old backend fails ----

#[test]
fn when_the_old_backend_fails_the_next_one_takes_over_at_once() {
    for failure in [Failure::Eof, Failure::Reset, Failure::Silence] {
        let mut rig = waiting();
        rig.successor_says("welcome");
        rig.client_says("one");
        rig.backend_fails(failure);
        assert_eq!(
            rig.take_notes(),
            [
                Event::Failed(failure),
                ended(MoveOutcome::FailedOver),
                Event::Linked { pause: ms(0), replayed: 1 }
            ]
        );
        assert_eq!(rig.upstream(), ["one", "<ping>"]);
        assert_eq!(rig.downstream(), ["welcome"]);
        assert_eq!(rig.links[0].dropped, Some(Drop::Reset));
        assert_eq!((rig.session.moves(), rig.session.failovers()), (0, 1));
    }
}

#[test]
fn a_failure_code_of_the_old_backend_is_a_failover_too() {
    let mut rig = waiting();
    rig.backend_closes(1012, "");
    assert_eq!(
        rig.take_notes()[..2],
        [Event::Failed(Failure::Close(CloseCode(1012))), ended(MoveOutcome::FailedOver)]
    );
    assert_eq!(rig.links.len(), 2);
}

#[test]
fn an_old_backend_that_fails_before_the_next_is_connected_is_a_plain_failover() {
    let mut rig = dialing();
    rig.client_says("one");
    rig.backend_dies();
    assert_eq!(outcomes(&mut rig), [ended(MoveOutcome::FailedOver)]);
    assert!(!rig.session.wants_successor() && !rig.link_successor());
    rig.link_next();
    assert_eq!(rig.upstream(), ["one", "<ping>"]);
}

#[test]
fn held_messages_survive_the_old_backend() {
    let mut rig = holding();
    rig.client_says("held");
    rig.backend_dies();
    assert_eq!(rig.upstream(), ["held", "<ping>"]);
}

#[test]
fn a_suspect_does_not_take_the_short_way() {
    let mut rig = waiting_with(|config| config.poison_deaths = 1);
    rig.client_says("killer");
    rig.backend_dies();
    assert!(rig.successor.is_none(), "suspects have a turn of their own");
    rig.link_next();
    assert_eq!(rig.dials.last().map(|dial| (dial.1.held, dial.1.suspect)), Some((false, true)));
}

#[test]
fn a_kick_of_the_old_backend_is_relayed() {
    let before_our_close = [dialing(), waiting(), holding()].map(|rig| (rig, MoveOutcome::Ended));
    for (mut rig, outcome) in before_our_close.into_iter().chain([(draining(), MoveOutcome::Closed)]) {
        rig.backend_closes(4001, "kicked");
        assert_eq!(rig.downstream().last().map(String::as_str), Some("<close 4001 kicked>"));
        rig.client_closes(4001, "");
        rig.wait(secs(10));
        assert_eq!(
            rig.session.ended().map(|end| (end.cause, end.code)),
            Some((EndCause::BackendClose, Some(CloseCode(4001))))
        );
        assert_eq!(outcomes(&mut rig), [ended(outcome)]);
        assert!(rig.successor.is_none());
    }
}

// ---- sessions that are hardly ever quiet ----

#[test]
fn a_busy_session_is_held_for_a_moment_and_crosses() {
    let mut rig = holding();
    rig.client_says("held one");
    rig.backend_says("a late answer");
    rig.wait(ms(499));
    rig.client_says("held two");
    assert_eq!((rig.upstream(), rig.downstream()), (vec![], vec!["a late answer".to_owned()]));
    rig.wait(ms(251));
    assert_eq!(rig.upstream(), [GOING_AWAY], "three quarters of a second: answers took half of one");
    rig.backend_closes(1001, "");
    assert_eq!(rig.upstream(), ["held one", "held two", "<ping>"]);
    let pause = rig.take_events().into_iter().find_map(|note| match note {
        Event::Linked { pause, .. } => Some(pause),
        _ => None,
    });
    assert!(
        pause.is_some_and(|pause| pause >= ms(750)),
        "counted from when its messages were held: {pause:?}"
    );
}

#[test]
fn a_session_that_never_falls_quiet_stays() {
    let mut rig = holding();
    rig.client_says("held");
    for _ in 0..31 {
        rig.backend_says("news");
        rig.wait(ms(100));
    }
    assert_eq!(outcomes(&mut rig), [ended(MoveOutcome::Stayed(Stay::Busy))]);
    assert_eq!(rig.upstream(), ["held", "<ping>"], "the backend gets what was held");
    assert_eq!(rig.session.status(), Status::Relaying);
    assert!(rig.successor.is_none());
    assert_eq!(rig.session.ledger().upstream.in_doubt, 0);
}

#[test]
fn a_session_that_never_falls_quiet_is_moved_by_force() {
    let mut rig = waiting();
    let force_at = Some(rig.now + secs(2));
    assert!(rig.session.relocate(rig.now, Move { force_at, ..ORDER }));
    for _ in 0..19 {
        rig.wait(ms(100));
        rig.backend_says("news");
    }
    assert_eq!(rig.upstream(), [""; 0]);
    rig.wait(ms(100));
    assert_eq!(rig.upstream(), [GOING_AWAY], "at a safepoint, and in order");
    rig.backend_says("last news");
    rig.backend_closes(1001, "");
    assert_eq!(rig.downstream().len(), 20);
    assert_eq!(outcomes(&mut rig), [ended(MoveOutcome::Moved { forced: true })]);
    assert_eq!(rig.session.ledger().upstream.in_doubt, 1, "what it was about to say, nobody knows");
}

#[test]
fn a_move_may_be_forced_no_more() {
    let mut rig = holding();
    assert!(rig.session.relocate(rig.now, Move { force_at: Some(rig.now + secs(1)), ..ORDER }));
    assert!(rig.session.relocate(rig.now, ORDER));
    for _ in 0..31 {
        rig.backend_says("news");
        rig.wait(ms(100));
    }
    assert_eq!(outcomes(&mut rig), [ended(MoveOutcome::Stayed(Stay::Busy))]);
}

#[test]
fn a_forced_move_still_needs_a_next_backend() {
    let mut rig = Rig::new();
    assert!(rig.session.relocate(rig.now, Move { force_at: Some(rig.now), ..ORDER }));
    rig.pump();
    rig.wait(secs(60));
    assert_eq!(rig.session.status(), Status::Quiescing);
    rig.fail_successor();
    assert_eq!(outcomes(&mut rig), [ended(MoveOutcome::Stayed(Stay::NoTarget))]);
}

#[test]
fn the_clients_open_message_ends_before_anything_is_held() {
    let mut rig = waiting();
    rig.client_sends(&masked(false, TEXT, b"a beginning"));
    rig.wait(secs(31));
    assert_eq!(rig.session.status(), Status::Quiescing);
    rig.client_sends(&[masked(true, CONTINUATION, b" and an end"), wire::upstream("next")].concat());
    assert_eq!(rig.session.status(), Status::Holding);
    rig.client_says("held");
    assert_eq!(rig.upstream(), ["a beginning and an end", "next", "<ping>"]);
    rig.backend_pongs();
    rig.wait(ms(2100));
    assert_eq!(rig.upstream(), [GOING_AWAY]);
    rig.backend_closes(1001, "");
    assert_eq!(rig.upstream(), ["held", "<ping>"]);
}

#[test]
fn a_message_of_the_client_that_does_not_end_keeps_the_session() {
    let mut rig = waiting();
    rig.client_sends(&masked(false, TEXT, b"a beginning"));
    rig.wait(secs(34));
    assert_eq!(outcomes(&mut rig), [ended(MoveOutcome::Stayed(Stay::Busy))]);
    rig.client_sends(&masked(true, CONTINUATION, b" and an end"));
    assert_eq!(rig.upstream(), ["a beginning and an end", "<ping>"]);
}

#[test]
fn an_open_message_of_the_backend_ends_before_the_session_parts() {
    let mut rig = holding();
    rig.backend_sends(&plain(false, TEXT, b"a beginning"));
    rig.wait(secs(2));
    assert_eq!(rig.upstream(), [""; 0]);
    rig.backend_sends(&plain(true, CONTINUATION, b" and an end"));
    rig.wait(ms(750));
    assert_eq!(rig.upstream(), [GOING_AWAY]);
}

#[test]
fn control_frames_pass_while_messages_are_held() {
    let mut rig = holding();
    rig.client_says("held");
    rig.backend_sends(&plain(true, PING, b"backend"));
    assert_eq!(rig.upstream(), ["<pong backend>"]);
    rig.client_sends(&masked(true, PING, b"client"));
    assert_eq!(rig.downstream(), ["<pong client>"]);
}

#[test]
fn messages_stay_held_when_the_backend_turns_out_to_be_unfit() {
    let mut rig = dialing_with(|config| (config.ack_timeout, config.stall_timeout) = (secs(31), secs(31)));
    rig.link_successor();
    let talk = |rig: &mut Rig, time| {
        for _ in 0..4 * time {
            rig.wait(ms(250));
            rig.backend_says("news");
        }
    };
    talk(&mut rig, 30);
    rig.client_says("held");
    talk(&mut rig, 2);
    assert_eq!(rig.take_notes(), [Command::JudgeFitness]);
    rig.session.set_unfit(rig.now);
    rig.pump();
    assert_eq!(rig.take_notes(), [Event::Unfit]);
    assert_eq!((rig.upstream(), rig.session.status()), (vec![], Status::Holding));
    talk(&mut rig, 1);
    assert_eq!(outcomes(&mut rig), [ended(MoveOutcome::Stayed(Stay::Busy))]);
    assert_eq!(rig.upstream(), ["held"]);
}

#[test]
fn messages_that_are_held_are_not_owed_by_the_backend() {
    let mut rig = waiting_with(|config| {
        (config.hold, config.ack_timeout, config.quiet, config.quiet_max) =
            (secs(60), secs(5), secs(59), secs(59));
    });
    rig.wait(secs(30));
    rig.client_says("held");
    rig.wait(ms(500));
    assert_eq!(rig.session.status(), Status::Holding);
    rig.wait(secs(20));
    assert_eq!(rig.take_notes(), NOTHING);
}

#[test]
fn a_called_off_move_lets_messages_flow() {
    let mut rig = holding();
    rig.client_says("held");
    rig.session.remain();
    rig.pump();
    assert_eq!(rig.upstream(), ["held", "<ping>"]);
    assert_stays(&mut rig, Stay::Asked);
}

#[test]
fn what_was_told_to_go_goes() {
    let mut rig = draining();
    rig.session.remain();
    rig.backend_closes(1001, "");
    assert_eq!(outcomes(&mut rig), [ended(MoveOutcome::Moved { forced: false })]);
}

// ---- how quiet is quiet ----

/// A session whose last answer took so long, and that departs right after it.
fn answered_after(time: std::time::Duration) -> Rig {
    let mut rig = Rig::new();
    rig.client_says("question");
    rig.backend_pongs();
    rig.wait(time);
    rig.backend_says("answer");
    rig.session.relocate(rig.now, ORDER);
    rig.pump();
    rig.link_successor();
    rig.backend_pongs();
    rig.upstream();
    rig
}

#[test]
fn who_has_answered_slowly_is_waited_for_longer() {
    let mut rig = answered_after(ms(800));
    assert!(rig.session.slowest_answer() >= ms(800) && rig.session.slowest_answer() < ms(805));
    rig.wait(ms(1190));
    assert_eq!(rig.upstream(), [""; 0]);
    rig.wait(ms(20));
    assert_eq!(rig.upstream(), [GOING_AWAY]);
}

#[test]
fn nobody_is_waited_for_longer_than_the_longest_quiet_time() {
    let mut rig = answered_after(ms(1900));
    rig.wait(ms(1999));
    assert_eq!(rig.upstream(), [""; 0]);
    rig.wait(ms(1));
    assert_eq!(rig.upstream(), [GOING_AWAY]);
}

#[test]
fn what_comes_very_late_is_no_answer() {
    let mut rig = answered_after(secs(5));
    assert_eq!(rig.session.slowest_answer(), ms(0));
    rig.wait(ms(500));
    assert_eq!(rig.upstream(), [GOING_AWAY]);
}

#[test]
fn slow_answers_are_forgotten() {
    let mut rig = Rig::new();
    for n in 0..300 {
        rig.client_says("question");
        rig.backend_pongs();
        rig.wait(ms(if n == 0 { 1900 } else { 10 }));
        rig.backend_says("answer");
    }
    assert!(rig.session.slowest_answer() < ms(50), "{:?}", rig.session.slowest_answer());
}

#[test]
fn a_service_that_has_not_answered_yet_may_be_a_slow_one() {
    let mut rig = waiting();
    rig.client_says("the first question");
    rig.backend_pongs();
    rig.wait(ms(1950));
    assert_eq!(rig.upstream(), ["the first question", "<ping>"]);
    rig.wait(ms(60));
    assert_eq!(rig.upstream(), [GOING_AWAY]);
}

/// What the client said in between is a question to it from when it has got it.
#[test]
fn the_next_backend_may_be_a_slow_one_too() {
    let mut rig = draining();
    rig.client_says("the first question");
    rig.backend_closes(1001, "");
    assert_eq!(rig.upstream(), ["the first question", "<ping>"]);
    rig.backend_pongs();
    assert!(rig.session.relocate(rig.now, Move { ticket: 8, force_at: None }));
    rig.pump();
    assert!(rig.link_successor());
    rig.backend_pongs();
    rig.upstream();
    rig.wait(ms(1950));
    assert_eq!(rig.upstream(), [""; 0]);
    rig.wait(ms(60));
    assert_eq!(rig.upstream(), [GOING_AWAY]);
}

#[test]
fn a_service_that_never_answers_is_not_waited_for() {
    let mut rig = Rig::new();
    for _ in 0..10 {
        rig.client_says("telemetry");
        rig.backend_pongs();
        rig.wait(secs(1));
    }
    rig.upstream();
    rig.session.relocate(rig.now, ORDER);
    rig.pump();
    rig.link_successor();
    rig.backend_pongs();
    rig.wait(ms(500));
    assert_eq!(rig.upstream(), ["<ping>", GOING_AWAY]);
}

// ---- the client leaves, the session ends ----

#[test]
fn a_client_that_leaves_before_our_close_ends_the_move() {
    for mut rig in [dialing(), waiting(), holding()] {
        rig.upstream();
        rig.client_says("one");
        rig.client_closes(1000, "bye");
        assert_eq!(outcomes(&mut rig), [ended(MoveOutcome::Ended)]);
        assert!(rig.successor.is_none() && !rig.session.wants_successor());
        let upstream = rig.upstream();
        assert_eq!(
            (upstream.first().map(String::as_str), upstream.last().map(String::as_str)),
            (Some("one"), Some("<close 1000 bye>"))
        );
        rig.backend_closes(1000, "bye");
        assert_eq!(rig.session.ended().map(|end| end.cause), Some(EndCause::ClientClose));
        assert_eq!(rig.session.ledger().upstream.lost, 0);
    }
}

#[test]
fn messages_of_a_client_that_leaves_after_our_close_reach_the_next_backend() {
    let mut rig = draining();
    rig.client_says("one");
    rig.client_closes(1000, "bye");
    rig.backend_closes(1001, "");
    assert_eq!(rig.upstream(), ["one", "<ping>", "<close 1000 bye>"]);
    rig.backend_pongs();
    rig.backend_closes(1000, "bye");
    assert_eq!(rig.downstream(), ["<close 1000 bye>"]);
    assert!(rig.session.ended().is_some());
}

#[test]
fn a_client_that_hangs_up_after_our_close_ends_it_all() {
    let mut rig = draining();
    rig.client_goes();
    assert!(rig.session.ended().is_some());
    assert!(rig.successor.is_none() && !rig.session.wants_successor());
    assert_eq!(outcomes(&mut rig), [ended(MoveOutcome::Ended)]);
}

#[test]
fn the_brokers_end_and_an_abort_end_it() {
    for (mut rig, abort) in [(waiting(), false), (holding(), true), (draining(), false), (draining(), true)] {
        if abort {
            assert!(rig.session.abort(rig.now, CloseCode(1008), "by hand"));
        } else {
            rig.session.shut_down(rig.now, CloseCode(1008));
        }
        rig.pump();
        assert!(!rig.session.abort(rig.now, CloseCode(1008), "again"));
        rig.client_closes(1008, "");
        rig.wait(secs(60));
        let end = rig.session.ended().expect("both sides are done");
        assert_eq!(
            (end.cause, end.code),
            (if abort { EndCause::Aborted } else { EndCause::Shutdown }, Some(CloseCode(1008)))
        );
        assert_eq!(outcomes(&mut rig), [ended(MoveOutcome::Ended)]);
        assert!(rig.successor.is_none());
    }
}

// ---- orders ----

#[test]
fn a_session_follows_one_order_at_a_time() {
    let mut rig = waiting();
    assert!(!rig.session.relocate(rig.now, Move { ticket: 8, force_at: Some(rig.now) }));
    assert!(rig.session.relocate(rig.now, ORDER));
    assert_eq!(rig.session.moving(), Some(7));
    assert_eq!(rig.successor_dials, [7]);
}

#[test]
fn an_ordered_failover_leaves_at_once_and_blames_nobody() {
    let mut rig = Rig::with(|config| config.poison_deaths = 1);
    rig.client_says("one");
    assert!(rig.session.fail_over(rig.now));
    rig.pump();
    assert_eq!(rig.take_notes(), [Event::Failed(Failure::Ordered)]);
    assert!(!rig.session.fail_over(rig.now), "it has none to leave");
    rig.link_next();
    assert_eq!(rig.dials.last().map(|dial| dial.1.suspect), Some(false));
    assert_eq!((rig.upstream(), rig.session.failovers()), (vec!["one".to_owned(), "<ping>".to_owned()], 1));
}

#[test]
fn an_ordered_failover_uses_the_next_backend_that_is_there() {
    let mut rig = waiting();
    rig.session.fail_over(rig.now);
    rig.pump();
    assert_eq!((rig.links.len(), outcomes(&mut rig)), (2, vec![ended(MoveOutcome::FailedOver)]));
}

#[test]
fn a_pinned_session_is_not_ordered_about() {
    let mut closing = Rig::with(|config| config.failover = false);
    let mut declined = Rig::begin(|_| {}, false, true);
    for rig in [&mut closing, &mut declined] {
        assert!(rig.session.pinned());
        assert!(!rig.session.relocate(rig.now, ORDER) && !rig.session.fail_over(rig.now));
        assert_eq!((rig.session.moving(), rig.session.status()), (None, Status::Relaying));
    }
}
