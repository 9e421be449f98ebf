//! What cannot be said again is told once, and then left alone.

use super::super::SocketIoSettings;
use super::super::{BINARY, FOREIGN, OLD_ENGINE, UPGRADED};
use super::Talk;
use crate::{Down, Up};

/// After that everything passes.
fn is_left_alone(talk: &mut Talk) {
    for said in ["40", "420[\"e\"]", "451-[\"e\"]", "#00", "3", "2", "garbage", ""] {
        assert_eq!(talk.up(said), Up::Tell, "{said}");
    }
    for said in ["40{\"sid\":\"s\"}", "420[\"e\"]", "451-[\"e\"]", "#00", "2", "garbage", ""] {
        assert_eq!(talk.down(said), Down::Push, "{said}");
    }
    assert_eq!(talk.repeated_after_all(), None);
}

impl Talk {
    fn repeated_after_all(&mut self) -> Option<Vec<u8>> {
        self.machine.repeat(crate::Key(0), crate::Message { text: true, payload: b"40", whole: true })
    }
}

#[test]
fn another_parser_speaks_in_binary() {
    // Recorded from socket.io-msgpack-parser 3: a map of type, data and namespace.
    let mut talk = Talk::new();
    talk.greeted();
    assert_eq!(talk.up("#83a47479706500a464617461d40000a36e7370a12f"), Up::Unsaveable(BINARY));
    is_left_alone(&mut talk);
}

#[test]
fn engine_io_3_lets_the_client_in_unasked() {
    // Recorded from socket.io 4.8 with `allowEIO3`; its attachments have a 4 in front.
    let mut talk = Talk::new();
    talk.greeted();
    talk.down("40");
    assert_eq!(
        talk.down("452-[\"file\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]"),
        Down::More
    );
    assert_eq!(talk.down("#04010203"), Down::More);
    assert_eq!(talk.down("#0400000000"), Down::Push);
    assert_eq!(talk.up("420[\"echo\",1]"), Up::Unsaveable(OLD_ENGINE));
    is_left_alone(&mut talk);

    // It asks for signs of life, though it is in by a connect.
    let mut talk = Talk::new();
    talk.greeted();
    assert!(matches!(talk.up("40/room-1?token=1,"), Up::Keep(_)));
    assert_eq!(talk.up("2"), Up::Unsaveable(OLD_ENGINE));
    is_left_alone(&mut talk);
    let mut talk = Talk::new();
    assert!(matches!(talk.up("40/room-1?token=1,"), Up::Keep(_)));
    assert!(matches!(talk.down("40/room-1,"), Down::Answer { .. }));
    assert_eq!(talk.up("42/room-1,[\"e\"]"), Up::Unsaveable(OLD_ENGINE));
}

#[test]
fn a_session_that_began_by_polling_is_known_to_one_backend() {
    for said in ["2probe", "5", "42[\"e\"]"] {
        let mut talk = Talk::new();
        assert_eq!(talk.up(said), Up::Unsaveable(UPGRADED), "{said}");
        is_left_alone(&mut talk);
    }
}

#[test]
fn other_text_is_not_understood() {
    for said in
        ["", "hello", "{\"type\":\"x\"}", "4", "4x", "47", "45[\"e\"]", "45-[\"e\"]", "45x-", "451", "0", "é"]
    {
        let mut talk = Talk::connected(SocketIoSettings::default(), &[""]);
        assert_eq!(talk.up(said), Up::Unsaveable(FOREIGN), "{said}");
        is_left_alone(&mut talk);
        let mut talk = Talk::connected(SocketIoSettings::default(), &[""]);
        if said != "0" {
            assert_eq!(talk.down(said), Down::Push, "{said}");
        }
    }
}
