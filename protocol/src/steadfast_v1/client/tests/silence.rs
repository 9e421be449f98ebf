//! Connections that are half open: nobody says so, and nothing comes.

use super::rig::{Rig, ms, secs};
use crate::steadfast_v1::client::{Command, Event, Loss};

#[test]
fn a_silent_broker_is_asked_and_then_left() {
    let mut rig = Rig::open();
    assert_eq!(rig.client.poll_timeout(), Some(rig.now + secs(20)));
    rig.wait(ms(19_999));
    assert_eq!(rig.written(), [""; 0]);
    rig.wait(ms(1));
    assert_eq!(rig.written(), ["q"]);
    rig.wait(ms(9_999));
    assert_eq!((rig.written(), rig.command()), (vec![], None), "asked once");
    rig.wait(ms(1));
    assert_eq!(rig.command(), Some(Command::Abandon { close: None }));
    assert_eq!(rig.events(), [Event::Lost(Loss::Silent)]);
    rig.connect();
}

#[test]
fn any_sign_of_life_will_do() {
    let mut rig = Rig::open();
    rig.wait(secs(20));
    assert_eq!(rig.written(), ["q"]);
    rig.wait(secs(9));
    rig.hear("a 0 0");
    rig.wait(secs(19));
    rig.client.handle_alive(rig.now);
    rig.wait(secs(19));
    assert_eq!((rig.written(), rig.command()), (vec![], None));
    rig.wait(secs(1));
    assert_eq!(rig.written(), ["q"]);
}

#[test]
fn a_question_that_could_not_be_written_is_given_up_too() {
    let mut rig = Rig::open();
    rig.wait(secs(20));
    rig.wait(secs(10));
    assert_eq!(rig.command(), Some(Command::Abandon { close: None }));
}

#[test]
fn who_does_not_read_does_not_judge() {
    let mut rig = Rig::open();
    rig.client.set_reading(rig.now, false);
    assert_eq!(rig.client.poll_timeout(), None);
    rig.wait(secs(100));
    assert_eq!(rig.written(), [""; 0]);
    rig.client.set_reading(rig.now, true);
    assert_eq!(rig.client.poll_timeout(), Some(rig.now + secs(20)));
    rig.wait(secs(20));
    assert_eq!(rig.written(), ["q"]);
}
