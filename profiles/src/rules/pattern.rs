//! What may stand in a place of a message.

use super::source::Scalar;
use super::value::Value;

/// One of several things that may stand there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Pattern {
    /// Any string, number, true or false.
    Any,
    /// A string that says this.
    Exact(Box<[u8]>),
    /// A string that ends with this.
    End(Box<[u8]>),
    /// A string that begins with the first of these, ends with the last, and has the others between them in this order.
    Parts(Vec<Box<[u8]>>),
    /// A number, true or false, as it is written.
    Token(Box<[u8]>),
}

/// All that may stand in a place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Patterns(Vec<Pattern>);

impl Patterns {
    pub(crate) fn new(scalars: &[Scalar]) -> Patterns {
        Patterns(scalars.iter().flat_map(patterns).collect())
    }

    /// Whether one of them fits.
    #[inline]
    pub(crate) fn fit(&self, value: Value<'_>) -> bool {
        if let [Pattern::Any] = self.0.as_slice() {
            return value.is_scalar();
        }
        if let Some(said) = value.plain_string() {
            return self.0.iter().any(|pattern| pattern.fits_string(said));
        }
        self.fit_other(value)
    }

    /// Of what is no string, or one with escapes.
    fn fit_other(&self, value: Value<'_>) -> bool {
        match value.string() {
            Some(said) => self.0.iter().any(|pattern| pattern.fits_string(&said)),
            None => value.is_scalar() && self.0.iter().any(|pattern| pattern.fits_token(value.raw())),
        }
    }

    /// Whether this fits wherever `other` does, as far as can be seen.
    pub(crate) fn covers(&self, other: &Patterns) -> bool {
        self.0.contains(&Pattern::Any) || other.0.iter().all(|pattern| self.0.contains(pattern))
    }
}

impl Pattern {
    #[inline]
    fn fits_string(&self, said: &[u8]) -> bool {
        match self {
            Pattern::Any => true,
            Pattern::Exact(text) => said == &**text,
            // Most differ in it.
            Pattern::End(end) => said.last() == end.last() && said.ends_with(end),
            Pattern::Parts(parts) => fit(parts, said),
            Pattern::Token(_) => false,
        }
    }

    fn fits_token(&self, raw: &[u8]) -> bool {
        match self {
            Pattern::Any => true,
            Pattern::Token(token) => raw == &**token,
            Pattern::Exact(_) | Pattern::End(_) | Pattern::Parts(_) => false,
        }
    }
}

fn patterns(scalar: &Scalar) -> Vec<Pattern> {
    match scalar {
        Scalar::Text(text) => text.split('|').map(of_text).collect(),
        Scalar::Number(number) => vec![Pattern::Token(number.to_string().into_bytes().into())],
        Scalar::Bool(value) => vec![Pattern::Token(value.to_string().into_bytes().into())],
    }
}

fn of_text(text: &str) -> Pattern {
    let parts: Vec<Box<[u8]>> = text.split('*').map(|part| part.as_bytes().into()).collect();
    match parts.as_slice() {
        [exact] => Pattern::Exact(exact.clone()),
        parts if parts.iter().all(|part| part.is_empty()) => Pattern::Any,
        [begin, end] if begin.is_empty() => Pattern::End(end.clone()),
        _ => Pattern::Parts(parts),
    }
}

fn fit(parts: &[Box<[u8]>], said: &[u8]) -> bool {
    let [first, between @ .., last] = parts else { return false };
    let Some(mut rest) = said.strip_prefix(&**first) else { return false };
    for part in between.iter().filter(|part| !part.is_empty()) {
        match rest.windows(part.len()).position(|window| window == &**part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}
