//! Reads rules from TOML, strictly and without explanations: the configuration has a reader of its own.

use std::time::Duration;

use toml::{Table, Value};

use crate::rules::{Alias, DownRule, FillInRule, RuleSource, Scalar, UpRule};

/// The one profile of a file.
pub(super) fn profile(text: &str) -> RuleSource {
    let file: Table = text.parse().expect("TOML");
    let profiles = file["profile"].as_array().expect("profiles");
    let [profile] = profiles.as_slice() else { panic!("one profile") };
    source(profile.as_table().expect("a table"))
}

/// The rules of a table that is only `up`, `down` and `fill_in`.
pub(super) fn rules(text: &str) -> RuleSource {
    source(&text.parse().expect("TOML"))
}

fn source(table: &Table) -> RuleSource {
    let mut source = RuleSource::default();
    for (key, value) in table {
        match key.as_str() {
            "name" => source.name = string(value),
            "match" => {}
            "up" => source.up = tables(value).map(up).collect(),
            "down" => source.down = tables(value).map(down).collect(),
            "fill_in" => source.fill_in = Some(fill_in(value.as_table().expect("a table"))),
            other => panic!("unknown: {other}"),
        }
    }
    source
}

fn up(table: &Table) -> UpRule {
    let mut rule = UpRule::default();
    for (key, value) in table {
        match key.as_str() {
            "when" => rule.when.values = values(value),
            "prefix" => rule.when.prefix = Some(string(value).into_bytes()),
            "keep" => rule.keep = Some(string(value)),
            "many" => rule.many = boolean(value),
            "standing" => rule.standing = boolean(value),
            "awaited" => rule.awaited = boolean(value),
            "wait" => rule.wait = Some(boolean(value)),
            "answer" => rule.answer = Some(string(value)),
            "alias" => rule.alias = Some(alias(value.as_table().expect("a table"))),
            "becomes" => rule.becomes = Some(string(value)),
            "retire" => rule.retire = Some(string(value)),
            "retire_alias" => rule.retire_alias = Some(string(value)),
            "done" => rule.done = Some(string(value)),
            "ask" => rule.ask = Some(string(value)),
            "reply" => rule.reply = Some(string(value)),
            "beat" => rule.beat = Some(string(value)),
            other => panic!("unknown: {other}"),
        }
    }
    rule
}

fn down(table: &Table) -> DownRule {
    let mut rule = DownRule::default();
    for (key, value) in table {
        match key.as_str() {
            "when" => rule.when.values = values(value),
            "prefix" => rule.when.prefix = Some(string(value).into_bytes()),
            "answer" => rule.answer = Some(string(value)),
            "refusal" => rule.refusal = boolean(value),
            "end" => rule.end = Some(string(value)),
            "end_alias" => rule.end_alias = Some(string(value)),
            "greeting" => rule.greeting = boolean(value),
            "pass" => rule.pass = boolean(value),
            "asks" => rule.asks = Some(string(value)),
            "beat" => rule.beat = boolean(value),
            "parting" => rule.parting = boolean(value),
            other => panic!("unknown: {other}"),
        }
    }
    rule
}

fn alias(table: &Table) -> Alias {
    let strings = |key: &str| -> Vec<String> {
        let array = table.get(key).map(|value| value.as_array().expect("an array").as_slice());
        array.unwrap_or_default().iter().map(string).collect()
    };
    Alias { learn: string(&table["learn"]), up: strings("up"), down: strings("down") }
}

fn fill_in(table: &Table) -> FillInRule {
    let every = string(&table["every"]);
    let (number, unit) = match every.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (every.strip_suffix('s').expect("a unit"), 1000),
    };
    let every = Duration::from_millis(number.parse::<u64>().expect("a number") * unit);
    FillInRule { every, say: string(&table["say"]) }
}

fn values(when: &Value) -> Vec<(String, Vec<Scalar>)> {
    let scalars = |value: &Value| match value {
        Value::Array(several) => several.iter().map(scalar).collect(),
        one => vec![scalar(one)],
    };
    let table = when.as_table().expect("a table");
    table.iter().map(|(pointer, value)| (pointer.clone(), scalars(value))).collect()
}

fn scalar(value: &Value) -> Scalar {
    match value {
        Value::String(text) => Scalar::Text(text.clone()),
        Value::Integer(number) => Scalar::Number(*number),
        Value::Boolean(value) => Scalar::Bool(*value),
        other => panic!("no scalar: {other}"),
    }
}

fn string(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

fn boolean(value: &Value) -> bool {
    value.as_bool().expect("true or false")
}

fn tables(value: &Value) -> impl Iterator<Item = &Table> {
    value.as_array().expect("an array").iter().map(|rule| rule.as_table().expect("a table"))
}
