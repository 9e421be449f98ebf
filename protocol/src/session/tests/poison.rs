//! The guard against messages that kill every backend which they reach.

use super::rig::{Rig, Told, secs};
use super::wire::{TEXT, downstream, masked, upstream};
use crate::session::{Command, EndCause, Event, Failure};
use crate::websocket::close_code::CloseCode;

/// What the present backend has got, without pings.
fn messages(rig: &mut Rig) -> Vec<String> {
    rig.upstream().into_iter().filter(|frame| frame != "<ping>").collect()
}

/// Serves as a backend that dies of any message named "poison" and else acknowledges, until the
/// machine wants no more. Returns how many backends died.
fn serve(rig: &mut Rig) -> u32 {
    let mut deaths = 0;
    for _ in 0..100 {
        if messages(rig).iter().any(|message| message == "poison") {
            deaths += 1;
            rig.backend_dies();
            if !rig.link_next_if_wanted() {
                return deaths;
            }
        } else if !rig.link().reader.pings.is_empty() {
            rig.backend_pongs();
        } else {
            return deaths;
        }
    }
    panic!("a hundred steps and no end");
}

#[test]
fn after_two_deaths_messages_are_replayed_one_at_a_time() {
    let mut rig = Rig::new();
    rig.client_sends(&[upstream("one"), upstream("two"), upstream("three")].concat());
    for _ in 0..2 {
        assert_eq!(messages(&mut rig), ["one", "two", "three"]);
        rig.backend_dies();
        rig.link_next();
    }
    assert_eq!(rig.dials.iter().map(|(_, dial)| dial.suspect).collect::<Vec<_>>(), [false, true]);
    assert_eq!(rig.upstream(), ["<ping>"], "the backend shows first that it works");
    rig.backend_pongs();
    assert_eq!(rig.upstream(), ["one", "<ping>"]);
    rig.client_says("four");
    assert_eq!(rig.upstream(), [""; 0], "new messages queue behind the suspects");
    rig.backend_pongs();
    assert_eq!(rig.upstream(), ["two", "<ping>"]);
    rig.backend_pongs();
    assert_eq!(rig.upstream(), ["three", "<ping>"]);
    rig.take_notes();
    rig.backend_pongs();
    assert_eq!(rig.take_notes(), [Command::ReleaseTurn]);
    assert_eq!(rig.upstream(), ["four", "<ping>"]);
    rig.client_says("five");
    assert_eq!(rig.upstream(), ["five"], "none waits for another any more");
}

#[test]
fn a_message_that_was_there_at_three_deaths_and_alone_at_two_of_them_ends_its_session() {
    let mut rig = Rig::new();
    rig.client_sends(&[upstream("before"), upstream("poison"), upstream("after")].concat());
    assert_eq!(serve(&mut rig), 4, "two deaths raise the suspicion, the next two meet it alone");
    assert_eq!(rig.dials.last().map(|(_, dial)| dial.accused), Some(Some(2)));
    let poison = Event::Poison { seq: 2, bytes: upstream("poison").len() as u64 };
    assert!(rig.take_events().contains(&poison));
    assert!(rig.downstream()[0].starts_with("<close 1011"));
    rig.client_closes(1011, "");
    assert_eq!(
        rig.session.ended().map(|end| (end.cause, end.code)),
        Some((EndCause::Poison, Some(CloseCode(1011))))
    );
    let ledger = rig.session.ledger().upstream;
    assert_eq!((ledger.forwarded, ledger.acknowledged, ledger.lost), (3, 1, 2));
}

#[test]
fn a_message_that_is_alone_from_the_first_death_on_is_convicted_at_the_third() {
    let mut rig = Rig::new();
    rig.client_says("poison");
    assert_eq!(serve(&mut rig), 3);
    assert_eq!(rig.dials.last().map(|(_, dial)| dial.accused), Some(Some(1)));
    assert!(rig.downstream()[0].starts_with("<close 1011"));
}

#[test]
fn where_backends_die_after_so_many_messages_none_is_accused() {
    let mut rig = Rig::with(|config| config.deadline = secs(3600));
    let flood: Vec<u8> = (0..60).flat_map(|n| upstream(&format!("flood {n}"))).collect();
    rig.client_sends(&flood);
    for _ in 0..2 {
        rig.backend_dies();
        rig.link_next();
    }
    // Whichever is alone when the next one dies was there at the two deaths before.
    for _ in 0..5 {
        for _ in 0..8 {
            rig.backend_pongs();
        }
        assert_eq!(messages(&mut rig).len(), 8, "one at a time");
        rig.backend_dies();
        rig.link_next();
    }
    assert!(rig.dials.iter().all(|(_, dial)| dial.accused.is_none()), "{:?}", rig.dials);
    assert_eq!(rig.downstream(), [""; 0]);
}

#[test]
fn innocents_are_never_convicted() {
    let mut rig = Rig::with(|config| config.deadline = secs(3600));
    let innocents: Vec<String> = (0..20).map(|n| format!("innocent {n}")).collect();
    let bytes: Vec<u8> = innocents.iter().flat_map(|text| upstream(text)).collect();
    rig.client_sends(&bytes);
    // Ten backends die of something else, each after another innocent has been acknowledged.
    for n in 0..10 {
        if n > 1 {
            rig.backend_pongs();
        }
        assert!(!messages(&mut rig).is_empty());
        rig.backend_pongs();
        rig.client_says("more");
        rig.backend_dies();
        rig.link_next();
    }
    assert!(
        !rig.notes.iter().any(|note| matches!(note, Told::Event(Event::Poison { .. }))),
        "{:?}",
        rig.notes
    );
    assert_eq!(rig.downstream(), [""; 0]);
}

#[test]
fn convictions_of_different_messages_do_not_add_up() {
    let mut rig = Rig::with(|config| config.deadline = secs(3600));
    rig.client_sends(&[upstream("one"), upstream("two"), upstream("three")].concat());
    for _ in 0..2 {
        rig.backend_dies();
        rig.link_next();
    }
    // All were there at two deaths; then backends die of none of them.
    for text in ["one", "two", "three"] {
        rig.backend_pongs();
        assert_eq!(messages(&mut rig), [text]);
    }
    rig.backend_pongs();
    assert!(rig.notes.iter().any(|told| *told == Command::ReleaseTurn));
    rig.client_says("four");
    for _ in 0..2 {
        rig.backend_dies();
        rig.link_next();
        rig.backend_pongs();
    }
    assert_eq!(messages(&mut rig), ["four"]);
    assert!(rig.dials.iter().all(|(_, dial)| dial.accused.is_none()), "{:?}", rig.dials);
    assert_eq!(rig.downstream(), [""; 0]);
}

#[test]
fn who_is_accused_and_not_convicted_goes_on() {
    let mut rig = Rig::with(|config| config.deadline = secs(3600));
    rig.convicts = false;
    rig.client_says("slow");
    for death in 1..=10 {
        if death > 2 {
            rig.backend_pongs();
        }
        assert_eq!(messages(&mut rig), ["slow"]);
        rig.backend_dies();
        rig.link_next();
        let accused = rig.dials.last().and_then(|(_, dial)| dial.accused);
        assert_eq!(accused, (death >= 3).then_some(1), "death {death}");
    }
    rig.backend_pongs();
    rig.backend_pongs();
    rig.client_says("more");
    rig.backend_pongs();
    rig.backend_dies();
    rig.dial();
    assert_eq!(rig.dials.last().and_then(|(_, dial)| dial.accused), None, "it is cleared");
}

#[test]
fn who_is_not_accused_is_not_convicted() {
    let mut rig = Rig::new();
    rig.client_says("one");
    rig.session.handle_convicted(rig.now);
    for _ in 0..2 {
        rig.backend_dies();
        rig.dial();
        rig.session.handle_convicted(rig.now);
        assert!(rig.link_with(false), "it goes on");
    }
    assert_eq!((rig.downstream(), rig.session.ended()), (Vec::new(), None));
}

#[test]
fn a_suspect_is_not_given_to_a_backend_that_fails_without_any_message() {
    let mut rig = Rig::with(|config| config.deadline = secs(3600));
    rig.client_says("innocent");
    for _ in 0..2 {
        assert_eq!(messages(&mut rig), ["innocent"]);
        rig.backend_dies();
        rig.link_next();
    }
    for _ in 0..10 {
        assert_eq!(rig.upstream(), ["<ping>"]);
        rig.backend_fails(Failure::Protocol);
        rig.link_next();
    }
    assert!(rig.dials.iter().all(|(_, dial)| dial.accused.is_none()), "{:?}", rig.dials);
    assert_eq!(rig.upstream(), ["<ping>"]);
    rig.backend_pongs();
    assert_eq!(rig.upstream(), ["innocent", "<ping>"]);
    rig.backend_pongs();
    rig.client_says("more");
    assert_eq!(rig.upstream(), ["more", "<ping>"]);
}

#[test]
fn who_waits_for_its_turn_is_not_past_its_deadline() {
    for waits in [true, false] {
        let mut rig = Rig::with(|config| (config.deadline, config.longest) = (secs(30), secs(120)));
        rig.client_says("one");
        for _ in 0..2 {
            rig.backend_dies();
            rig.dial();
            if rig.dials.len() < 2 {
                assert!(rig.link_with(false));
            }
        }
        let mut waited = 0;
        while rig.downstream().is_empty() {
            waited += 1;
            rig.wait(secs(1));
            if waits {
                rig.session.handle_turn_awaited(rig.now);
            }
        }
        let (expected, code) = if waits { (120, 1012) } else { (30, 1013) };
        assert_eq!(waited, expected);
        rig.client_closes(1000, "");
        assert_eq!(rig.session.ended().and_then(|end| end.code), Some(CloseCode(code)));
    }
}

#[test]
fn only_who_dials_with_suspects_waits_for_a_turn() {
    let mut rig = Rig::new();
    rig.client_says("one");
    rig.backend_dies();
    rig.dial();
    let before = rig.session.poll_timeout();
    rig.wait(secs(1));
    rig.session.handle_turn_awaited(rig.now);
    assert_eq!(rig.session.poll_timeout(), before, "after one death it is no suspect");
}

#[test]
fn only_messages_that_were_fully_written_are_suspects() {
    let mut rig = Rig::with(|config| config.deadline = secs(3600));
    let text = "a long message";
    rig.backend_room = upstream(text).len() - 1;
    rig.client_says(text);
    for _ in 0..10 {
        rig.backend_dies();
        rig.backend_room = upstream(text).len() - 1;
        rig.link_next();
    }
    assert!(rig.dials.iter().all(|(_, dial)| !dial.suspect), "no backend ever had the whole of it");
}

#[test]
fn acknowledged_and_open_messages_are_no_suspects() {
    let mut rig = Rig::with(|config| config.deadline = secs(3600));
    rig.client_says("one");
    rig.backend_pongs();
    rig.client_sends(&masked(false, TEXT, b"open"));
    for _ in 0..10 {
        rig.backend_dies();
        rig.link_next();
    }
    assert!(rig.dials.iter().all(|(_, dial)| !dial.suspect));
    assert_eq!(rig.downstream(), [""; 0]);
}

#[test]
fn deaths_in_drains_and_deploys_and_under_overload_do_not_count() {
    for code in [1001, 1012, 1013] {
        let mut rig = Rig::with(|config| config.deadline = secs(3600));
        rig.client_says("one");
        for _ in 0..10 {
            rig.backend_closes(code, "");
            rig.link_next();
        }
        assert!(rig.dials.iter().all(|(_, dial)| !dial.suspect), "code {code}");
        assert_eq!(messages(&mut rig), ["one"]);
    }
}

#[test]
fn deaths_by_an_internal_error_do() {
    let mut rig = Rig::new();
    rig.client_says("one");
    for _ in 0..2 {
        rig.backend_closes(1011, "");
        rig.link_next();
    }
    assert_eq!(rig.dials.iter().map(|(_, dial)| dial.suspect).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn deaths_far_apart_do_not_count_together() {
    let mut rig = Rig::with(|config| config.ack_timeout = secs(10_000));
    for _ in 0..5 {
        rig.client_says("one");
        rig.backend_dies();
        rig.link_next();
        rig.backend_pongs();
        rig.wait(secs(61));
    }
    assert!(rig.dials.iter().all(|(_, dial)| !dial.suspect));
}

#[test]
fn the_latest_deaths_count() {
    let mut rig = Rig::with(|config| config.deadline = secs(3600));
    // Deaths at 0, 1 and 50 s, the suspicion cleared in between; then one at 70 s.
    for wait in [1, 49, 20] {
        rig.client_says("one");
        rig.backend_dies();
        rig.link_next();
        rig.backend_pongs();
        rig.wait(secs(wait));
    }
    rig.client_says("one");
    let before = rig.dials.len();
    rig.backend_dies();
    rig.dial();
    assert!(rig.dials[before].1.suspect, "the deaths at 50 and 70 s are close together");
}

#[test]
fn a_close_behind_suspects_is_delivered_after_them() {
    let mut rig = Rig::new();
    rig.client_sends(&[upstream("one"), upstream("two")].concat());
    for _ in 0..2 {
        rig.backend_dies();
        rig.link_next();
    }
    rig.client_closes(1000, "bye");
    for _ in 0..3 {
        assert!(!rig.link().reader.pings.is_empty(), "each suspect awaits its pong: {:?}", rig.link().reader);
        rig.backend_pongs();
    }
    assert_eq!(messages(&mut rig), ["one", "two", "<close 1000 bye>"]);
    rig.backend_closes(1000, "bye");
    assert_eq!(rig.session.ended().map(|end| end.cause), Some(EndCause::ClientClose));
}

#[test]
fn a_close_before_suspects_are_replayed_is_delivered_after_them() {
    let mut rig = Rig::new();
    rig.client_sends(&[upstream("one"), upstream("two")].concat());
    rig.backend_dies();
    rig.link_next();
    rig.client_closes(1000, "bye");
    rig.backend_dies();
    rig.link_next();
    for _ in 0..3 {
        assert!(!rig.link().reader.pings.is_empty(), "each suspect awaits its pong: {:?}", rig.link().reader);
        rig.backend_pongs();
    }
    assert_eq!(messages(&mut rig), ["one", "two", "<close 1000 bye>"]);
}

#[test]
fn a_backend_that_never_pongs_does_not_stop_suspects_for_ever() {
    let mut rig = Rig::with(|config| config.stall_timeout = secs(20));
    rig.client_sends(&[upstream("one"), upstream("two"), upstream("three")].concat());
    for _ in 0..2 {
        rig.backend_dies();
        rig.link_next();
    }
    let mut got = Vec::new();
    for _ in 0..60 {
        rig.wait(secs(1));
        rig.backend_sends(&downstream("talk"));
        if rig.take_notes().iter().any(|told| *told == Command::JudgeFitness) {
            rig.session.set_unfit(rig.now);
            rig.pump();
        }
        got.extend(messages(&mut rig));
    }
    rig.client_says("four");
    got.extend(messages(&mut rig));
    assert_eq!(got, ["one", "two", "three", "four"], "it runs without acks");
}
