//! Rules that cannot work, and what is said of them.

use super::reader;
use crate::rules::{RuleFault, RuleSet};

fn faults(rules: &str) -> Vec<RuleFault> {
    RuleSet::compile(&reader::rules(rules)).err().unwrap_or_default()
}

/// Rules with one fault, where it is, and a part of what is said.
#[track_caller]
fn one(rules: &str, list: &str, index: usize, key: &str, part: &str) {
    let faults = faults(rules);
    let [fault] = faults.as_slice() else { panic!("{rules}: {faults:#?}") };
    assert_eq!((fault.list, fault.index, fault.key), (list, index, key), "{rules}: {fault:?}");
    assert!(fault.message.contains(part), "{rules}: {fault:?}");
}

#[test]
fn pointers_and_templates() {
    one(r#"up = [{ when = { "type" = "a" } }]"#, "up", 0, "when", "begin it with a slash");
    one(r#"up = [{ when = { "/a" = [] } }]"#, "up", 0, "when", "give one value");
    one(r#"up = [{ prefix = "" }]"#, "up", 0, "prefix", "give the first bytes");
    one(r#"up = [{ keep = "" }]"#, "up", 0, "keep", "give it one");
    one(r#"up = [{ keep = "a{/b" }]"#, "up", 0, "keep", "never closed");
    one(r#"up = [{ keep = "a{/b~2}" }]"#, "up", 0, "keep", "~0 for a tilde");
    one(r#"up = [{ keep = "a{answer:/b}" }]"#, "up", 0, "keep", "only in `becomes`");
    one(r#"up = [{ beat = "{answer:/b}" }]"#, "up", 0, "beat", "only in `becomes`");
    let many: Vec<String> = (0..17).map(|name| format!(r#""/{name}" = 1"#)).collect();
    one(&format!("up = [{{ when = {{ {} }} }}]", many.join(", ")), "up", 0, "when", "16 are looked for");
}

#[test]
fn words_that_do_not_go_together() {
    one(r#"up = [{ keep = "a", beat = "" }]"#, "up", 0, "beat", "either `keep` or `beat`");
    one(r#"up = [{ standing = true }]"#, "up", 0, "standing", "give `keep` as well");
    one(r#"up = [{ many = true, beat = "" }]"#, "up", 0, "many", "give `keep` as well");
    one(r#"up = [{ keep = "a", wait = true }]"#, "up", 0, "wait", "give `answer` as well");
    one(r#"up = [{ keep = "a", becomes = "b" }]"#, "up", 0, "becomes", "give `answer` as well");
    one(r#"up = [{ answer = "a" }]"#, "up", 0, "answer", "give `keep` or `retire` as well");
    one(r#"up = [{ done = "a" }]"#, "up", 0, "done", "give `retire` or `retire_alias` as well");
    one(r#"up = [{ alias = { learn = "/a", down = ["/b"] } }]"#, "up", 0, "alias", "give `keep` as well");
    one(r#"down = [{ greeting = true, parting = true }]"#, "down", 0, "parting", "make two rules");
    one(r#"down = [{ refusal = true }]"#, "down", 0, "refusal", "give `answer` as well");
    one(r#"down = [{ beat = true, pass = true }]"#, "down", 0, "pass", "`answer` or `greeting`");
    one(
        r#"up = [{ ask = "a" }]
           down = [{ answer = "a", refusal = true, pass = true }]"#,
        "down",
        0,
        "pass",
        "never passed on",
    );
    one(
        r#"up = [{ keep = "a", answer = "b", becomes = "" }]
           down = [{ answer = "b" }]"#,
        "up",
        0,
        "becomes",
        "is empty",
    );
}

#[test]
fn rules_that_need_one_another() {
    one(r#"up = [{ ask = "a:{/id}" }]"#, "up", 0, "ask", "no rule of `down` answers by the name \"a:{}\"");
    one(r#"up = [{ keep = "a", answer = "b" }]"#, "up", 0, "answer", "no rule of `down` answers");
    one(r#"down = [{ answer = "b" }]"#, "down", 0, "answer", "no rule of `up` waits for");
    one(r#"down = [{ end = "b" }]"#, "down", 0, "end", "no rule of `up` keeps anything");
    one(r#"up = [{ retire = "b" }]"#, "up", 0, "retire", "no rule of `up` keeps anything");
    one(r#"up = [{ reply = "b" }]"#, "up", 0, "reply", "no rule of `down` asks");
    one(r#"down = [{ asks = "b" }]"#, "down", 0, "asks", "no rule of `up` replies");
    one(r#"up = [{ retire_alias = "/a" }]"#, "up", 0, "retire_alias", "no rule of `up` learns an alias");
    one(r#"down = [{ end_alias = "/a" }]"#, "down", 0, "end_alias", "no rule of `up` learns an alias");
    one(
        r#"up = [{ when = { "/a" = 1 }, keep = "a:{/b}", many = true }]
           down = [{ end = "a:{/c}" }]"#,
        "down",
        0,
        "end",
        "kept with `many`",
    );
    one(
        r#"up = [{ keep = "a", answer = "b", alias = { learn = "/a" } }]
           down = [{ answer = "b" }]"#,
        "up",
        0,
        "alias",
        "used nowhere",
    );
    // Only the shape of names counts, for the pointers of two sides differ.
    let rules = r#"up = [{ keep = "a:{/b}" }]
                   down = [{ end = "a:{/c/0}" }]"#;
    assert_eq!(faults(rules), []);
}

#[test]
fn rules_that_are_never_reached() {
    let never = "fits whatever it fits";
    one(r#"up = [{ }, { beat = "" }]"#, "up", 1, "when", never);
    one(r#"up = [{ when = { "/a" = "x" } }, { when = { "/a" = "x" } }]"#, "up", 1, "when", never);
    one(r#"up = [{ when = { "/a" = "*" } }, { when = { "/a" = "x", "/b" = 1 } }]"#, "up", 1, "when", never);
    one(
        r#"down = [{ when = { "/a" = ["x", "y"] } }, { when = { "/a" = "y|x" }, beat = true }]"#,
        "down",
        1,
        "when",
        never,
    );
    one(r#"up = [{ prefix = "a" }, { prefix = "ab" }]"#, "up", 1, "when", never);
    for reached in [
        r#"up = [{ prefix = "ab" }, { prefix = "a" }, { }]"#,
        r#"up = [{ when = { "/a" = "x" } }, { when = { "/a" = "*" } }, { }]"#,
        r#"up = [{ when = { "/a" = 1 } }, { when = { "/a" = "1" } }]"#,
        // The first needs more than it tests.
        r#"up = [{ when = { "/a" = "x" }, keep = "{/b}" }, { when = { "/a" = "x" }, keep = "c" }]"#,
    ] {
        assert_eq!(faults(reached), [], "{reached}");
    }
}

#[test]
fn what_is_said_in_a_backends_place() {
    one(r#"fill_in = { every = "99ms", say = "x" }"#, "fill_in", 0, "every", "at least 100ms");
    one(r#"fill_in = { every = "1s", say = "" }"#, "fill_in", 0, "say", "is empty");
    assert_eq!(faults(r#"fill_in = { every = "100ms", say = "x" }"#), []);
}

#[test]
fn all_faults_are_told_in_the_order_of_the_rules() {
    let faults = faults(
        r#"up = [{ when = { "a" = 1 }, keep = "" }, { beat = "{/x" }]
           down = [{ end = "nothing" }, { when = { "b" = 1 } }]
           fill_in = { every = "0s", say = "x" }"#,
    );
    let places: Vec<_> = faults.iter().map(|fault| (fault.list, fault.index, fault.key)).collect();
    assert_eq!(
        places,
        [
            ("up", 0, "when"),
            ("up", 0, "keep"),
            ("up", 1, "beat"),
            ("down", 1, "when"),
            ("fill_in", 0, "every")
        ],
        "a fault that may only follow from others is not told"
    );
}
