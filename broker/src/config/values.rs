//! How single values are written: the same rules for flags, environment and file. Every error says what
//! was expected and what was found, on one line.

pub(super) mod cookie;
pub(super) mod file;
pub(super) mod network;
pub(super) mod origin;
pub(super) mod profile;
pub(super) mod public_url;
pub(super) mod request;

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use bytesize::ByteSize;
use steadfast_protocol::websocket::close_code::CloseCode;
use tracing_subscriber::filter::{LevelFilter, Targets};

use super::settings::{
    Ack, ForwardedForm, HeaderCase, LogFormat, OnFailure, ProfileChoice, ProxyProtocol, Reuse, RouteKind,
    SendProxy,
};
use super::text::quoted;

/// The ways to write [`Ack`].
pub(super) const ACK: [(&str, Ack); 4] =
    [("pong", Ack::Pong), ("reply", Ack::Reply), ("none", Ack::None), ("shim", Ack::Shim)];
/// The ways to write [`OnFailure`].
pub(super) const ON_FAILURE: [(&str, OnFailure); 3] =
    [("auto", OnFailure::Auto), ("failover", OnFailure::Failover), ("close", OnFailure::Close)];
/// The ways to write [`HeaderCase`].
pub(super) const HEADER_CASE: [(&str, HeaderCase); 2] =
    [("lower", HeaderCase::Lower), ("title", HeaderCase::Title)];
/// The ways to write [`ForwardedForm`].
pub(super) const FORWARDED: [(&str, ForwardedForm); 3] =
    [("x", ForwardedForm::X), ("rfc7239", ForwardedForm::Rfc7239), ("both", ForwardedForm::Both)];
/// The ways to write [`ProxyProtocol`].
pub(super) const PROXY_PROTOCOL: [(&str, ProxyProtocol); 2] =
    [("off", ProxyProtocol::Off), ("required", ProxyProtocol::Required)];
/// The ways to write [`SendProxy`].
pub(super) const SEND_PROXY: [(&str, SendProxy); 3] =
    [("off", SendProxy::Off), ("v1", SendProxy::V1), ("v2", SendProxy::V2)];
/// The ways to write [`Reuse`].
pub(super) const REUSE: [(&str, Reuse); 2] = [("safe", Reuse::Safe), ("never", Reuse::Never)];
/// The ways to write [`RouteKind`].
pub(super) const ROUTE_KIND: [(&str, RouteKind); 3] =
    [("websocket", RouteKind::WebSocket), ("http", RouteKind::Http), ("any", RouteKind::Any)];
/// The ways to write [`LogFormat`].
pub(super) const LOG_FORMAT: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];

/// A name holds any `[host]:port`.
const NAME_LENGTH_MAX: usize = network::HOST_LENGTH_MAX + 8;
/// How alike two words are (Jaro-Winkler, 0 to 1) before one is offered for the other.
const ALIKE_MIN: f64 = 0.85;

/// Such as `200ms`, `30s` or `1m 30s`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| format!(r#"expected a duration such as "200ms" or "30s", found {}"#, quoted(text)))
}

/// A duration as [`duration`] reads it.
pub(super) fn show_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// Bytes, such as `16MiB` or `65536`.
pub(super) fn size(text: &str) -> Result<usize, String> {
    text.parse::<ByteSize>()
        .ok()
        .and_then(|size| usize::try_from(size.as_u64()).ok())
        .ok_or_else(|| format!(r#"expected bytes such as "16MiB" or 65536, found {}"#, quoted(text)))
}

/// Bytes as [`size`] reads them, in the largest unit that divides them.
pub(super) fn show_size(bytes: usize) -> String {
    let units = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.into_iter().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit)) {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => bytes.to_string(),
    }
}

/// An allowed range in words.
pub(super) fn show_range<T: Copy>(allowed: &RangeInclusive<T>, show: impl Fn(T) -> String) -> String {
    format!("{} to {}", show(*allowed.start()), show(*allowed.end()))
}

/// The value when it lies in the range.
pub(super) fn within<T: Copy + PartialOrd>(
    value: T,
    allowed: &RangeInclusive<T>,
    show: impl Fn(T) -> String,
) -> Result<T, String> {
    if allowed.contains(&value) {
        return Ok(value);
    }
    Err(format!("{} is out of range; allowed is {}", show(value), show_range(allowed, &show)))
}

/// One of a few words.
pub(super) fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let found = choices.iter().find(|(name, _)| *name == text);
    found
        .map(|(_, value)| *value)
        .ok_or_else(|| format!("expected {}, found {}", show_choices(choices), quoted(text)))
}

/// The words of a choice.
pub(super) fn show_choices<T>(choices: &[(&str, T)]) -> String {
    let words: Vec<_> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
    match words.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => words.concat(),
    }
}

/// ` did you mean "chat"?` when one of the known words is like this one, else nothing.
pub(super) fn nearest(word: &str, known: &[&str]) -> String {
    let alike = known.iter().map(|known| (strsim::jaro_winkler(word, known), *known));
    let nearest = alike.filter(|(alike, _)| *alike >= ALIKE_MIN).max_by(|a, b| a.0.total_cmp(&b.0));
    nearest.map_or(String::new(), |(_, known)| format!(" did you mean {known:?}?"))
}

/// The name of a route, a pool or a backend: it stands in logs and metrics, so it is short and plain.
pub(crate) fn name(text: &str) -> Result<String, String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-:[]".contains(&byte));
    if plain && !text.is_empty() && text.len() <= NAME_LENGTH_MAX {
        return Ok(text.to_owned());
    }
    Err(format!(
        "expected a name of 1 to {NAME_LENGTH_MAX} letters, digits and . _ - : [ ], found {}",
        quoted(text)
    ))
}

/// `auto`, `none`, or a profile's name.
pub(super) fn profile(text: &str) -> Result<ProfileChoice, String> {
    Ok(match text {
        "auto" => ProfileChoice::Auto,
        "none" => ProfileChoice::None,
        name => ProfileChoice::Named(self::name(name)?),
    })
}

/// A code that may stand in a Close frame.
pub(super) fn close_code(code: i64) -> Result<CloseCode, String> {
    let known = u16::try_from(code).ok().map(CloseCode).filter(|code| code.may_stand_in_a_frame());
    known.ok_or_else(|| format!("{code} cannot stand in a Close frame; allowed is {}", CloseCode::IN_A_FRAME))
}

/// What is logged: a level, or a list of `target=level`, separated by commas.
///
/// # Errors
///
/// Says which part is neither. A bare word that is no level would else name a target and silence all others.
pub fn log_filter(text: &str) -> Result<Targets, String> {
    text.split(',').try_fold(Targets::new(), |filter, part| {
        let (target, level) = match part.split_once('=') {
            Some((target, level)) => (Some(target.trim()), level),
            None => (None, part),
        };
        match (target, log_level(level.trim())) {
            (None, Some(level)) => Ok(filter.with_default(level)),
            (Some(target), Some(level)) if !target.is_empty() => Ok(filter.with_target(target, level)),
            _ => Err(format!("expected {LOG_LEVELS}, found {}", quoted(part))),
        }
    })
}

/// What [`log_filter`] reads, in words.
pub(super) const LOG_LEVELS: &str =
    r#"off, error, warn, info, debug or trace, or a list such as "info,steadfast=debug""#;

fn log_level(word: &str) -> Option<LevelFilter> {
    // `LevelFilter` itself also takes digits and the empty word.
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    levels.contains(&word.to_ascii_lowercase().as_str()).then(|| word.parse().ok()).flatten()
}

/// Checks the filter, keeps its text.
pub(super) fn log_level_text(text: &str) -> Result<String, String> {
    log_filter(text).map(|_| text.to_owned())
}

/// A number in words, for [`within`].
pub(super) fn show_number<T: Display>(number: T) -> String {
    number.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_codes_are_those_of_the_wire() {
        for code in [1000, 1003, 1007, 1014, 3000, 4999] {
            assert_eq!(close_code(code), Ok(CloseCode(code as u16)));
        }
        for code in [-1, 0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 70_000] {
            assert!(close_code(code).is_err(), "{code}");
        }
    }

    #[test]
    fn sizes_and_durations_come_back_as_written() {
        for text in ["0", "1", "1023", "16KiB", "1025KiB", "16MiB", "3GiB", "1TiB"] {
            assert_eq!(size(text).map(show_size), Ok(text.to_owned()));
        }
        for text in ["0s", "1ms", "200ms", "30s", "1m 30s", "1day"] {
            assert_eq!(duration(text).map(show_duration), Ok(text.to_owned()));
        }
        for text in ["", "x", "-1", "1.2.3MiB", "16 apples", "1e9"] {
            assert!(size(text).is_err(), "{text}");
        }
        for text in ["", "30", "-1s", "s", "30 apples", "99999999999999999999s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn log_filters_name_levels() {
        for text in ["info", "OFF", "steadfast=debug", "info,steadfast=debug", "warn, hyper=trace"] {
            assert!(log_filter(text).is_ok(), "{text}");
        }
        for text in ["", "inof", "3", "info,", "=debug", "steadfast=", "steadfast=loud", "a=b=info"] {
            assert!(log_filter(text).is_err(), "{text}");
        }
    }

    #[test]
    fn long_values_are_cut_in_errors() {
        let error = network::address(&"é".repeat(100_000)).expect_err("not an address");
        assert!(error.len() < 400, "{}", error.len());
    }

    #[test]
    fn names_are_plain() {
        assert_eq!(name("chat-1.blue_2"), Ok("chat-1.blue_2".to_owned()));
        for text in ["", "a b", "a\"b", "a\n", "ä", &"a".repeat(NAME_LENGTH_MAX + 1)] {
            assert!(name(text).is_err(), "{text}");
        }
    }
}
