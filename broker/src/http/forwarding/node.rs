//! One end of a hop, as proxies write it (RFC 7239, 6; `X-Forwarded-For` has the same without the quotes).

use std::fmt::{self, Display, Formatter};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Who asked a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// An address, with the port if one was written.
    Address(IpAddr, Option<u16>),
    /// `unknown`, or a name that means something to who wrote it alone, such as `_edge`.
    Hidden(String),
}

impl Node {
    /// Reads `192.0.2.1`, `192.0.2.1:5678`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:443`, `unknown`, `_edge`.
    /// `None`: it is none of these.
    pub(super) fn parse(text: &[u8]) -> Option<Node> {
        let text = std::str::from_utf8(text).ok()?;
        if let Ok(bare) = text.parse::<Ipv6Addr>() {
            return Some(Node::Address(bare.into(), None));
        }
        if let Some(inner) = text.strip_prefix('[') {
            let (six, after) = inner.split_once(']')?;
            let port = if after.is_empty() { None } else { parse_port(after.strip_prefix(':')?)? };
            return Some(Node::Address(six.parse::<Ipv6Addr>().ok()?.into(), port));
        }
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, parse_port(port)?),
            None => (text, None),
        };
        if let Ok(four) = name.parse::<Ipv4Addr>() {
            return Some(Node::Address(four.into(), port));
        }
        let hidden = name.eq_ignore_ascii_case("unknown") || is_made_up(name);
        hidden.then(|| Node::Hidden(text.to_owned()))
    }

    /// Returns the address in its plain form; a port that was not written is 0.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Node::Address(address, port) => {
                Some(SocketAddr::new(address.to_canonical(), port.unwrap_or_default()))
            }
            Node::Hidden(_) => None,
        }
    }
}

/// As `Forwarded` wants it, but for the quotes: IPv6 in brackets.
impl Display for Node {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Node::Address(IpAddr::V4(four), None) => write!(f, "{four}"),
            Node::Address(IpAddr::V6(six), None) => write!(f, "[{six}]"),
            Node::Address(address, Some(port)) => SocketAddr::new(*address, *port).fmt(f),
            Node::Hidden(name) => f.write_str(name),
        }
    }
}

/// A port, or a made-up name in place of one, which tells nothing.
fn parse_port(text: &str) -> Option<Option<u16>> {
    let is_number = (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok().map(Some) } else { is_made_up(text).then_some(None) }
}

/// `_` and at least one more letter, digit, `.`, `_` or `-` (RFC 7239, 6.3).
fn is_made_up(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    name.len() > 1 && name.starts_with('_') && name.bytes().all(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_ports_and_without() {
        for (text, address, shown) in [
            ("192.0.2.1", "192.0.2.1:0", "192.0.2.1"),
            ("192.0.2.1:5678", "192.0.2.1:5678", "192.0.2.1:5678"),
            ("192.0.2.1:_hidden", "192.0.2.1:0", "192.0.2.1"),
            ("2001:DB8::1", "[2001:db8::1]:0", "[2001:db8::1]"),
            ("[2001:db8::1]", "[2001:db8::1]:0", "[2001:db8::1]"),
            ("[::1]:443", "[::1]:443", "[::1]:443"),
            ("[::1]:_x", "[::1]:0", "[::1]"),
            ("::ffff:192.0.2.1", "192.0.2.1:0", "[::ffff:192.0.2.1]"),
        ] {
            let node = Node::parse(text.as_bytes()).expect(text);
            assert_eq!(node.address(), Some(address.parse().expect("an address")), "{text}");
            assert_eq!(node.to_string(), shown);
        }
    }

    #[test]
    fn hidden_ones_have_no_address() {
        for text in ["unknown", "Unknown", "unknown:80", "_edge", "_a.b-c_9", "_edge:_port"] {
            let node = Node::parse(text.as_bytes()).expect(text);
            assert_eq!((node.address(), node.to_string().as_str()), (None, text));
        }
    }

    #[test]
    fn anything_else_is_no_node() {
        for text in [
            "",
            " ",
            ":",
            ":80",
            "localhost",
            "192.0.2",
            "192.0.2.256",
            "192.0.2.01",
            "192.0.2.1:",
            "192.0.2.1:65536",
            "192.0.2.1:000080",
            "192.0.2.1:+80",
            "192.0.2.1:80:80",
            "192.0.2.1/32",
            "[192.0.2.1]",
            "[::1",
            "[::1]80",
            "[::1]:",
            "::1]",
            "fe80::1%eth0",
            "[[::1]]",
            "_",
            "_a b",
            "_a:b",
            "unknown:x",
            "\"192.0.2.1\"",
            "[]",
            "[]:80",
            "192.0.2.1 ",
            "1::2::3",
            "\u{661}.0.2.1",
        ] {
            assert_eq!(Node::parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(Node::parse(b"192.0.2.\xff"), None);
    }
}
