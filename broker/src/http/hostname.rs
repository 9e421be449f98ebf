//! Hosts as requests name them, and names below a domain, as `*.example.com` means them.

use std::net::Ipv6Addr;

/// Whether this may stand in a Host header: a host, and perhaps a port (RFC 9110, 7.2; RFC 3986, 3.2.2 and
/// 3.2.3). An empty one may, for a target without an authority.
///
/// A user, a path or a space in it would be read by others as another host.
pub(crate) fn is_authority(value: &[u8]) -> bool {
    if let Some(rest) = value.strip_prefix(b"[") {
        let end = rest.iter().position(|byte| *byte == b']');
        return end.is_some_and(|end| is_literal(&rest[..end]) && is_port(&rest[end + 1..]));
    }
    let end = value.iter().position(|byte| *byte == b':').unwrap_or(value.len());
    let (name, port) = value.split_at(end);
    is_registered_name(name) && is_port(port)
}

/// Nothing, or a colon and digits; RFC 3986, 3.2.3, allows for none of them.
pub(crate) fn is_port(port: &[u8]) -> bool {
    match port {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// What stands in front of the port in what may stand in a Host header, brackets included.
pub(crate) fn without_port(authority: &[u8]) -> &[u8] {
    let from = authority.iter().position(|byte| *byte == b']').unwrap_or_default();
    let end = authority[from..].iter().position(|byte| *byte == b':').map_or(authority.len(), |at| from + at);
    &authority[..end]
}

/// What stands in brackets: an IPv6 address, or one of a version to come.
fn is_literal(literal: &[u8]) -> bool {
    if let [b'v' | b'V', rest @ ..] = literal {
        let mut parts = rest.splitn(2, |byte| *byte == b'.');
        let [version, address] = [parts.next(), parts.next()].map(Option::unwrap_or_default);
        let filled = !version.is_empty() && !address.is_empty();
        return filled
            && version.iter().all(u8::is_ascii_hexdigit)
            && address.iter().all(|byte| *byte == b':' || is_name_byte(*byte));
    }
    std::str::from_utf8(literal).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

fn is_registered_name(mut name: &[u8]) -> bool {
    loop {
        name = match name {
            [] => return true,
            [b'%', a, b, rest @ ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => rest,
            [byte, rest @ ..] if is_name_byte(*byte) => rest,
            _ => return false,
        };
    }
}

/// RFC 3986, 2.2 and 2.3: `unreserved` and `sub-delims`. Each byte of each host is looked up.
const NAME_BYTES: [bool; 256] = {
    let (mut table, mut byte) = ([false; 256], 0);
    while byte < table.len() {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let (signs, mut sign) = (b"-._~!$&'()*+,;=", 0);
    while sign < signs.len() {
        table[signs[sign] as usize] = true;
        sign += 1;
    }
    table
};

fn is_name_byte(byte: u8) -> bool {
    NAME_BYTES[usize::from(byte)]
}

/// Whether `name` is below `suffix`, such as `.example.com`, which begins with a dot. The domain
/// itself is not below it. Letter case does not count.
///
/// Only letters, digits, `-` and `_` may stand in front of the suffix, in labels between dots. A user,
/// a path or a space in front of it would be read by others as the end of another host's name.
pub(crate) fn is_below(name: &[u8], suffix: &str) -> bool {
    let Some((front, end)) =
        name.len().checked_sub(suffix.len()).and_then(|middle| name.split_at_checked(middle))
    else {
        return false;
    };
    end.eq_ignore_ascii_case(suffix.as_bytes()) && front.split(|byte| *byte == b'.').all(is_label)
}

fn is_label(label: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !label.is_empty() && label.iter().all(fits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn below(name: &str) -> bool {
        is_below(name.as_bytes(), ".example.com")
    }

    #[test]
    fn names_below_fit_at_any_depth() {
        for name in ["a.example.com", "a.b.example.com", "A_1.EXAMPLE.com", "xn--bcher-kva.example.com"] {
            assert!(below(name), "{name}");
        }
    }

    #[test]
    fn the_domain_itself_and_its_lookalikes_do_not_fit() {
        let names = ["", "example.com", ".example.com", "evilexample.com", "evil-example.com"];
        let longer = ["a.example.com.evil.com", "a.example.com.", "a.example.comm", "com", "..example.com"];
        for name in names.into_iter().chain(longer) {
            assert!(!below(name), "{name}");
        }
    }

    #[test]
    fn nothing_but_labels_stands_in_front() {
        for front in ["a..b", ".a", "evil.com/", "evil.com#", "me@a", "evil.com:80", "a b", "a%2e", "\\", "é"]
        {
            assert!(!below(&format!("{front}.example.com")), "{front}");
        }
    }

    #[test]
    fn hosts_are_those_of_the_grammar() {
        for host in [
            "",
            "a",
            "a.test",
            "A_1.test.",
            "a.test:",
            "a.test:80",
            ":80",
            "127.0.0.1:9000",
            "[::1]",
            "[::1]:80",
            "[::ffff:1.2.3.4]",
            "[v7.a:b]",
            "xn--bcher-kva.test",
            "a%20b",
            "a,b",
            "~!$&'()*+;=",
        ] {
            assert!(is_authority(host.as_bytes()), "{host:?}");
        }
        for host in [
            "a b",
            "a/b",
            "a\"b",
            "u@h",
            "a\tb",
            "a#b",
            "a?b",
            "a\\b",
            "a<b>",
            "{a}",
            "a|b",
            "a^b",
            "`a`",
            "b\u{fc}cher",
            "a:80:80",
            "a:x",
            "a: 80",
            "::1",
            "[::1",
            "::1]",
            "[::1]80",
            "[::1]:x",
            "[]",
            "[",
            "[a]",
            "[::1%25eth0]",
            "[v.a]",
            "[v7.]",
            "[v7]",
            "[vg.a]",
            "a%",
            "a%2",
            "a%zz",
            "http://a",
            "a;b c",
        ] {
            assert!(!is_authority(host.as_bytes()), "{host:?}");
        }
        assert!(!is_authority(b"b\xfccher") && !is_authority(b"a\0"));
    }

    proptest! {
        #[test]
        fn no_byte_that_parts_a_url_is_in_a_host(host in prop::collection::vec(any::<u8>(), 0..40)) {
            let parts = b"/?#@ \\\t\"<>{}|^`";
            prop_assert!(!is_authority(&host) || !host.iter().any(|byte| parts.contains(byte) || *byte > 126));
        }

        #[test]
        fn any_labels_in_any_case_fit(labels in "[a-z0-9_-]{1,9}(\\.[a-z0-9_-]{1,9}){0,3}") {
            let name = format!("{labels}.example.com");
            prop_assert!(below(&name));
            prop_assert!(below(&name.to_uppercase()));
        }

        #[test]
        fn any_bytes_are_judged(name in prop::collection::vec(any::<u8>(), 0..40)) {
            let fits = is_below(&name, ".a");
            prop_assert!(!fits || name.to_ascii_lowercase().ends_with(b".a"));
        }
    }
}
