use super::*;
use crate::websocket::scanner::{FrameSender, Item, Scanner};

const NOW: Time = Time::ORIGIN;
const ONE: &[u8] = b"\x82\x83\0\0\0\0one";
const TWO: &[u8] = b"\x82\x83\0\0\0\0two";

/// A session's ring, and the writer of its present connection.
struct Way {
    ring: Ring,
    writer: UpstreamWriter,
}

impl Default for Way {
    fn default() -> Self {
        let ring = Ring::default();
        Way { writer: UpstreamWriter::new(&ring, false), ring }
    }
}

fn feed(upstream: &mut Way, bytes: &[u8]) {
    let mut scanner = Scanner::new(FrameSender::Client, 1 << 20, false);
    let mut input = bytes;
    while let Some(Item::Data(data)) = scanner.next(&mut input, &mut { u32::MAX }).expect("legal") {
        upstream.ring.append(&data);
    }
}

const WANTED: Wanted = Wanted {
    acks: true,
    bounded: true,
    keepalive: false,
    frame_rest: 0,
    notice: None,
    window_max: 16 << 20,
    patience: Duration::from_secs(10),
};

fn prepare(upstream: &mut Way) -> bool {
    upstream.writer.prepare(&upstream.ring, NOW, &WANTED, &mut || 0)
}

/// Writes `room` bytes at the most and returns them.
fn write(upstream: &mut Way, room: usize) -> Vec<u8> {
    let bytes: Vec<u8> = upstream
        .writer
        .transmit(&upstream.ring)
        .pieces()
        .iter()
        .flat_map(|piece| piece.to_vec())
        .take(room)
        .collect();
    upstream.writer.written(&mut upstream.ring, bytes.len());
    bytes
}

fn ping() -> Vec<u8> {
    [&[0x89, 0x88][..], &[0; 12]].concat()
}

const NONCE: &[u8] = &[0; 8];

/// What is copied is what a write of the pieces would be, however much of it was written before.
#[test]
fn a_message_its_ping_and_what_is_behind_it_are_copied_in_their_order() {
    let mut upstream = Way::default();
    feed(&mut upstream, ONE);
    assert!(prepare(&mut upstream));
    feed(&mut upstream, &TWO[..7]);
    let mut all = [ONE, &ping(), &TWO[..7]].concat();
    let mut buffer = [0; 64];
    while !all.is_empty() {
        let copied = upstream.writer.copy_to(&upstream.ring, &mut buffer);
        // Without its ping it is one piece.
        assert_eq!(copied, if all.len() > 7 { all.len() } else { 0 });
        assert!(copied == 0 || buffer[..copied] == all);
        assert_eq!(
            upstream.writer.copy_to(&upstream.ring, &mut buffer[..all.len() - 1]),
            0,
            "it does not fit"
        );
        assert_eq!(write(&mut upstream, 1), all[..1]);
        all.remove(0);
    }
    assert_eq!(upstream.writer.copy_to(&upstream.ring, &mut buffer), 0);
}

#[test]
fn a_ping_follows_the_messages_in_the_same_write() {
    let mut upstream = Way::default();
    feed(&mut upstream, ONE);
    assert!(prepare(&mut upstream));
    assert_eq!(write(&mut upstream, 1000), [ONE, &ping()].concat());
    feed(&mut upstream, TWO);
    assert!(!prepare(&mut upstream), "one is outstanding");
    assert_eq!(write(&mut upstream, 1000), TWO);
    assert!(upstream.writer.acknowledge(&mut upstream.ring, NOW, NONCE, Some(Duration::ZERO)).is_some());
    assert_eq!((upstream.writer.acked_seq(&upstream.ring), upstream.ring.len()), (1, TWO.len()));
    assert!(prepare(&mut upstream), "what the pong left uncovered is asked for alone");
    assert_eq!(write(&mut upstream, 1000), ping());
    assert!(upstream.writer.acknowledge(&mut upstream.ring, NOW, NONCE, Some(Duration::ZERO)).is_some());
    assert!(upstream.ring.is_empty() && !upstream.writer.awaits(&upstream.ring));
}

#[test]
fn whatever_the_socket_takes_the_bytes_are_the_same() {
    for room in 1..40 {
        let mut upstream = Way::default();
        feed(&mut upstream, &[ONE, &TWO[..8]].concat());
        prepare(&mut upstream);
        upstream.writer.pong(&upstream.ring, b"hi", 1);
        upstream.writer.prepare(&upstream.ring, NOW, &Wanted { frame_rest: 1, ..WANTED }, &mut || 0);
        let mut got = Vec::new();
        loop {
            let bytes = write(&mut upstream, room);
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
    let mut upstream = Way::default();
    feed(&mut upstream, &TWO[..8]);
    assert_eq!(write(&mut upstream, 1000), &TWO[..8]);
    upstream.writer.pong(&upstream.ring, b"", 1);
    prepare(&mut upstream);
    assert_eq!(write(&mut upstream, 1000), b"");
    upstream.ring.tail(1).push(b'o');
    upstream.ring.grown(1, true);
    assert_eq!(write(&mut upstream, 1000), b"o\x8A\x80\0\0\0\0");
}

#[test]
fn no_ping_inside_an_open_message() {
    let mut upstream = Way::default();
    feed(&mut upstream, &[ONE, &TWO[..8]].concat());
    upstream.ring.written(1000);
    assert!(!prepare(&mut upstream));
}

#[test]
fn pongs_that_nobody_asked_for_acknowledge_nothing() {
    let mut upstream = Way::default();
    feed(&mut upstream, ONE);
    assert!(
        upstream.writer.acknowledge(&mut upstream.ring, NOW, NONCE, Some(Duration::ZERO)).is_none(),
        "no ping yet"
    );
    prepare(&mut upstream);
    assert!(
        upstream.writer.acknowledge(&mut upstream.ring, NOW, NONCE, Some(Duration::ZERO)).is_none(),
        "it is not written yet"
    );
    write(&mut upstream, 1000);
    assert!(upstream.writer.acknowledge(&mut upstream.ring, NOW, b"", Some(Duration::ZERO)).is_none());
    assert!(upstream.writer.acknowledge(&mut upstream.ring, NOW, &[1; 8], Some(Duration::ZERO)).is_none());
    assert!(upstream.writer.acknowledge(&mut upstream.ring, NOW, NONCE, Some(Duration::ZERO)).is_some());
    assert!(
        upstream.writer.acknowledge(&mut upstream.ring, NOW, NONCE, Some(Duration::ZERO)).is_none(),
        "once is enough"
    );
}

#[test]
fn held_messages_stay_for_a_replay_until_the_hold_ends() {
    let hold = Duration::from_millis(200);
    let mut upstream = Way::default();
    feed(&mut upstream, ONE);
    prepare(&mut upstream);
    write(&mut upstream, 1000);
    assert!(upstream.writer.acknowledge(&mut upstream.ring, NOW, NONCE, Some(hold)).is_some());
    assert_eq!((upstream.writer.acked_seq(&upstream.ring), upstream.ring.base_seq()), (1, 0));
    assert!(!prepare(&mut upstream), "acknowledged, so it is not asked for again");
    upstream.writer.end_holds(&mut upstream.ring, NOW + hold / 2);
    assert_eq!((upstream.ring.base_seq(), upstream.writer.hold_ends()), (0, Some(NOW + hold)));
    upstream.writer.end_holds(&mut upstream.ring, NOW + hold);
    assert_eq!((upstream.ring.base_seq(), upstream.writer.hold_ends()), (1, None));
}

#[test]
fn the_next_connection_replays_what_was_held() {
    let mut upstream = Way::default();
    feed(&mut upstream, ONE);
    prepare(&mut upstream);
    write(&mut upstream, 1000);
    upstream.writer.acknowledge(&mut upstream.ring, NOW, NONCE, Some(Duration::from_secs(1)));
    upstream.ring.rewind();
    upstream.writer = UpstreamWriter::new(&upstream.ring, false);
    assert!(prepare(&mut upstream));
    assert_eq!(write(&mut upstream, 1000), [ONE, &ping()].concat());
}

#[test]
fn many_holds_merge_and_none_ends_early() {
    let mut upstream = Way::default();
    for i in 0..200u64 {
        let now = NOW + Duration::from_millis(i);
        feed(&mut upstream, ONE);
        upstream.writer.prepare(&upstream.ring, now, &WANTED, &mut || 0);
        write(&mut upstream, 1000);
        assert!(
            upstream
                .writer
                .acknowledge(&mut upstream.ring, now, NONCE, Some(Duration::from_secs(1)))
                .is_some()
        );
    }
    assert!(upstream.writer.held.as_ref().expect("held").len() <= HOLD_STEPS);
    upstream.writer.end_holds(&mut upstream.ring, NOW + Duration::from_millis(1100));
    assert!(upstream.ring.base_seq() <= 101);
    upstream.writer.end_holds(&mut upstream.ring, NOW + Duration::from_millis(1199));
    assert!(upstream.ring.is_empty());
}

#[test]
fn one_at_a_time_lets_one_message_through_until_its_pong() {
    let mut upstream = Way::default();
    feed(&mut upstream, &[ONE, TWO].concat());
    upstream.writer.one_at_a_time(&upstream.ring, true);
    prepare(&mut upstream);
    assert_eq!(write(&mut upstream, 1000), [ONE, &ping()].concat());
    assert!(upstream.writer.acknowledge(&mut upstream.ring, NOW, NONCE, Some(Duration::ZERO)).is_some());
    upstream.writer.one_at_a_time(&upstream.ring, true);
    prepare(&mut upstream);
    assert_eq!(write(&mut upstream, 1000), [TWO, &ping()].concat());
    assert!(upstream.writer.acknowledge(&mut upstream.ring, NOW, NONCE, Some(Duration::ZERO)).is_some());
    assert_eq!(upstream.writer.acked_seq(&upstream.ring), 2);
}

#[test]
fn nothing_follows_a_close() {
    let mut upstream = Way::default();
    feed(&mut upstream, ONE);
    upstream.writer.close(&upstream.ring, &1000u16.to_be_bytes());
    assert!(prepare(&mut upstream), "what stands before the Close is still asked for");
    assert_eq!(write(&mut upstream, 1000), [ONE, &ping(), b"\x88\x82\0\0\0\0\x03\xe8"].concat());
    assert!(upstream.writer.closed());
    assert!(upstream.writer.acknowledge(&mut upstream.ring, NOW, NONCE, Some(Duration::ZERO)).is_some());
    assert!(!upstream.writer.prepare(&upstream.ring, NOW, &Wanted { keepalive: true, ..WANTED }, &mut || 0));
    assert_eq!(write(&mut upstream, 1000), b"");
}

#[test]
fn a_ping_that_comes_while_a_pong_is_half_written_is_answered_next() {
    let mut upstream = Way::default();
    upstream.writer.pong(&upstream.ring, b"1", 0);
    prepare(&mut upstream);
    assert_eq!(write(&mut upstream, 3).len(), 3);
    upstream.writer.pong(&upstream.ring, b"2", 0);
    upstream.writer.pong(&upstream.ring, b"3", 0);
    prepare(&mut upstream);
    assert_eq!(write(&mut upstream, 1000), b"\0\0\0".iter().chain(b"1").copied().collect::<Vec<u8>>());
    prepare(&mut upstream);
    assert_eq!(write(&mut upstream, 1000), b"\x8A\x81\0\0\0\x003");
    assert!(upstream.writer.inserts.is_none());
}

#[test]
fn a_pong_acknowledges_everything_before_its_ping() {
    let (mut upstream, mut nonce) = (Way::default(), 0_u64);
    for _ in 0..40 {
        feed(&mut upstream, ONE);
    }
    assert!(upstream.writer.prepare(&upstream.ring, NOW, &WANTED, &mut || {
        nonce += 1;
        nonce
    }));
    assert_eq!(upstream.writer.pings.len(), 5, "behind each eighth message");
    while !write(&mut upstream, 10_000).is_empty() {}
    let last = upstream.writer.pings.last().expect("it was made").frame.nonce();
    assert!(
        upstream.writer.acknowledge(&mut upstream.ring, NOW, &last, Some(Duration::ZERO)).is_some(),
        "a peer may answer the latest only"
    );
    assert_eq!(
        (upstream.writer.acked_seq(&upstream.ring), upstream.writer.pings.len(), upstream.ring.len()),
        (40, 0, 0)
    );
}

#[test]
fn a_pong_that_comes_late_takes_nothing_back() {
    let (mut upstream, mut nonce) = (Way::default(), 0_u64);
    for _ in 0..40 {
        feed(&mut upstream, ONE);
    }
    upstream.writer.prepare(&upstream.ring, NOW, &WANTED, &mut || {
        nonce += 1;
        nonce
    });
    while !write(&mut upstream, 10_000).is_empty() {}
    let [second, third] =
        [1, 2].map(|index| upstream.writer.pings.get(index).expect("it is out").frame.nonce());
    assert!(upstream.writer.acknowledge(&mut upstream.ring, NOW, &third, Some(Duration::ZERO)).is_some());
    assert!(upstream.writer.acknowledge(&mut upstream.ring, NOW, &second, Some(Duration::ZERO)).is_none());
    assert_eq!((upstream.writer.acked_seq(&upstream.ring), upstream.writer.pings.len()), (24, 2));
}
