//! What caches may do with an answer that sets a client's own cookie: nothing but the client's own cache keeps it (RFC 9111,
//! 5.2.2.7), as with HAProxy's `nocache`.

use http::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue};

const PRIVATE: HeaderValue = HeaderValue::from_static("private");

/// Directives that speak to shared caches alone (RFC 9111, 5.2.2).
const FOR_SHARED: [&str; 3] = ["public", "s-maxage", "proxy-revalidate"];

/// What tells shared caches something else (RFC 9213, and what was there before it).
const TARGETED: [HeaderName; 2] =
    [HeaderName::from_static("cdn-cache-control"), HeaderName::from_static("surrogate-control")];

/// Makes the answer one of its client's own, unless it says that nobody keeps it, or is one already.
pub(super) fn make_private(headers: &mut HeaderMap) {
    for name in TARGETED {
        headers.remove(name);
    }
    let directives = directives(headers);
    let is = |directive: &[u8], name: &str| directive.eq_ignore_ascii_case(name.as_bytes());
    if directives.iter().any(|directive| is(directive, "no-store") || is(directive, "private")) {
        return;
    }
    let named = |directive: &[u8]| {
        let name = directive.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
        FOR_SHARED.iter().any(|shared| is(name, shared))
    };
    let kept = directives.into_iter().filter(|directive| !named(directive));
    let all: Vec<Vec<u8>> = [b"private".to_vec()].into_iter().chain(kept).collect();
    let all = HeaderValue::from_bytes(&all.join(&b", "[..]));
    headers.insert(CACHE_CONTROL, all.unwrap_or(PRIVATE));
}

/// All of them, one by one. A comma in quotes ends none (RFC 9110, 5.6.1).
fn directives(headers: &HeaderMap) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for line in headers.get_all(CACHE_CONTROL) {
        let mut quoted = false;
        let parts = line.as_bytes().split(|byte| {
            quoted ^= *byte == b'"';
            *byte == b',' && !quoted
        });
        all.extend(parts.map(|part| part.trim_ascii().to_vec()).filter(|part| !part.is_empty()));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(lines: &[&str]) -> Vec<String> {
        let value = |line: &&str| (CACHE_CONTROL, HeaderValue::from_str(line).expect("a header's value"));
        let mut headers: HeaderMap = lines.iter().map(value).collect();
        make_private(&mut headers);
        let text = |line: &HeaderValue| line.to_str().expect("text").to_owned();
        headers.get_all(CACHE_CONTROL).iter().map(text).collect()
    }

    #[test]
    fn what_may_be_shared_becomes_private() {
        for (lines, expected) in [
            (&[][..], "private"),
            (&["max-age=60"], "private, max-age=60"),
            (&["public, max-age=60, S-MaxAge=600"], "private, max-age=60"),
            (&["Public", "proxy-revalidate, must-revalidate"], "private, must-revalidate"),
            (&["no-cache"], "private, no-cache"),
            (&["private=\"x-a, public\", max-age=1"], "private, private=\"x-a, public\", max-age=1"),
            (&["extension=\"no-store, private\""], "private, extension=\"no-store, private\""),
        ] {
            assert_eq!(made(lines), [expected], "{lines:?}");
        }
    }

    #[test]
    fn what_is_not_shared_stays() {
        for line in ["no-store", "private", "max-age=60, PRIVATE", "no-cache, No-Store, public"] {
            assert_eq!(made(&[line]), [line]);
        }
    }

    #[test]
    fn what_shared_caches_are_told_apart_goes() {
        let mut headers = HeaderMap::new();
        for name in TARGETED {
            headers.insert(name, HeaderValue::from_static("max-age=60"));
        }
        make_private(&mut headers);
        assert_eq!(headers.len(), 1);
    }
}
