//! What a client gets on its next connection, and what the broker has of it.

use super::*;

/// Five messages of the application's were written to the client, which has acknowledged two.
fn two_of_five(mut rig: Rig) -> Rig {
    (1..6).for_each(|n| answers(&mut rig, &format!("{n}")));
    rig.client_sends(&upstream("a 2"));
    rig.downstream();
    rig
}

#[test]
fn what_the_client_has_not_comes_again_wherever_that_is() {
    for last in 2..6 {
        for rig in both() {
            let mut rig = two_of_five(rig);
            rig.client_goes();
            comes_back(&mut rig, 1, last, 2);
            let rest = (last + 1..6).map(|n| format!("m{n}"));
            let expected: Vec<_> = std::iter::once(welcome(2, "resumed 0 0")).chain(rest).collect();
            assert_eq!(rig.downstream(), expected);
            assert_eq!(rig.session.ledger().downstream.acknowledged, 5, "each counts once");
        }
    }
}

#[test]
fn a_last_seq_that_is_out_of_reach_is_refused_and_the_session_stays() {
    for rig in both() {
        let mut rig = two_of_five(rig);
        rig.client_goes();
        for last in [0, 1, 6, 7, (1 << 53) - 1] {
            assert_eq!(rig.session.resumable(&resume(1, last)), Err(Reason::Seq));
            assert_eq!(rig.client_back(Some(&resume(1, last)), 9), Err(Reason::Seq), "{last}");
        }
        assert_eq!(rig.session.status(), Status::Detached);
        comes_back(&mut rig, 1, 5, 2);
        assert_eq!(rig.downstream(), [welcome(2, "resumed 0 0")]);
    }
}

#[test]
fn what_was_written_in_part_is_written_anew() {
    for rig in both() {
        let mut rig = two_of_five(rig);
        let whole = "x".repeat(50);
        rig.set_client_room(20);
        answers(&mut rig, &whole);
        assert!(rig.client.in_the_middle());
        assert_eq!(rig.session.resumable(&resume(1, 6)), Err(Reason::Seq), "its last byte was not written");
        rig.client_goes();
        comes_back(&mut rig, 1, 5, 2);
        assert_eq!(rig.downstream(), [welcome(2, "resumed 0 0"), format!("m{whole}")]);
    }
}

/// At each byte of what goes downstream, the connection may break.
#[test]
fn whatever_was_written_nothing_is_missing_or_comes_twice() {
    let welcomed = welcome(1, "fresh new").len() + 4;
    for room in welcomed..welcomed + 40 {
        let kind = ClientKind::Shim { secret: [1; 32], reason: Reason::New };
        let mut rig =
            Rig::open(|_| {}, Opening { session: NAME, epoch: 1, client: kind, ..Opening::default() });
        rig.client_room = room;
        rig.pump();
        (1..6).for_each(|n| answers(&mut rig, &format!("{n}")));
        rig.client_sends(&masked(true, PING, b"!"));
        let has = heard(&mut rig).iter().filter(|frame| frame.starts_with('m')).count();
        rig.client_goes();
        comes_back(&mut rig, 1, has as u64, 2);
        let rest: Vec<_> = (has + 1..6).map(|n| format!("m{n}")).collect();
        assert_eq!(rig.downstream()[1..], rest, "room {room}");
    }
}

/// At each byte of what goes upstream, too.
#[test]
fn what_has_not_come_whole_has_never_been() {
    let messages = [
        upstream("mone"),
        masked(false, TEXT, b"mtw"),
        masked(true, CONTINUATION, b"o"),
        upstream("a 0"),
        upstream("mthree"),
    ];
    let bytes = messages.concat();
    for cut in 0..=bytes.len() {
        for mut rig in both() {
            rig.client_sends(&bytes[..cut]);
            let has = got(&mut rig);
            rig.client_goes();
            comes_back(&mut rig, 1, 0, 2);
            assert_eq!(heard(&mut rig), [welcome(2, &format!("resumed {} 0", has.len()))], "cut at {cut}");
            ["mone", "mtwo", "mthree"][has.len()..].iter().for_each(|text| rig.client_says(text));
            assert_eq!([has, got(&mut rig)].concat(), ["one", "two", "three"], "cut at {cut}");
        }
    }
}

#[test]
fn half_a_large_message_that_went_straight_to_the_ring_is_forgotten() {
    for mut rig in both() {
        let frame = upstream(&format!("m{}", "x".repeat(100_000)));
        rig.client_sends(&frame[..50_000]);
        assert!(rig.session.client_direct().is_some());
        rig.client_goes();
        assert_eq!(rig.session.unacknowledged(), 0);
        comes_back(&mut rig, 1, 0, 2);
        rig.client_says("mwhole");
        assert_eq!(got(&mut rig), ["whole"]);
    }
}

#[test]
fn half_a_message_of_the_applications_goes_on_for_the_next_connection() {
    let mut rig = shim();
    rig.backend_sends(&plain(false, TEXT, b"ha"));
    rig.client_goes();
    rig.backend_sends(&plain(false, CONTINUATION, b"lf"));
    comes_back(&mut rig, 1, 0, 2);
    rig.backend_sends(&plain(true, CONTINUATION, b"!"));
    assert_eq!(rig.downstream(), [welcome(2, "resumed 0 0"), "mhalf!".into()]);
}

#[test]
fn what_is_acknowledged_at_the_return_counts() {
    for rig in both() {
        let mut rig = two_of_five(rig);
        rig.client_goes();
        comes_back(&mut rig, 1, 4, 2);
        assert_eq!(rig.session.resumable(&resume(1, 3)), Err(Reason::Seq), "LAST acknowledges");
        rig.client_sends(&upstream("a 5"));
        assert_eq!(rig.session.buffered(), 0);
    }
}

// ---- taking over ----

#[test]
fn a_client_may_come_back_before_its_loss_is_noticed() {
    for mut rig in both() {
        rig.client_says("mone");
        answers(&mut rig, "1");
        comes_back(&mut rig, 1, 0, 2);
        assert_eq!(
            rig.clients[0].drain().last().map(String::as_str),
            Some("<close 4409 superseded: the session goes on elsewhere>")
        );
        let expected = [welcome(2, "resumed 1 0"), "m1".into()];
        assert_eq!(rig.downstream(), expected);
        assert_eq!((rig.session.status(), rig.take_notes()), (Status::Relaying, vec![]));
        rig.client_says("mtwo");
        assert_eq!(got(&mut rig), ["one", "two"]);
    }
}

#[test]
fn the_old_connection_is_told_only_between_frames() {
    let message = 2 + 4;
    for room in 0..message + 2 {
        for mut rig in both() {
            rig.set_client_room(room);
            answers(&mut rig, "one");
            comes_back(&mut rig, 1, u64::from(room >= message), 2);
            let between = room == 0 || room >= message;
            assert_eq!(rig.clients[0].closed(), between, "room {room}");
            assert_eq!(rig.clients[0].in_the_middle(), !between, "room {room}");
        }
    }
}

#[test]
fn the_old_connection_is_told_one_close_at_the_most() {
    for mut rig in both() {
        answers(&mut rig, "bye");
        rig.backend_closes(4000, "enough");
        comes_back(&mut rig, 1, 0, 2);
        assert_eq!(rig.clients[0].drain().last().map(String::as_str), Some("<close 4000 enough>"));
        assert_eq!(
            rig.downstream(),
            [welcome(2, "resumed 0 0"), "mbye".into(), "<close 4000 enough>".into()]
        );
    }
}

#[test]
fn a_client_that_was_slow_on_one_connection_is_not_judged_by_it_on_the_next() {
    for mut rig in both() {
        rig.set_client_room(10);
        answers(&mut rig, "a message that does not get through");
        rig.wait(secs(59));
        assert_eq!(rig.session.handle_client_back(rig.now, Some(&resume(1, 0)), [2; 32]), Ok(None));
        rig.client = Default::default();
        rig.set_client_room(0);
        rig.wait(secs(59));
        assert_eq!(rig.session.status(), Status::Relaying);
        rig.wait(secs(1));
        assert_eq!(rig.session.status(), Status::Detached);
    }
}

// ---- both ways at once ----

#[test]
fn acknowledgements_go_on_from_what_the_welcome_said() {
    let mut rig = shim_served();
    rig.client_sends(&[upstream("mone"), upstream("mtwo")].concat());
    rig.backend_sends(&Commit { number: 1, upto: 1, ..Commit::default() }.frame());
    rig.client_goes();
    comes_back(&mut rig, 1, 0, 2);
    assert_eq!(rig.downstream(), [welcome(2, "resumed 2 1")]);
    rig.wait(secs(1));
    assert_eq!(rig.downstream(), [""; 0], "it knows that");
    rig.backend_sends(&Commit { number: 2, upto: 2, ..Commit::default() }.frame());
    rig.wait(ms(50));
    assert_eq!(rig.downstream(), ["a 2 2"]);
}
