//! By what a client's request shows what it speaks.

use http::Uri;

use crate::config::settings::ProfileMatch;
use crate::http::token_list;

/// Whether this holds of a client that asks for `target`, with the subprotocols that are agreed on, or else offered.
/// What says nothing holds for nobody.
pub(super) fn holds(known_by: &ProfileMatch, target: &Uri, subprotocols: &[u8]) -> bool {
    let ProfileMatch { subprotocols: names, path, query } = known_by;
    !known_by.is_empty()
        && (names.is_empty() || names.iter().any(|name| lists(subprotocols, name)))
        && path.as_ref().is_none_or(|pattern| fits(pattern, target.path()))
        && query.as_ref().is_none_or(|(name, value)| {
            has_parameter(target.query().unwrap_or_default(), name, value.as_deref())
        })
}

/// Whether one of the listed subprotocols is `name`, or begins as a `name` does that ends in `*`. Their case counts
/// (RFC 6455, 11.5).
pub(super) fn lists(subprotocols: &[u8], name: &str) -> bool {
    token_list::split(subprotocols).any(|entry| match name.strip_suffix('*') {
        Some(begin) => entry.starts_with(begin.as_bytes()),
        None => entry == name.as_bytes(),
    })
}

/// Whether a query has a parameter, with this value if one is given; as they were written.
pub(super) fn has_parameter(query: &str, name: &str, value: Option<&str>) -> bool {
    // Most have none, and are asked for several.
    if query.is_empty() {
        return false;
    }
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.any(|(key, found)| key == name && value.is_none_or(|value| value == found))
}

/// Whether a path fits a pattern in which `*` stands for any characters.
fn fits(pattern: &str, path: &str) -> bool {
    let Some((begin, rest)) = pattern.split_once('*') else { return pattern == path };
    let Some(mut path) = path.strip_prefix(begin) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        match path.find(part) {
            Some(at) => path = &path[at + part.len()..],
            None => return false,
        }
    }
    path.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_fits_its_pattern() {
        for (pattern, path) in [
            ("/chat", "/chat"),
            ("*", "/"),
            ("/chat*", "/chat"),
            ("/chat*", "/chats/1"),
            ("*/socket", "/a/socket"),
            ("/a*b*c", "/abc"),
            ("/a*b*c", "/a1b2b3c"),
            ("/*/*/ws", "/a/b/ws"),
        ] {
            assert!(fits(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("/chat", "/chats"),
            ("/chat*", "/cha"),
            ("*/socket", "/socket/"),
            ("/a*b*c", "/acb"),
            ("/a*ab", "/ab"),
            ("/*/*/ws", "/a/ws"),
            ("/Chat", "/chat"),
        ] {
            assert!(!fits(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn all_that_is_given_must_hold() {
        let target: Uri = "/chat/1?v=2&x=".parse().expect("a target");
        let known_by = ProfileMatch {
            subprotocols: vec!["my.v*".to_owned(), "mine".to_owned()],
            path: Some("/chat*".to_owned()),
            query: Some(("v".to_owned(), Some("2".to_owned()))),
        };
        assert!(holds(&known_by, &target, b"other, my.v3") && holds(&known_by, &target, b"mine"));
        assert!(!holds(&known_by, &target, b"") && !holds(&known_by, &target, b"MINE"));
        let path = ProfileMatch { path: Some("/room".to_owned()), ..known_by.clone() };
        assert!(!holds(&path, &target, b"mine"));
        let value = |value: Option<&str>| ProfileMatch {
            query: Some(("v".to_owned(), value.map(str::to_owned))),
            ..known_by.clone()
        };
        assert!(holds(&value(None), &target, b"mine") && !holds(&value(Some("3")), &target, b"mine"));
        let of_query =
            |name: &str| ProfileMatch { query: Some((name.to_owned(), None)), ..ProfileMatch::default() };
        assert!(holds(&of_query("x"), &target, b"") && !holds(&of_query("y"), &target, b""));
        assert!(!holds(&ProfileMatch::default(), &target, b"mine"), "nothing holds for nobody");
    }
}
