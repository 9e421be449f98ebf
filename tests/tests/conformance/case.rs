//! The form of a case. `tests/conformance/README.md` explains it to those who write one.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use steadfast_tests::frame::{BINARY, CLOSE, CONTINUATION, Frame, PING, PONG, TEXT};
use toml::{Table, Value};

/// One case.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// Unique, and the path that the client asks for.
    pub(crate) id: String,
    /// Where the RFC demands it.
    #[serde(rename = "rfc")]
    _rfc: String,
    /// The demand, in a sentence.
    pub(crate) what: String,
    /// The client's Sec-WebSocket-Extensions.
    pub(crate) offer: Option<String>,
    /// The reference server's answer to that.
    pub(crate) agree: Option<String>,
    /// Frames that the reference server sends as soon as the connection is open.
    #[serde(default)]
    pub(crate) serve: Vec<Step>,
    /// What the client sends and must see, in order.
    pub(crate) steps: Vec<Step>,
    /// Why the case says nothing about a server without the broker.
    pub(crate) only_through_broker: Option<String>,
    /// Why npm's `ws` as the server answers otherwise, and rightly or not is none of our business.
    pub(crate) not_with_ws: Option<String>,
}

/// Something sent or something seen: `send` or `see` says what, the rest its details.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    pub(crate) send: Option<String>,
    pub(crate) see: Option<String>,
    /// The payload as text, as hex digits, or that many bytes of a known pattern. For a Close, the reason.
    text: Option<String>,
    hex: Option<String>,
    fill: Option<usize>,
    /// A Close's code; a Close that is seen may have any of `codes`.
    code: Option<u16>,
    #[serde(default)]
    codes: Vec<u16>,
    /// The frame's own bits.
    #[serde(default = "yes")]
    fin: bool,
    #[serde(default)]
    pub(crate) rsv: u8,
    masked: Option<bool>,
    key: Option<[u8; 4]>,
    /// Bytes of the extended length, when not the shortest form.
    width: Option<u8>,
    /// The bits of the length that the header announces; no payload follows.
    announce: Option<i64>,
    /// Written in pieces of that many bytes.
    pub(crate) chop: Option<usize>,
    /// Written together with the next frame.
    #[serde(default)]
    pub(crate) joined: bool,
    /// The fragments of a message that is seen.
    pub(crate) fragments: Option<Vec<usize>>,
}

fn yes() -> bool {
    true
}

impl Step {
    /// The payload; a Close's begins with the code.
    pub(crate) fn payload(&self) -> Vec<u8> {
        let code = self.code.map(|code| code.to_be_bytes().to_vec()).unwrap_or_default();
        let content = match (&self.text, &self.hex, self.fill) {
            (Some(text), None, None) => text.clone().into_bytes(),
            (None, Some(hex), None) => bytes_of(hex),
            (None, None, Some(length)) => (0..length).map(|at| b'a' + (at % 23) as u8).collect(),
            (None, None, None) => Vec::new(),
            _ => panic!("more than one of text, hex and fill: {self:?}"),
        };
        [code, content].concat()
    }

    /// The codes that a Close which is seen may have.
    pub(crate) fn close_codes(&self) -> Vec<Option<u16>> {
        if self.codes.is_empty() { vec![self.code] } else { self.codes.iter().copied().map(Some).collect() }
    }

    /// The reason that a Close which is seen must have, if any is asked for.
    pub(crate) fn reason(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// The bytes of the frame, sent by a client (masked) or by a server, unless the step says otherwise.
    pub(crate) fn bytes(&self, by_client: bool) -> Vec<u8> {
        let kind = self.send.as_deref().unwrap_or_else(|| panic!("not a frame to send: {self:?}"));
        let mut frame = Frame::new(opcode(kind), self.payload()).reserved(self.rsv);
        frame.fin = self.fin;
        if self.masked.unwrap_or(by_client) {
            frame = frame.masked(self.key.unwrap_or([0x37, 0xfa, 0x21, 0x3d]));
        }
        match (self.announce, self.width) {
            (Some(length), width) => frame.header(length.cast_unsigned(), width.unwrap_or(8)),
            (None, Some(width)) => frame.encode_wide(width),
            (None, None) => frame.encode(),
        }
    }
}

fn opcode(kind: &str) -> u8 {
    match kind {
        "continuation" => CONTINUATION,
        "text" => TEXT,
        "binary" => BINARY,
        "close" => CLOSE,
        "ping" => PING,
        "pong" => PONG,
        other => other
            .strip_prefix("opcode ")
            .and_then(|number| number.parse().ok())
            .unwrap_or_else(|| panic!("unknown frame {other:?}")),
    }
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex
        .chars()
        .filter(|digit| *digit != ' ')
        .map(|digit| digit.to_digit(16).unwrap_or_else(|| panic!("{hex:?} is not hex")))
        .collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

/// The folder of the files of cases.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/cases")
}

/// The cases of the file `name`, those with `each` once for each of its values. Panics when there are none.
pub(crate) fn load(name: &str) -> Vec<Case> {
    let path = folder().join(format!("{name}.toml"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let table: Table = text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let cases = table.get("case").and_then(Value::as_array).cloned().unwrap_or_default();
    let cases: Vec<Case> = cases.into_iter().flat_map(expand).map(|case| parse(&path, case)).collect();
    assert!(!cases.is_empty(), "no case in {}", path.display());
    cases
}

fn parse(path: &Path, case: Value) -> Case {
    let id = case.get("id").cloned();
    case.try_into().unwrap_or_else(|error| panic!("{}: case {id:?}: {error}", path.display()))
}

/// A case with `each = [..]` stands for one case for each value, which replaces the string "each" in its steps and
/// ends its id.
fn expand(mut case: Value) -> Vec<Value> {
    let Some(Value::Array(values)) = case.as_table_mut().and_then(|case| case.remove("each")) else {
        return vec![case];
    };
    let with = |value: &Value| {
        let mut one = case.clone();
        substitute(&mut one, value);
        if let Some(Value::String(id)) = one.get_mut("id") {
            *id += &format!("-{}", value.to_string().trim_matches('"').replace(' ', "-"));
        }
        one
    };
    values.iter().map(with).collect()
}

fn substitute(into: &mut Value, value: &Value) {
    match into {
        Value::String(text) if text == "each" => *into = value.clone(),
        Value::Array(items) => items.iter_mut().for_each(|item| substitute(item, value)),
        Value::Table(table) => table.iter_mut().for_each(|(_, item)| substitute(item, value)),
        _ => {}
    }
}
