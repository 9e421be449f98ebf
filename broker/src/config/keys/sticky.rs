//! Keys of `[pool.sticky]`: how a pool's clients come back to the backend that they were at.

use std::time::Duration;

use super::{DAY, MS, Section, ZERO, secs};
use crate::config::cookie_secrets::CookieSecrets;
use crate::config::settings::{
    CookieSecure, HashKey, LearnFrom, SameSite, StickyCookie, StickyDraining, StickyLearning, StickyMode,
    StickySettings,
};
use crate::config::values::{cookie, request};

/// A cookie may last for so long: the year of the durations in the file.
const YEAR: Duration = Duration::from_secs(31_557_600);
/// Values that a pool may know at once: some two hundred bytes each.
const ENTRIES_MAX: usize = 10_000_000;

/// [`StickyMode`] as one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ModeWord {
    Insert,
    Learn,
}

const MODES: [(&str, ModeWord); 2] = [("insert", ModeWord::Insert), ("learn", ModeWord::Learn)];
const DRAINING: [(&str, StickyDraining); 2] =
    [("follow", StickyDraining::Follow), ("leave", StickyDraining::Leave)];
const SAME_SITE: [(&str, SameSite); 3] =
    [("lax", SameSite::Lax), ("strict", SameSite::Strict), ("none", SameSite::None)];
const SECURE: [(&str, CookieSecure); 3] =
    [("auto", CookieSecure::Auto), ("always", CookieSecure::Always), ("never", CookieSecure::Never)];

/// Keys that say something of the cookie.
const OF_COOKIES: [&str; 11] = [
    "cookie",
    "secret_file",
    "same_site",
    "secure",
    "http_only",
    "partitioned",
    "domain",
    "path",
    "max_idle",
    "max_life",
    "preserve",
];
/// Keys that say what is learned.
const OF_LEARNING: [&str; 4] = ["learn", "lookup", "entries", "timeout"];

pub(super) fn sticky(section: &mut Section<'_>) -> StickySettings {
    let mode = section.choice("mode", ModeWord::Insert, &MODES);
    let draining = section.choice("draining", StickyDraining::Follow, &DRAINING);
    let (cookie, learning) = (cookie(section), learning(section));
    let (others, other) = match mode {
        ModeWord::Insert => (&OF_LEARNING[..], "learn"),
        ModeWord::Learn => (&OF_COOKIES[..], "insert"),
    };
    for name in others {
        section
            .refuse(name, || format!(r#"means nothing without mode = "{other}"; set that, or remove this"#));
    }
    let mode = match (mode, learning) {
        (ModeWord::Learn, Some(learning)) => StickyMode::Learn(learning),
        (ModeWord::Learn, None) => {
            section.check(&["mode"], false, || {
                format!(r#""learn" needs to know what; give learn, one of {}"#, cookie::LEARN)
            });
            // Which is in the report.
            StickyMode::Insert(cookie)
        }
        (ModeWord::Insert, _) => StickyMode::Insert(cookie),
    };
    StickySettings { mode, draining }
}

fn cookie(section: &mut Section<'_>) -> StickyCookie {
    let cookie = StickyCookie {
        name: section
            .text("cookie", "steadfast", cookie::NAME, cookie::name)
            .unwrap_or_else(|| "steadfast".to_owned()),
        secret_file: section.file("secret_file", "none"),
        secrets: CookieSecrets::default(),
        same_site: section.choice("same_site", SameSite::Lax, &SAME_SITE),
        secure: section.choice("secure", CookieSecure::Auto, &SECURE),
        http_only: section.flag("http_only", true),
        partitioned: section.flag("partitioned", false),
        domain: section.text("domain", "none", "a domain", cookie::domain),
        path: section.text("path", "/", "/PATH", cookie::path).unwrap_or_else(|| "/".to_owned()),
        max_idle: section.duration("max_idle", ZERO, ZERO..=YEAR),
        max_life: section.duration("max_life", ZERO, ZERO..=YEAR),
        preserve: section.flag("preserve", false),
    };
    check_attributes(section, &cookie);
    cookie
}

/// What user agents do not take.
fn check_attributes(section: &mut Section<'_>, cookie: &StickyCookie) {
    let insecure = cookie.secure == CookieSecure::Never;
    section.check(&["same_site"], !insecure || cookie.same_site != SameSite::None, || {
        r#"browsers take "none" of secure cookies alone; set secure to "auto" or "always""#.to_owned()
    });
    section.check(&["partitioned"], !insecure || !cookie.partitioned, || {
        r#"browsers take it of secure cookies alone; set secure to "auto" or "always""#.to_owned()
    });
    let prefixed = |prefix: &str| {
        cookie.name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let always = cookie.secure == CookieSecure::Always;
    let of_host = prefixed("__Host-");
    section.check(&["cookie"], !(prefixed("__Secure-") || of_host) || always, || {
        r#"browsers take this name of secure cookies alone; set secure = "always""#.to_owned()
    });
    section.check(&["cookie"], !of_host || (cookie.domain.is_none() && cookie.path == "/"), || {
        r#"browsers take this name only without domain and with path = "/"; remove these, or choose another"#
            .to_owned()
    });
}

/// `None`: it is not said what.
fn learning(section: &mut Section<'_>) -> Option<StickyLearning> {
    let from = section.text("learn", "none", cookie::LEARN, cookie::learn);
    let lookup = section.text("lookup", "where it was learned", request::HASH_KEY, request::hash_key);
    let entries = section.count("entries", 100_000, 1..=ENTRIES_MAX);
    let timeout = section.duration("timeout", secs(30 * 60), MS..=DAY);
    let from = from?;
    let lookup = lookup.unwrap_or_else(|| match &from {
        LearnFrom::Header(name) => HashKey::Header(name.clone()),
        LearnFrom::Cookie(name) => HashKey::Cookie(name.clone()),
        LearnFrom::EngineIo => HashKey::Query("sid".to_owned()),
    });
    Some(StickyLearning { from, lookup, entries, timeout })
}
