//! A server that stores the state of who leaves is asked for it.

use super::super::SocketIoSettings;
use super::super::namespaces::{Offset, offset_of};
use super::Talk;
use crate::{Message, Words};

fn talk() -> Talk {
    let mut talk = Talk::with(SocketIoSettings { recover: true, ..SocketIoSettings::default() });
    talk.greeted();
    talk
}

#[test]
fn a_connect_is_repeated_with_the_private_id_and_the_last_offset() {
    let mut talk = talk();
    assert_eq!(talk.repeated("40{\"t\":\"x\"}"), None);
    talk.down("40{\"sid\":\"s\",\"pid\":\"p-_1\"}");
    assert_eq!(talk.repeated("40{\"t\":\"x\"}"), None);
    talk.down("42[\"hello\",1,\"Q8lbW96\"]");
    talk.down("42[\"hello\",1,\"Q8lbW97\"]");
    let merged = Some("40{\"t\":\"x\",\"pid\":\"p-_1\",\"offset\":\"Q8lbW97\"}");
    assert_eq!(talk.repeated("40{\"t\":\"x\"}").as_deref(), merged);
    // What the client itself has said of an earlier connection is replaced.
    assert_eq!(talk.repeated("40{\"pid\":\"old\",\"offset\":\"old\",\"t\":\"x\"}").as_deref(), merged);
    assert_eq!(talk.repeated("40{ \"offset\" : \"old\" , \"t\":\"x\" }").as_deref(), merged);
    assert_eq!(talk.repeated("40").as_deref(), Some("40{\"pid\":\"p-_1\",\"offset\":\"Q8lbW97\"}"));
    assert_eq!(talk.repeated("40{}").as_deref(), Some("40{\"pid\":\"p-_1\",\"offset\":\"Q8lbW97\"}"));
    let nested = "40{\"a\":{\"pid\":\"}\\\"\",\"b\":[1,{}]},\"c\":\"\\\\\"}";
    assert_eq!(
        talk.repeated(nested).as_deref(),
        Some(
            "40{\"a\":{\"pid\":\"}\\\"\",\"b\":[1,{}]},\"c\":\"\\\\\",\"pid\":\"p-_1\",\"offset\":\"Q8lbW97\"}"
        )
    );
    for merged in [talk.repeated(nested), talk.repeated("40{ \"offset\" : 1 }")] {
        let merged = merged.expect("merged");
        serde_json::from_str::<serde_json::Value>(&merged[2..]).expect("JSON");
    }
    for malformed in ["40{\"a\"", "40[1]", "40{\"a\":}", "40{\"a\":1,}", "40{a:1}", "40\"x\"", "40{\"a\":1]}"]
    {
        assert_eq!(talk.repeated(malformed), None, "{malformed}");
    }
}

#[test]
fn each_namespace_has_its_own() {
    let mut talk = talk();
    for (name, pid) in [("", "p"), ("/a,", "q"), ("/b,", "")] {
        talk.up(&format!("40{name}"));
        let pid = if pid.is_empty() { String::new() } else { format!(",\"pid\":\"{pid}\"") };
        talk.down(&format!("40{name}{{\"sid\":\"s\"{pid}}}"));
        talk.down(&format!("42{name}[\"e\",\"offset{name}\"]").replace(",\"]", "\"]"));
    }
    assert_eq!(talk.repeated("40/a,").as_deref(), Some("40/a,{\"pid\":\"q\",\"offset\":\"offset/a\"}"));
    assert_eq!(talk.repeated("40/a").as_deref(), Some("40/a,{\"pid\":\"q\",\"offset\":\"offset/a\"}"));
    assert_eq!(talk.repeated("40").as_deref(), Some("40{\"pid\":\"p\",\"offset\":\"offset\"}"));
    assert_eq!(talk.repeated("40/b,"), None);
    let slot = talk.slot("40/a,");
    talk.machine.forget(slot);
    assert_eq!(talk.repeated("40/a,"), None);
}

#[test]
fn a_server_that_did_not_recover_has_a_new_state() {
    let mut talk = talk();
    talk.up("40");
    talk.down("40{\"sid\":\"s\",\"pid\":\"p\"}");
    talk.down("42[\"e\",\"1\"]");
    talk.machine.left();
    // It has: the id and the last offset stay.
    talk.down("40{\"sid\":\"s\",\"pid\":\"p\"}");
    assert_eq!(talk.repeated("40").as_deref(), Some("40{\"pid\":\"p\",\"offset\":\"1\"}"));
    talk.machine.left();
    talk.down("40{\"sid\":\"t\",\"pid\":\"q\"}");
    assert_eq!(talk.repeated("40"), None);
    talk.down("42[\"e\",\"2\"]");
    assert_eq!(talk.repeated("40").as_deref(), Some("40{\"pid\":\"q\",\"offset\":\"2\"}"));
}

#[test]
fn a_unit_counts_when_it_is_whole() {
    let mut talk = talk();
    talk.up("40");
    talk.down("40{\"sid\":\"s\",\"pid\":\"p\"}");
    talk.down("42[\"e\",\"1\"]");
    talk.down("451-[\"e\",{},\"2\"]");
    assert_eq!(talk.repeated("40").as_deref(), Some("40{\"pid\":\"p\",\"offset\":\"1\"}"));
    talk.down("#00");
    assert_eq!(talk.repeated("40").as_deref(), Some("40{\"pid\":\"p\",\"offset\":\"2\"}"));
    // A question has none.
    talk.down("423[\"e\",\"no offset\",\"3\"]");
    assert_eq!(talk.repeated("40").as_deref(), Some("40{\"pid\":\"p\",\"offset\":\"2\"}"));
    // Its end is out of sight: better a fresh state than events twice.
    talk.machine.down(Message { text: true, payload: b"42[\"e\",\"", whole: false }, &mut Words::default());
    assert_eq!(talk.repeated("40"), None);
}

#[test]
fn without_the_setting_nothing_is_added() {
    let mut talk = Talk::new();
    talk.up("40");
    talk.down("40{\"sid\":\"s\",\"pid\":\"p\"}");
    talk.down("42[\"e\",\"1\"]");
    assert_eq!(talk.repeated("40"), None);
}

#[test]
fn an_offset_is_the_last_argument_and_a_plain_string() {
    let long = format!("[\"e\",\"{}\"]", "a".repeat(257));
    for (data, offset) in [
        ("[\"e\",\"Q8lbW96.0\"]", Some("Q8lbW96.0")),
        ("[\"e\",{\"a\":1},\"1726000000000-0\"]", Some("1726000000000-0")),
        ("[\"e\", \"x\"]", Some("x")),
        ("[\"e\"]", None),
        ("[\"e\",\"\"]", None),
        ("[\"e\",1]", None),
        ("[\"e\",[\"x\"]]", None),
        ("[\"e\",{\"a\":\"x\"}]", None),
        ("[\"e\",\"free text\"]", None),
        ("[\"e\",\"a\\\",\\\"b\"]", None),
        ("[\"e\",\"a,\\\"b\"]", None),
        ("[\"e\",\"é\"]", None),
        ("\"]", None),
        ("x\"]", None),
        ("\"x\"]", None),
        ("", None),
        (&long, None),
    ] {
        let expected = offset.map_or(Offset::Stays, |offset| Offset::Is(offset.as_bytes().into()));
        assert_eq!(offset_of(data.as_bytes(), true), expected, "{data}");
    }
}
