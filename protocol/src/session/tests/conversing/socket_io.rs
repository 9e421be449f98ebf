//! The machine of Socket.IO: what is said in several messages, connects that are answered again, and asks of servers.

use super::*;
use crate::session::tests::wire::{BINARY, masked, plain};
use crate::session::{ClientKind, Event, Status};
use steadfast_profiles::socket_io::SocketIoSettings;

pub(super) const HELLO: &str =
    r#"0{"sid":"a","upgrades":[],"pingInterval":20000,"pingTimeout":25000,"maxPayload":1000000}"#;

fn opened(settings: SocketIoSettings, change: impl FnOnce(&mut Config)) -> Rig {
    let profile = Some(Arc::new(Profile::SocketIo(Arc::new(settings))));
    Rig::open(change, Opening { epoch: 1, profile, ..Opening::default() })
}

/// A client that is connected to the main namespace.
pub(super) fn connected_with(settings: SocketIoSettings, change: impl FnOnce(&mut Config)) -> Rig {
    let mut rig = opened(settings, change);
    rig.backend_says(HELLO);
    rig.client_says("40");
    rig.backend_says(r#"40{"sid":"A"}"#);
    rig.backend_pongs();
    assert_eq!(rig.upstream(), ["40", "<ping>"]);
    assert_eq!(rig.downstream(), [HELLO, r#"40{"sid":"A"}"#]);
    rig
}

fn connected() -> Rig {
    connected_with(SocketIoSettings::default(), |_| {})
}

/// The next one is linked, greets and takes the client.
fn next(rig: &mut Rig) {
    rig.link_next();
    rig.backend_says(HELLO);
    rig.backend_says(r#"40{"sid":"B"}"#);
}

fn binary_up(payload: &[u8]) -> Vec<u8> {
    masked(true, BINARY, payload)
}

#[test]
fn an_event_that_is_larger_than_the_ring_comes_to_its_end() {
    let mut rig = connected_with(SocketIoSettings::default(), |config| config.ring_limit = 1000);
    rig.client_says(r#"453-["files",{"_placeholder":true,"num":0}]"#);
    for part in 0..3u8 {
        rig.client_sends(&binary_up(&[part; 800]));
    }
    assert_eq!(rig.client_pushed_back(), 0, "the end of the event is read");
    assert_eq!(messages(rig.upstream()).len(), 4);
    rig.client_says(r#"42["next"]"#);
    pongs(&mut rig);
    assert_eq!(messages(rig.upstream()), [r#"42["next"]"#]);
}

#[test]
fn an_event_without_end_is_not_kept_for_ever() {
    let mut rig = connected_with(SocketIoSettings::default(), |config| {
        (config.ring_limit, config.message_limit) = (1000, 5000);
    });
    rig.take_notes();
    rig.client_says(r#"45100000-["files"]"#);
    for part in 0..100u8 {
        rig.client_sends(&binary_up(&[part; 800]));
        pongs(&mut rig);
    }
    let unsaveable = |event: &Event| matches!(event, Event::Unsaveable(_));
    assert_eq!(rig.take_events().iter().filter(|event| unsaveable(event)).count(), 1);
    assert_eq!(messages(rig.upstream()).len(), 101, "it goes on as it came");
    rig.backend_dies();
    assert!(rig.session.begins_anew());
}

#[test]
fn what_cannot_be_saved_is_not_taken_to_the_next_one_when_there_is_none() {
    for stage in ["waiting", "greeting", "prologue"] {
        let mut rig = connected();
        rig.backend_dies();
        rig.upstream();
        rig.downstream();
        match stage {
            "greeting" => rig.link_next(),
            "prologue" => {
                rig.link_next();
                rig.backend_says(HELLO);
            }
            _ => {}
        }
        rig.client_says("no packet");
        rig.pump();
        if rig.session.wants_dial()
            || rig.session.status() != Status::Closing && rig.session.orphaned().is_none()
        {
            next(&mut rig);
        }
        assert_eq!(rig.downstream(), Vec::<String>::new(), "{stage}: nothing of a second conversation");
        assert!(rig.session.orphaned().is_some(), "{stage}: {:?}", rig.session.status());
        rig.wait(secs(10));
        assert!(rig.downstream().iter().any(|said| said.starts_with("<close 1012")), "{stage}");
    }
}

#[test]
fn a_backends_event_without_end_is_not_kept_for_ever() {
    let mut rig = connected_with(SocketIoSettings::default(), |config| {
        (config.ring_limit, config.message_limit) = (1000, 5000);
    });
    rig.take_notes();
    rig.backend_says(r#"45100000-["files"]"#);
    for part in 0..100u8 {
        rig.backend_sends(&plain(true, BINARY, &[part; 800]));
        assert!(rig.session.buffered() < 8000, "{}", rig.session.buffered());
    }
    assert_eq!(rig.downstream().len(), 101, "it goes on as it came");
    assert!(rig.session.begins_anew());
}

#[test]
fn a_client_that_comes_back_in_the_middle_of_an_event_begins_it_anew() {
    let profile = Some(Arc::new(Profile::SocketIo(Arc::default())));
    let client = ClientKind::Returning;
    let mut rig = Rig::open(|_| {}, Opening { epoch: 1, profile, client, ..Opening::default() });
    rig.backend_says(HELLO);
    rig.client_says("40");
    rig.backend_says(r#"40{"sid":"A"}"#);
    pongs(&mut rig);
    let head = r#"452-["files",{"_placeholder":true,"num":0}]"#;
    rig.client_says("42[\"before\"]");
    rig.client_says(head);
    rig.client_sends(&binary_up(b"one"));
    rig.upstream();
    rig.client_goes();
    rig.client_back(None, 2).expect("it may come back");
    rig.client_says("42[\"other\"]");
    assert_eq!(messages(rig.upstream()), ["42[\"other\"]"]);
    rig.client_says(head);
    rig.client_sends(&binary_up(b"one"));
    assert_eq!(rig.upstream(), Vec::<String>::new());
    rig.client_sends(&binary_up(b"two"));
    assert_eq!(messages(rig.upstream()).len(), 3);
    rig.client_says("42[\"behind\"]");
    assert_eq!(messages(rig.upstream()), ["42[\"behind\"]"]);
    pongs(&mut rig);
    assert_eq!(rig.session.unacknowledged(), 0);
    assert_eq!(rig.session.ledger().upstream.forwarded, 7);
}

#[test]
fn an_event_that_was_cut_upstream_is_heard_whole_and_once() {
    let mut rig = connected();
    rig.client_says("42[\"before\"]");
    let head = r#"452-["files",{"_placeholder":true,"num":0}]"#;
    rig.client_says(head);
    rig.client_sends(&binary_up(b"one"));
    // Its pong comes between the parts.
    pongs(&mut rig);
    rig.backend_dies();
    rig.upstream();
    rig.client_sends(&binary_up(b"two"));
    next(&mut rig);
    let got = messages(rig.upstream());
    assert_eq!(got.len(), 4, "{got:?}");
    assert_eq!(got[..2], ["40", head]);
    assert!(got[2].contains("one") && got[3].contains("two"), "{got:?}");
    pongs(&mut rig);
    rig.backend_dies();
    rig.upstream();
    rig.downstream();
    next(&mut rig);
    assert_eq!(messages(rig.upstream()), ["40"], "it was acknowledged");
}

#[test]
fn half_an_event_of_a_backends_is_not_given() {
    let mut rig = connected();
    rig.backend_says(r#"452-["files",{"_placeholder":true,"num":0}]"#);
    rig.backend_sends(&plain(true, BINARY, b"one"));
    rig.backend_dies();
    next(&mut rig);
    rig.backend_says("42[\"text\"]");
    assert_eq!(rig.downstream(), [r#"40{"sid":"B"}"#, "42[\"text\"]"]);
}

#[test]
fn a_connect_that_is_hidden_is_not_heard_again_and_pushes_before_it_are() {
    for hide in [false, true] {
        let mut rig = connected_with(SocketIoSettings { hide, ..SocketIoSettings::default() }, |_| {});
        rig.client_says("40/admin,{\"token\":1}");
        rig.backend_says("40/admin,{\"sid\":\"a\"}");
        pongs(&mut rig);
        rig.client_says("42/admin,7[\"ask\"]");
        rig.backend_dies();
        rig.upstream();
        rig.downstream();
        rig.link_next();
        assert_eq!(rig.upstream(), Vec::<String>::new(), "it has not greeted");
        rig.backend_says(HELLO);
        assert_eq!(messages(rig.upstream()), ["40"]);
        rig.backend_says("42[\"early\"]");
        rig.backend_says(r#"40{"sid":"B"}"#);
        assert_eq!(messages(rig.upstream()), ["40/admin,{\"token\":1}"]);
        rig.backend_says("40/admin,{\"sid\":\"b\"}");
        assert_eq!(messages(rig.upstream()), ["42/admin,7[\"ask\"]"]);
        rig.backend_says("43/admin,7[1]");
        let announced: &[&str] =
            &["42[\"early\"]", r#"40{"sid":"B"}"#, "40/admin,{\"sid\":\"b\"}", "43/admin,7[1]"];
        let hidden: &[&str] = &["42[\"early\"]", "43/admin,7[1]"];
        assert_eq!(rig.downstream(), if hide { hidden } else { announced });
    }
}

#[test]
fn what_two_servers_ask_by_the_same_id_is_told_apart() {
    let mut rig = connected();
    rig.backend_says("420[\"of A\"]");
    rig.backend_dies();
    rig.upstream();
    rig.downstream();
    next(&mut rig);
    rig.backend_says("420[\"of B\"]");
    let heard = rig.downstream();
    let renamed =
        heard.last().and_then(|said| said.strip_prefix("42")?.strip_suffix("[\"of B\"]")).expect("B's ask");
    assert_ne!(renamed, "0", "the client still owes A that one");
    rig.client_says("430[\"to A\"]");
    rig.client_says(&format!("43{renamed}[\"to B\"]"));
    assert_eq!(messages(rig.upstream()), ["40", "430[\"to B\"]"]);
}

#[test]
fn the_client_has_signs_of_life_and_its_answers_stay_here() {
    let mut rig = connected();
    rig.backend_dies();
    rig.dial();
    rig.upstream();
    rig.downstream();
    rig.wait(secs(21));
    assert_eq!(rig.downstream(), ["2"]);
    rig.client_says("3");
    assert!(rig.link_with(false));
    rig.backend_says(HELLO);
    rig.backend_says(r#"40{"sid":"B"}"#);
    rig.backend_says("2");
    rig.client_says("3");
    assert_eq!(messages(rig.upstream()), ["40", "3"], "one sign of life was asked for by this backend");
}

#[test]
fn a_client_that_two_servers_refuse_hears_nothing_of_it_but_a_close() {
    let mut rig = connected();
    for _ in 0..2 {
        rig.backend_dies();
        rig.upstream();
        rig.downstream();
        rig.link_next();
        rig.backend_says(HELLO);
        rig.backend_says(r#"44{"message":"no"}"#);
    }
    rig.wait(secs(10));
    let heard = rig.downstream();
    assert!(heard.len() == 1 && heard[0].starts_with("<close 1012"), "{heard:?}");
}
