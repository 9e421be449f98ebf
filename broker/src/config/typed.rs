//! What may stand behind a key: the types of values, their bounds, and how their errors read.
//! What a key means is not known here.

mod conditions;
mod lists;

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::{DeArray, DeValue};

use steadfast_protocol::websocket::close_code::CloseCode;

use super::place::NamedFile;
use super::raw::{Section, found};
use super::text::quoted;
use super::values;

impl Section<'_> {
    /// A duration within bounds.
    pub(super) fn duration(
        &mut self,
        name: &'static str,
        default: Duration,
        allowed: RangeInclusive<Duration>,
    ) -> Duration {
        let range = values::show_range(&allowed, values::show_duration);
        let read = |value: &DeValue<'_>| {
            let DeValue::String(text) = value else {
                return Err(format!(r#"expected a duration such as "200ms" or "30s", {}"#, found(value)));
            };
            values::within(values::duration(text)?, &allowed, values::show_duration)
        };
        self.value(name, &values::show_duration(default), range, read).unwrap_or(default)
    }

    /// Bytes within bounds.
    pub(super) fn size(
        &mut self,
        name: &'static str,
        default: usize,
        allowed: RangeInclusive<usize>,
    ) -> usize {
        self.optional_size(name, &values::show_size(default), allowed).unwrap_or(default)
    }

    /// Bytes within bounds, or `otherwise` when they are not written.
    pub(super) fn optional_size(
        &mut self,
        name: &'static str,
        otherwise: &str,
        allowed: RangeInclusive<usize>,
    ) -> Option<usize> {
        let range = values::show_range(&allowed, values::show_size);
        self.value(name, otherwise, range, |value| {
            let size = match value {
                DeValue::String(text) => values::size(text)?,
                value => number(value, r#"bytes such as "16MiB" or 65536"#)?,
            };
            values::within(size, &allowed, values::show_size)
        })
    }

    /// A whole number within bounds.
    pub(super) fn count<T>(&mut self, name: &'static str, default: T, allowed: RangeInclusive<T>) -> T
    where
        T: Copy + Display + PartialOrd + TryFrom<i64>,
    {
        self.optional_count(name, &default.to_string(), allowed).unwrap_or(default)
    }

    /// A whole number within bounds, or `otherwise` when it is not written.
    pub(super) fn optional_count<T>(
        &mut self,
        name: &'static str,
        otherwise: &str,
        allowed: RangeInclusive<T>,
    ) -> Option<T>
    where
        T: Copy + Display + PartialOrd + TryFrom<i64>,
    {
        let range = values::show_range(&allowed, values::show_number);
        self.value(name, otherwise, range.clone(), |value| {
            let count: i64 = number(value, "a whole number")?;
            let fitting = T::try_from(count).ok().filter(|count| allowed.contains(count));
            fitting.ok_or_else(|| format!("{count} is out of range; allowed is {range}"))
        })
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy + PartialEq>(
        &mut self,
        name: &'static str,
        default: T,
        choices: &[(&str, T)],
    ) -> T {
        let expected = values::show_choices(choices);
        let written = choices.iter().find(|(_, value)| *value == default).map_or("", |(word, _)| *word);
        let read = |value: &DeValue<'_>| match value {
            DeValue::String(text) => values::choice(text, choices),
            value => Err(format!("expected {expected}, {}", found(value))),
        };
        self.value(name, written, expected.clone(), read).unwrap_or(default)
    }

    /// Yes or no.
    pub(super) fn flag(&mut self, name: &'static str, default: bool) -> bool {
        self.optional_flag(name, &default.to_string()).unwrap_or(default)
    }

    /// Yes or no, or `otherwise` when it is not written.
    pub(super) fn optional_flag(&mut self, name: &'static str, otherwise: &str) -> Option<bool> {
        self.value(name, otherwise, YES_OR_NO.to_owned(), yes_or_no)
    }

    /// A code for a Close frame.
    pub(super) fn close_code(&mut self, name: &'static str, default: CloseCode) -> CloseCode {
        let allowed = CloseCode::IN_A_FRAME.to_owned();
        self.value(name, &default.to_string(), allowed, close_code).unwrap_or(default)
    }

    /// A code for Close frames; `None`, described as `otherwise`, when it is not written.
    pub(super) fn optional_close_code(&mut self, name: &'static str, otherwise: &str) -> Option<CloseCode> {
        self.value(name, otherwise, CloseCode::IN_A_FRAME.to_owned(), close_code)
    }

    /// Codes for Close frames, each once.
    pub(super) fn close_codes(&mut self, name: &'static str, default: &[CloseCode]) -> Vec<CloseCode> {
        let allowed = format!("a list of {}", CloseCode::IN_A_FRAME);
        let shown = format!("{:?}", default.iter().map(|code| code.0).collect::<Vec<_>>());
        let read = |value: &DeValue<'_>| {
            let DeValue::Array(array) = value else {
                return Err(format!("expected a list of close codes such as {shown}, {}", found(value)));
            };
            each_once(array)
        };
        self.value(name, &shown, allowed, read).unwrap_or_else(|| default.to_vec())
    }

    /// Text that `parse` understands, or `otherwise` when it is not written.
    pub(super) fn text<T>(
        &mut self,
        name: &'static str,
        otherwise: &str,
        allowed: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.value(name, otherwise, allowed.to_owned(), |value| parse(quoted_text(value)?))
    }

    /// A file that is read later, or `otherwise` when none is named.
    pub(super) fn file(&mut self, name: &'static str, otherwise: &str) -> Option<NamedFile> {
        let path = self.text(name, otherwise, FILE, file_path)?;
        Some(NamedFile { path, place: self.place_of(name) })
    }

    /// The same; the table must name it.
    pub(super) fn required_file(&mut self, name: &'static str) -> Option<NamedFile> {
        let path = self.required(name, FILE, file_path)?;
        Some(NamedFile { path, place: self.place_of(name) })
    }

    /// As [`Self::text`], and no mistake repeats what is written. `parse` must not either.
    pub(super) fn secret<T>(
        &mut self,
        name: &'static str,
        otherwise: &str,
        allowed: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.value(name, otherwise, allowed.to_owned(), |value| match value {
            DeValue::String(text) => parse(text),
            _ => Err("expected text in quotes".to_owned()),
        })
    }
}

/// What a flag may be, in words.
const YES_OR_NO: &str = "true or false";

fn yes_or_no(value: &DeValue<'_>) -> Result<bool, String> {
    match value {
        DeValue::Boolean(word) => Ok(*word),
        value => Err(format!("expected {YES_OR_NO}, {}", found(value))),
    }
}

/// What may stand where a file is named, in words.
const FILE: &str = "a file's path";

fn file_path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() || text.contains('\0') {
        return Err(format!("expected {FILE}, found {}", quoted(text)));
    }
    Ok(text.into())
}

fn quoted_text<'a>(value: &'a DeValue<'_>) -> Result<&'a str, String> {
    match value {
        DeValue::String(text) => Ok(text),
        value => Err(format!("expected text in quotes, {}", found(value))),
    }
}

/// A whole number of the type that is wanted.
fn number<T: TryFrom<i64>>(value: &DeValue<'_>, expected: &str) -> Result<T, String> {
    let whole = match value {
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok(),
        _ => None,
    };
    let fitting = whole.and_then(|whole| T::try_from(whole).ok());
    fitting.ok_or_else(|| format!("expected {expected}, {}", found(value)))
}

fn close_code(value: &DeValue<'_>) -> Result<CloseCode, String> {
    values::close_code(number(value, "a close code such as 1013")?)
}

fn each_once(array: &DeArray<'_>) -> Result<Vec<CloseCode>, String> {
    let mut codes = Vec::with_capacity(array.len());
    for element in array.iter() {
        let code = close_code(element.get_ref())?;
        if codes.contains(&code) {
            return Err(format!("{code} is listed twice; remove one"));
        }
        codes.push(code);
    }
    Ok(codes)
}
