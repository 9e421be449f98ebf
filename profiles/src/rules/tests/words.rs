//! What each word of a rule makes of a message.

use std::time::Duration;

use super::talk::{D, Linked, Repeat, Talk, U, machine};
use crate::{Down, FillIn, Key, Message, Up, Words};

const LOGIN: &str = r#"
    up = [
        { when = { "/t" = "login" }, keep = "login", answer = "ok" },
        { when = { "/t" = "hello" }, keep = "hello", answer = "ok", wait = false },
        { when = { "/t" = "join" }, keep = "room:{/r}", standing = true, answer = "joined:{/r}" },
        { when = { "/t" = "leave" }, retire = "room:{/r}", answer = "left:{/r}", done = '{"left":{/r}}' },
        { when = { "/t" = "say" }, keep = "said", many = true, standing = true },
        { when = { "/t" = "ping" }, beat = '{"pong":{/n}}' },
        { when = { "/t" = "quiet" }, beat = "" },
        { when = { "/t" = "told" } },
        { when = { "/q" = "*" }, ask = "q:{/q}" },
    ]
    down = [
        { when = { "/t" = "welcome" }, greeting = true },
        { when = { "/t" = "ok" }, answer = "ok", pass = true },
        { when = { "/t" = "no" }, answer = "ok", refusal = true },
        { when = { "/t" = "joined" }, answer = "joined:{/r}" },
        { when = { "/t" = "left" }, answer = "left:{/r}" },
        { when = { "/t" = "closed" }, end = "room:{/room/name}" },
        { when = { "/t" = "tick" }, beat = true },
        { when = { "/t" = "bye" }, parting = true },
        { when = { "/a" = "*" }, answer = "q:{/a}" },
    ]
    fill_in = { every = "10s", say = '{"t":"tick"}' }
"#;

#[test]
fn each_word_has_its_verdict() {
    let mut talk = Talk::new(machine(LOGIN));
    assert!(talk.machine.greets());
    let tick = FillIn { every: Duration::from_secs(10), text: true, payload: br#"{"t":"tick"}"#.to_vec() };
    assert_eq!(talk.machine.fill_in(), Some(tick));
    talk.follow(&[
        D(r#"{"t":"welcome"}"#, "greeting"),
        U(r#"{"t":"login"}"#, "keep 1, door, answer 2, waits"),
        D(r#"{"t":"ok"}"#, "answer 2, pass"),
        D(r#"{"t":"no"}"#, "refusal 2"),
        U(r#"{"t":"hello"}"#, "keep 3, door, answer 2"),
        U(r#"{"t":"join","r":"a"}"#, "keep 4, standing, answer 5"),
        U(r#"{"t":"join","r":"b"}"#, "keep 6, standing, answer 7"),
        D(r#"{"t":"joined","r":"b"}"#, "answer 7"),
        U(r#"{"t":"leave","r":"b"}"#, r#"retire 6, answer 8 | said {"left":"b"}"#),
        D(r#"{"t":"left","r":"b"}"#, "answer 8"),
        D(r#"{"t":"closed","room":{"name":"a"}}"#, "end 4"),
        U(r#"{"t":"say","x":1}"#, "keep 9, standing"),
        U(r#"{"t":"say","x":2}"#, "keep 10, standing"),
        U(r#"{"t":"say","x":1}"#, "keep 9, standing"),
        U(r#"{"t":"ping","n":[1]}"#, r#"beat | said {"pong":[1]}"#),
        U(r#"{"t":"ping"}"#, "beat"),
        U(r#"{"t":"quiet"}"#, "beat"),
        U(r#"{"t":"told","q":1}"#, "tell"),
        U(r#"{"q":1}"#, "ask 11"),
        D(r#"{"t":"tick","a":1}"#, "beat"),
        D(r#"{"t":"bye"}"#, "parting"),
        D(r#"{"a":1}"#, "answer 11"),
        Linked,
        Repeat(1, None),
    ]);
}

#[test]
fn a_rule_without_what_its_name_needs_does_not_fit() {
    Talk::new(machine(LOGIN)).follow(&[
        U(r#"{"t":"join"}"#, "tell"),
        U(r#"{"t":"join","q":5}"#, "ask 1"),
        D(r#"{"t":"joined","a":5}"#, "answer 1"),
        D(r#"{"t":"closed","room":{}}"#, "push"),
    ]);
}

#[test]
fn a_name_holds_the_value_as_it_is() {
    let mut talk = Talk::new(machine(LOGIN));
    talk.follow(&[
        U(r#"{"q":1}"#, "ask 1"),
        U(r#"{"q":"1"}"#, "ask 2"),
        U(r#"{"q":1.0}"#, "ask 3"),
        U(r#"{"q":true}"#, "ask 4"),
        U(r#"{"q":"true"}"#, "ask 5"),
        D(r#"{"a":"\u0031"}"#, "answer 2"),
        U(r#"{"q":null}"#, "tell"),
        U(r#"{"q":[1]}"#, "tell"),
        U(r#"{"q":{}}"#, "tell"),
    ]);
}

#[test]
fn a_name_is_another_in_each_of_its_meanings() {
    let rules = r#"
        up = [{ when = { "/t" = 1 }, keep = "x", answer = "x" }, { when = { "/t" = 2 }, reply = "x" }]
        down = [{ when = { "/t" = 1 }, answer = "x" }, { when = { "/t" = 2 }, asks = "x" }]"#;
    Talk::new(machine(rules)).follow(&[
        U(r#"{"t":1}"#, "keep 1, door, answer 2, waits"),
        D(r#"{"t":2}"#, "asks 3"),
        U(r#"{"t":2}"#, "reply 3"),
        D(r#"{"t":1}"#, "answer 2"),
    ]);
}

#[test]
fn patterns() {
    let rules = |value: &str| format!(r#"down = [{{ when = {{ "/t" = {value} }}, beat = true }}]"#);
    for (value, fitting, others) in [
        (r#""a""#, vec![r#""a""#, r#""\u0061""#], vec![r#""A""#, r#""aa""#, r#""""#, "1", "null"]),
        (r#""a*""#, vec![r#""a""#, r#""abc""#, r#""\u0061b""#], vec![r#""ba""#, r#""""#]),
        (r#""*a""#, vec![r#""a""#, r#""bca""#], vec![r#""ab""#, r#""""#]),
        (r#""a*b*c""#, vec![r#""abc""#, r#""axbxbxc""#], vec![r#""ab""#, r#""acb""#, r#""ac""#]),
        (r#""ab*ba""#, vec![r#""abba""#], vec![r#""aba""#]),
        (r#""a|b*""#, vec![r#""a""#, r#""bc""#], vec![r#""ac""#, r#""a|b""#]),
        (r#"["a", 1, true]"#, vec![r#""a""#, "1", "true"], vec![r#""1""#, "1.0", "false", r#""true""#, "10"]),
        (
            r#""*""#,
            vec![r#""a""#, r#""""#, "0", "-1e3", "true", "false"],
            vec!["null", "[]", "{}", r#"["a"]"#],
        ),
        (r#""x|*""#, vec![r#""a""#, "0"], vec!["null", "[]"]),
        ("-5", vec!["-5"], vec!["5", "-5.0", "-50"]),
    ] {
        let mut talk = Talk::new(machine(&rules(value)));
        for (texts, expected) in [(fitting, "beat"), (others, "push")] {
            for text in texts {
                assert_eq!(talk.down(&format!(r#"{{"t":{text}}}"#)), expected, "{value} and {text}");
            }
        }
    }
}

#[test]
fn a_prefix_is_looked_for_in_messages_of_either_kind() {
    let rules = r#"
        up = [
            { prefix = "\u0000\u0000", keep = "sync", standing = true },
            { prefix = "{", when = { "/t" = 1 }, ask = "x" },
            { when = { "/t" = 1 }, beat = "" },
        ]
        down = [{ prefix = "\u0001", beat = true }, { when = { "/t" = 1 }, answer = "x" }]"#;
    let mut machine = machine(rules);
    assert!(!machine.greets());
    let mut up = |text: bool, payload: &[u8]| {
        machine.up(Message { text, payload, whole: true }, &mut Words::default())
    };
    for text in [true, false] {
        assert!(matches!(up(text, b"\0\0\x05"), Up::Keep(_)));
        assert_eq!(up(text, b"\0"), Up::Tell);
    }
    assert!(matches!(up(true, br#"{"t":1}"#), Up::Ask(_)));
    assert_eq!(up(true, br#" {"t":1}"#), Up::Beat);
    assert_eq!(up(false, br#"{"t":1}"#), Up::Tell, "JSON is text");
    let binary = Message { text: false, payload: b"\x01\x02", whole: true };
    assert_eq!(machine.down(binary, &mut Words::default()), Down::Beat);
}

#[test]
fn rules_without_json_look_at_no_more_than_their_prefixes() {
    let window = |rules: &str| machine(rules).window();
    assert_eq!(window(r#"up = [{ prefix = "abc", keep = "a" }]"#), 3);
    assert_eq!(window(r#"up = [{ prefix = "abc", keep = "a", many = true }]"#), 64 * 1024);
    assert_eq!(window(LOGIN), 64 * 1024);
}

#[test]
fn of_a_cut_message_counts_what_is_there() {
    let mut machine = machine(LOGIN);
    let mut down = |payload: &str| {
        machine.down(Message { text: true, payload: payload.as_bytes(), whole: false }, &mut Words::default())
    };
    assert_eq!(down(r#"{"t":"ok","x":[1,"#), down(r#"{"t":"ok"}"#));
    assert_eq!(down(r#"{"x":[1,2,"#), Down::Push);
    assert_eq!(down(r#"{"a":12"#), Down::Push, "the number may go on");
}

#[test]
fn rules_of_one_text_give_one_key_in_each_session() {
    let key = |text: &str| match machine(LOGIN).up(super::talk::text(text), &mut Words::default()) {
        Up::Ask(key) => key,
        other => panic!("{other:?}"),
    };
    let keys: Vec<Key> = (0..1_000).map(|number| key(&format!(r#"{{"q":{number}}}"#))).collect();
    assert_eq!(keys[7], key(r#"{ "q" : 7 }"#));
    let mut apart = keys.clone();
    apart.sort_unstable();
    apart.dedup();
    assert_eq!(apart.len(), keys.len());
}
