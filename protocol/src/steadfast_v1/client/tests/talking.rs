//! Messages both ways on a connection that is welcomed.

use super::rig::{Rig, ms};
use crate::steadfast_v1::client::{Event, Fate, Outgoing, SendError};

#[test]
fn messages_keep_their_order_and_their_kind() {
    let mut rig = Rig::open();
    assert_eq!(rig.client.send(true, b"text"), Ok(1));
    assert_eq!(rig.client.send(false, &[0, 255]), Ok(2));
    let outgoing = |text, message: &[u8]| Some(Outgoing { text, message: message.to_vec() });
    assert_eq!(rig.client.poll_transmit(rig.now), outgoing(true, b"mtext"));
    assert_eq!(rig.client.poll_transmit(rig.now), outgoing(false, &[b'm', 0, 255]));
    assert_eq!(rig.client.poll_transmit(rig.now), None);
}

#[test]
fn what_comes_is_counted_whatever_it_holds() {
    let mut rig = Rig::open();
    assert_eq!(rig.hear("mone"), Some(1));
    assert_eq!(rig.client.handle_message(rig.now, false, b"m"), Some(2), "an empty one of the application's");
    assert_eq!(rig.hear("mw is no welcome"), Some(3));
}

#[test]
fn what_a_later_version_says_is_skipped() {
    let mut rig = Rig::open();
    let id = rig.send("one");
    rig.written();
    assert_eq!(rig.hear("z who knows"), None);
    assert_eq!(rig.client.handle_message(rig.now, false, &[0; 5000]), None);
    assert_eq!(rig.hear("a 1 0 and more"), None);
    assert_eq!(rig.events(), [Event::Progress { received: id, committed: 0 }]);
}

#[test]
fn acknowledgements_tell_what_became_of_messages() {
    let mut rig = Rig::open();
    let (one, two) = (rig.send("one"), rig.send("two"));
    assert_eq!(rig.client.fate(one), Some(Fate::Kept));
    rig.written();
    rig.hear("a 1 0");
    rig.hear("a 2 1");
    assert_eq!(rig.events(), [Event::Progress { received: 2, committed: 1 }], "both steps in one");
    assert_eq!(rig.client.fate(one), Some(Fate::Committed));
    assert_eq!((rig.client.fate(two), rig.client.fate(3)), (Some(Fate::Received), None));
    assert!(rig.client.is_delivered());
    rig.hear("a 2 1");
    assert_eq!(rig.events(), [], "nothing new");
}

#[test]
fn acks_wait_a_while() {
    let mut rig = Rig::open();
    rig.hear("mone");
    assert_eq!(rig.written(), [""; 0]);
    assert_eq!(rig.client.poll_timeout(), Some(rig.now + ms(100)));
    rig.wait(ms(50));
    rig.hear("mtwo");
    rig.wait(ms(50));
    assert_eq!(rig.written(), ["a 2"]);
    rig.wait(ms(500));
    assert_eq!(rig.written(), [""; 0], "once");
}

#[test]
fn acks_ride_in_front_of_messages() {
    let mut rig = Rig::open();
    rig.hear("mone");
    rig.send("answer");
    assert_eq!(rig.written(), ["a 1", "manswer"]);
}

#[test]
fn many_messages_are_acknowledged_at_once() {
    let mut rig = Rig::open();
    for _ in 0..64 {
        rig.hear("m");
    }
    assert_eq!(rig.written(), ["a 64"]);
}

#[test]
fn a_full_buffer_takes_no_more_until_the_broker_has_some() {
    let mut rig = Rig::open();
    let big = vec![0; 4 * 1024 * 1024];
    assert_eq!(rig.client.send(false, &big), Ok(1));
    assert_eq!((rig.client.send(true, b"more"), rig.client.has_room()), (Err(SendError::Full), false));
    rig.client.poll_transmit(rig.now);
    assert_eq!(rig.client.send(true, b"more"), Err(SendError::Full), "written is not received");
    rig.hear("a 1 0");
    assert_eq!(rig.client.send(true, b"more"), Ok(2));
}

#[test]
fn a_message_that_no_broker_takes_is_refused() {
    let mut rig = Rig::open();
    let limit = 16 * 1024 * 1024 - 1;
    let sent = rig.client.send(false, &vec![0; limit + 1]);
    assert_eq!(sent, Err(SendError::TooBig { len: limit + 1, limit }));
}
