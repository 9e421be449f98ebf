//! What must stand where in a message.

use std::borrow::Cow;

use steadfast_profiles::rules::{Scalar, When};
use toml::Spanned;
use toml::de::DeValue;

use super::number;
use crate::config::raw::{Section, ValueFault, found};
use crate::config::text::quoted;

/// Places that one rule looks at, and what may stand in each.
const PLACES_MAX: usize = 64;

/// The key of a condition that is no place.
const PREFIX: &str = "prefix";

const ALLOWED: &str = r#"a table of POINTER = what may stand there, or prefix = the first bytes"#;

impl Section<'_> {
    /// A table of JSON pointers with a text, a number, true, false, or a list of them for each, and `prefix`. Nothing
    /// when it is not written: every message fits.
    pub(in crate::config) fn conditions(&mut self, name: &'static str) -> When {
        self.value(name, "{}", ALLOWED.to_owned(), when).unwrap_or_default()
    }
}

fn when(value: &DeValue<'_>) -> Result<When, ValueFault> {
    let DeValue::Table(table) = value else {
        return Err(ValueFault::from(format!("expected {ALLOWED}, {}", found(value))));
    };
    few_enough(table.len())?;
    let mut when = When::default();
    for (key, value) in table.iter() {
        let name = key.get_ref();
        if name == PREFIX {
            when.prefix = Some(bytes(value)?);
        } else {
            when.values.push((pointer(key)?, scalars(value)?));
        }
    }
    Ok(when)
}

fn pointer(key: &Spanned<Cow<'_, str>>) -> Result<String, ValueFault> {
    let text = key.get_ref();
    if text.starts_with('/') {
        return Ok(text.clone().into_owned());
    }
    let message = format!(r#"expected a place such as "/type", or {PREFIX}, found {}"#, quoted(text));
    Err(fault(key, message))
}

fn scalars(value: &Spanned<DeValue<'_>>) -> Result<Vec<Scalar>, ValueFault> {
    let DeValue::Array(array) = value.get_ref() else { return Ok(vec![scalar(value)?]) };
    few_enough(array.len())?;
    array.iter().map(scalar).collect()
}

fn scalar(value: &Spanned<DeValue<'_>>) -> Result<Scalar, ValueFault> {
    match value.get_ref() {
        DeValue::String(text) => Ok(Scalar::Text(text.clone().into_owned())),
        DeValue::Boolean(word) => Ok(Scalar::Bool(*word)),
        other => number(other, "text, a whole number, true or false")
            .map(Scalar::Number)
            .map_err(|message| fault(value, message)),
    }
}

/// Those of a text, or a list of numbers.
fn bytes(value: &Spanned<DeValue<'_>>) -> Result<Vec<u8>, ValueFault> {
    match value.get_ref() {
        DeValue::String(text) => Ok(text.as_bytes().to_vec()),
        DeValue::Array(array) => {
            few_enough(array.len())?;
            let byte = |part: &Spanned<DeValue<'_>>| {
                number(part.get_ref(), "a byte, 0 to 255").map_err(|message| fault(part, message))
            };
            array.iter().map(byte).collect()
        }
        other => Err(fault(value, format!("expected text, or a list of bytes, {}", found(other)))),
    }
}

fn few_enough(count: usize) -> Result<(), String> {
    let refusal = || format!("{count} entries are too many; allowed are {PLACES_MAX}");
    (count <= PLACES_MAX).then_some(()).ok_or_else(refusal)
}

fn fault<T>(part: &Spanned<T>, message: String) -> ValueFault {
    ValueFault { offset: Some(part.span().start), message }
}
