use super::*;
use crate::websocket::scanner::{Item, Scanner, Sender};

const NOW: Time = Time::ORIGIN;
const ONE: &[u8] = b"\x82\x83\0\0\0\0one";
const TWO: &[u8] = b"\x82\x83\0\0\0\0two";

fn feed(up: &mut Uplink, bytes: &[u8]) {
    let mut scanner = Scanner::new(Sender::Client, 1 << 20, false);
    let mut input = bytes;
    while let Some(Item::Data(data)) = scanner.next(&mut input).expect("legal") {
        up.ring.append(&data);
    }
}

const WANTED: Wanted = Wanted {
    acks: true,
    bounded: true,
    keepalive: false,
    frame_rest: 0,
    tidings: None,
    window_max: 16 << 20,
    patience: Duration::from_secs(10),
};

fn prepare(up: &mut Uplink) -> bool {
    up.prepare(NOW, &WANTED, &mut || 0)
}

/// Writes `room` bytes at the most and returns them.
fn write(up: &mut Uplink, room: usize) -> Vec<u8> {
    let bytes: Vec<u8> = up.transmit().pieces().iter().flat_map(|piece| piece.to_vec()).take(room).collect();
    up.written(bytes.len());
    bytes
}

fn ping() -> Vec<u8> {
    [&[0x89, 0x88][..], &[0; 12]].concat()
}

const NONCE: &[u8] = &[0; 8];

#[test]
fn a_ping_follows_the_messages_in_the_same_write() {
    let mut up = Uplink::default();
    feed(&mut up, ONE);
    assert!(prepare(&mut up));
    assert_eq!(write(&mut up, 1000), [ONE, &ping()].concat());
    feed(&mut up, TWO);
    assert!(!prepare(&mut up), "one is outstanding");
    assert_eq!(write(&mut up, 1000), TWO);
    assert!(up.acknowledge(NOW, NONCE, Some(Duration::ZERO)).is_some());
    assert_eq!((up.acked_seq(), up.ring.len()), (1, TWO.len()));
    assert!(prepare(&mut up), "what the pong left uncovered is asked for alone");
    assert_eq!(write(&mut up, 1000), ping());
    assert!(up.acknowledge(NOW, NONCE, Some(Duration::ZERO)).is_some());
    assert!(up.ring.is_empty() && !up.awaits());
}

#[test]
fn whatever_the_socket_takes_the_bytes_are_the_same() {
    for room in 1..40 {
        let mut up = Uplink::default();
        feed(&mut up, &[ONE, &TWO[..8]].concat());
        prepare(&mut up);
        up.pong(b"hi", 1);
        up.prepare(NOW, &Wanted { frame_rest: 1, ..WANTED }, &mut || 0);
        let mut got = Vec::new();
        loop {
            let bytes = write(&mut up, room);
            if bytes.is_empty() {
                break;
            }
            got.extend(bytes);
        }
        let pong = b"\x8A\x82\0\0\0\0hi";
        assert_eq!(got, [ONE, &ping(), pong, &TWO[..8]].concat(), "room {room}");
    }
}

#[test]
fn a_pong_waits_for_the_end_of_a_frame_that_is_begun() {
    let mut up = Uplink::default();
    feed(&mut up, &TWO[..8]);
    assert_eq!(write(&mut up, 1000), &TWO[..8]);
    up.pong(b"", 1);
    prepare(&mut up);
    assert_eq!(write(&mut up, 1000), b"");
    up.ring.tail(1).push(b'o');
    up.ring.grown(1, true);
    assert_eq!(write(&mut up, 1000), b"o\x8A\x80\0\0\0\0");
}

#[test]
fn no_ping_inside_an_open_message() {
    let mut up = Uplink::default();
    feed(&mut up, &[ONE, &TWO[..8]].concat());
    up.ring.written(1000);
    assert!(!prepare(&mut up));
}

#[test]
fn pongs_that_nobody_asked_for_acknowledge_nothing() {
    let mut up = Uplink::default();
    feed(&mut up, ONE);
    assert!(up.acknowledge(NOW, NONCE, Some(Duration::ZERO)).is_none(), "no ping yet");
    prepare(&mut up);
    assert!(up.acknowledge(NOW, NONCE, Some(Duration::ZERO)).is_none(), "it is not written yet");
    write(&mut up, 1000);
    assert!(up.acknowledge(NOW, b"", Some(Duration::ZERO)).is_none());
    assert!(up.acknowledge(NOW, &[1; 8], Some(Duration::ZERO)).is_none());
    assert!(up.acknowledge(NOW, NONCE, Some(Duration::ZERO)).is_some());
    assert!(up.acknowledge(NOW, NONCE, Some(Duration::ZERO)).is_none(), "once is enough");
}

#[test]
fn held_messages_stay_for_a_replay_until_the_hold_ends() {
    let hold = Duration::from_millis(200);
    let mut up = Uplink::default();
    feed(&mut up, ONE);
    prepare(&mut up);
    write(&mut up, 1000);
    assert!(up.acknowledge(NOW, NONCE, Some(hold)).is_some());
    assert_eq!((up.acked_seq(), up.ring.base_seq()), (1, 0));
    assert!(!prepare(&mut up), "acknowledged, so it is not asked for again");
    up.end_holds(NOW + hold / 2);
    assert_eq!((up.ring.base_seq(), up.hold_ends()), (0, Some(NOW + hold)));
    up.end_holds(NOW + hold);
    assert_eq!((up.ring.base_seq(), up.hold_ends()), (1, None));
}

#[test]
fn a_rewind_replays_what_was_held() {
    let mut up = Uplink::default();
    feed(&mut up, ONE);
    prepare(&mut up);
    write(&mut up, 1000);
    up.acknowledge(NOW, NONCE, Some(Duration::from_secs(1)));
    up.rewind();
    assert!(prepare(&mut up));
    assert_eq!(write(&mut up, 1000), [ONE, &ping()].concat());
}

#[test]
fn many_holds_merge_and_none_ends_early() {
    let mut up = Uplink::default();
    for i in 0..200u64 {
        let now = NOW + Duration::from_millis(i);
        feed(&mut up, ONE);
        up.prepare(now, &WANTED, &mut || 0);
        write(&mut up, 1000);
        assert!(up.acknowledge(now, NONCE, Some(Duration::from_secs(1))).is_some());
    }
    assert!(up.held.as_ref().expect("held").len() <= HOLD_STEPS);
    up.end_holds(NOW + Duration::from_millis(1100));
    assert!(up.ring.base_seq() <= 101);
    up.end_holds(NOW + Duration::from_millis(1199));
    assert!(up.ring.is_empty());
}

#[test]
fn one_at_a_time_lets_one_message_through_until_its_pong() {
    let mut up = Uplink::default();
    feed(&mut up, &[ONE, TWO].concat());
    up.one_at_a_time(true);
    prepare(&mut up);
    assert_eq!(write(&mut up, 1000), [ONE, &ping()].concat());
    assert!(up.acknowledge(NOW, NONCE, Some(Duration::ZERO)).is_some());
    up.one_at_a_time(true);
    prepare(&mut up);
    assert_eq!(write(&mut up, 1000), [TWO, &ping()].concat());
    assert!(up.acknowledge(NOW, NONCE, Some(Duration::ZERO)).is_some());
    assert_eq!(up.acked_seq(), 2);
}

#[test]
fn nothing_follows_a_close() {
    let mut up = Uplink::default();
    feed(&mut up, ONE);
    up.close(&1000u16.to_be_bytes());
    assert!(prepare(&mut up), "what stands before the Close is still asked for");
    assert_eq!(write(&mut up, 1000), [ONE, &ping(), b"\x88\x82\0\0\0\0\x03\xe8"].concat());
    assert!(up.closed());
    assert!(up.acknowledge(NOW, NONCE, Some(Duration::ZERO)).is_some());
    assert!(!up.prepare(NOW, &Wanted { keepalive: true, ..WANTED }, &mut || 0));
    assert_eq!(write(&mut up, 1000), b"");
}

#[test]
fn a_ping_that_comes_while_a_pong_is_half_written_is_answered_next() {
    let mut up = Uplink::default();
    up.pong(b"1", 0);
    prepare(&mut up);
    assert_eq!(write(&mut up, 3).len(), 3);
    up.pong(b"2", 0);
    up.pong(b"3", 0);
    prepare(&mut up);
    assert_eq!(write(&mut up, 1000), b"\0\0\0".iter().chain(b"1").copied().collect::<Vec<u8>>());
    prepare(&mut up);
    assert_eq!(write(&mut up, 1000), b"\x8A\x81\0\0\0\x003");
    assert!(up.inserts.is_none());
}

#[test]
fn a_pong_acknowledges_everything_before_its_ping() {
    let (mut up, mut nonce) = (Uplink::default(), 0_u64);
    for _ in 0..40 {
        feed(&mut up, ONE);
    }
    assert!(up.prepare(NOW, &WANTED, &mut || {
        nonce += 1;
        nonce
    }));
    assert_eq!(up.pings.len(), 5, "behind each eighth message");
    while !write(&mut up, 10_000).is_empty() {}
    let last = up.pings.last().expect("it was made").frame.nonce();
    assert!(up.acknowledge(NOW, &last, Some(Duration::ZERO)).is_some(), "a peer may answer the latest only");
    assert_eq!((up.acked_seq(), up.pings.len(), up.ring.len()), (40, 0, 0));
}

#[test]
fn a_pong_that_comes_late_takes_nothing_back() {
    let (mut up, mut nonce) = (Uplink::default(), 0_u64);
    for _ in 0..40 {
        feed(&mut up, ONE);
    }
    up.prepare(NOW, &WANTED, &mut || {
        nonce += 1;
        nonce
    });
    while !write(&mut up, 10_000).is_empty() {}
    let [second, third] = [1, 2].map(|index| up.pings.get(index).expect("it is out").frame.nonce());
    assert!(up.acknowledge(NOW, &third, Some(Duration::ZERO)).is_some());
    assert!(up.acknowledge(NOW, &second, Some(Duration::ZERO)).is_none());
    assert_eq!((up.acked_seq(), up.pings.len()), (24, 2));
}
