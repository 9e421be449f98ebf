//! How parts of an HTTP request and its answer are written: hosts, paths, headers, statuses.

use std::net::Ipv6Addr;
use std::ops::RangeInclusive;

use http::header::{self, HeaderName, HeaderValue};
use regex::{Regex, RegexBuilder};

use super::network::host_name;
use super::within;
use crate::config::settings::{HashKey, HostPattern};
use crate::config::text::quoted;
use crate::http::hop_by_hop;

/// Bytes of a path, of an expression and of a header's value in the file.
const TEXT_MAX: usize = 4096;
/// Bytes that one expression may take when it is compiled.
const REGEX_SIZE_MAX: usize = 1 << 20;
/// The statuses of HTTP (RFC 9110, 15).
const STATUSES: RangeInclusive<u16> = 100..=599;
/// No path is deeper that anybody would hash by.
const SEGMENTS: RangeInclusive<usize> = 1..=100;

/// What [`host_pattern`] reads, in words.
pub(in crate::config) const HOST_PATTERN: &str = "HOST or *.DOMAIN";

/// A host, or all below one.
pub(in crate::config) fn host_pattern(text: &str) -> Result<HostPattern, String> {
    let lower = text.to_ascii_lowercase();
    if let Some(suffix) =
        lower.strip_prefix('*').filter(|rest| rest.strip_prefix('.').is_some_and(is_dns_name))
    {
        return Ok(HostPattern::Suffix(suffix.to_owned()));
    }
    if let Some(host) = plain_host(&lower) {
        return Ok(HostPattern::Exact(host));
    }
    let hint = match lower.rsplit_once(':') {
        Some((host, port))
            if plain_host(host).is_some() && port.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            "; hosts are compared without a port, remove it"
        }
        _ => "",
    };
    let expected = r#"expected a host such as "chat.example.com" or "*.example.com""#;
    Err(format!("{expected}, found {}{hint}", quoted(text)))
}

/// A name, an IPv4 address, or an IPv6 address in brackets, as a Host header has it.
fn plain_host(lower: &str) -> Option<String> {
    match lower.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(six) => six.parse::<Ipv6Addr>().ok().map(|six| format!("[{six}]")),
        None => is_dns_name(lower).then(|| lower.to_owned()),
    }
}

fn is_dns_name(text: &str) -> bool {
    host_name(text).is_some() && text.split('.').all(|label| !label.is_empty())
}

/// A path without its query.
pub(in crate::config) fn path(text: &str) -> Result<String, String> {
    match target(text) {
        Ok(path) if path.contains('?') => {
            Err(format!("the path is compared without its query; remove it from {}", quoted(text)))
        }
        other => other,
    }
}

/// A path, with a query or without, as it stands in a request line.
pub(in crate::config) fn target(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err(format!(
            r#"expected a path that begins with /, such as "/chat", found {}"#,
            quoted(text)
        ));
    }
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if plain && text.len() <= TEXT_MAX {
        return Ok(text.to_owned());
    }
    let form = format!("at most {TEXT_MAX} ASCII letters, digits and signs, others are written %XX");
    Err(format!("a path has {form}; found {}", quoted(text)))
}

/// A regular expression.
pub(in crate::config) fn regex(text: &str) -> Result<Regex, String> {
    if text.len() > TEXT_MAX {
        return Err(format!("an expression of {} bytes is too long; allowed is {TEXT_MAX}", text.len()));
    }
    let built = RegexBuilder::new(text).size_limit(REGEX_SIZE_MAX).dfa_size_limit(REGEX_SIZE_MAX).build();
    built.map_err(|error| match error {
        // Its lines show the expression with a mark below; the last says what is wrong.
        regex::Error::Syntax(shown) => {
            let why = shown.lines().last().unwrap_or_default().trim_start_matches("error: ");
            format!("{} is no regular expression: {}", quoted(text), why.escape_debug())
        }
        _ => format!("{} takes too much memory when compiled; repeat less", quoted(text)),
    })
}

/// A header's name.
pub(in crate::config) fn header_name(text: &str) -> Result<HeaderName, String> {
    let short = Some(text).filter(|text| text.len() <= TEXT_MAX);
    short
        .and_then(|text| HeaderName::from_bytes(text.as_bytes()).ok())
        .ok_or_else(|| format!(r#"expected a header's name such as "X-Tenant", found {}"#, quoted(text)))
}

/// The name of a header that a rule may pass, block or add.
pub(in crate::config) fn relayed_header(text: &str) -> Result<HeaderName, String> {
    let name = settable_header(text)?;
    if name == header::HOST {
        return Err(format!("{} may only be set, and only in request_headers; remove it", quoted(text)));
    }
    Ok(name)
}

/// The name of a header that a rule may set.
pub(in crate::config) fn settable_header(text: &str) -> Result<HeaderName, String> {
    let name = header_name(text)?;
    if !hop_by_hop::passes(&name) || name.as_str().starts_with("sec-websocket-") {
        return Err(format!("{} belongs to the broker's own handshakes; remove it", quoted(text)));
    }
    Ok(name)
}

/// A header's value.
pub(in crate::config) fn header_value(text: &str) -> Result<HeaderValue, String> {
    let sound = text.len() <= TEXT_MAX && text.trim() == text;
    let value = HeaderValue::from_str(text).ok().filter(|value| sound && value.to_str().is_ok());
    value.ok_or_else(|| {
        let form = format!("at most {TEXT_MAX} printable ASCII characters without spaces around");
        format!("expected a header's value of {form}, found {}", quoted(text))
    })
}

/// A header's value to compare with.
pub(in crate::config) fn header_text(text: &str) -> Result<String, String> {
    header_value(text).map(|_| text.to_owned())
}

/// One status, or a range such as `200-399`.
pub(in crate::config) fn statuses(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let [Some(first), Some(last)] = [first, last].map(digits) else {
        return Err(format!(r#"expected a status or a range such as "200-399", found {}"#, quoted(text)));
    };
    if first > last {
        return Err(format!("{} ends before it begins; write {last}-{first}", quoted(text)));
    }
    Ok(status(first)?..=status(last)?)
}

fn digits(text: &str) -> Option<u16> {
    Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}

/// One status.
pub(in crate::config) fn status(number: u16) -> Result<u16, String> {
    within(number, &STATUSES, super::show_number)
}

/// What [`hash_key`] reads, in words.
pub(in crate::config) const HASH_KEY: &str = "header:NAME, cookie:NAME, query:NAME or path:N";

/// What requests are hashed by.
pub(in crate::config) fn hash_key(text: &str) -> Result<HashKey, String> {
    let expected = || format!("expected {HASH_KEY}, found {}", quoted(text));
    let (kind, rest) = text.split_once(':').ok_or_else(expected)?;
    match kind {
        "header" => header_name(rest).map(HashKey::Header),
        // A cookie's name is a token (RFC 6265, 4.1.1), as a header's is, but its case counts.
        "cookie" => header_name(rest).map(|_| HashKey::Cookie(rest.to_owned())).map_err(|_| expected()),
        "query" if is_parameter(rest) => Ok(HashKey::Query(rest.to_owned())),
        "path" => {
            let segment = rest.parse().map_err(|_| expected())?;
            within(segment, &SEGMENTS, super::show_number).map(HashKey::Path)
        }
        _ => Err(expected()),
    }
}

/// The name of a parameter of the query.
pub(in crate::config) fn parameter(text: &str) -> Result<String, String> {
    if is_parameter(text) {
        return Ok(text.to_owned());
    }
    let form = format!("1 to {TEXT_MAX} ASCII letters, digits and signs, without & = #");
    Err(format!(r#"expected a parameter's name such as "transport", of {form}; found {}"#, quoted(text)))
}

/// What a parameter of the query is compared with, decoded.
pub(in crate::config) fn parameter_text(text: &str) -> Result<String, String> {
    if text.len() <= TEXT_MAX {
        return Ok(text.to_owned());
    }
    Err(format!("a value of {} bytes is too long; allowed is {TEXT_MAX}", text.len()))
}

/// The name of a query parameter, as it stands in a request line.
fn is_parameter(text: &str) -> bool {
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !b"&=#".contains(&byte));
    plain && !text.is_empty() && text.len() <= TEXT_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_in_lower_case_and_without_port() {
        let exact = |host: &str| Ok(HostPattern::Exact(host.to_owned()));
        assert_eq!(host_pattern("Chat.Example.com"), exact("chat.example.com"));
        assert_eq!(host_pattern("10.0.0.1"), exact("10.0.0.1"));
        assert_eq!(host_pattern("[0::1]"), exact("[::1]"));
        assert_eq!(host_pattern("*.Example.com"), Ok(HostPattern::Suffix(".example.com".to_owned())));
        for text in
            ["", "*", "*.", "*example.com", "a.*.com", "a..b", "a.", ".a", "::1", "[::g]", "a/b", "ä.de"]
        {
            assert!(host_pattern(text).is_err(), "{text}");
        }
        for text in ["a.example:8080", "[::1]:80"] {
            assert!(host_pattern(text).is_err_and(|error| error.contains("without a port")), "{text}");
        }
    }

    #[test]
    fn paths_are_as_on_the_wire() {
        assert_eq!(path("/chat/%C3%A4"), Ok("/chat/%C3%A4".to_owned()));
        assert_eq!(target("/health?full=1"), Ok("/health?full=1".to_owned()));
        assert!(path("/chat?x").is_err_and(|error| error.contains("query")));
        for text in ["", "chat", "/a b", "/ä", "/a#b", "/a\r\n", &"/".repeat(TEXT_MAX + 1)] {
            assert!(target(text).is_err() && path(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn expressions_are_bounded() {
        assert!(regex("^/room/[0-9]+$").is_ok_and(|regex| regex.is_match("/room/7")));
        for text in ["(", "[", "a{2,1}", r"\w{1000}{1000}", "*", "(\u{1b}", &"a".repeat(TEXT_MAX + 1)] {
            let error = regex(text).expect_err(text);
            assert!(!error.contains(['\n', '\u{1b}']) && error.len() < 500, "{error}");
        }
    }

    #[test]
    fn rules_leave_the_handshake_alone() {
        assert_eq!(relayed_header("X-Tenant").map(|name| name.to_string()).as_deref(), Ok("x-tenant"));
        assert!(settable_header("Host").is_ok() && relayed_header("Host").is_err());
        for text in [
            "Connection",
            "UPGRADE",
            "Sec-WebSocket-Key",
            "sec-websocket-anything",
            "Content-Length",
            "Transfer-Encoding",
            "Steadfast-Session",
            "Keep-Alive",
            "",
            "a b",
            "a:b",
        ] {
            assert!(settable_header(text).is_err() && relayed_header(text).is_err(), "{text}");
        }
    }

    #[test]
    fn values_cannot_break_a_header() {
        for text in ["", "prod", "a b; c=\"d\""] {
            assert!(header_value(text).is_ok_and(|value| value == text), "{text}");
        }
        for text in [" a", "a ", "a\r\nb", "a\0", "ä", &"a".repeat(TEXT_MAX + 1)] {
            assert!(header_value(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn statuses_are_those_of_http() {
        assert_eq!(statuses("204"), Ok(204..=204));
        assert_eq!(statuses("200-399"), Ok(200..=399));
        for text in ["", "-", "2xx", "99", "600", "200-", "-200", "+200", "399-200", "200-399-400", "70000"] {
            assert!(statuses(text).is_err(), "{text}");
        }
    }

    #[test]
    fn parameters_have_names_and_any_value() {
        assert_eq!(parameter("transport").as_deref(), Ok("transport"));
        for text in ["", "a=b", "a&b", "a b", "é", &"x".repeat(TEXT_MAX + 1)] {
            let error = parameter(text).expect_err(text);
            assert!(!error.contains('\n'), "{error}");
        }
        for text in ["", " a b ", "é&=#"] {
            assert_eq!(parameter_text(text).as_deref(), Ok(text));
        }
        assert!(parameter_text(&"x".repeat(TEXT_MAX + 1)).is_err());
    }

    #[test]
    fn hash_keys_name_a_part_of_the_request() {
        assert_eq!(hash_key("header:X-User"), Ok(HashKey::Header(HeaderName::from_static("x-user"))));
        assert_eq!(hash_key("cookie:Sid"), Ok(HashKey::Cookie("Sid".to_owned())));
        assert_eq!(hash_key("query:room"), Ok(HashKey::Query("room".to_owned())));
        assert_eq!(hash_key("path:2"), Ok(HashKey::Path(2)));
        for text in [
            "",
            "cookie",
            "cookie:",
            "cookie:a b",
            "header:",
            "query:",
            "query:a=b",
            "path:0",
            "path:x",
            "body:1",
        ] {
            assert!(hash_key(text).is_err(), "{text}");
        }
    }
}
