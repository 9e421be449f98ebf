//! `Forwarded` as bytes (RFC 7239, 4). It is read from the right: what stands there was written by the proxy that is
//! next to us, and nothing that somebody further away has written, such as a quote that never ends, may change how
//! that is read.

use super::node::Node;

/// What one proxy says of the request that it got.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Element {
    /// Names in lower case, each once, with their values without quotes.
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Element {
    /// An element that says who asked.
    pub(super) fn of(node: &Node) -> Element {
        Element { pairs: vec![(b"for".to_vec(), node.to_string().into_bytes())] }
    }

    /// Adds a pair. `name` is a token in lower case that the element does not have.
    pub(super) fn with(mut self, name: &str, value: &[u8]) -> Element {
        self.pairs.push((name.as_bytes().to_vec(), value.to_vec()));
        self
    }

    /// Reads one element, without the commas around it. `None`: it is malformed.
    fn parse(text: &[u8]) -> Option<Element> {
        let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        for pair in FromTheRight::new(text, b';') {
            let equals = pair.iter().position(|byte| *byte == b'=')?;
            let (name, value) = (&pair[..equals], unquoted(&pair[equals + 1..])?);
            let name = name.to_ascii_lowercase();
            if !is_token(&name) || pairs.iter().any(|(other, _)| *other == name) {
                return None;
            }
            pairs.push((name, value));
        }
        pairs.reverse();
        (!pairs.is_empty()).then_some(Element { pairs })
    }

    /// Returns who asked; `None`: it does not say so in a way that can be read.
    pub(super) fn node(&self) -> Option<Node> {
        self.value(b"for").and_then(Node::parse)
    }

    /// Returns the value of this name, in lower case.
    pub(super) fn value(&self, name: &[u8]) -> Option<&[u8]> {
        self.pairs.iter().find(|(own, _)| own == name).map(|(_, value)| &**value)
    }

    /// Appends it as it is sent.
    fn write(&self, to: &mut Vec<u8>) {
        for (number, (name, value)) in self.pairs.iter().enumerate() {
            if number > 0 {
                to.push(b';');
            }
            to.extend_from_slice(name);
            to.push(b'=');
            write_value(value, to);
        }
    }
}

/// Reads the elements of one line from the right. `None` is the end of what can be read: nothing follows it.
pub(super) fn from_the_right(line: &[u8]) -> impl Iterator<Item = Option<Element>> {
    FromTheRight::new(line, b',').map(Element::parse)
}

/// Returns the line with these elements.
pub(super) fn emit(elements: &[Element]) -> Vec<u8> {
    let mut line = Vec::new();
    for element in elements {
        if !line.is_empty() {
            line.extend_from_slice(b", ");
        }
        element.write(&mut line);
    }
    line
}

/// The parts between separators outside of quotes, the last first, without those that are empty.
struct FromTheRight<'a> {
    rest: Option<&'a [u8]>,
    separator: u8,
}

impl<'a> FromTheRight<'a> {
    fn new(text: &'a [u8], separator: u8) -> FromTheRight<'a> {
        FromTheRight { rest: Some(text), separator }
    }

    /// Takes the last part.
    fn part(&mut self) -> Option<&'a [u8]> {
        let text = self.rest?;
        let mut quoted = false;
        for (at, byte) in text.iter().enumerate().rev() {
            if *byte == b'"' {
                // Within quotes, an escaped one does not end them.
                quoted = !quoted || escapes_before(text, at) % 2 == 1;
            } else if *byte == self.separator && !quoted {
                self.rest = Some(&text[..at]);
                return Some(text[at + 1..].trim_ascii());
            }
        }
        self.rest = None;
        Some(text.trim_ascii())
    }
}

impl<'a> Iterator for FromTheRight<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            match self.part()? {
                [] => {}
                part => return Some(part),
            }
        }
    }
}

/// How many backslashes stand right in front of a byte.
fn escapes_before(text: &[u8], at: usize) -> usize {
    text[..at].iter().rev().take_while(|byte| **byte == b'\\').count()
}

/// A token, or a quoted string without its quotes. Addresses with colons are taken without quotes too, since there
/// are proxies that forget them.
fn unquoted(value: &[u8]) -> Option<Vec<u8>> {
    let Some(inner) = value.strip_prefix(b"\"") else {
        let plain = |byte: &u8| is_token_byte(*byte) || b":[]".contains(byte);
        return (!value.is_empty() && value.iter().all(plain)).then(|| value.to_vec());
    };
    let inner = inner.strip_suffix(b"\"")?;
    let mut bytes = inner.iter().copied();
    let mut plain = Vec::with_capacity(inner.len());
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return None,
            b'\\' => plain.push(bytes.next()?),
            byte => plain.push(byte),
        }
    }
    Some(plain)
}

/// The value as a token if it is one, else quoted.
fn write_value(value: &[u8], to: &mut Vec<u8>) {
    if is_token(value) {
        return to.extend_from_slice(value);
    }
    to.push(b'"');
    for byte in value {
        if matches!(byte, b'"' | b'\\') {
            to.push(b'\\');
        }
        to.push(*byte);
    }
    to.push(b'"');
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| is_token_byte(*byte))
}

/// RFC 9110, 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    /// Who asked, the last first, up to what cannot be read.
    fn nodes(line: &str) -> Vec<Option<String>> {
        let sound = from_the_right(line.as_bytes()).map_while(|element| element);
        sound.map(|element| element.node().map(|node| node.to_string())).collect()
    }

    fn some(nodes: &[&str]) -> Vec<Option<String>> {
        nodes.iter().map(|node| Some((*node).to_owned())).collect()
    }

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        assert_eq!(nodes(r#"for="_gazonk""#), some(&["_gazonk"]));
        assert_eq!(nodes(r#"For="[2001:db8:cafe::17]:4711""#), some(&["[2001:db8:cafe::17]:4711"]));
        assert_eq!(nodes("for=192.0.2.60;proto=http;by=203.0.113.43"), some(&["192.0.2.60"]));
        assert_eq!(nodes("for=192.0.2.43, for=198.51.100.17"), some(&["198.51.100.17", "192.0.2.43"]));
        assert_eq!(nodes("for=_hidden, for=_SEVKISEK"), some(&["_SEVKISEK", "_hidden"]));
        assert_eq!(nodes(r#"for=192.0.2.43,for="[2001:db8:cafe::17]",for=unknown"#).len(), 3);
    }

    #[test]
    fn what_cannot_be_read_hides_nothing_to_the_right_of_it() {
        for line in [
            "for=\"203.0.113.9, for=192.0.2.1",
            "for=\"203.0.113.9\\\", for=192.0.2.1",
            "for=\", for=192.0.2.1",
            "rubbish, for=192.0.2.1",
            "for=203.0.113.9;for=203.0.113.8, for=192.0.2.1",
            "for==, for=192.0.2.1",
            "f(r=203.0.113.9, for=192.0.2.1",
            "for=\"a\"b\", for=192.0.2.1;proto=https;",
            ";;,,for=,for=192.0.2.1,, ,",
        ] {
            assert_eq!(nodes(line), some(&["192.0.2.1"]), "{line}");
        }
        // Here the quotes are those of the proxy next to us.
        assert_eq!(nodes(r#"for="evil, for="[2001:db8::1]""#), some(&["[2001:db8::1]"]));
        for line in
            ["for=\"192.0.2.1", "for=192.0.2.1\"", "for", "=192.0.2.1", "for=192 .0.2.1", "\"", "\\\"", ""]
        {
            assert_eq!(nodes(line), [], "{line}");
        }
    }

    #[test]
    fn one_that_does_not_say_who_asked_is_sound_and_names_nobody() {
        assert_eq!(nodes("by=192.0.2.1;proto=https"), [None]);
        assert_eq!(nodes("for=somebody"), [None]);
        let element = from_the_right(b"by=\"a\\\"b\" ; Proto=https").next().flatten().expect("an element");
        assert_eq!(
            (element.value(b"by"), element.value(b"proto")),
            (Some(&b"a\"b"[..]), Some(&b"https"[..]))
        );
    }

    #[test]
    fn ipv6_and_ports_are_quoted() {
        for (node, line) in [
            ("192.0.2.1", "for=192.0.2.1"),
            ("192.0.2.1:80", r#"for="192.0.2.1:80""#),
            ("2001:db8::1", r#"for="[2001:db8::1]""#),
            ("[2001:db8::1]:80", r#"for="[2001:db8::1]:80""#),
            ("unknown", "for=unknown"),
        ] {
            let element = Element::of(&Node::parse(node.as_bytes()).expect(node));
            assert_eq!(String::from_utf8_lossy(&emit(&[element])), line);
        }
        let element = Element::of(&Node::Address(Ipv4Addr::LOCALHOST.into(), None));
        let line = emit(&[element.clone().with("host", b"a.test:80"), element.with("proto", b"https")]);
        assert_eq!(line, br#"for=127.0.0.1;host="a.test:80", for=127.0.0.1;proto=https"#);
    }

    fn node() -> impl Strategy<Value = Node> {
        let port = prop::option::of(any::<u16>());
        let address = prop_oneof![
            any::<[u8; 4]>().prop_map(|octets| Ipv4Addr::from(octets).into()),
            any::<[u8; 16]>().prop_map(|octets| Ipv6Addr::from(octets).into()),
        ];
        let hidden =
            prop_oneof![Just("unknown".to_owned()), "_[A-Za-z0-9._-]{1,9}(:_[a-z]{1,3}|:[0-9]{1,4})?"];
        prop_oneof![
            (address, port).prop_map(|(address, port)| Node::Address(address, port)),
            hidden.prop_map(Node::Hidden),
        ]
    }

    /// Whatever may stand in a header's value.
    fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
        let byte =
            prop_oneof![Just(b'"'), Just(b'\\'), Just(b','), Just(b';'), Just(b'='), 0x20u8..=0x7e, 0x80u8..];
        prop::collection::vec(byte, 0..max)
    }

    fn element() -> impl Strategy<Value = Element> {
        let others = prop::collection::btree_map("(by|host|proto|[a-eg-z]{1,5})", bytes(12), 0..4);
        (node(), others).prop_map(|(node, others)| {
            let others = others.iter();
            others.fold(Element::of(&node), |element, (name, value)| element.with(name, value))
        })
    }

    proptest! {
        #[test]
        fn what_is_sent_is_read_again_whatever_stands_in_front_of_it(
            elements in prop::collection::vec(element(), 1..5),
            front in bytes(40),
        ) {
            let sent = emit(&elements);
            prop_assert!(HeaderValue::from_bytes(&sent).is_ok());
            let mut read: Vec<_> = from_the_right(&sent).collect::<Option<_>>().expect("it is sound");
            read.reverse();
            prop_assert_eq!(&read, &elements);
            let behind = [&front[..], b", ", &sent].concat();
            let mut read: Vec<_> =
                from_the_right(&behind).take(elements.len()).collect::<Option<_>>().expect("it is sound");
            read.reverse();
            prop_assert_eq!(&read, &elements);
        }

        #[test]
        fn any_bytes_are_read_or_refused(line in prop::collection::vec(any::<u8>(), 0..60), near in bytes(60)) {
            for line in [line, near] {
                let sound: Vec<_> = from_the_right(&line).map_while(|element| element).collect();
                prop_assert!(sound.len() <= line.len() && sound.iter().all(|one| !one.pairs.is_empty()));
                let _ = Node::parse(&line);
            }
        }

        #[test]
        fn a_node_that_is_sent_is_read_again(node in node()) {
            prop_assert_eq!(Node::parse(node.to_string().as_bytes()), Some(node));
        }
    }
}
