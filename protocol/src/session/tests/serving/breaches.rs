//! What a service must not do, each by its name: it is told, and the session goes on at another.

use super::*;
use crate::session::ServiceBreach;

/// A service that was given two messages, has committed the first, and now says this.
fn after(bytes: &[u8]) -> Rig {
    let mut rig = serving();
    says(&mut rig, &["one", "two"]);
    commits(&mut rig, 1, 1, &["1"]);
    rig.upstream();
    rig.backend_sends(bytes);
    rig
}

fn broken(rig: &mut Rig) -> Option<ServiceBreach> {
    rig.take_events().into_iter().find_map(|note| match note {
        Event::ServiceBreach(breach) => Some(breach),
        _ => None,
    })
}

/// The service is told, and the next one goes on where the last good commit was.
fn assert_breach(mut rig: Rig, name: &str) {
    let notes = rig.take_notes();
    let [Told::Event(Event::ServiceBreach(breach)), Told::Event(Event::Failed(Failure::Breach))] =
        notes.as_slice()
    else {
        panic!("{name}: {notes:?}")
    };
    assert_eq!(breach.name(), name);
    assert_eq!(rig.links[0].reader.drain(), [format!("<close 4400 {name}: {}>", breach.sentence())]);
    assert!(rig.links[0].dropped.is_some());
    rig.link_next();
    assert_eq!(got(&mut rig), ["<attach 2: applied 1, committed 1>", "two"], "{name}");
    commits(&mut rig, 2, 2, &["2"]);
    assert_eq!(rig.downstream(), ["1", "2"], "{name}: nothing of it has come to the client");
    assert_eq!((rig.session.failovers(), rig.session.ledger().upstream.lost), (1, 0));
}

fn commit(number: u64, upto: u64) -> Vec<u8> {
    Commit { number, upto, outputs: &["a breach"], ..Commit::default() }.frame()
}

#[test]
fn messages_that_are_no_envelopes() {
    let envelope = |bytes: &[u8]| plain(true, BINARY, bytes);
    let with = |at: usize, byte: u8| {
        let mut payload = Commit { number: 2, upto: 2, outputs: &["x"], ..Commit::default() }.payload();
        payload[at] = byte;
        envelope(&payload)
    };
    let cases = [
        downstream("a text"),
        downstream(""),
        downstream("C"),
        envelope(b""),
        envelope(b"C"),
        envelope(b"P\0\0"),
        envelope(b"P\0\0\x01"),
        with(1, 4),
        with(2, 1),
        with(4, 0x20),
        with(23, 1),
        with(24, 3),
        with(28, 9),
        [plain(false, BINARY, b"P\0\0\0"), plain(true, CONTINUATION, b"\x01\0\0\0\x01")].concat(),
    ];
    for bytes in cases {
        assert_breach(after(&bytes), "bad_envelope");
    }
}

#[test]
fn a_commit_that_skips_a_number() {
    assert_breach(after(&commit(3, 2)), "commit_gap");
    assert_breach(after(&commit((1 << 53) - 1, 2)), "commit_gap");
}

#[test]
fn a_commit_that_goes_back() {
    assert_breach(after(&commit(2, 0)), "commit_backwards");
}

#[test]
fn a_commit_of_what_no_backend_was_given() {
    assert_breach(after(&commit(2, 3)), "future_seq");
    assert_breach(after(&commit(2, (1 << 53) - 1)), "future_seq");
}

#[test]
fn a_message_that_was_given_in_part_was_not_given() {
    let mut rig = serving();
    rig.client_says("one");
    commits(&mut rig, 1, 1, &["1"]);
    rig.upstream();
    rig.set_backend_room(5);
    rig.client_says("two");
    rig.backend_sends(&commit(2, 2));
    assert_eq!(broken(&mut rig), Some(ServiceBreach::FutureSeq));
    assert!(rig.links[0].reader.in_the_middle(), "in the middle of a frame there is no place for a Close");
    assert_eq!((rig.links[0].reader.drain(), rig.links[0].dropped), (vec![], Some(Drop::Reset)));
    rig.set_backend_room(usize::MAX);
    rig.link_next();
    assert_eq!(got(&mut rig), ["<attach 2: applied 1, committed 1>", "two"]);
}

#[test]
fn what_one_backend_was_given_another_may_commit_and_no_more() {
    let mut rig = serving();
    says(&mut rig, &["one", "two"]);
    rig.backend_dies();
    rig.client_says("three");
    rig.backend_room = 6 + 48;
    rig.dial();
    assert!(rig.link_with(false));
    assert_eq!(rig.upstream(), ["<attach 2: applied 0, committed 0>"]);
    commits(&mut rig, 1, 2, &["both"]);
    assert_eq!(rig.downstream(), ["both"]);
    commits(&mut rig, 2, 3, &["too much"]);
    assert_eq!((broken(&mut rig), rig.downstream()), (Some(ServiceBreach::FutureSeq), vec![]));
}

#[test]
fn a_capsule_over_the_limit() {
    let limit = config().capsule_limit;
    let of = |len| {
        let capsule = "c".repeat(len);
        Commit { number: 2, upto: 2, capsule: Some(&capsule), outputs: &["x"], prompt: false }.frame()
    };
    assert_breach(after(&of(limit + 1)), "capsule_too_big");
    let mut rig = after(&of(limit));
    assert_eq!((broken(&mut rig), rig.downstream()), (None, vec!["1".to_owned(), "x".to_owned()]));
}

#[test]
fn an_output_over_the_limit() {
    let limit = config().message_limit as usize;
    let (fits, large) = ("x".repeat(limit), "x".repeat(limit + 1));
    let commit =
        |output| Commit { number: 2, upto: 2, outputs: &["before it", output], ..Commit::default() }.frame();
    assert_breach(after(&commit(&large)), "output_too_big");
    assert_breach(after(&push(&["before it", &large])), "output_too_big");
    let mut rig = after(&commit(&fits));
    assert_eq!((broken(&mut rig), rig.downstream().len()), (None, 3));
}

#[test]
fn words_before_attach() {
    for bytes in [commit(1, 0), push(&["hello"]), downstream("hello"), plain(true, BINARY, b"Zz")] {
        let mut rig = unattached_with(|_| {});
        rig.backend_dies();
        rig.set_backend_room(20);
        rig.link_next();
        rig.take_notes();
        rig.backend_sends(&bytes);
        assert_eq!((broken(&mut rig), rig.downstream()), (Some(ServiceBreach::TooEarly), vec![]));
        assert_eq!(rig.links[1].dropped, Some(Drop::Reset));
        rig.set_backend_room(usize::MAX);
        rig.link_next();
        assert_eq!(rig.upstream(), ["<attach 3: applied 0, committed 0>"]);
    }
}

#[test]
fn a_service_that_talks_and_answers_no_ping() {
    let mut rig = serving();
    rig.client_says("one");
    commits(&mut rig, 1, 1, &["1"]);
    rig.client_says("two");
    rig.upstream();
    for n in 0..300 {
        rig.wait(secs(1));
        rig.backend_sends(&push(&[]));
        assert_eq!(broken(&mut rig), None, "after {n} pushes");
    }
    rig.wait(secs(1));
    rig.session.set_unfit(rig.now);
    rig.pump();
    assert_breach(rig, "no_pong");
}

#[test]
fn what_comes_behind_a_breach_has_no_effect() {
    assert_breach(after(&[commit(3, 2), commit(2, 2), push(&["news"])].concat()), "commit_gap");
}

#[test]
fn a_breach_in_the_middle_of_a_clients_message_leaves_no_place_for_a_close() {
    let mut rig = serving();
    rig.client_sends(&masked(false, BINARY, b"half"));
    rig.backend_sends(&downstream("text"));
    assert_eq!((rig.upstream(), rig.links[0].dropped), (vec![], Some(Drop::Reset)));
    rig.link_next();
    rig.client_sends(&masked(true, CONTINUATION, b" whole"));
    assert_eq!(got(&mut rig), ["<attach 2: applied 0, committed 0>", "half whole"]);
}

#[test]
fn when_all_backends_do_the_same_the_client_is_told() {
    let mut rig = serving();
    rig.client_says("one");
    let begun = rig.now;
    while rig.downstream().is_empty() {
        rig.backend_sends(&downstream("text"));
        assert!(rig.now.since(begun) <= secs(60), "{:?}", rig.session);
        match rig.session.status() {
            Status::Waiting => rig.wait(ms(100)),
            Status::Dialing => drop(rig.link_with(false)),
            _ => {}
        }
    }
    assert!(rig.client.closed());
    assert_eq!(rig.session.ledger().upstream.lost, 1);
    rig.client_closes(1013, "");
    assert!(rig.session.ended().is_some());
}

#[test]
fn no_message_is_blamed_for_a_breach() {
    let mut rig = serving_with(|config| (config.poison_deaths, config.poison_convictions) = (1, 1));
    rig.client_says("one");
    rig.backend_sends(&downstream("text"));
    rig.link_next();
    rig.backend_sends(&downstream("text"));
    rig.link_next();
    assert!(rig.dials.iter().all(|(_, dial)| !dial.suspect));
    assert_eq!(got(&mut rig), ["<attach 3: applied 0, committed 0>", "one"]);
}

#[test]
fn sessions_that_do_not_outlive_their_backend_end_with_it() {
    let mut rig = serving_with(|config| config.failover = false);
    rig.client_says("one");
    rig.backend_sends(&commit(2, 0));
    assert_eq!(rig.downstream(), ["<close 1012 the backend failed>"]);
    assert_eq!(
        rig.links[0].reader.drain().last().map(|close| close.starts_with("<close 4400 commit_gap")),
        Some(true)
    );
    assert_eq!(rig.session.ledger().upstream.lost, 1);
}
