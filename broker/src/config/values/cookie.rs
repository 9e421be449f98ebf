//! How the parts of a cookie are written that the broker sets (RFC 6265, 4.1.1), and what it learns of answers.

use super::network::host_name;
use super::request;
use crate::config::settings::LearnFrom;
use crate::config::text::quoted;

/// Bytes of a cookie's name.
const NAME_MAX: usize = 128;

/// What [`name`] reads, in words.
pub(in crate::config) const NAME: &str = "a cookie's name";

/// A cookie's name: a token, in which case counts.
pub(in crate::config) fn name(text: &str) -> Result<String, String> {
    let sound = text.len() <= NAME_MAX && request::header_name(text).is_ok();
    sound
        .then(|| text.to_owned())
        .ok_or_else(|| format!(r#"expected {NAME} such as "steadfast", found {}"#, quoted(text)))
}

/// The domain whose hosts are all sent a cookie.
pub(in crate::config) fn domain(text: &str) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    if lower.strip_prefix('.').is_some_and(is_domain) {
        return Err(format!("a domain has all below it anyway; write {}", quoted(&lower[1..])));
    }
    is_domain(&lower)
        .then_some(lower)
        .ok_or_else(|| format!(r#"expected a domain such as "example.com", found {}"#, quoted(text)))
}

/// No address: user agents take none.
fn is_domain(lower: &str) -> bool {
    let labels = || lower.split('.');
    let named = labels().next_back().is_some_and(|last| !last.bytes().all(|byte| byte.is_ascii_digit()));
    host_name(lower).is_some() && named && labels().all(|label| !label.is_empty())
}

/// The path below which a cookie is sent.
pub(in crate::config) fn path(text: &str) -> Result<String, String> {
    let path = request::path(text)?;
    if path.contains(';') {
        return Err(format!("the path of a cookie ends at a semicolon; remove it from {}", quoted(text)));
    }
    Ok(path)
}

/// What [`learn`] reads, in words.
pub(in crate::config) const LEARN: &str = "header:NAME, cookie:NAME or engine.io";

/// Where answers say what their clients are known by.
pub(in crate::config) fn learn(text: &str) -> Result<LearnFrom, String> {
    let expected = || format!("expected {LEARN}, found {}", quoted(text));
    if text == "engine.io" {
        return Ok(LearnFrom::EngineIo);
    }
    match text.split_once(':').ok_or_else(expected)? {
        ("header", rest) => request::header_name(rest).map(LearnFrom::Header),
        ("cookie", rest) => name(rest).map(LearnFrom::Cookie),
        _ => Err(expected()),
    }
}

#[cfg(test)]
mod tests {
    use http::header::HeaderName;

    use super::*;

    #[test]
    fn names_are_tokens() {
        for text in ["steadfast", "__Host-s", "S.1_2"] {
            assert_eq!(name(text).as_deref(), Ok(text));
        }
        for text in ["", "a b", "a=b", "a;b", "ä", "a,b", "\"a\"", &"a".repeat(NAME_MAX + 1)] {
            assert!(name(text).is_err(), "{text}");
        }
    }

    #[test]
    fn domains_are_names() {
        assert_eq!(domain("Example.com").as_deref(), Ok("example.com"));
        assert_eq!(domain("localhost").as_deref(), Ok("localhost"));
        assert!(domain(".example.com").is_err_and(|error| error.contains("write \"example.com\"")));
        for text in ["", ".", "a..b", "a.", "10.0.0.1", "::1", "a b", "a;b", "*.a.test", "a.test:80", "ä.de"]
        {
            assert!(domain(text).is_err(), "{text}");
        }
    }

    #[test]
    fn paths_hold_no_end_of_themselves() {
        assert_eq!(path("/chat").as_deref(), Ok("/chat"));
        for text in ["", "chat", "/a;b", "/a b", "/a?b", "/a\r\n"] {
            assert!(path(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_learned_has_its_place() {
        assert_eq!(learn("header:X-S"), Ok(LearnFrom::Header(HeaderName::from_static("x-s"))));
        assert_eq!(learn("cookie:Sid"), Ok(LearnFrom::Cookie("Sid".to_owned())));
        assert_eq!(learn("engine.io"), Ok(LearnFrom::EngineIo));
        for text in ["", "query:sid", "cookie:", "header:a b", "engine.io:sid", "cookie"] {
            assert!(learn(text).is_err(), "{text}");
        }
    }
}
