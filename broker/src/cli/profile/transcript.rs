//! A conversation as somebody has written it down, a message in each line.
//!
//! ```text
//!   > {"type":"login"}      the client says
//!   < {"type":"ok"}         the backend says
//!   >b AAE=                 the client says, in binary, as base64
//!   = kept                  what the line above must be said to be, or how that begins
//!   --- next backend        the backend dies, and another one takes the session
//!   # what follows          is not read, and neither are empty lines
//! ```

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use steadfast_profiles::Message;

use crate::cli::printable::printable;
use crate::config::quoted;

/// Characters of a message that are shown.
const SHOWN_MAX: usize = 60;

/// And of one that the broker has made.
const MADE_SHOWN_MAX: usize = 240;

/// Faults that are told.
const FAULTS_MAX: usize = 20;

const NEXT: &str = "--- next backend";

/// One that says something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TranscriptLine {
    /// Counted from 1.
    pub(super) number: usize,
    pub(super) kind: TranscriptLineKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TranscriptLineKind {
    Client(TranscriptMessage),
    Backend(TranscriptMessage),
    Expected(String),
    Next,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TranscriptMessage {
    pub(super) text: bool,
    pub(super) payload: Vec<u8>,
}

impl TranscriptMessage {
    /// As a profile is asked about it.
    pub(super) fn message(&self, window: usize) -> Message<'_> {
        let payload = self.payload.get(..window).unwrap_or(&self.payload);
        Message { text: self.text, payload, whole: payload.len() == self.payload.len() }
    }
}

impl TranscriptLine {
    /// Its number, who says it, and how it begins.
    pub(super) fn label(&self) -> String {
        let (sign, said) = match &self.kind {
            TranscriptLineKind::Client(said) => (">", said),
            TranscriptLineKind::Backend(said) => ("<", said),
            TranscriptLineKind::Expected(_) | TranscriptLineKind::Next => return String::new(),
        };
        let shown = match said.text {
            true => begin(&said.payload, SHOWN_MAX),
            false => cut(&format!("b {}", STANDARD.encode(&said.payload)), SHOWN_MAX),
        };
        format!("{:>4} {sign} {shown:SHOWN_MAX$}", self.number)
    }
}

/// How a text begins that the broker has made, on one line.
pub(super) fn made(payload: &[u8]) -> String {
    begin(payload, MADE_SHOWN_MAX)
}

fn begin(payload: &[u8], max: usize) -> String {
    cut(&printable(&String::from_utf8_lossy(payload)), max)
}

fn cut(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some(_) => text.chars().take(max - 3).chain("...".chars()).collect(),
        None => text.to_owned(),
    }
}

/// Reads a transcript.
///
/// # Errors
/// The lines that say nothing which is known, and why; the first twenty.
pub(super) fn parse(text: &str) -> Result<Vec<TranscriptLine>, Vec<(usize, String)>> {
    let (mut lines, mut faults) = (Vec::new(), Vec::new());
    for (number, line) in (1..).zip(text.lines()) {
        match read(line, lines.last()) {
            Ok(None) => {}
            Ok(Some(kind)) => lines.push(TranscriptLine { number, kind }),
            Err(fault) if faults.len() < FAULTS_MAX => faults.push((number, fault)),
            Err(_) => {}
        }
    }
    if faults.is_empty() { Ok(lines) } else { Err(faults) }
}

fn read(line: &str, before: Option<&TranscriptLine>) -> Result<Option<TranscriptLineKind>, String> {
    if line.trim().is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    if line.trim_end() == NEXT {
        return Ok(Some(TranscriptLineKind::Next));
    }
    let (sign, rest) = line.split_once(' ').unwrap_or((line, ""));
    let text = || TranscriptMessage { text: true, payload: rest.as_bytes().to_vec() };
    Ok(Some(match sign {
        ">" => TranscriptLineKind::Client(text()),
        "<" => TranscriptLineKind::Backend(text()),
        ">b" => TranscriptLineKind::Client(binary(rest)?),
        "<b" => TranscriptLineKind::Backend(binary(rest)?),
        "=" if before.is_none_or(|line| line.kind == TranscriptLineKind::Next) => {
            return Err("what is expected stands below the message of which it is".to_owned());
        }
        "=" => TranscriptLineKind::Expected(rest.trim().to_owned()),
        _ => return Err(unknown(line)),
    }))
}

fn binary(text: &str) -> Result<TranscriptMessage, String> {
    let payload = STANDARD.decode(text.trim());
    let payload = payload.map_err(|error| format!("expected base64, found {}: {error}", quoted(text)))?;
    Ok(TranscriptMessage { text: false, payload })
}

fn unknown(line: &str) -> String {
    format!("expected >, <, >b, <b or = with a text, {NEXT:?}, or a comment with #, found {}", quoted(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_line_is_read() {
        let text = "# a comment\n\n> {\"a\":1}\n= kept\n<  two blanks\n>b AAE=\n<b\n--- next backend  \n>\n";
        let said = |text, payload: &[u8]| TranscriptMessage { text, payload: payload.to_vec() };
        let kinds: Vec<(usize, TranscriptLineKind)> =
            parse(text).expect("sound").into_iter().map(|line| (line.number, line.kind)).collect();
        let expected = [
            (3, TranscriptLineKind::Client(said(true, b"{\"a\":1}"))),
            (4, TranscriptLineKind::Expected("kept".to_owned())),
            (5, TranscriptLineKind::Backend(said(true, b" two blanks"))),
            (6, TranscriptLineKind::Client(said(false, &[0, 1]))),
            (7, TranscriptLineKind::Backend(said(false, b""))),
            (8, TranscriptLineKind::Next),
            (9, TranscriptLineKind::Client(said(true, b""))),
        ];
        assert_eq!(kinds, expected);
    }

    #[test]
    fn what_says_nothing_is_told_with_its_line() {
        let faults = parse("= too early\n> fine\nhello\n>b !\n--- next\n--- next backend\n= too late\n");
        let faults = faults.expect_err("five are wrong");
        assert_eq!(faults.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 3, 4, 5, 7]);
        assert_eq!(parse(&"x\n".repeat(100)).expect_err("all are wrong").len(), FAULTS_MAX);
    }

    #[test]
    fn a_message_is_shown_on_one_line() {
        assert_eq!(begin(b"a\nb\x1b[31m", 60), "a b [31m");
        assert_eq!(begin("é".repeat(61).as_bytes(), 60), "é".repeat(57) + "...");
        assert_eq!(begin("é".repeat(60).as_bytes(), 60), "é".repeat(60));
    }
}
