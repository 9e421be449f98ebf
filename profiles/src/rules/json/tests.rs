use proptest::prelude::*;
use serde_json::{Map, Number, Value as Json};

use super::*;

fn places(pointers: &[&str]) -> Places {
    let mut places = Places::new();
    for pointer in pointers {
        places.place(pointer).expect("a pointer");
    }
    places
}

fn find<'a>(places: &Places, text: &'a [u8], whole: bool) -> Found<'a> {
    let mut found = Found::nothing(text);
    found.look_for(places, whole);
    found
}

/// What is found, as it is written.
fn found(pointers: &[&str], text: &str) -> Vec<Option<String>> {
    let places = places(pointers);
    let found = find(&places, text.as_bytes(), true);
    let raw = |value: Value<'_>| String::from_utf8(value.raw().to_vec()).expect("text");
    (0..pointers.len()).map(|place| found.value(place as u8).map(raw)).collect()
}

fn one(pointer: &str, text: &str) -> Option<String> {
    found(&[pointer], text).remove(0)
}

#[test]
fn values_are_found_as_they_are_written() {
    let text = r#" { "a" : "x\"y" , "b":{"c":[1, {"d": -2.5e3 }, true,[]]}, "e": null, "":{}, "/~": 0 } "#;
    for (pointer, expected) in [
        ("", Some(text.trim())),
        ("/a", Some(r#""x\"y""#)),
        ("/b", Some(r#"{"c":[1, {"d": -2.5e3 }, true,[]]}"#)),
        ("/b/c", Some(r#"[1, {"d": -2.5e3 }, true,[]]"#)),
        ("/b/c/0", Some("1")),
        ("/b/c/1/d", Some("-2.5e3")),
        ("/b/c/2", Some("true")),
        ("/b/c/3", Some("[]")),
        ("/b/c/4", None),
        ("/b/c/00", None),
        ("/b/c/-", None),
        ("/e", Some("null")),
        ("/", Some("{}")),
        ("/~1~0", Some("0")),
        ("/a/0", None),
        ("/f", None),
    ] {
        assert_eq!(one(pointer, text).as_deref(), expected, "{pointer}");
    }
}

#[test]
fn one_pass_finds_all() {
    let text = r#"{"id":7,"params":{"x":[0,[1,2]],"id":8},"method":"m"}"#;
    let pointers = ["/method", "/id", "/params/x/1/0", "/params/x", "/params", "/params/id", "/none"];
    let expected = ["\"m\"", "7", "1", "[0,[1,2]]", r#"{"x":[0,[1,2]],"id":8}"#, "8"];
    let found = found(&pointers, text);
    assert_eq!(found[..6], expected.map(|value| Some(value.to_owned())));
    assert_eq!(found[6], None);
}

#[test]
fn of_two_members_with_one_name_the_first_counts() {
    assert_eq!(one("/a", r#"{"a":1,"a":2}"#).as_deref(), Some("1"));
    assert_eq!(one("/a", r#"{"\u0061":1,"a":2}"#).as_deref(), Some("1"));
    assert_eq!(one("/a/c", r#"{"a":{"b":1},"a":{"c":2}}"#), None);
}

#[test]
fn what_stands_before_a_breach_counts_and_nothing_behind_it() {
    for text in [
        r#"{"a":1,"b" 2,"c":3}"#,
        r#"{"a":1 "c":3}"#,
        r#"{"a":1,,"c":3}"#,
        r#"{"a":1,"b":x,"c":3}"#,
        r#"{"a":1,"b":"#,
        r#"{"a":1,"b":{"c":3}"#,
        r#"{"a":1,"c":3"#,
        r#"{"a":1,"c":"3"#,
        r#"{"a":1]"#,
        r#"{"a":1,c:3}"#,
    ] {
        assert_eq!(found(&["/a", "/c"], text), [Some("1".to_owned()), None], "{text}");
    }
    for text in
        ["", " ", "x", "{", "}", "[", "]", "\"", "{\"", "{\"a\"", "{\"a\":", "\\", "{a:1}", "{,\"a\":1}"]
    {
        assert_eq!(one("/a", text), None, "{text}");
    }
}

#[test]
fn a_number_at_the_end_of_a_cut_text_may_go_on() {
    let places = places(&[""]);
    for (whole, expected) in [(true, Some(&b"12"[..])), (false, None)] {
        assert_eq!(find(&places, b" 12", whole).value(0).map(Value::raw), expected);
    }
}

#[test]
fn depth_has_a_bound() {
    let nested = |depth: usize| format!(r#"{{"x":{}{},"a":1}}"#, "[".repeat(depth), "]".repeat(depth));
    assert_eq!(one("/a", &nested(128)).as_deref(), Some("1"));
    assert_eq!(one("/a", &nested(129)), None);
    assert_eq!(one("/a", &nested(1_000_000)), None);
    assert_eq!(one("/a", &"{\"b\":".repeat(1_000_000)), None);
}

#[test]
fn a_pass_ends_when_nothing_is_left_to_be_found() {
    // What follows would end it without a find.
    assert_eq!(one("/a/b", r#"{"a":{"b":1, nonsense"#).as_deref(), Some("1"));
    assert_eq!(found(&["/a/b", "/a"], r#"{"a":{"b":1, nonsense"#), [Some("1".to_owned()), None]);
}

#[test]
fn strings_say_the_same_however_they_are_written() {
    for (raw, said) in [
        (r#""a\u0062\/\n\t\b\f\r\\\"""#, "ab/\n\t\u{8}\u{c}\r\\\""),
        (r#""\ud83d\ude00 \u00e9""#, "😀 é"),
        (r#""\ud83d \ude00 \ud83dA""#, "\u{fffd} \u{fffd} \u{fffd}A"),
        (r#""\u12 \x""#, "u12 x"),
        (r#""""#, ""),
    ] {
        let value = Value::of_raw(raw.as_bytes());
        assert_eq!(value.string().as_deref(), Some(said.as_bytes()), "{raw}");
        let plain = format!("\"{said}\"");
        assert_eq!(value.fingerprint(), Value::new(plain.as_bytes(), false).fingerprint(), "{raw}");
    }
    let prints = ["1", "\"1\"", "1.0", "true", "\"true\"", "\"\"", "\"\\u0000\"", "null", "[1]"]
        .map(|raw| Value::of_raw(raw.as_bytes()).fingerprint());
    for (index, print) in prints.iter().enumerate() {
        assert!(!prints[..index].contains(print), "{index}");
    }
}

#[test]
fn pointers_that_are_none_are_refused() {
    for (pointer, part) in [
        ("a", "begin it with a slash"),
        ("/a~", "write ~0"),
        ("/~2", "write ~0"),
        ("/~é", "write ~0"),
        (&"/a".repeat(16), "more than 15 names"),
    ] {
        let fault = Places::new().place(pointer).expect_err(pointer);
        assert!(fault.contains(part), "{fault}");
    }
    let mut places = Places::new();
    for place in 0..16 {
        assert_eq!(places.place(&format!("/{place}")), Ok(place));
    }
    assert_eq!(places.place("/3"), Ok(3));
    assert!(places.place("/16").expect_err("a 17th").contains("16 are looked for at the most"));
    let mut places = Places::new();
    let long = |name: u8| format!("/{name}{}", "/x".repeat(14));
    for name in 0..4 {
        places.place(&long(name)).expect("a pointer");
    }
    assert!(places.place(&long(4)).expect_err("too many names").contains("more than 64 names"));
}

fn json() -> impl Strategy<Value = Json> {
    let name = prop_oneof!["[a-c]", "[0-2]", Just("~/".to_owned()), "\\PC{0,12}", "[\\x00-\\x7f]{0,20}"];
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<f64>().prop_map(|number| Number::from_f64(number).map_or(Json::Null, Json::Number)),
        name.clone().prop_map(Json::from),
    ];
    leaf.prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Json::from),
            prop::collection::vec((name.clone(), inner), 0..5)
                .prop_map(|members| Json::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn pointer() -> impl Strategy<Value = String> {
    let name = prop_oneof!["[a-c]", "[0-3]", Just("~0~1".to_owned()), Just(String::new())];
    prop::collection::vec(name, 0..5).prop_map(|names| names.iter().map(|name| format!("/{name}")).collect())
}

/// With white space wherever it may be, and any character of strings as an escape.
fn written(json: &Json, style: u8) -> String {
    match style % 3 {
        0 => json.to_string(),
        1 => serde_json::to_string_pretty(json).expect("JSON"),
        _ => escaped(json),
    }
}

fn escaped(json: &Json) -> String {
    let string = |text: &str| {
        let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        format!("\"{units}\"")
    };
    match json {
        Json::String(text) => string(text),
        Json::Array(elements) => {
            format!("[{}]", elements.iter().map(escaped).collect::<Vec<_>>().join(" , "))
        }
        Json::Object(members) => {
            let members =
                members.iter().map(|(name, value)| format!("{} : {}", string(name), escaped(value)));
            format!("{{ {} }}", members.collect::<Vec<_>>().join("\t,\n"))
        }
        scalar => scalar.to_string(),
    }
}

proptest! {
    /// The same values as with a parser.
    #[test]
    fn finds_what_a_parser_finds(
        json in json(),
        pointers in prop::collection::vec(pointer(), 1..9),
        style: u8,
        pad in 0..9_usize,
    ) {
        let text = format!("{}{}{}", " ".repeat(pad), written(&json, style), " ".repeat(pad));
        let names: Vec<&str> = pointers.iter().map(String::as_str).collect();
        for (pointer, found) in pointers.iter().zip(dedup(&names, &text)) {
            let found = found.map(|raw| serde_json::from_str::<Json>(&raw).expect("JSON"));
            // Once more through its text, for numbers.
            let expected = json.pointer(pointer).map(|value| serde_json::from_str(&value.to_string()).expect("JSON"));
            prop_assert_eq!(found, expected, "{} in {}", pointer, text);
        }
    }

    /// A cut text has what the whole has, or nothing.
    #[test]
    fn a_cut_text_has_nothing_else(json in json(), pointers in prop::collection::vec(pointer(), 1..9), cut: prop::sample::Index) {
        let text = json.to_string();
        let names: Vec<&str> = pointers.iter().map(String::as_str).collect();
        let places = places(&names);
        let whole = find(&places, text.as_bytes(), true);
        let part = find(&places, &text.as_bytes()[..cut.index(text.len() + 1)], false);
        for place in 0..pointers.len() as u8 {
            let (part, whole) = (part.range(place), whole.range(place));
            prop_assert!(part.is_none() || part == whole);
        }
    }

    /// No bytes are too wild, and what is found lies in them.
    #[test]
    fn any_bytes_are_borne(bytes in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..80),
        prop::collection::vec(prop::sample::select(b"{}[]\",:\\ua01- \n".to_vec()), 0..80),
    ], whole: bool) {
        let places = places(&["", "/a", "/0", "/a/0", "/0/a", "/a/a/a", "/"]);
        let found = find(&places, &bytes, whole);
        for place in 0..8 {
            let value = found.value(place);
            prop_assert_eq!(value.is_some(), found.mask() & (1 << place) != 0);
            if let Some(value) = value {
                let _ = (value.string(), value.fingerprint());
                prop_assert!(!value.raw().is_empty());
            }
        }
    }
}

/// As [`found`], of pointers some of which may be the same.
fn dedup(pointers: &[&str], text: &str) -> Vec<Option<String>> {
    let mut places = Places::new();
    let numbers: Vec<u8> = pointers.iter().map(|pointer| places.place(pointer).expect("a pointer")).collect();
    let found = find(&places, text.as_bytes(), true);
    let raw = |value: Value<'_>| String::from_utf8(value.raw().to_vec()).expect("text");
    numbers.into_iter().map(|place| found.value(place).map(raw)).collect()
}

#[test]
fn no_pointers_are_found_nowhere() {
    let found = find(&Places::new(), br#"{"a":1}"#, true);
    assert_eq!(found.mask(), 0);
}
