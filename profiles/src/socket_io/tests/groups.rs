//! Units of several messages.

use super::super::SocketIoSettings;
use super::Talk;
use crate::{Down, Up};

fn talk() -> Talk {
    Talk::connected(SocketIoSettings::default(), &["", "/n,"])
}

#[test]
fn the_units_verdict_comes_with_its_last_attachment() {
    let mut talk = talk();
    let Up::Ask(ask) = talk.up("42/n,5[\"e\"]") else { panic!("ask") };
    assert_eq!(talk.up("452-/n,5[\"e\",{\"_placeholder\":true,\"num\":0}]"), Up::More);
    assert_eq!(talk.up("#01"), Up::More);
    assert_eq!(talk.up("#02"), Up::Ask(ask));
    assert_eq!(talk.down("461-/n,5[{\"_placeholder\":true,\"num\":0}]"), Down::More);
    assert_eq!(talk.down("#03"), Down::Answer { key: ask, pass: false });
}

#[test]
fn beats_of_the_engine_may_stand_inside() {
    let mut talk = talk();
    for said in ["452-[\"e\"]", "#01", "3"] {
        assert_eq!(talk.up(said), Up::More);
    }
    assert_eq!(talk.up("#02"), Up::Tell);
    assert_eq!(talk.up("3"), Up::Beat);
    for said in ["452-[\"e\"]", "2", "#01", "6"] {
        assert_eq!(talk.down(said), Down::More);
    }
    assert_eq!(talk.down("#02"), Down::Push);
    assert_eq!(talk.down("2"), Down::Beat);
}

#[test]
fn other_text_inside_gives_the_unit_up() {
    let mut talk = talk();
    assert_eq!(talk.up("452-[\"e\"]"), Up::More);
    assert_eq!(talk.up("42[\"f\"]"), Up::Tell);
    assert_eq!(talk.down("452-[\"e\"]"), Down::More);
    assert_eq!(talk.down("42[\"f\"]"), Down::Push);
    assert_eq!(talk.down("#01"), Down::Push);
    assert!(matches!(talk.up("#01"), Up::Unsaveable(_)));
}

#[test]
fn a_dead_backends_half_unit_is_over_and_the_clients_goes_on() {
    let mut talk = talk();
    assert_eq!(talk.up("452-7[\"e\"]"), Up::More);
    assert_eq!(talk.up("#01"), Up::More);
    assert_eq!(talk.down("452-[\"e\"]"), Down::More);
    assert_eq!(talk.down("#01"), Down::More);
    talk.machine.left();
    assert_eq!(talk.down("2"), Down::Beat);
    assert_eq!(talk.down("451-[\"e\"]"), Down::More);
    assert_eq!(talk.down("#01"), Down::Push);
    assert!(matches!(talk.up("#02"), Up::Ask(_)));
}

#[test]
fn attachments_in_base64_count_too() {
    let mut talk = talk();
    assert_eq!(talk.up("452-[\"e\"]"), Up::More);
    assert_eq!(talk.up("bAQID"), Up::More);
    assert_eq!(talk.up("bAAAAAA=="), Up::Tell);
    assert_eq!(talk.down("451-[\"e\"]"), Down::More);
    assert_eq!(talk.down("bAQID"), Down::Push);
}
