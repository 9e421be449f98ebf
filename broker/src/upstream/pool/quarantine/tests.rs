//! Killers, those who were beside them, and backends that hang up on everybody.

use http::Request as HttpRequest;

use super::*;

const A: (usize, &str) = (1, "a");
const B: (usize, &str) = (2, "b");
const C: (usize, &str) = (3, "c");

fn at(ms: u64) -> Time {
    Time::after_origin(Duration::from_millis(ms))
}

fn span(begun: u64, ended: u64) -> Span {
    Span { begun: at(begun), ended: at(ended) }
}

fn address(written: &str) -> IpAddr {
    written.parse().expect("an address")
}

fn handshake(uri: &str, headers: &[(&str, &str)]) -> Handshake {
    let builder = HttpRequest::get(uri).header("Host", "chat.test");
    let builder = headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
    Handshake::new(&builder.body(()).expect("a request"), None)
}

/// Somebody who asks for something.
struct Client<'a> {
    quarantine: &'a RequestQuarantine,
    address: IpAddr,
    handshake: Handshake,
}

impl<'a> Client<'a> {
    fn new(quarantine: &'a RequestQuarantine, written: &str, uri: &str) -> Client<'a> {
        Client { quarantine, address: address(written), handshake: handshake(uri, &[]) }
    }

    fn with(quarantine: &'a RequestQuarantine, written: &str, headers: &[(&str, &str)]) -> Client<'a> {
        Client { quarantine, address: address(written), handshake: handshake("/kill", headers) }
    }

    /// A request of its, at this time.
    fn asks(&self, ms: u64) -> UpgradeRequest {
        self.quarantine.request((self.address, &self.handshake), &format!("{}-{ms}", self.address), at(ms))
    }

    /// `backend` hangs up on a request that began at the same time as the dial.
    fn dies(&self, backend: (usize, &str), begun: u64, ended: u64) -> HangupVerdict {
        self.quarantine.hung_up(backend, Some(self.asks(begun)), span(begun, ended)).verdict
    }

    fn banned(&self, ms: u64) -> Option<Duration> {
        self.quarantine.banned(at(ms), self.address, &self.handshake)
    }
}

fn session_is_hung_up_on(quarantine: &RequestQuarantine, begun: u64, ended: u64) {
    assert_eq!(quarantine.hung_up(A, None, span(begun, ended)).verdict, HangupVerdict::Known);
}

/// A killer that is convicted at 12 ms, alone.
fn convicted(quarantine: &RequestQuarantine) -> Client<'_> {
    let killer = Client::new(quarantine, "192.0.2.1", "/kill");
    assert_eq!(killer.dies(A, 0, 2), HangupVerdict::Suspect);
    assert_eq!(killer.banned(2), None, "one is none");
    let names = ["a", "b"].map(str::to_owned).to_vec();
    assert_eq!(killer.dies(B, 10, 12), HangupVerdict::Killer(names));
    killer
}

#[test]
fn two_kills_convict_for_a_minute() {
    let quarantine = RequestQuarantine::default();
    let killer = convicted(&quarantine);
    assert_eq!(killer.banned(12), Some(MEMORY));
    assert_eq!(killer.banned(60_011), Some(Duration::from_millis(1)));
    assert_eq!(killer.banned(60_012), None);
    assert!(quarantine.table().suspects.is_empty());
}

#[test]
fn kills_that_are_far_apart_do_not_add_up() {
    let quarantine = RequestQuarantine::default();
    let suspect = Client::new(&quarantine, "192.0.2.1", "/kill");
    for minute in 0..3 {
        assert_eq!(suspect.dies(A, minute * 60_000, minute * 60_000), HangupVerdict::Suspect);
    }
}

#[test]
fn others_are_not_taken_for_it() {
    let quarantine = RequestQuarantine::default();
    convicted(&quarantine);
    for (client, uri, same) in [
        ("192.0.2.1", "/kill", true),
        ("192.0.2.1", "/kill?again", true),
        ("::ffff:192.0.2.1", "/kill", true),
        ("192.0.2.1", "/chat", false),
        ("192.0.2.2", "/kill", false),
    ] {
        assert_eq!(Client::new(&quarantine, client, uri).banned(20).is_some(), same, "{client} {uri}");
    }
    let proxied = Client::with(&quarantine, "192.0.2.1", &[("X-Forwarded-For", "203.0.113.9")]);
    assert_eq!(proxied.banned(20), None, "another client of a proxy");
}

#[test]
fn who_was_under_way_beside_it_does_not_speak_for_it() {
    let quarantine = RequestQuarantine::default();
    let killer = Client::new(&quarantine, "192.0.2.1", "/kill");
    let beside = Client::new(&quarantine, "192.0.2.2", "/chat");
    killer.dies(A, 0, 5);
    assert_eq!(beside.dies(A, 3, 5), HangupVerdict::Suspect, "it might be either");
    session_is_hung_up_on(&quarantine, 4, 6);
    // What cannot be reached any more is the consequence.
    quarantine.failed(at(20), A.0, Some(beside.asks(20)));
    quarantine.failed(at(21), A.0, None);
    quarantine.linked(beside.address, &beside.handshake);
    assert!(matches!(killer.dies(B, 7, 8), HangupVerdict::Killer(_)));
    assert_eq!(beside.banned(30), None);
}

#[test]
fn those_beside_it_that_end_at_another_time_speak_for_it() {
    for (ended, excused) in [(700, true), (801, false), (1199, false), (1200, true)] {
        let quarantine = RequestQuarantine::default();
        let client = Client::new(&quarantine, "192.0.2.1", "/kill");
        client.dies(A, 0, 1000);
        session_is_hung_up_on(&quarantine, 500, ended);
        assert_eq!(client.dies(B, 1300, 1301) == HangupVerdict::Suspect, excused, "ended at {ended}");
    }
}

/// What happens to another request while one is hung up on at A between 1050 and 1060.
#[test]
fn a_backend_that_hangs_up_on_others_has_not_been_killed() {
    type Event = fn(&Client<'_>);
    let before: [(&str, bool, Event); 4] = [
        ("another is hung up on", true, |other| drop(other.dies(A, 500, 900))),
        ("it cannot be reached", true, |other| other.quarantine.failed(at(900), A.0, Some(other.asks(900)))),
        ("another backend hangs up", false, |other| drop(other.dies(C, 500, 900))),
        ("long ago", false, |other| session_is_hung_up_on(other.quarantine, 0, 10)),
    ];
    let after: [(&str, bool, Event); 4] = [
        ("another is hung up on", true, |other| drop(other.dies(A, 1100, 1200))),
        ("a session is hung up on", true, |other| session_is_hung_up_on(other.quarantine, 1100, 1200)),
        ("it cannot be reached", false, |other| other.quarantine.failed(at(1200), A.0, None)),
        ("much later", false, |other| session_is_hung_up_on(other.quarantine, 2100, 2200)),
    ];
    let all = before.map(|case| (true, case)).into_iter().chain(after.map(|case| (false, case)));
    for (is_before, (why, excused, happens)) in all {
        let quarantine = RequestQuarantine::default();
        let client = Client::new(&quarantine, "192.0.2.1", "/kill");
        let other = Client::new(&quarantine, "192.0.2.2", "/kill");
        if is_before {
            happens(&other);
        }
        let first = client.dies(A, 1050, 1060);
        assert_eq!(first == HangupVerdict::Excused, excused && is_before, "{why}, before: {is_before}");
        if !is_before {
            happens(&other);
        }
        let second = client.dies(B, 2300, 2310);
        assert_eq!(matches!(second, HangupVerdict::Killer(_)), !excused, "{why}, before: {is_before}");
    }
}

#[test]
fn a_ban_ends_when_it_turns_out_that_the_backends_are_just_down() {
    let quarantine = RequestQuarantine::default();
    let client = convicted(&quarantine);
    let other = Client::new(&quarantine, "192.0.2.2", "/chat");
    let judgement = quarantine.hung_up(B, Some(other.asks(300)), span(300, 310));
    assert_eq!(judgement, HangupJudgement { verdict: HangupVerdict::Excused, acquitted: 1 });
    assert_eq!(client.banned(320), None);
}

/// One backend, which somebody starts again each time.
#[test]
fn that_a_killed_backend_cannot_be_reached_does_not_speak_for_its_killer() {
    let quarantine = RequestQuarantine::default();
    let killer = Client::new(&quarantine, "192.0.2.1", "/kill");
    killer.dies(A, 0, 2);
    quarantine.failed(at(50), A.0, None);
    quarantine.failed(at(300), A.0, Some(Client::new(&quarantine, "192.0.2.2", "/chat").asks(300)));
    assert!(matches!(killer.dies(A, 600, 602), HangupVerdict::Killer(_)));
}

/// Users behind one address, and a deploy.
#[test]
fn another_request_of_the_same_address_speaks_for_it() {
    let quarantine = RequestQuarantine::default();
    let [one, two] =
        ["user=1", "user=2"].map(|user| Client::with(&quarantine, "192.0.2.1", &[("Cookie", user)]));
    for (backend, begun) in [(A, 0), (B, 10)] {
        one.dies(backend, begun, begun + 2);
        two.dies(backend, begun + 5, begun + 6);
    }
    assert_eq!(one.banned(20), None);
}

/// Devices behind one address that all say the same.
#[test]
fn the_same_request_speaks_for_it_if_it_was_under_way_at_once() {
    for (since, excused) in [(1, true), (500, false)] {
        let quarantine = RequestQuarantine::default();
        let client = convicted(&quarantine);
        let same = quarantine.request((client.address, &client.handshake), "another", at(since));
        quarantine.hung_up(B, Some(same), span(500, 510));
        assert_eq!(client.banned(520).is_none(), excused, "a request since {since}");
    }
}

#[test]
fn what_was_under_way_at_once_is_one_misfortune() {
    let quarantine = RequestQuarantine::default();
    let client = Client::new(&quarantine, "192.0.2.1", "/chat");
    for backend in [A, B, C, A] {
        assert_eq!(client.dies(backend, 0, 5), HangupVerdict::Suspect);
    }
    assert_eq!(client.banned(10), None);
}

#[test]
fn who_is_taken_by_a_backend_is_no_killer() {
    let quarantine = RequestQuarantine::default();
    let client = Client::new(&quarantine, "192.0.2.1", "/chat");
    for round in 0..5 {
        assert_eq!(client.dies(A, round * 5000, round * 5000 + 1), HangupVerdict::Suspect);
        quarantine.linked(client.address, &client.handshake);
    }
}

#[test]
fn both_tables_have_a_bound() {
    let quarantine = RequestQuarantine::default();
    let killer = convicted(&quarantine);
    for number in 0..2 * SUSPECTS_MAX {
        let other = Client::new(&quarantine, "192.0.2.7", &format!("/{number}"));
        let moment = 5000 + number as u64;
        other.dies((1000 + number, "x"), moment, moment);
    }
    let table = quarantine.table();
    assert_eq!((table.suspects.len(), table.recent.len()), (SUSPECTS_MAX, RECENT_MAX));
    drop(table);
    assert_eq!(killer.banned(7100), None, "it was the oldest");
}
