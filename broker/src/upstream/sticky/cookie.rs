//! Cookies in headers (RFC 6265): the one of the broker's name among those of a request, taking it off, and setting it.

use std::fmt::Write;

use http::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};

use crate::config::settings::{CookieSecure, SameSite, StickyCookie};
use crate::http::cookies::{pairs, value_of};

/// The value of the cookie of this name. `None`: there is none; or there are several, of which it cannot be told which
/// one was meant.
pub(super) fn only<'a>(name: &str, headers: &'a HeaderMap) -> Occurrence<'a> {
    let mut found = pairs(headers).filter_map(|pair| value_of(pair, name));
    match (found.next(), found.next()) {
        (None, _) => Occurrence::None,
        (Some(value), None) => Occurrence::One(value),
        (Some(_), Some(_)) => Occurrence::Several,
    }
}

/// How often a cookie stands in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occurrence<'a> {
    None,
    /// With its value.
    One(&'a [u8]),
    Several,
}

/// Takes off all cookies of this name. What stands between two semicolons besides stays as it is, byte for byte; a line
/// of which nothing is left goes.
pub(super) fn strip(name: &str, headers: &mut HeaderMap) {
    if !pairs(headers).any(|pair| is_named(pair, name)) {
        return;
    }
    let lines: Vec<_> = headers.get_all(COOKIE).iter().map(|line| stripped(name, line)).collect();
    headers.remove(COOKIE);
    for line in lines.into_iter().flatten() {
        headers.append(COOKIE, line);
    }
}

fn stripped(name: &str, line: &HeaderValue) -> Option<HeaderValue> {
    let pairs = || line.as_bytes().split(|byte| *byte == b';');
    if !pairs().any(|pair| is_named(pair, name)) {
        return Some(line.clone());
    }
    let kept: Vec<&[u8]> = pairs().filter(|pair| !is_named(pair, name)).collect();
    let kept = kept.join(&b';');
    // The space that stood behind a semicolon.
    let kept = kept.trim_ascii();
    // A part of what was one is one.
    HeaderValue::from_bytes(kept).ok().filter(|line| !line.is_empty())
}

fn is_named(pair: &[u8], name: &str) -> bool {
    value_of(pair, name).is_some()
}

/// The value that an answer sets for the cookie of this name, without its attributes; `None`: it sets none, or an empty
/// one.
pub(super) fn set<'a>(name: &str, headers: &'a HeaderMap) -> Option<&'a [u8]> {
    let pairs = headers.get_all(SET_COOKIE).into_iter().map(set_pair);
    pairs.filter_map(|pair| value_of(pair, name)).find(|value| !value.is_empty())
}

/// Whether an answer sets, or deletes, the cookie of this name.
pub(super) fn is_set(name: &str, headers: &HeaderMap) -> bool {
    headers.get_all(SET_COOKIE).into_iter().any(|line| is_named(set_pair(line), name))
}

/// Takes that off an answer.
pub(super) fn unset(name: &str, headers: &mut HeaderMap) {
    if is_set(name, headers) {
        let others: Vec<_> = headers.get_all(SET_COOKIE).iter().cloned().collect();
        headers.remove(SET_COOKIE);
        for line in others.into_iter().filter(|line| !is_named(set_pair(line), name)) {
            headers.append(SET_COOKIE, line);
        }
    }
}

fn set_pair(line: &HeaderValue) -> &[u8] {
    line.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default()
}

/// The line that sets it. `over_tls`: so the request came.
pub(super) fn line(settings: &StickyCookie, token: &str, over_tls: bool) -> Option<HeaderValue> {
    let mut line = format!("{}={token}; Path={}", settings.name, settings.path);
    if let Some(domain) = &settings.domain {
        let _ = write!(line, "; Domain={domain}");
    }
    line += match settings.same_site {
        SameSite::Lax => "; SameSite=Lax",
        SameSite::Strict => "; SameSite=Strict",
        SameSite::None => "; SameSite=None",
    };
    let secure = match settings.secure {
        CookieSecure::Auto => over_tls,
        CookieSecure::Always => true,
        CookieSecure::Never => false,
    };
    for (holds, attribute) in
        [(settings.http_only, "; HttpOnly"), (secure, "; Secure"), (settings.partitioned, "; Partitioned")]
    {
        line += if holds { attribute } else { "" };
    }
    HeaderValue::try_from(line).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::config::CookieSecrets;

    fn cookies(lines: &[&str]) -> HeaderMap {
        let value = |line: &&str| (COOKIE, HeaderValue::from_str(line).expect("a header's value"));
        lines.iter().map(value).collect()
    }

    fn left(lines: &[&str]) -> Vec<String> {
        let mut headers = cookies(lines);
        strip("sf", &mut headers);
        let text = |line: &HeaderValue| line.to_str().expect("text").to_owned();
        headers.get_all(COOKIE).iter().map(text).collect()
    }

    #[test]
    fn one_is_found_among_others() {
        for lines in [&["sf=x"][..], &["a=b; sf=x"], &["a=b;sf = x ;c=d"], &["a=b", "sf=x"], &["sf=x; SF=y"]]
        {
            assert_eq!(only("sf", &cookies(lines)), Occurrence::One(b"x"), "{lines:?}");
        }
        assert_eq!(only("sf", &cookies(&["sf="])), Occurrence::One(b""));
        assert_eq!(only("sf", &cookies(&["sf=a=b"])), Occurrence::One(b"a=b"));
        for lines in [&[][..], &[""], &["sf"], &["xsf=x"], &["a=sf=x"], &["SF=x"], &["=sf"]] {
            assert_eq!(only("sf", &cookies(lines)), Occurrence::None, "{lines:?}");
        }
        for lines in [&["sf=x; sf=x"][..], &["sf=x", "sf=y"], &["sf=; a=b; sf=x"]] {
            assert_eq!(only("sf", &cookies(lines)), Occurrence::Several, "{lines:?}");
        }
    }

    #[test]
    fn ours_is_taken_off_and_others_stay() {
        for (lines, expected) in [
            (&["a=b; sf=x; c=d"][..], &["a=b; c=d"][..]),
            (&["sf=x; a=b"], &["a=b"]),
            (&["a=b; sf=x"], &["a=b"]),
            (&["sf=x"], &[]),
            (&["sf=x;sf=y", "a=b", " sf = z "], &["a=b"]),
            (&["a=\"b\";sf=x;  c;;d=  e"], &["a=\"b\";  c;;d=  e"]),
            (&["a=b;; c=d ;"], &["a=b;; c=d ;"]),
            (&["a=b", "c=d"], &["a=b", "c=d"]),
        ] {
            assert_eq!(left(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn answers_set_cookies_in_lines() {
        let value = |line: &str| (SET_COOKIE, HeaderValue::from_str(line).expect("a header's value"));
        let headers: HeaderMap =
            ["a=1; Path=/", "sf=; Max-Age=0", "sf = x ; sf=y", "b=sf=2"].into_iter().map(value).collect();
        assert_eq!(set("sf", &headers), Some(&b"x"[..]));
        assert_eq!(set("a", &headers), Some(&b"1"[..]));
        assert_eq!((set("Path", &headers), is_set("Path", &headers)), (None, false));
        let mut others = headers.clone();
        unset("sf", &mut others);
        let others: Vec<_> = others.get_all(SET_COOKIE).iter().collect();
        assert_eq!(others, ["a=1; Path=/", "b=sf=2"]);
        let deleted: HeaderMap = [value("sf=; Max-Age=0")].into_iter().collect();
        assert_eq!((set("sf", &deleted), is_set("sf", &deleted)), (None, true));
    }

    #[test]
    fn attributes_are_as_configured() {
        let plain = StickyCookie {
            name: "sf".to_owned(),
            secret_file: None,
            secrets: CookieSecrets::default(),
            same_site: SameSite::Lax,
            secure: CookieSecure::Auto,
            http_only: true,
            partitioned: false,
            domain: None,
            path: "/".to_owned(),
            max_idle: Duration::ZERO,
            max_life: Duration::ZERO,
            preserve: false,
        };
        let line = |settings: &StickyCookie, over_tls| line(settings, "1x", over_tls).expect("a value");
        assert_eq!(line(&plain, false), "sf=1x; Path=/; SameSite=Lax; HttpOnly");
        assert_eq!(line(&plain, true), "sf=1x; Path=/; SameSite=Lax; HttpOnly; Secure");
        let other = StickyCookie {
            same_site: SameSite::None,
            secure: CookieSecure::Always,
            http_only: false,
            partitioned: true,
            domain: Some("a.test".to_owned()),
            path: "/chat".to_owned(),
            ..plain.clone()
        };
        let expected = "sf=1x; Path=/chat; Domain=a.test; SameSite=None; Secure; Partitioned";
        assert_eq!(line(&other, false), expected);
        let never =
            StickyCookie { same_site: SameSite::Strict, secure: CookieSecure::Never, ..plain.clone() };
        assert_eq!(line(&never, true), "sf=1x; Path=/; SameSite=Strict; HttpOnly");
    }

    proptest! {
        /// What is between semicolons stays, in its order, but for the space at the ends of a line.
        #[test]
        fn other_cookies_stay_byte_for_byte(
            lines in prop::collection::vec(
                prop::collection::vec("( ?(sf|a|sfx|b)( ?= ?[a-z\"=]{0,4})? ?)", 0..5), 0..4
            )
        ) {
            let joined: Vec<String> = lines.iter().map(|pairs| pairs.join(";")).collect();
            let mut headers: HeaderMap = joined.iter().map(|line| {
                (COOKIE, HeaderValue::from_str(line).expect("a header's value"))
            }).collect();
            let ours = |pair: &&str| is_named(pair.as_bytes(), "sf");
            let mut expected = Vec::new();
            for line in &joined {
                let kept: Vec<&str> = line.split(';').filter(|pair| !ours(pair)).collect();
                match kept.len() == line.split(';').count() {
                    true => expected.push(line.clone()),
                    false => expected.extend(Some(kept.join(";").trim().to_owned()).filter(|line| !line.is_empty())),
                }
            }
            strip("sf", &mut headers);
            let left: Vec<_> = headers.get_all(COOKIE).iter().map(|line| line.to_str().expect("text").to_owned()).collect();
            prop_assert_eq!(only("sf", &headers), Occurrence::None);
            prop_assert_eq!(left, expected);
        }
    }
}
