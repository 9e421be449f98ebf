//! Values with several parts. A part that is wrong is named with its own line.

use std::borrow::Cow;
use std::collections::HashSet;
use std::hash::Hash;
use std::ops::RangeInclusive;

use toml::Spanned;
use toml::de::DeValue;

use super::{number, quoted_text};
use crate::config::raw::{Section, ValueFault, found};
use crate::config::text::quoted;
use crate::config::values::request;

/// Parts of one value.
const PARTS_MAX: usize = 4096;

impl Section<'_> {
    /// Texts that `parse` understands, each once; one alone needs no brackets. `None` when it is not
    /// written.
    pub(in crate::config) fn optional_texts<T: Clone + Eq + Hash>(
        &mut self,
        name: &'static str,
        otherwise: &str,
        each: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let allowed = format!("{each}, or a list");
        self.value(name, otherwise, allowed, |value| parts(value, |part| parse(quoted_text(part)?)))
    }

    /// As [`Self::optional_texts`], empty when it is not written.
    pub(in crate::config) fn texts<T: Clone + Eq + Hash>(
        &mut self,
        name: &'static str,
        each: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        self.optional_texts(name, "[]", each, parse).unwrap_or_default()
    }

    /// Statuses and ranges of them, as numbers or text; at least one.
    pub(in crate::config) fn statuses(
        &mut self,
        name: &'static str,
        default: RangeInclusive<u16>,
    ) -> Vec<RangeInclusive<u16>> {
        let written = format!("[\"{}-{}\"]", default.start(), default.end());
        let allowed = "statuses from 100 to 599 and ranges of them, one or a list".to_owned();
        let read = |value: &DeValue<'_>| match parts(value, status)? {
            none if none.is_empty() => {
                Err(ValueFault::from(format!("no status would be good; give some, such as {written}")))
            }
            some => Ok(some),
        };
        self.value(name, &written, allowed, read).unwrap_or_else(|| vec![default])
    }

    /// A table whose keys are the writer's own, with a text each. No two may be the same to `parse_key`.
    pub(in crate::config) fn pairs<K: Clone + Eq + Hash, V>(
        &mut self,
        name: &'static str,
        allowed: &str,
        parse_key: impl Fn(&str) -> Result<K, String>,
        parse: impl Fn(&str) -> Result<V, String>,
    ) -> Vec<(K, V)> {
        let read = |value: &DeValue<'_>| {
            let DeValue::Table(table) = value else {
                return Err(ValueFault::from(format!("expected {allowed}, {}", found(value))));
            };
            few_enough(table.len())?;
            let mut seen = HashSet::new();
            let pair = |(key, value): (&Spanned<Cow<'_, str>>, &Spanned<DeValue<'_>>)| {
                let shown = quoted(key.get_ref());
                let name = parse_key(key.get_ref()).and_then(|name| once(&mut seen, name, &shown));
                let name = name.map_err(|message| fault(key, message))?;
                let value_read = quoted_text(value.get_ref()).and_then(&parse);
                Ok((name, value_read.map_err(|message| fault(value, format!("{shown}: {message}")))?))
            };
            table.iter().map(pair).collect()
        };
        self.value(name, "{}", allowed.to_owned(), read).unwrap_or_default()
    }
}

/// The parts of a list, or the one that stands alone.
fn parts<T: Clone + Eq + Hash>(
    value: &DeValue<'_>,
    parse: impl Fn(&DeValue<'_>) -> Result<T, String>,
) -> Result<Vec<T>, ValueFault> {
    let DeValue::Array(array) = value else { return Ok(vec![parse(value)?]) };
    few_enough(array.len())?;
    let mut seen = HashSet::new();
    let part = |part: &Spanned<DeValue<'_>>| {
        let value = part.get_ref();
        let read = parse(value).and_then(|read| once(&mut seen, read, &shown(value)));
        read.map_err(|message| fault(part, message))
    };
    array.iter().map(part).collect()
}

fn few_enough(count: usize) -> Result<(), String> {
    let refusal = || format!("{count} entries are too many; allowed are {PARTS_MAX}");
    (count <= PARTS_MAX).then_some(()).ok_or_else(refusal)
}

fn once<T: Clone + Eq + Hash>(seen: &mut HashSet<T>, part: T, shown: &str) -> Result<T, String> {
    if seen.insert(part.clone()) { Ok(part) } else { Err(format!("{shown} is listed twice; remove one")) }
}

/// A part as it was written. Only texts and numbers are ever parts.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quoted(text),
        other => found(other),
    }
}

fn fault<T>(part: &Spanned<T>, message: String) -> ValueFault {
    ValueFault { offset: Some(part.span().start), message }
}

fn status(value: &DeValue<'_>) -> Result<RangeInclusive<u16>, String> {
    match value {
        DeValue::String(text) => request::statuses(text),
        value => {
            let status = request::status(number(value, r#"a status or a range such as "200-399""#)?)?;
            Ok(status..=status)
        }
    }
}
