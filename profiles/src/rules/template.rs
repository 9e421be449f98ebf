//! Texts with values of a message in them: names of what is kept and asked, and messages that the broker says.
//!
//! A `{` before `/` begins the JSON Pointer of a value, and one before `answer:/` that of a value in a record's answer; the next
//! `}` ends it. Any other brace stands for itself, so that a template can be JSON: `{"id":{/id}}`.

use super::hash::{self, mix};
use super::json::Found;
use super::places::Places;
use crate::verdict::Key;

/// What a name is of. The same name of two of these are two keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Space {
    /// Records.
    Slots = 1,
    /// What the client asks, and the backend's answers.
    Answers = 2,
    /// What a backend asks, and the client's replies.
    Replies = 3,
}

/// A part of a template, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// As it is.
    Literal(&'a str),
    /// What stands in the message.
    Message(&'a str),
    /// What stands in the record's answer.
    Answer(&'a str),
}

/// Takes a template apart.
///
/// # Errors
/// What is wrong, as a sentence.
pub(crate) fn pieces(template: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut literal = template;
    let mut from = 0;
    while let Some(at) = literal.get(from..).and_then(|rest| rest.find('{')).map(|at| from + at) {
        let inner = literal.get(at + 1..).unwrap_or_default();
        let of_answer = inner.starts_with("answer:/");
        if !of_answer && !inner.starts_with('/') {
            from = at + 1;
            continue;
        }
        let Some((pointer, rest)) = inner.split_once('}') else {
            return Err(format!(
                "the {{ of {:?} is never closed: end the pointer with a brace",
                &literal[at..]
            ));
        };
        if at > 0 {
            pieces.push(Piece::Literal(&literal[..at]));
        }
        pieces.push(match pointer.strip_prefix("answer:") {
            Some(pointer) if of_answer => Piece::Answer(pointer),
            _ => Piece::Message(pointer),
        });
        (literal, from) = (rest, 0);
    }
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(pieces)
}

/// The name of something in a session.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    /// Of what it is, and of what stands before the first value.
    begin: u64,
    parts: Vec<Part>,
    needs: u32,
    shape: String,
}

#[derive(Debug, Clone, Copy)]
enum Part {
    Literal(u64),
    Value(u8),
}

impl Name {
    /// # Errors
    /// What is wrong, as a sentence.
    pub(crate) fn new(template: &str, space: Space, places: &mut Places) -> Result<Name, String> {
        if template.is_empty() {
            return Err("the name is empty: give it one, such as \"login\"".to_owned());
        }
        let mut name = Name {
            begin: mix(hash::of(b"name"), space as u64),
            parts: Vec::new(),
            needs: 0,
            shape: String::new(),
        };
        for piece in pieces(template)? {
            match piece {
                Piece::Literal(text) => {
                    let hash = hash::of(text.as_bytes());
                    // What comes before any value is the same each time.
                    match name.parts.is_empty() {
                        true => name.begin = mix(name.begin, hash),
                        false => name.parts.push(Part::Literal(hash)),
                    }
                    name.shape.push_str(text);
                }
                Piece::Message(pointer) => {
                    let place = places.place(pointer)?;
                    name.parts.push(Part::Value(place));
                    name.needs |= 1 << place;
                    name.shape.push_str("{}");
                }
                Piece::Answer(_) => {
                    return Err(
                        "{answer:..} has a meaning only in `becomes`: use what stands in the message"
                            .to_owned(),
                    );
                }
            }
        }
        Ok(name)
    }

    /// The places without which it cannot be told.
    pub(crate) fn needs(&self) -> u32 {
        self.needs
    }

    /// The template without its pointers. Two names can be the same only if this is.
    pub(crate) fn shape(&self) -> &str {
        &self.shape
    }

    #[inline]
    pub(crate) fn key(&self, found: &Found<'_>) -> Option<Key> {
        let mut state = self.begin;
        for part in &self.parts {
            state = match *part {
                Part::Literal(hash) => mix(state, hash),
                Part::Value(place) => mix(mix(state, 3), found.value(place)?.fingerprint()),
            };
        }
        Some(Key(state))
    }
}

/// A message of the broker's.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    parts: Vec<TextPart>,
}

#[derive(Debug, Clone)]
enum TextPart {
    Literal(Box<[u8]>),
    Message(u8),
    /// By its place among [`Text::answers`].
    Answer(u8),
}

impl Text {
    /// `answer`: the places of an answer, if one is known where the text is said.
    ///
    /// # Errors
    /// What is wrong, as a sentence.
    pub(crate) fn new(
        template: &str,
        message: &mut Places,
        mut answer: Option<&mut Places>,
    ) -> Result<Text, String> {
        let mut parts = Vec::new();
        for piece in pieces(template)? {
            parts.push(match (piece, &mut answer) {
                (Piece::Literal(text), _) => TextPart::Literal(text.as_bytes().into()),
                (Piece::Message(pointer), _) => TextPart::Message(message.place(pointer)?),
                (Piece::Answer(pointer), Some(answer)) => TextPart::Answer(answer.place(pointer)?),
                (Piece::Answer(_), None) => {
                    return Err(
                        "{answer:..} has a meaning only in `becomes`: use what stands in the message"
                            .to_owned(),
                    );
                }
            });
        }
        Ok(Text { parts })
    }

    /// The places of the answer that it has in it, each once.
    pub(crate) fn answers(&self) -> Vec<u8> {
        let mut places: Vec<u8> = self
            .parts
            .iter()
            .filter_map(|part| match part {
                TextPart::Answer(place) => Some(*place),
                _ => None,
            })
            .collect();
        places.sort_unstable();
        places.dedup();
        places
    }

    /// With the values in it. `answer` gives those of the answer. `None`: one of them is missing.
    pub(crate) fn say<'a>(
        &self,
        message: &Found<'a>,
        answer: impl Fn(u8) -> Option<&'a [u8]>,
    ) -> Option<Vec<u8>> {
        let mut said = Vec::new();
        for part in &self.parts {
            said.extend_from_slice(match part {
                TextPart::Literal(text) => text,
                TextPart::Message(place) => message.value(*place)?.raw(),
                TextPart::Answer(place) => answer(*place)?,
            });
        }
        Some(said)
    }
}
