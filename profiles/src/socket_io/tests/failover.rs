//! What servers ask by the same ids.

use super::super::SocketIoSettings;
use super::super::owed::{FIRST_ALIAS, OWED_MAX};
use super::Talk;
use crate::{Down, Key, Up};

fn talk() -> Talk {
    Talk::connected(SocketIoSettings::default(), &["", "/n,"])
}

fn asks(verdict: Down) -> Key {
    match verdict {
        Down::Asks(key) => key,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_ask_by_an_owed_id_gets_another_and_its_acknowledgement_the_old_one() {
    let mut talk = talk();
    let first = asks(talk.down("42/n,0[\"q\",\"A\"]"));
    talk.machine.left();
    let (verdict, instead) = talk.down_words("42/n,0[\"q\",\"B\"]");
    let second = asks(verdict);
    assert_ne!(first, second);
    assert_eq!(instead.as_deref(), Some("42/n,1000000000[\"q\",\"B\"]"));
    // Another namespace has ids of its own.
    asks(talk.down("420[\"q\"]"));

    assert_eq!(talk.up("43/n,0[\"to A\"]"), Up::Reply(first));
    let (verdict, instead) = talk.up_words("43/n,1000000000[\"to B\"]");
    assert_eq!(verdict, Up::Reply(second));
    assert_eq!(instead.as_deref(), Some("43/n,0[\"to B\"]"));
    // Nothing is owed, so the id is free.
    talk.machine.left();
    assert_eq!(asks(talk.down("42/n,0[\"q\",\"C\"]")), first);
}

#[test]
fn the_same_server_may_use_an_id_again() {
    let mut talk = talk();
    let first = asks(talk.down("420[\"q\"]"));
    assert_eq!(asks(talk.down("420[\"q\"]")), first);
    assert_eq!(talk.machine.owed.len(), 1);
}

#[test]
fn heads_of_units_are_renamed_both_ways() {
    let mut talk = talk();
    assert_eq!(talk.down("451-3[\"q\"]"), Down::More);
    let first = asks(talk.down("#00"));
    talk.machine.left();
    let (verdict, instead) = talk.down_words("452-3[\"q\"]");
    assert_eq!((verdict, instead.as_deref()), (Down::More, Some("452-1000000000[\"q\"]")));
    assert_eq!(talk.down("#00"), Down::More);
    let second = asks(talk.down("#01"));
    assert_ne!(first, second);
    let (verdict, instead) = talk.up_words("461-1000000000[{}]");
    assert_eq!((verdict, instead.as_deref()), (Up::More, Some("461-3[{}]")));
    assert_eq!(talk.up("#00"), Up::Reply(second));
    assert_eq!(talk.up("461-3[{}]"), Up::More);
    assert_eq!(talk.up("#00"), Up::Reply(first));
    assert_eq!(talk.machine.owed.len(), 0);
}

#[test]
fn a_made_up_id_is_never_one_that_is_in_use() {
    let mut talk = talk();
    asks(talk.down("420[\"q\"]"));
    asks(talk.down("421000000000[\"q\"]"));
    talk.machine.left();
    let (_, instead) = talk.down_words("420[\"q\"]");
    assert_eq!(instead.as_deref(), Some("421000000001[\"q\"]"));
    // A server that counts this far itself.
    let (_, instead) = talk.down_words("421000000001[\"q\"]");
    assert_eq!(instead.as_deref(), Some("421000000002[\"q\"]"));
    let (_, instead) = talk.up_words("431000000002[]");
    assert_eq!(instead.as_deref(), Some("431000000001[]"));
}

#[test]
fn ids_are_renamed_over_many_backends() {
    let mut talk = talk();
    let mut keys = vec![asks(talk.down("420[\"q\"]"))];
    for link in 0..5 {
        talk.machine.left();
        let (verdict, instead) = talk.down_words("420[\"q\"]");
        assert_eq!(instead, Some(format!("42{}[\"q\"]", FIRST_ALIAS + link)));
        keys.push(asks(verdict));
    }
    let all: std::collections::HashSet<_> = keys.iter().collect();
    assert_eq!(all.len(), keys.len());
}

#[test]
fn what_the_client_has_not_heard_whole_is_not_owed() {
    let mut talk = talk();
    assert_eq!(talk.down("451-0[\"q\"]"), Down::More);
    talk.machine.left();
    asks(talk.down("420[\"q\"]"));
}

#[test]
fn half_an_acknowledgement_is_owed_still() {
    let mut talk = talk();
    let first = asks(talk.down("420[\"q\"]"));
    assert_eq!(talk.up("461-0[{}]"), Up::More);
    talk.machine.left();
    let (verdict, instead) = talk.down_words("420[\"q\"]");
    assert!(instead.is_some());
    assert_ne!(asks(verdict), first);
    assert_eq!(talk.up("#00"), Up::Reply(first));
}

#[test]
fn what_lies_behind_the_window_follows_as_it_is() {
    let mut talk = talk();
    asks(talk.down("420[\"q\"]"));
    talk.machine.left();
    let mut words = crate::Words::default();
    let message = crate::Message { text: true, payload: b"420[\"q\",\"begins", whole: false };
    asks(talk.machine.down(message, &mut words));
    assert_eq!(words.instead.as_deref(), Some(&b"421000000000[\"q\",\"begins"[..]));
}

#[test]
fn owed_asks_have_a_bound() {
    let mut talk = talk();
    for id in 0..3 * OWED_MAX {
        asks(talk.down(&format!("42{id}[\"q\"]")));
        assert!(talk.machine.owed.len() <= OWED_MAX);
    }
    talk.machine.left();
    // The oldest are forgotten, the youngest are not.
    asks(talk.down("420[\"q\"]"));
    assert!(talk.down_words(&format!("42{}[\"q\"]", 3 * OWED_MAX - 1)).1.is_some());
    assert_eq!(talk.machine.owed.len(), OWED_MAX);
}
