//! Nothing grows for ever.

use super::super::namespaces::NAMESPACES_MAX;
use super::super::packet::NAMESPACE_MAX;
use super::super::{LONG_NAME, MANY_NAMESPACES, SocketIoSettings};
use super::Talk;
use crate::{Down, Up};

#[test]
fn namespaces_have_a_bound_and_make_room_when_they_are_left() {
    for recover in [false, true] {
        let mut talk = Talk::with(SocketIoSettings { recover, ..SocketIoSettings::default() });
        talk.greeted();
        let slots: Vec<_> = (0..NAMESPACES_MAX).map(|n| talk.slot(&format!("40/{n},"))).collect();
        talk.slot("40/0,");
        talk.machine.forget(slots[7]);
        talk.slot("40/new,");
        // A server that lets in unasked takes no room either.
        talk.down("40/unasked,{\"sid\":\"s\",\"pid\":\"p\"}");
        assert_eq!(talk.up("40/one-more,"), Up::Unsaveable(MANY_NAMESPACES));
        assert_eq!(talk.up("40/one-more,"), Up::Tell);
    }
}

#[test]
fn names_of_namespaces_have_a_bound() {
    let longest = format!("/{}", "n".repeat(NAMESPACE_MAX - 1));
    let mut talk = Talk::new();
    let slot = talk.slot(&format!("40{longest},"));
    assert_eq!(talk.slot(&format!("40{longest}")), slot);
    assert_eq!(talk.down(&format!("41{longest}n,")), Down::Push);
    assert_eq!(talk.up(&format!("42{longest}n,[\"e\"]")), Up::Unsaveable(LONG_NAME));
    assert_eq!(talk.up("40"), Up::Tell);
}
