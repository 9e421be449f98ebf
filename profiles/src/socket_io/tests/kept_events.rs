//! Events that an operator wants to be said again.

use super::super::SocketIoSettings;
use super::Talk;
use crate::{Down, Keep, Message, Phase, Up, Words};

fn talk() -> Talk {
    let keep = vec!["join".to_owned(), "bei \"tritt\" 𝄞".to_owned()];
    Talk::connected(SocketIoSettings { keep, ..SocketIoSettings::default() }, &["", "/n,"])
}

fn kept(verdict: Up) -> Keep {
    match verdict {
        Up::Keep(keep) => keep,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_distinct_one_has_a_slot() {
    let mut talk = talk();
    let one = kept(talk.up("42[\"join\",\"a\"]"));
    assert_eq!(
        one,
        Keep { slot: one.slot, answer: None, phase: Phase::Standing, waits: false, awaited: false }
    );
    assert_eq!(kept(talk.up("42[\"join\",\"a\"]")), one);
    assert_ne!(kept(talk.up("42[\"join\",\"b\"]")).slot, one.slot);
    assert_ne!(kept(talk.up("42/n,[\"join\",\"a\"]")).slot, one.slot);
    assert_eq!(talk.up("42[\"leave\",\"a\"]"), Up::Tell);
    assert_eq!(talk.up("42[\"joined\",\"a\"]"), Up::Tell);
    assert_eq!(talk.up("42[\"x\",\"join\"]"), Up::Tell);
    assert_eq!(talk.up("42[1,\"join\"]"), Up::Tell);
}

#[test]
fn one_with_an_id_waits_for_its_acknowledgement() {
    let mut talk = talk();
    let plain = kept(talk.up("42[\"join\",\"a\"]"));
    let asking = kept(talk.up("4212[\"join\",\"a\"]"));
    assert_eq!(asking.slot, plain.slot);
    assert!(asking.waits);
    let key = asking.answer.expect("an answer");
    assert_eq!(talk.down("4312[\"ok\"]"), Down::Answer { key, pass: false });
}

#[test]
fn names_may_be_escaped_as_json_lets_them_be() {
    let mut talk = talk();
    kept(talk.up("42[\"bei \\\"tritt\\\" 𝄞\",1]"));
    kept(talk.up("42[\"bei \\u0022tritt\\\" \\ud834\\udd1e\",1]"));
    kept(talk.up("42[ \"j\\u006fin\" ]"));
    for name in ["j\\u006", "j\\u006g", "join\\", "\\x", "j\\ud834", "j\\u006fi", "j\\u006finn"] {
        assert_eq!(talk.up(&format!("42[\"{name}\"]")), Up::Tell, "{name}");
    }
}

#[test]
fn attachments_are_part_of_what_is_said() {
    let mut talk = talk();
    let mut said = |attachments: [&str; 2]| {
        assert_eq!(talk.up("452-[\"join\",{}]"), Up::More);
        assert_eq!(talk.up(attachments[0]), Up::More);
        kept(talk.up(attachments[1])).slot
    };
    let one = said(["#01", "#02"]);
    assert_eq!(said(["#01", "#02"]), one);
    assert_ne!(said(["#01", "#03"]), one);
    assert_ne!(said(["#0102", "#"]), one);
}

#[test]
fn one_that_is_not_seen_whole_is_not_kept_by_half() {
    let mut talk = talk();
    let part = |text: bool, payload| Message { text, payload, whole: false };
    let mut words = Words::default();
    assert_eq!(talk.machine.up(part(true, b"42[\"other\","), &mut words), Up::Tell);
    assert!(matches!(talk.machine.up(part(true, b"42[\"join\","), &mut words), Up::Unsaveable(_)));
    let mut talk = self::talk();
    assert_eq!(talk.up("451-[\"join\",{}]"), Up::More);
    assert!(matches!(talk.machine.up(part(false, b"aa"), &mut words), Up::Unsaveable(_)));
}
