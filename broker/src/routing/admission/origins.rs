//! Origins whose pages may connect.

use http::header::{self, HeaderMap, HeaderValue};

use crate::config::settings::OriginPattern;
use crate::http::hostname::is_below;

/// The origins of a rule; `None`: any, and requests without one.
pub(super) struct Origins(Option<Vec<Rule>>);

/// One origin, or all those below a domain.
struct Rule {
    scheme: String,
    /// Host and port, the port only where it is not the scheme's own.
    authority: String,
    /// The authority begins with a dot, and stands for all that ends so.
    below: bool,
}

impl Origins {
    pub(super) fn new(patterns: &[OriginPattern]) -> Origins {
        let rules = || patterns.iter().filter_map(Rule::new).collect();
        Origins((!patterns.is_empty()).then(rules))
    }

    /// A request tells its origin in one header (RFC 6455, 4.1). Of several, nobody knows which of
    /// them the backend reads.
    pub(super) fn admit(&self, headers: &HeaderMap) -> bool {
        let Some(rules) = &self.0 else { return true };
        let mut origins = headers.get_all(header::ORIGIN).iter().map(HeaderValue::as_bytes);
        let (Some(origin), None) = (origins.next(), origins.next()) else { return false };
        let Some((scheme, authority)) = parts(origin) else { return false };
        rules.iter().any(|rule| rule.fits(scheme, authority))
    }
}

impl Rule {
    fn new(pattern: &OriginPattern) -> Option<Rule> {
        let (text, below) = match pattern {
            OriginPattern::Exact(origin) => (origin.clone(), false),
            OriginPattern::Below { scheme, suffix } => (format!("{scheme}://{suffix}"), true),
        };
        let (scheme, authority) = parts(text.as_bytes())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some(Rule { scheme: text(scheme), authority: text(authority), below })
    }

    fn fits(&self, scheme: &[u8], authority: &[u8]) -> bool {
        scheme.eq_ignore_ascii_case(self.scheme.as_bytes())
            && if self.below {
                is_below(authority, &self.authority)
            } else {
                authority.eq_ignore_ascii_case(self.authority.as_bytes())
            }
    }
}

/// Scheme and authority of an origin (RFC 6454, 6.2). Browsers leave the scheme's own port away;
/// where somebody writes it, it is the same origin. `null` is a word alone, and fits only itself.
fn parts(origin: &[u8]) -> Option<(&[u8], &[u8])> {
    if origin == b"null" {
        return Some((origin, b""));
    }
    let colon = origin.iter().position(|byte| *byte == b':')?;
    let (scheme, rest) = origin.split_at(colon);
    let authority = rest.strip_prefix(b"://")?;
    let own: &[u8] = match scheme {
        scheme if scheme.eq_ignore_ascii_case(b"http") => b":80",
        scheme if scheme.eq_ignore_ascii_case(b"https") => b":443",
        _ => b"",
    };
    Some((scheme, authority.strip_suffix(own).unwrap_or(authority)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn exact(origin: &str) -> OriginPattern {
        OriginPattern::Exact(origin.into())
    }

    fn below(suffix: &str) -> OriginPattern {
        OriginPattern::Below { scheme: "https".into(), suffix: suffix.into() }
    }

    fn request(origins: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for origin in origins {
            headers.append(header::ORIGIN, HeaderValue::from_bytes(origin).expect("a value"));
        }
        headers
    }

    fn admits(pattern: OriginPattern, origin: &str) -> bool {
        Origins::new(&[pattern]).admit(&request(&[origin.as_bytes()]))
    }

    #[test]
    fn without_rules_any_origin_and_none_may_come_in() {
        let origins = Origins::new(&[]);
        assert!(origins.admit(&request(&[])));
        assert!(origins.admit(&request(&[b"https://a.com"])));
        assert!(origins.admit(&request(&[b"null", b"\xff"])));
    }

    #[test]
    fn an_origin_is_compared_without_case() {
        assert!(admits(exact("https://a.com"), "https://a.com"));
        assert!(admits(exact("https://a.com"), "HTTPS://A.com"));
        for origin in
            ["http://a.com", "https://a.co", "https://a.comm", "https://b.a.com", "a.com", "https:a.com"]
        {
            assert!(!admits(exact("https://a.com"), origin), "{origin}");
        }
        for origin in ["", "https://", "https://a.com/", "https://a.com.", "https://a.com https://b.com"] {
            assert!(!admits(exact("https://a.com"), origin), "{origin}");
        }
    }

    #[test]
    fn a_port_is_part_of_the_origin() {
        assert!(!admits(exact("https://a.com"), "https://a.com:8443"));
        assert!(!admits(exact("https://a.com:8443"), "https://a.com"));
        assert!(admits(exact("https://a.com:8443"), "https://A.com:8443"));
        assert!(!admits(exact("https://a.com:8443"), "https://a.com:84430"));
        assert!(admits(below(".a.com:8443"), "https://x.a.com:8443"));
        assert!(!admits(below(".a.com:8443"), "https://x.a.com"));
        assert!(!admits(below(".a.com"), "https://x.a.com:8443"));
    }

    #[test]
    fn the_schemes_own_port_goes_without_saying() {
        assert!(admits(exact("https://a.com"), "https://a.com:443"));
        assert!(admits(exact("https://a.com:443"), "https://a.com"));
        assert!(admits(exact("http://[::1]:80"), "http://[::1]"));
        assert!(admits(below(".a.com:443"), "https://x.a.com"));
        assert!(!admits(exact("https://a.com"), "https://a.com:80"));
        assert!(!admits(exact("http://a.com"), "http://a.com:443"));
    }

    #[test]
    fn the_star_stands_for_names_below_only() {
        assert!(admits(below(".example.com"), "https://a.example.com"));
        assert!(admits(below(".example.com"), "https://A.b.Example.com"));
        let others = ["https://example.com", "https://.example.com", "http://a.example.com", "a.example.com"];
        let tricks = [
            "https://evil-example.com",
            "https://example.com.evil.com",
            "https://a.example.com.evil.com",
            "https://evil.com/.example.com",
            "https://evil.com#.example.com",
            "https://evil.com?.example.com",
            "https://evil.com:80.example.com",
            "https://evil.com\\.example.com",
            "https://me@a.example.com",
            "https://evil.com https://a.example.com",
            "https://a..example.com",
        ];
        for origin in others.into_iter().chain(tricks) {
            assert!(!admits(below(".example.com"), origin), "{origin}");
        }
    }

    #[test]
    fn no_origin_null_and_several_do_not_fit() {
        let origins = Origins::new(&[exact("https://a.com"), below(".a.com")]);
        assert!(!origins.admit(&request(&[])));
        assert!(!origins.admit(&request(&[b"null"])));
        assert!(!origins.admit(&request(&[b"https://\xff.a.com"])));
        assert!(!origins.admit(&request(&[b"https://a.com", b"https://a.com"])));
        assert!(!origins.admit(&request(&[b"https://a.com", b"https://evil.com"])));
        assert!(origins.admit(&request(&[b"https://x.a.com"])));
    }

    #[test]
    fn documents_without_an_origin_come_in_where_null_is_named() {
        assert!(admits(exact("null"), "null"));
        for origin in ["", "nul", "null.com", "a.com", "https://a.com", "https://null"] {
            assert!(!admits(exact("null"), origin), "{origin}");
        }
    }

    proptest! {
        #[test]
        fn only_hosts_of_the_domain_come_in(
            front in "[ -~]{0,20}", end in "(|:443|:80|\\.|/|\\.evil)", scheme in "(https|http|HTTPS|)",
        ) {
            let origin = format!("{scheme}://{front}.example.com{end}");
            let labels = front.split('.').all(|label| {
                !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
            });
            let expected =
                labels && matches!(end.as_str(), "" | ":443") && scheme.eq_ignore_ascii_case("https");
            prop_assert_eq!(admits(below(".example.com"), &origin), expected, "{}", origin);
        }
    }
}
