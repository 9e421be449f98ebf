//! The files in `protocol/vectors`, which are there for implementers in other languages too: each vector is
//! decoded and encoded.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;
use steadfast_protocol::steadfast_v1::SessionId;
use steadfast_protocol::steadfast_v1::client_wire::{
    FromBroker, FromClient, Offer, Resume, Standing, Token, Watermarks, Welcome,
};
use steadfast_protocol::steadfast_v1::service_wire::{
    Attach, Commit, Envelope, EnvelopeWriter, Malformed, Notice, Output, Outputs,
};
use steadfast_protocol::websocket::frame::{Header, apply_mask};

/// The files, each with the test that reads it.
const FILES: [&str; 8] =
    ["attach", "envelope", "frames", "from_broker", "from_client", "notice", "offers", "token"];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

/// An object of a file: a vector, or a part of one.
struct Vector(Value);

impl Vector {
    fn get(&self, field: &str) -> &Value {
        self.0.get(field).unwrap_or_else(|| panic!("no {field} in {}", self.0))
    }

    fn has(&self, field: &str) -> bool {
        self.0.get(field).is_some_and(|value| *value != Value::Bool(false))
    }

    fn text(&self, field: &str) -> &str {
        self.get(field).as_str().unwrap_or_else(|| panic!("{field} is no text in {}", self.0))
    }

    fn number(&self, field: &str) -> u64 {
        self.get(field).as_u64().unwrap_or_else(|| panic!("{field} is no number in {}", self.0))
    }

    fn truth(&self, field: &str) -> bool {
        self.get(field).as_bool().unwrap_or_else(|| panic!("{field} is neither true nor false in {}", self.0))
    }

    fn bytes(&self, field: &str) -> Vec<u8> {
        bytes(self.text(field))
    }

    fn array<const N: usize>(&self, field: &str) -> [u8; N] {
        self.bytes(field).try_into().unwrap_or_else(|_| panic!("{field} has not {N} bytes in {}", self.0))
    }

    fn optional_bytes(&self, field: &str) -> Option<Vec<u8>> {
        (!self.get(field).is_null()).then(|| self.bytes(field))
    }

    fn list(&self, field: &str) -> Vec<Vector> {
        let list = self.get(field).as_array().unwrap_or_else(|| panic!("{field} is no list in {}", self.0));
        list.iter().cloned().map(Vector).collect()
    }

    fn words(&self, field: &str) -> Vec<String> {
        self.list(field).iter().map(|word| word.0.as_str().expect("a word").to_owned()).collect()
    }

    /// A text message, with what fills it up.
    fn message(&self) -> String {
        let mut text = self.text("text").to_owned();
        if self.has("fill") {
            let fill = Vector(self.get("fill").clone());
            while (text.len() as u64) < fill.number("to") {
                text.push_str(fill.text("with"));
            }
        }
        text
    }

    /// Whether encoding its fields must give its bytes or text again.
    fn is_canonical(&self) -> bool {
        !self.has("only_decode")
    }
}

/// The vectors of a file, at least `least` of them.
fn vectors(name: &str, least: usize) -> Vec<Vector> {
    let path = folder().join(name).with_extension("json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file: Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let vectors = Vector(file).list("vectors");
    assert!(vectors.len() >= least, "{} has only {} vectors", path.display(), vectors.len());
    let abouts: BTreeSet<_> = vectors.iter().map(|vector| vector.text("about").to_owned()).collect();
    assert_eq!(abouts.len(), vectors.len(), "{} says the same of two vectors", path.display());
    vectors
}

fn bytes(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2), "{hex} has half a byte");
    let digit = |at: usize| u8::from_str_radix(hex.get(at..at + 2).expect("ASCII"), 16).expect("hex digits");
    (0..hex.len()).step_by(2).map(digit).collect()
}

fn malformed(name: &str) -> Malformed {
    match name {
        "short" => Malformed::Short,
        "length" => Malformed::Length,
        "number" => Malformed::Number,
        "opcode" => Malformed::Opcode,
        "flags" => Malformed::Flags,
        "version" => Malformed::Version,
        "kind" => Malformed::Kind,
        other => panic!("no error is called {other}"),
    }
}

#[test]
fn each_file_has_its_test() {
    let files: BTreeSet<_> = std::fs::read_dir(folder())
        .expect("the folder of vectors")
        .map(|entry| {
            entry.expect("an entry").path().file_stem().expect("a name").to_string_lossy().into_owned()
        })
        .collect();
    assert_eq!(files, FILES.map(str::to_owned).into());
}

#[test]
fn attach() {
    for vector in vectors("attach", 20) {
        let bytes = vector.bytes("hex");
        let decoded = Attach::decode(&bytes);
        if vector.has("error") {
            assert_eq!(decoded, Err(malformed(vector.text("error"))), "{}", vector.text("about"));
            continue;
        }
        let capsule = vector.optional_bytes("capsule");
        let attach = Attach {
            epoch: vector.number("epoch"),
            applied: vector.number("applied"),
            committed: vector.number("committed"),
            session: vector.array("session"),
            capsule: capsule.as_deref(),
        };
        assert_eq!(decoded, Ok(attach), "{}", vector.text("about"));
        assert_eq!(attach.encode() == bytes, vector.is_canonical(), "{}", vector.text("about"));
    }
}

#[test]
fn notices() {
    for vector in vectors("notice", 12) {
        let bytes = vector.bytes("hex");
        let decoded = Notice::decode(&bytes);
        if vector.0.get("notice").is_some() {
            assert_eq!(decoded, None, "{}", vector.text("about"));
            continue;
        }
        let nonce = u64::from_be_bytes(vector.array("nonce"));
        let notice = Notice { nonce, applied: vector.number("applied"), draining: vector.truth("draining") };
        assert_eq!(decoded, Some(notice), "{}", vector.text("about"));
        assert_eq!(notice.encode() == *bytes, vector.is_canonical(), "{}", vector.text("about"));
    }
}

#[test]
fn envelopes() {
    for vector in vectors("envelope", 45) {
        let (about, bytes) = (vector.text("about"), vector.bytes("hex"));
        let decoded = Envelope::decode(&bytes);
        if vector.has("error") {
            assert_eq!(decoded, Err(malformed(vector.text("error"))), "{about}");
            continue;
        }
        match (vector.text("kind"), decoded.expect(about)) {
            ("commit", Envelope::Commit(commit)) => check_commit(&vector, &bytes, commit),
            ("push", Envelope::Push(outputs)) => {
                check_outputs(&vector, &bytes, EnvelopeWriter::push(), outputs)
            }
            ("unknown", Envelope::Unknown(kind)) => assert_eq!(bytes.first(), Some(&kind), "{about}"),
            (_, other) => panic!("{about}: it is {other:?}"),
        }
    }
}

fn check_commit(vector: &Vector, bytes: &[u8], commit: Commit<'_>) {
    let (about, capsule) = (vector.text("about"), vector.optional_bytes("capsule"));
    let (number, upto, prompt) = (vector.number("number"), vector.number("upto"), vector.truth("prompt"));
    assert_eq!((commit.number, commit.upto, commit.prompt), (number, upto, prompt), "{about}");
    assert_eq!(commit.capsule, capsule.as_deref(), "{about}");
    let writer = EnvelopeWriter::commit(number, upto, capsule.as_deref(), prompt);
    check_outputs(vector, bytes, writer, commit.outputs);
}

/// They are those of the vector, and with them the writer writes its bytes.
fn check_outputs(vector: &Vector, bytes: &[u8], mut writer: EnvelopeWriter, outputs: Outputs<'_>) {
    let wanted: Vec<_> =
        vector.list("outputs").iter().map(|o| (o.truth("text"), o.bytes("payload"))).collect();
    let found: Vec<_> = outputs.map(|Output { text, payload }| (text, payload.to_vec())).collect();
    assert_eq!(found, wanted, "{}", vector.text("about"));
    for (text, payload) in &wanted {
        writer.output(*text, payload);
    }
    assert_eq!(writer.finish(), bytes, "{}", vector.text("about"));
}

#[test]
fn tokens() {
    for vector in vectors("token", 10) {
        let parsed = Token::parse(vector.text("text"));
        if vector.has("error") {
            assert_eq!(parsed, None, "{}", vector.text("about"));
            continue;
        }
        let session: SessionId = vector.array("session");
        let token = Token::new(session, vector.array("secret"));
        assert_eq!(parsed, Some(token), "{}", vector.text("about"));
        assert_eq!((token.session(), token.text().as_str()), (session, vector.text("text")));
    }
}

#[test]
fn texts_of_clients() {
    for vector in vectors("from_client", 25) {
        let (about, text) = (vector.text("about"), vector.message());
        let kind = text.as_bytes()[0];
        if vector.has("error") {
            assert_eq!(FromClient::parse(text.as_bytes()), None, "{about}");
            assert!(FromClient::is_known(kind), "{about}");
            continue;
        }
        let meaning = match vector.text("kind") {
            "ack" => FromClient::Ack(vector.number("seq")),
            "query" => FromClient::Query,
            "unknown" => {
                assert!(!FromClient::is_known(kind), "{about}");
                continue;
            }
            other => panic!("{about}: {other} is no kind"),
        };
        assert!(FromClient::is_known(kind), "{about}");
        assert_eq!(FromClient::parse(text.as_bytes()), Some(meaning), "{about}");
        assert_eq!(meaning.text() == text, vector.is_canonical(), "{about}");
    }
}

#[test]
fn texts_of_the_broker() {
    for vector in vectors("from_broker", 30) {
        let (about, text) = (vector.text("about"), vector.message());
        let (kind, parsed) = (text.as_bytes()[0], FromBroker::parse(text.as_bytes()));
        if vector.has("error") {
            assert_eq!(parsed, None, "{about}");
            assert!(FromBroker::is_known(kind), "{about}");
            continue;
        }
        let meaning = match vector.text("kind") {
            "welcome" => welcome(&vector, parsed),
            "ack" => FromBroker::Ack(watermarks(&vector)),
            "unknown" => {
                assert!(!FromBroker::is_known(kind), "{about}");
                continue;
            }
            other => panic!("{about}: {other} is no kind"),
        };
        assert!(FromBroker::is_known(kind), "{about}");
        assert_eq!(parsed, Some(meaning), "{about}");
        assert_eq!(meaning.text() == text, vector.is_canonical(), "{about}");
    }
}

/// With the vector's fields. A reason has no constructor from text: the parsed one must have its name.
fn welcome(vector: &Vector, parsed: Option<FromBroker>) -> FromBroker {
    let about = vector.text("about");
    let standing = match parsed {
        Some(FromBroker::Welcome(Welcome { standing: Standing::Fresh(reason), .. })) => {
            assert_eq!(reason.name(), vector.text("reason"), "{about}");
            Standing::Fresh(reason)
        }
        _ => Standing::Resumed(watermarks(vector)),
    };
    FromBroker::Welcome(Welcome {
        session: vector.array("session"),
        token: Token::parse(vector.text("token")).expect(about),
        window_ms: vector.number("window_ms"),
        standing,
    })
}

fn watermarks(vector: &Vector) -> Watermarks {
    Watermarks { received: vector.number("received"), committed: vector.number("committed") }
}

#[test]
fn offers() {
    for vector in vectors("offers", 20) {
        let (about, offer) = (vector.text("about"), Offer::parse(vector.text("header")));
        assert_eq!(offer.application, vector.words("application"), "{about}");
        assert_eq!(offer.is_shim(), vector.truth("shim"), "{about}");
        match vector.get("resume") {
            Value::String(word) if word == "unreadable" => {
                assert!(matches!(offer.resume, Some(Err(_))), "{about}");
            }
            wanted => assert_eq!(offer.resume.map(|read| read.expect(about)), resume(wanted), "{about}"),
        }
        for case in vector.list("answers") {
            let answer = offer.answer(case.get("chosen").as_str());
            assert_eq!(answer.as_deref(), case.get("answer").as_str(), "{about}: {}", case.0);
        }
        if vector.has("made_of") {
            let made_of = Vector(vector.get("made_of").clone());
            let entries =
                Offer::entries(&made_of.words("application"), resume(made_of.get("resume")).as_ref());
            assert_eq!(entries.join(", "), vector.text("header"), "{about}");
        }
    }
}

fn resume(wanted: &Value) -> Option<Resume> {
    let wanted = Some(Vector(wanted.clone())).filter(|wanted| !wanted.0.is_null())?;
    let token = Token::parse(wanted.text("token")).expect("a token");
    Some(Resume { token, last: wanted.number("last") })
}

/// The frames of a vector are what they are said to be: the application's message is the same before and after,
/// but for the kind byte.
#[test]
fn frames() {
    for vector in vectors("frames", 20) {
        let about = vector.text("about");
        let (before, after) = (Frame::parse(&vector, "in"), Frame::parse(&vector, "out"));
        assert_eq!(before.first, after.first, "{about}: FIN and opcode");
        let masked = vector.text("way") == "off";
        assert_eq!((before.is_masked, after.is_masked), (masked, masked), "{about}");
        let (with, without) = if masked { (before, after) } else { (after, before) };
        if with.first & 0x0F == 0 {
            assert_eq!(with.payload, without.payload, "{about}");
        } else {
            assert_eq!(with.payload.split_first(), Some((&b'm', without.payload.as_slice())), "{about}");
        }
    }
}

struct Frame {
    /// FIN and opcode.
    first: u8,
    is_masked: bool,
    payload: Vec<u8>,
}

impl Frame {
    fn parse(vector: &Vector, field: &str) -> Frame {
        let about = vector.text("about");
        let wire: Vec<u8> = vector.list(field).iter().flat_map(run).collect();
        let header = Header::parse(&wire).expect(about).expect(about);
        let mut payload = wire[header.len..].to_vec();
        assert_eq!(payload.len() as u64, header.payload_len, "{about}");
        apply_mask(&mut payload, header.mask.unwrap_or_default(), 0);
        Frame { first: wire[0], is_masked: header.mask.is_some(), payload }
    }
}

fn run(run: &Vector) -> Vec<u8> {
    match &run.0 {
        Value::String(hex) => bytes(hex),
        _ => run.bytes("hex").repeat(run.number("times") as usize),
    }
}
