//! How origins are written (RFC 6454, 6.2).

use super::request::host_pattern;
use crate::config::settings::{HostPattern, OriginPattern};
use crate::config::text::quoted;

/// What [`origin`] reads, in words.
pub(in crate::config) const ORIGIN: &str = "SCHEME://HOST[:PORT] or SCHEME://*.DOMAIN[:PORT]";

/// An origin, or all below one.
pub(in crate::config) fn origin(text: &str) -> Result<OriginPattern, String> {
    let expected = || {
        let examples = r#""https://example.com" or "https://*.example.com""#;
        format!("expected an origin such as {examples}, found {}", quoted(text))
    };
    let lower = text.to_ascii_lowercase();
    // What documents without an origin of their own send.
    if lower == "null" {
        return Ok(OriginPattern::Exact(lower));
    }
    let (scheme, rest) =
        lower.split_once("://").filter(|(scheme, _)| is_scheme(scheme)).ok_or_else(expected)?;
    if rest.contains('/') {
        return Err(format!("an origin has no path; remove it from {}", quoted(text)));
    }
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let port = match port {
        None => String::new(),
        Some(port) if matches!((scheme, port), ("http", "80") | ("https", "443")) => {
            return Err(format!("clients leave out port {port} of {scheme} in an origin; remove it"));
        }
        Some(port) => port_number(port).map(|port| format!(":{port}")).ok_or_else(expected)?,
    };
    match host_pattern(host).map_err(|_| expected())? {
        HostPattern::Exact(host) => Ok(OriginPattern::Exact(format!("{scheme}://{host}{port}"))),
        HostPattern::Suffix(suffix) => {
            Ok(OriginPattern::Below { scheme: scheme.to_owned(), suffix: format!("{suffix}{port}") })
        }
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// As clients write it: digits alone, without zeros in front.
fn port_number(text: &str) -> Option<u16> {
    let digits = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_as_clients_send_them() {
        let exact = |origin: &str| Ok(OriginPattern::Exact(origin.to_owned()));
        let below = |scheme: &str, suffix: &str| {
            Ok(OriginPattern::Below { scheme: scheme.to_owned(), suffix: suffix.to_owned() })
        };
        assert_eq!(origin("HTTPS://Example.com"), exact("https://example.com"));
        assert_eq!(origin("http://localhost:3000"), exact("http://localhost:3000"));
        assert_eq!(origin("http://[::1]:3000"), exact("http://[::1]:3000"));
        assert_eq!(origin("http://[::1]"), exact("http://[::1]"));
        assert_eq!(origin("null"), exact("null"));
        assert_eq!(origin("https://*.example.com"), below("https", ".example.com"));
        assert_eq!(origin("https://*.example.com:8443"), below("https", ".example.com:8443"));
        for text in [
            "",
            "*",
            "example.com",
            "https://",
            "https://*",
            "://a",
            "https://a:0",
            "https://a:x",
            "https://a:0443",
            "https://a:65536",
            "https://a:",
        ] {
            assert!(origin(text).is_err(), "{text}");
        }
        assert!(origin("https://example.com/").is_err_and(|error| error.contains("no path")));
        assert!(origin("https://example.com:443").is_err_and(|error| error.contains("remove it")));
    }
}
