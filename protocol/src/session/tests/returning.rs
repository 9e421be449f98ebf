//! Clients that come back: what they are told, what they get again, and when they are not waited for any more.

mod absence;
mod acks;
mod breaches;
mod last_words;
mod plainly;
mod restoring;
mod resuming;
mod tokens;

use super::rig::{Drop, Rig, config, ms, secs};
use super::wire::{BINARY, CONTINUATION, Commit, PING, PONG, TEXT, masked, plain, push, upstream};
use crate::session::{AckMode, ClientKind, Config, EndCause, Event, Failure, Opening, Status};
use crate::steadfast_v1::client_wire::{Reason, Resume, Token};

const NAME: [u8; 16] = [7; 16];

/// The session's token with this secret.
fn token(secret: u8) -> Token {
    Token::new(NAME, [secret; 32])
}

fn resume(secret: u8, last: u64) -> Resume {
    Resume { token: token(secret), last }
}

/// What a session is welcomed with.
fn welcome(secret: u8, standing: &str) -> String {
    format!("w {} {} 120000 {standing}", "07".repeat(16), token(secret).text())
}

fn open(client: ClientKind, change: impl FnOnce(&mut Config)) -> Rig {
    let mut rig = Rig::open(change, Opening { session: NAME, epoch: 1, client, ..Opening::default() });
    rig.pump();
    rig
}

fn shim_with(change: impl FnOnce(&mut Config)) -> Rig {
    let mut rig = open(ClientKind::Shim { secret: [1; 32], reason: Reason::New }, change);
    assert_eq!(rig.downstream(), [welcome(1, "fresh new")]);
    rig
}

/// A client that links the shim, before a plain backend.
fn shim() -> Rig {
    shim_with(|_| {})
}

/// The same before a service that links the shim too.
fn shim_served() -> Rig {
    let mut rig = shim_with(|config| config.ack = AckMode::Shim);
    assert_eq!(rig.upstream(), ["<attach 1: applied 0, committed 0>"]);
    rig
}

/// Both, to see that they make no difference for the client.
fn both() -> [Rig; 2] {
    [shim(), shim_served()]
}

/// Both, with other settings.
fn both_with(change: impl Fn(&mut Config)) -> [Rig; 2] {
    let served = |config: &mut Config| {
        config.ack = AckMode::Shim;
        change(config);
    };
    [shim_with(&change), shim_with(served)]
}

/// The application says this.
fn answers(rig: &mut Rig, text: &str) {
    match rig.session.commits().is_some() {
        true => rig.backend_sends(&push(&[text])),
        false => rig.backend_says(text),
    }
}

/// What the backend has got, but for pings and ATTACH.
fn got(rig: &mut Rig) -> Vec<String> {
    let mut got = rig.upstream();
    got.retain(|frame| !frame.starts_with("<notice") && !frame.starts_with("<attach") && frame != "<ping>");
    got
}

/// What the client has got, but for acknowledgements.
fn heard(rig: &mut Rig) -> Vec<String> {
    let mut heard = rig.downstream();
    heard.retain(|frame| !frame.starts_with("a "));
    heard
}

/// The client comes back with this token, and has this much.
fn comes_back(rig: &mut Rig, secret: u8, last: u64, next: u8) {
    assert_eq!(rig.client_back(Some(&resume(secret, last)), next), Ok(()));
}

/// The client comes back with its first token. What it gets behind the welcome, or why it does not.
fn back(rig: &mut Rig, last: u64) -> Result<Vec<String>, Reason> {
    rig.client_back(Some(&resume(1, last)), 2)?;
    let mut downstream = rig.downstream();
    let welcome = downstream.remove(0);
    assert!(welcome.contains(" resumed "), "{welcome}");
    Ok(downstream)
}

#[test]
fn the_welcome_comes_first_whatever_the_socket_takes() {
    for room in 1..200 {
        let kind = ClientKind::Shim { secret: [1; 32], reason: Reason::New };
        let mut rig =
            Rig::open(|_| {}, Opening { session: NAME, epoch: 1, client: kind, ..Opening::default() });
        rig.client_room = room;
        rig.backend_says("at once");
        rig.client_sends(&masked(true, PING, b"?"));
        rig.set_client_room(usize::MAX);
        let downstream = rig.downstream();
        assert_eq!(downstream[0], welcome(1, "fresh new"), "room {room}");
        assert!(downstream.contains(&"mat once".to_owned()) && downstream.contains(&"<pong ?>".to_owned()));
    }
}

#[test]
fn why_a_session_is_a_new_one() {
    for (reason, word) in
        [(Reason::New, "new"), (Reason::Unknown, "unknown"), (Reason::Stale, "stale"), (Reason::Seq, "seq")]
    {
        let mut rig = open(ClientKind::Shim { secret: [9; 32], reason }, |_| {});
        assert_eq!(rig.downstream(), [welcome(9, &format!("fresh {word}"))]);
    }
}

#[test]
fn a_session_that_is_not_kept_says_so() {
    let kind = ClientKind::Shim { secret: [1; 32], reason: Reason::New };
    let mut rig = open(kind, |config| config.resume_window = ms(0));
    assert_eq!(rig.downstream(), [format!("w {} {} 0 fresh new", "07".repeat(16), token(1).text())]);
    rig.client_goes();
    assert_eq!(rig.session.ended().map(|end| end.cause), Some(EndCause::ClientGone));
}

#[test]
fn messages_lose_their_kind_on_the_way_up_and_get_it_on_the_way_down() {
    for mut rig in both() {
        rig.client_sends(&upstream("a 0"));
        rig.client_says("mone");
        rig.client_sends(&[masked(false, BINARY, b"mtw"), masked(true, CONTINUATION, b"o")].concat());
        rig.client_says("m");
        rig.client_sends(&masked(true, BINARY, &[b'?'; 100_000]));
        assert_eq!(got(&mut rig), ["one", "two", ""]);
        answers(&mut rig, "answer");
        answers(&mut rig, "");
        answers(&mut rig, &"x".repeat(70_000));
        assert_eq!(heard(&mut rig), ["manswer".to_owned(), "m".into(), format!("m{}", "x".repeat(70_000))]);
    }
}

#[test]
fn large_messages_are_read_straight_to_where_they_are_kept() {
    for size in [16_384, 16_385, 65_536, 200_000] {
        let text = "x".repeat(size);
        for mut rig in both() {
            let frame = upstream(&format!("m{text}"));
            for piece in frame.chunks(10_000) {
                rig.client_sends(piece);
            }
            assert!(got(&mut rig) == [text.as_str()], "{size} bytes up");
            match rig.session.commits().is_some() {
                true => push(&[&text]).chunks(10_000).for_each(|piece| rig.backend_sends(piece)),
                false => {
                    super::wire::downstream(&text).chunks(10_000).for_each(|piece| rig.backend_sends(piece))
                }
            }
            assert!(heard(&mut rig) == [format!("m{text}")], "{size} bytes down");
        }
    }
}

/// An open message is nobody's but the broker's until its end is there: its client may begin it anew.
#[test]
fn half_a_message_does_not_go_on() {
    for mut rig in both() {
        rig.client_sends(&masked(false, TEXT, b"mhalf"));
        rig.client_sends(&masked(true, PING, b"!"));
        assert_eq!((got(&mut rig), heard(&mut rig)), (vec![], vec!["<pong !>".to_owned()]));
        assert!(!rig.links[0].reader.in_the_middle());
        rig.client_sends(&masked(true, CONTINUATION, b" whole"));
        assert_eq!(got(&mut rig), ["half whole"]);
    }
}

#[test]
fn a_clients_close_ends_the_session() {
    for mut rig in both() {
        rig.client_says("mone");
        answers(&mut rig, "unacknowledged");
        rig.client_closes(1001, "page left");
        assert_eq!(got(&mut rig), ["one", "<close 1001 page left>"]);
        if rig.session.commits().is_some() {
            rig.backend_sends(
                &Commit { number: 1, upto: 1, outputs: &["last"], ..Commit::default() }.frame(),
            );
        } else {
            answers(&mut rig, "last");
        }
        rig.backend_closes(1001, "page left");
        assert_eq!(heard(&mut rig), ["munacknowledged", "mlast", "<close 1001 page left>"]);
        assert_eq!(rig.session.ended().map(|end| end.cause), Some(EndCause::ClientClose));
        assert_eq!(rig.session.resumable(&resume(1, 0)), Err(Reason::Unknown));
        assert_eq!(rig.session.ledger().upstream.lost, 0);
    }
}

/// The two directions of one session, each over all connections.
#[test]
fn a_session_over_several_connections_and_backends() {
    let mut rig = shim_served();
    rig.client_sends(&[upstream("a 0"), upstream("madd 2"), upstream("madd 3")].concat());
    rig.backend_sends(
        &Commit { number: 1, upto: 2, capsule: Some("5"), outputs: &["5"], prompt: true }.frame(),
    );
    rig.wait(ms(50));
    assert_eq!(rig.downstream(), ["a 2 2", "m5"]);
    rig.client_sends(&[upstream("a 1"), upstream("madd 4")].concat());
    rig.client_goes();
    assert_eq!(rig.session.status(), Status::Detached);
    rig.backend_dies();
    rig.link_next();
    assert_eq!(rig.upstream(), ["<attach 2: applied 1, committed 2 capsule \"5\">", "add 4", "<notice 1>"]);
    rig.backend_sends(
        &Commit { number: 2, upto: 3, capsule: Some("9"), outputs: &["9"], ..Commit::default() }.frame(),
    );
    comes_back(&mut rig, 1, 1, 2);
    assert_eq!(rig.downstream(), [welcome(2, "resumed 3 3"), "m9".into()]);
    rig.client_sends(&upstream("a 2"));
    rig.client_goes();
    comes_back(&mut rig, 2, 2, 3);
    assert_eq!(rig.downstream(), [welcome(3, "resumed 3 3")]);
    let ledger = rig.session.ledger();
    assert_eq!((ledger.upstream.forwarded, ledger.upstream.acknowledged, ledger.upstream.lost), (3, 3, 0));
    assert_eq!(
        (ledger.downstream.forwarded, ledger.downstream.acknowledged, ledger.downstream.lost),
        (2, 2, 0)
    );
}
