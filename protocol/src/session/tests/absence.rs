//! Clients that may come back: how long a session lasts for one, and what is read for it meanwhile.

use super::rig::{Rig, config, secs};
use super::wire::{BINARY, down, plain};
use crate::session::{Cause, ClientKind, Config, Opening, State};
use crate::shim::client_wire::{Reason, Resume, Token};

const SESSION: [u8; 16] = [7; 16];

/// A session whose client links the shim. Its tokens have the secrets 1, 2 ...
fn linked(change: impl FnOnce(&mut Config)) -> Rig {
    let client = ClientKind::Shim { secret: [1; 32], reason: Reason::New };
    let mut rig = Rig::open(change, Opening { session: SESSION, client, ..Opening::default() });
    rig.pump();
    assert!(rig.down()[0].ends_with(" fresh new"));
    rig
}

fn resume(secret: u8, last: u64) -> Resume {
    Resume { token: Token::new(SESSION, [secret; 32]), last }
}

/// The client comes back with its first token.
fn back(rig: &mut Rig, last: u64) -> Result<Vec<String>, Reason> {
    rig.client_back(Some(&resume(1, last)), 2)?;
    let mut down = rig.down();
    let welcome = down.remove(0);
    assert!(welcome.contains(" resumed "), "{welcome}");
    Ok(down)
}

fn cause(rig: &Rig) -> Option<Cause> {
    rig.session.ended().map(|end| end.cause)
}

#[test]
fn what_a_service_has_said_last_waits_for_a_client_that_was_lost_behind_it() {
    let mut rig = linked(|_| {});
    rig.backend_says("last");
    rig.backend_closes(1000, "done");
    assert_eq!(
        rig.down(),
        ["mlast", "<close 1000 done>"],
        "the socket took it, and the client never read it"
    );
    rig.client_goes();
    rig.wait(config().resume_window - secs(1));
    assert_eq!(back(&mut rig, 0), Ok(vec!["mlast".to_owned(), "<close 1000 done>".into()]));
    rig.client_sends(&super::wire::up("a 1"));
    rig.client_closes(1000, "done");
    assert_eq!(cause(&rig), Some(Cause::BackendClose));
}

#[test]
fn what_a_service_has_said_last_waits_for_a_client_that_only_seems_to_be_there() {
    let mut rig = linked(|_| {});
    rig.backend_says("last");
    rig.backend_closes(1000, "done");
    rig.wait(config().close_timeout + secs(1));
    assert!(!rig.session.wants_client(), "a Close that is not answered is a lost connection");
    assert_eq!(back(&mut rig, 0), Ok(vec!["mlast".to_owned(), "<close 1000 done>".into()]));
    rig.client_sends(&super::wire::up("a 1"));
    rig.client_goes();
    assert_eq!(cause(&rig), Some(Cause::BackendClose), "it has everything, so nothing waits for it");
}

#[test]
fn last_words_wait_no_longer_than_the_window() {
    let mut rig = linked(|_| {});
    rig.backend_says("last");
    rig.backend_closes(1000, "done");
    rig.client_goes();
    rig.wait(config().resume_window);
    assert_eq!((cause(&rig), rig.session.ledger().down.lost), (Some(Cause::BackendClose), 0));
}

#[test]
fn nobody_who_was_sent_away_by_an_operator_is_waited_for() {
    for answers in [true, false] {
        let mut rig = linked(|_| {});
        rig.backend_says("one");
        assert!(rig.session.abort(rig.now, 1008, "no more"));
        rig.pump();
        rig.backend_closes(1008, "");
        assert_eq!(back(&mut rig, 0), Err(Reason::Unknown), "nor taken back");
        if answers {
            rig.client_goes();
        } else {
            rig.wait(config().close_timeout);
        }
        assert_eq!(cause(&rig), Some(Cause::Aborted));
    }
}

#[test]
fn once_the_door_is_closed_nobody_is_waited_for() {
    let mut away = linked(|_| {});
    away.client_goes();
    assert_eq!(away.session.state(), State::Detached);
    away.session.close_door(away.now, 1001);
    away.pump();
    assert_eq!(away.up(), ["<close 1001 the service is going away>"]);
    away.backend_closes(1001, "");
    assert_eq!(cause(&away), Some(Cause::Shutdown));

    let mut connected = linked(|_| {});
    connected.session.close_door(connected.now, 1001);
    connected.client_sends(&super::wire::up("mgoes on"));
    assert_eq!(connected.up()[0], "goes on");
    connected.client_goes();
    connected.backend_pongs();
    assert_eq!(cause(&connected), Some(Cause::ClientGone));
}

/// What a message takes besides its payload must not keep its end from being read.
#[test]
fn a_message_of_the_largest_size_comes_to_its_end() {
    const LIMIT: usize = 100_000;
    let mut rig = linked(|config| (config.message_limit, config.ring_limit) = (LIMIT as u32, LIMIT));
    let frame = plain(true, BINARY, &[7; LIMIT]);
    let (most, end) = frame.split_at(frame.len() - 3);
    let before = rig.client.bytes.len();
    rig.backend_sends(most);
    rig.backend_sends(end);
    assert_eq!(rig.client.bytes.len() - before, LIMIT + 1 + 10);
}

#[test]
fn a_message_comes_to_its_end_however_short_memory_is() {
    let mut rig = linked(|_| {});
    assert!(rig.session.set_memory_short(true), "that is news");
    assert!(!rig.session.set_memory_short(true));
    let frame = plain(true, BINARY, &[7; 1 << 20]);
    let before = rig.client.bytes.len();
    frame.chunks(50_000).for_each(|piece| rig.backend_sends(piece));
    assert_eq!(rig.client.bytes.len() - before, (1 << 20) + 1 + 10);
    rig.backend_says("not read yet");
    assert!(!rig.session.wants_backend(), "too much is kept for the client");
    rig.client_sends(&super::wire::up("a 1"));
    assert_eq!(rig.down().last().map(String::as_str), Some("mnot read yet"));
}

#[test]
fn plain_backends_are_read_for_a_client_that_is_away_up_to_the_limit() {
    let mut rig = linked(|config| (config.message_limit, config.ring_limit) = (1000, 2000));
    rig.client_goes();
    for _ in 0..10 {
        rig.backend_sends(&down(&"x".repeat(900)));
    }
    assert!(!rig.session.wants_backend());
    assert!((2000..3000).contains(&rig.session.buffered()), "{} bytes", rig.session.buffered());
    assert!(rig.session.set_memory_short(true));
    assert_eq!(back(&mut rig, 0).map(|down| down.len()), Ok(3));
}
