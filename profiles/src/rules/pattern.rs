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
pub(crate) struct Patterns {
    patterns: Vec<Pattern>,
    /// One bit of each last byte that a fitting string may have, by its lower six bits. Most that do not fit, differ in it.
    last: u64,
}

impl Patterns {
    pub(crate) fn new(scalars: &[Scalar]) -> Patterns {
        let patterns: Vec<Pattern> = scalars.iter().flat_map(patterns).collect();
        let last = patterns.iter().fold(0, |last, pattern| last | pattern.last());
        Patterns { patterns, last }
    }

    /// Whether one of them fits.
    #[inline(always)]
    pub(crate) fn fit(&self, value: Value<'_>) -> bool {
        match value.plain_string() {
            Some(said) => self.last & bit(said.last()) != 0 && self.fit_string(said),
            None => self.fit_other(value),
        }
    }

    /// Any string, number, true or false does.
    pub(crate) fn fit_any(&self) -> bool {
        self.patterns.contains(&Pattern::Any)
    }

    #[inline(never)]
    fn fit_string(&self, said: &[u8]) -> bool {
        self.patterns.iter().any(|pattern| pattern.fits_string(said))
    }

    /// Of what is no string, or one with escapes.
    #[inline(never)]
    fn fit_other(&self, value: Value<'_>) -> bool {
        match value.string() {
            Some(said) => self.fit_string(&said),
            None => value.is_scalar() && self.patterns.iter().any(|pattern| pattern.fits_token(value.raw())),
        }
    }

    /// Whether this fits wherever `other` does, as far as can be seen.
    pub(crate) fn covers(&self, other: &Patterns) -> bool {
        self.patterns.contains(&Pattern::Any)
            || other.patterns.iter().all(|pattern| self.patterns.contains(pattern))
    }
}

/// The bit of a last byte, or of there being none.
#[inline(always)]
fn bit(last: Option<&u8>) -> u64 {
    last.map_or(1, |last| 1 << (last % 64))
}

impl Pattern {
    /// The bits of the last bytes that a string may have.
    fn last(&self) -> u64 {
        match self {
            Pattern::Token(_) => 0,
            Pattern::Any => u64::MAX,
            Pattern::Exact(text) => bit(text.last()),
            Pattern::End(end) => bit(end.last()),
            Pattern::Parts(parts) => {
                parts.last().and_then(|part| part.last()).map_or(u64::MAX, |last| bit(Some(last)))
            }
        }
    }

    fn fits_string(&self, said: &[u8]) -> bool {
        match self {
            Pattern::Any => true,
            Pattern::Exact(text) => said == &**text,
            Pattern::End(end) => said.ends_with(end),
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
