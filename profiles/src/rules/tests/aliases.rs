//! Names that backends give, and records that become something else.

use super::talk::{D, Linked, Repeat, Talk, U, machine, text};
use crate::{Message, Up, Words};

const SUBSCRIPTIONS: &str = r#"
    up = [
        { when = { "/do" = "open" }, keep = "s:{/id}", standing = true, answer = "a:{/id}",
          alias = { learn = "/name", up = ["/on", "/all/0", "/all/1"], down = ["/of", "/list/1"] } },
        { when = { "/do" = "shut" }, retire_alias = "/on", answer = "a:{/id}", done = '{"shut":{/id}}' },
        { when = { "/do" = "*", "/id" = "*" }, ask = "a:{/id}" },
    ]
    down = [
        { when = { "/over" = "*" }, end_alias = "/of" },
        { when = { "/id" = "*" }, answer = "a:{/id}" },
    ]
"#;

#[test]
fn the_client_keeps_the_names_that_it_has_heard_first() {
    Talk::new(machine(SUBSCRIPTIONS)).follow(&[
        U(r#"{"do":"open","id":1}"#, "keep 1, standing, answer 2"),
        U(r#"{"do":"open","id":2}"#, "keep 3, standing, answer 4"),
        D(r#"{"id":1,"name":"x"}"#, "answer 2"),
        D(r#"{"id":2,"name":"y"}"#, "answer 4"),
        D(r#"{"of":"x"}"#, "push"),
        Linked,
        // Before the next backend has named them, nothing is rewritten.
        D(r#"{"of":"y"}"#, "push"),
        // It gives the same names the other way round.
        D(r#"{"id":1,"name":"y"}"#, "answer 2"),
        D(r#"{"id":2,"name":"x"}"#, "answer 4"),
        D(r#"{"of":"y"}"#, r#"push | instead {"of":"x"}"#),
        D(r#"{"of":"\u0079","more":"y"}"#, r#"push | instead {"of":"x","more":"y"}"#),
        D(r#"{"list":["x", "x" ,"x"],"of":"y"}"#, r#"push | instead {"list":["x", "y" ,"x"],"of":"x"}"#),
        U(r#"{"all":["x","y"],"on":"x","x":"y"}"#, r#"tell | instead {"all":["y","x"],"on":"y","x":"y"}"#),
        U(r#"{"do":"look","id":"q","on":"z"}"#, "ask 5"),
        U(
            r#"{"do":"shut","id":3,"on":"x"}"#,
            r#"retire 1, answer 6 | instead {"do":"shut","id":3,"on":"y"} | said {"shut":3}"#,
        ),
        D(r#"{"over":1,"of":"x"}"#, r#"end 3 | instead {"over":1,"of":"y"}"#),
        D(r#"{"over":1,"of":"x"}"#, "push"),
        D(r#"{"id":3}"#, "answer 6"),
        U(r#"{"do":"shut","id":4,"on":"x"}"#, "ask 7"),
    ]);
}

#[test]
fn a_third_backend_names_them_anew() {
    Talk::new(machine(SUBSCRIPTIONS)).follow(&[
        U(r#"{"do":"open","id":1}"#, "keep 1, standing, answer 2"),
        D(r#"{"id":1,"name":7}"#, "answer 2"),
        Linked,
        D(r#"{"id":1,"name":8}"#, "answer 2"),
        Linked,
        D(r#"{"of":8}"#, "push"),
        U(r#"{"on":7}"#, "tell"),
        D(r#"{"id":1,"name":9}"#, "answer 2"),
        D(r#"{"of":8}"#, "push"),
        D(r#"{"of":9}"#, r#"push | instead {"of":7}"#),
        D(r#"{"of":"9"}"#, "push"),
        Linked,
        D(r#"{"id":1,"name":7}"#, "answer 2"),
        D(r#"{"of":7}"#, "push"),
    ]);
}

#[test]
fn a_new_name_that_the_client_has_for_something_else_is_told_as_another() {
    Talk::new(machine(SUBSCRIPTIONS)).follow(&[
        U(r#"{"do":"open","id":1}"#, "keep 1, standing, answer 2"),
        D(r#"{"id":1,"name":5}"#, "answer 2"),
        Linked,
        D(r#"{"id":1,"name":4}"#, "answer 2"),
        U(r#"{"do":"open","id":2}"#, "keep 3, standing, answer 4"),
        D(r#"{"id":2,"name":5}"#, r#"answer 4 | instead {"id":2,"name":4503599627370496}"#),
        D(r#"{"of":5}"#, r#"push | instead {"of":4503599627370496}"#),
        D(r#"{"of":4}"#, r#"push | instead {"of":5}"#),
        U(r#"{"on":4503599627370496}"#, r#"tell | instead {"on":5}"#),
        U(r#"{"do":"open","id":3}"#, "keep 5, standing, answer 6"),
        D(r#"{"id":3,"name":"0xa"}"#, "answer 6"),
        Linked,
        U(r#"{"do":"open","id":4}"#, "keep 7, standing, answer 8"),
        D(r#"{"id":4,"name":"0xa"}"#, r#"answer 8 | instead {"id":4,"name":"0xa0"}"#),
        D(r#"{"of":"0xa"}"#, r#"push | instead {"of":"0xa0"}"#),
    ]);
}

#[test]
fn what_is_no_name_is_not_learned() {
    for answer in
        ["{\"id\":1,\"name\":null}", "{\"id\":1,\"name\":true}", "{\"id\":1,\"name\":[1]}", "{\"id\":1}"]
    {
        let mut talk = Talk::new(machine(SUBSCRIPTIONS));
        talk.up(r#"{"do":"open","id":1}"#);
        talk.down(answer);
        talk.machine.left();
        talk.down(r#"{"id":1,"name":"x"}"#);
        assert_eq!(talk.down(r#"{"of":"x"}"#), "push", "{answer}");
        assert_eq!(talk.up(r#"{"do":"shut","id":3,"on":"x"}"#), "ask 3", "{answer}");
    }
}

#[test]
fn of_a_cut_message_the_part_that_is_there_is_rewritten() {
    let mut talk = Talk::new(machine(SUBSCRIPTIONS));
    talk.follow(&[
        U(r#"{"do":"open","id":1}"#, "keep 1, standing, answer 2"),
        D(r#"{"id":1,"name":"x"}"#, "answer 2"),
        Linked,
        D(r#"{"id":1,"name":"long"}"#, "answer 2"),
    ]);
    for (cut, expected) in [
        (r#"{"of":"long","and":"#, Some(r#"{"of":"x","and":"#)),
        (r#"{"of":"long"#, None),
        (r#"{"list":["long","long","#, Some(r#"{"list":["long","x","#)),
    ] {
        let mut words = Words::default();
        talk.machine.down(Message { whole: false, ..text(cut) }, &mut words);
        let instead = words.instead.map(|instead| String::from_utf8(instead).expect("text"));
        assert_eq!(instead.as_deref(), expected, "{cut}");
    }
}

#[test]
fn of_too_many_records_no_more_is_learned_and_that_is_said_once() {
    let mut machine = machine(SUBSCRIPTIONS);
    let mut open =
        |id: usize| machine.up(text(&format!(r#"{{"do":"open","id":{id}}}"#)), &mut Words::default());
    for id in 0..1_024 {
        assert!(matches!(open(id), Up::Keep(_)), "{id}");
    }
    assert!(matches!(open(1_024), Up::Unsaveable(_)));
    assert!(matches!(open(1_025), Up::Keep(_)));
    assert!(matches!(open(0), Up::Keep(_)));
}

#[test]
fn of_names_that_are_too_long_none_is_learned_and_that_is_said_once() {
    let mut talk = Talk::new(machine(SUBSCRIPTIONS));
    talk.up(r#"{"do":"open","id":1}"#);
    talk.down(&format!(r#"{{"id":1,"name":"{}"}}"#, "x".repeat(5_000)));
    assert!(talk.up(r#"{"on":"a"}"#).starts_with("unsaveable: "));
    assert_eq!(talk.up(r#"{"on":"a"}"#), "tell");
}

#[test]
fn a_record_becomes_what_its_answer_says() {
    let rules = r#"
        up = [{ when = { "/m" = "login" }, keep = "login", answer = "r:{/id}",
                becomes = '{"m":"login","id":{/id},"resume":{answer:/result/token},"{":"{}"}' }]
        down = [{ when = { "/id" = "*" }, answer = "r:{/id}" }]"#;
    let login = r#"{"m":"login","id":"1","password":"secret"}"#;
    let mut talk = Talk::new(machine(rules));
    talk.follow(&[
        U(login, "keep 1, door, answer 2, waits"),
        Repeat(1, None),
        D(r#"{"id":"1","result":{"token":"t\"1"}}"#, "answer 2"),
        Linked,
        Repeat(1, Some(r#"{"m":"login","id":"1","resume":"t\"1","{":"{}"}"#)),
        D(r#"{"id":"1","result":{"token":["t",2]}}"#, "answer 2"),
        Repeat(1, Some(r#"{"m":"login","id":"1","resume":["t",2],"{":"{}"}"#)),
        // Another login takes the place of the first, and begins anew.
        U(login, "keep 1, door, answer 2, waits"),
        Repeat(1, None),
    ]);
    assert!(!format!("{:?}", talk.machine).contains("secret"));
}

#[test]
fn an_answer_without_what_a_record_becomes_leaves_it_as_it_was() {
    let rules = r#"
        up = [{ keep = "login", answer = "r", becomes = '{"t":{answer:/t}}' }]
        down = [{ answer = "r" }]"#;
    for answer in ["{}".to_owned(), format!(r#"{{"t":"{}"}}"#, "x".repeat(5_000))] {
        let mut talk = Talk::new(machine(rules));
        talk.up("login");
        talk.down(r#"{"t":1}"#);
        talk.follow(&[Repeat(1, Some(r#"{"t":1}"#))]);
        talk.down(&answer);
        talk.follow(&[Repeat(1, None)]);
    }
}

#[test]
fn a_record_that_becomes_something_by_itself_does_so_after_its_answer() {
    let rules = r#"
        up = [{ keep = "login", answer = "r", becomes = '{"again":{/n}}' }]
        down = [{ answer = "r" }]"#;
    Talk::new(machine(rules)).follow(&[
        U(r#"{"n":1}"#, "keep 1, door, answer 2, waits"),
        Repeat(1, None),
        D("yes", "answer 2"),
        Repeat(1, Some(r#"{"again":1}"#)),
    ]);
}
