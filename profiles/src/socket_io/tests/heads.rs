//! What single messages are.

use std::time::Duration;

use super::super::SocketIoSettings;
use super::Talk;
use crate::{Down, FillIn, Keep, Phase, Up};

#[test]
fn a_connect_is_a_door_by_namespace_and_its_answer_is_announced_or_hidden() {
    for hide in [false, true] {
        let mut talk = Talk::with(SocketIoSettings { hide, ..SocketIoSettings::default() });
        talk.greeted();
        let (root, admin) = (talk.up("40"), talk.up("40/admin,{\"token\":\"x\"}"));
        let (Up::Keep(root), Up::Keep(admin)) = (root, admin) else { panic!("kept") };
        assert_ne!(root.slot, admin.slot);
        assert_ne!(root.answer, admin.answer);
        let key = admin.answer.expect("an answer");
        assert_eq!(
            admin,
            Keep { slot: admin.slot, answer: Some(key), phase: Phase::Door, waits: true, awaited: false }
        );
        assert_eq!(talk.down("40/admin,{\"sid\":\"b\"}"), Down::Answer { key, pass: !hide });
        assert_eq!(talk.down("44/admin,{\"message\":\"no\"}"), Down::Refusal(key));
        assert_eq!(talk.down("41/admin,"), Down::End(admin.slot));
        assert_eq!(talk.up("41/admin,"), Up::Retire { slot: admin.slot, answer: None });
        assert_eq!(talk.up("41"), Up::Retire { slot: root.slot, answer: None });
    }
}

#[test]
fn a_query_is_no_part_of_a_namespaces_name() {
    let mut talk = Talk::new();
    let slot = talk.slot("40/room?token=1,{\"a\":1}");
    assert_eq!(slot, talk.slot("40/room,"));
    assert_eq!(slot, talk.slot("40/room"));
    assert_eq!(talk.down("41/room,"), Down::End(slot));
    assert_ne!(slot, talk.slot("40/room/,"));
}

#[test]
fn ids_and_counts_have_as_many_digits_as_it_takes() {
    let mut talk = Talk::connected(SocketIoSettings::default(), &["", "/n,"]);
    for id in ["0", "7", "10", "4294967296", "999999999999999999"] {
        let Up::Ask(key) = talk.up(&format!("42{id}[\"e\"]")) else { panic!("ask") };
        assert_eq!(talk.down(&format!("43{id}[]")), Down::Answer { key, pass: false });
        let Up::Ask(other) = talk.up(&format!("42/n,{id}[\"e\"]")) else { panic!("ask") };
        assert_ne!(key, other);
        let Down::Asks(asked) = talk.down(&format!("42{id}[\"e\"]")) else { panic!("asks") };
        assert_ne!(key, asked);
        assert_eq!(talk.up(&format!("43{id}[]")), Up::Reply(asked));
    }
    // Not a number that a server counts to: it passes.
    assert_eq!(talk.up("421234567890123456789[\"e\"]"), Up::Tell);
    assert_eq!(talk.down("431234567890123456789[]"), Down::Push);
    // Ten attachments.
    assert_eq!(talk.up("4510-[\"e\"]"), Up::More);
    for _ in 0..9 {
        assert_eq!(talk.up("#00"), Up::More);
    }
    assert_eq!(talk.up("#00"), Up::Tell);
    // None: it is whole.
    assert_eq!(talk.up("450-[\"e\"]"), Up::Tell);
}

#[test]
fn an_event_whose_name_is_a_number_has_no_id() {
    let mut talk = Talk::connected(SocketIoSettings::default(), &[""]);
    assert_eq!(talk.up("42[17,1]"), Up::Tell);
    assert_eq!(talk.down("42[17,1]"), Down::Push);
    assert_eq!(talk.down("43[17,1]"), Down::Push);
    assert_eq!(talk.up("43[17,1]"), Up::Tell);
}

#[test]
fn signs_of_life_are_those_that_the_first_backend_has_promised() {
    let mut talk = Talk::new();
    assert!(talk.machine.greets());
    assert_eq!(talk.machine.fill_in(), None);
    talk.greeted();
    let promised =
        Some(FillIn { every: Duration::from_secs(25), promised: true, text: true, payload: b"2".to_vec() });
    assert_eq!(talk.machine.fill_in(), promised);
    talk.machine.left();
    let greeting = "0{\"sid\":\"f\",\"pingInterval\":1000,\"pingTimeout\":1000}";
    assert_eq!(talk.down(greeting), Down::Greeting { pass: false });
    assert_eq!(talk.machine.fill_in(), promised);
    assert_eq!(talk.down("2"), Down::Beat);
    assert_eq!(talk.down("3"), Down::Beat);
    assert_eq!(talk.up("3"), Up::Beat);
    assert_eq!(talk.up("1"), Up::Tell);
    assert_eq!(talk.down("1"), Down::Push);
    assert_eq!(talk.down("6"), Down::Push);
}

#[test]
fn promises_of_nothing_and_of_for_ever_have_bounds() {
    for (interval, timeout, every) in [
        ("0", "2000", Duration::from_secs(1)),
        ("0", "0", Duration::from_millis(100)),
        ("18446744073709551615", "1", Duration::from_secs(3600)),
    ] {
        let mut talk = Talk::new();
        talk.down(&format!("0{{\"pingTimeout\":{timeout}, \"pingInterval\" : {interval} }}"));
        assert_eq!(talk.machine.fill_in().map(|fill| fill.every), Some(every));
    }
    for greeting in ["0", "0{}", "0{\"pingInterval\":-1,\"pingTimeout\":1}", "0{\"pingInterval\":1", "0[]"] {
        let mut talk = Talk::new();
        assert_eq!(talk.down(greeting), Down::Greeting { pass: false });
        assert_eq!(talk.machine.fill_in(), None);
    }
}
