//! The messages between broker and service: ATTACH, notices, COMMIT and PUSH, as bytes.
//!
//! ```text
//! ATTACH  'A' version flags 0 | epoch 8 | applied 8 | committed 8 | session 16 | length 4, capsule | ...
//! notice   'S' '1'    flags 0 | nonce 8 | applied 8 | ...                       the payload of a ping
//! COMMIT  'C' flags   0     0 | number 8 | upto 8   | length 4, capsule | output, output ...
//! PUSH    'P' 0       0     0 | output, output ...
//! output  opcode | length 4, payload
//! ```
//!
//! Numbers are big-endian. `...`: more may follow in a later version, and is ignored. Nothing is
//! allocated here for a length that a peer states: what is decoded points into the message.

use super::{NUMBER_MAX, SessionId};

/// The version that ATTACH names.
pub const VERSION: u8 = 1;

/// Bytes of an ATTACH before its capsule.
const ATTACH_HEAD: usize = 48;

/// Bytes of a COMMIT before its capsule.
const COMMIT_HEAD: usize = 24;

/// Bytes of a PUSH before its outputs.
const PUSH_HEAD: usize = 4;

/// Bytes of an output before its payload.
const OUTPUT_HEAD: usize = 5;

/// Bytes of a notice.
pub const NOTICE_LEN: usize = 20;

/// A capsule is there (ATTACH, COMMIT).
const CAPSULE: u8 = 1;

/// The service wants to hear at once that the commit is applied.
const PROMPT: u8 = 2;

/// The session is to leave this backend.
const DRAINING: u8 = 1;

/// Why bytes of a peer are no message of this protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// It ends before a field that must be there.
    Short,
    /// A length goes beyond the end of the message.
    Length,
    /// A number is larger than [`NUMBER_MAX`].
    Number,
    /// An opcode that is neither 1 (text) nor 2 (binary).
    Opcode,
    /// A flag or reserved byte that this version does not know.
    Flags,
    /// Another version than [`VERSION`].
    Version,
    /// A message of another kind than the one that must come here.
    Kind,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Malformed::Short => "it ends too early",
            Malformed::Length => "a length goes beyond its end",
            Malformed::Number => "a number is above 2^53-1",
            Malformed::Opcode => "an output is neither text nor binary",
            Malformed::Flags => "a flag is set that is not known",
            Malformed::Version => "it is of another version",
            Malformed::Kind => "it is of another kind than expected",
        })
    }
}

impl std::error::Error for Malformed {}

/// The first message to a service: which session it gets, and where that stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attach<'a> {
    /// Grows with each backend that the session comes to: a fencing token.
    pub epoch: u64,
    /// Number of the last commit that was applied; zero: none yet.
    pub applied: u64,
    /// Seq of the last message that is consumed. The next one that comes is the one behind it.
    pub committed: u64,
    /// The session's name, as in `Steadfast-Session`.
    pub session: SessionId,
    /// What the last commit with a capsule has left.
    pub capsule: Option<&'a [u8]>,
}

impl<'a> Attach<'a> {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let capsule = self.capsule.unwrap_or_default();
        let mut bytes = Vec::with_capacity(ATTACH_HEAD + capsule.len());
        bytes.extend([b'A', VERSION, if self.capsule.is_some() { CAPSULE } else { 0 }, 0]);
        for number in [self.epoch, self.applied, self.committed] {
            bytes.extend(number.to_be_bytes());
        }
        bytes.extend(self.session);
        put_block(&mut bytes, capsule);
        bytes
    }

    /// From bytes.
    ///
    /// # Errors
    /// When they are no ATTACH of this version.
    pub fn decode(bytes: &'a [u8]) -> Result<Attach<'a>, Malformed> {
        let mut rest = Reader(bytes);
        let [kind, version, flags, _] = rest.array()?;
        if kind != b'A' {
            return Err(Malformed::Kind);
        }
        if version != VERSION {
            return Err(Malformed::Version);
        }
        let (epoch, applied, committed) = (rest.number()?, rest.number()?, rest.number()?);
        let session = rest.array()?;
        let capsule = rest.block()?;
        let capsule = (flags & CAPSULE != 0).then_some(capsule);
        Ok(Attach { epoch, applied, committed, session, capsule })
    }
}

/// What a ping to a service tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notice {
    /// Makes the pong's payload unpredictable.
    pub nonce: u64,
    /// Number of the last commit that was applied.
    pub applied: u64,
    /// The session is to leave this backend: the time for a last capsule.
    pub draining: bool,
}

impl Notice {
    /// As a ping's payload.
    pub fn encode(&self) -> [u8; NOTICE_LEN] {
        let mut bytes = [0; NOTICE_LEN];
        bytes[..4].copy_from_slice(&[b'S', b'1', if self.draining { DRAINING } else { 0 }, 0]);
        bytes[4..12].copy_from_slice(&self.nonce.to_be_bytes());
        bytes[12..].copy_from_slice(&self.applied.to_be_bytes());
        bytes
    }

    /// From a ping's payload; `None`: it is a ping and nothing else.
    pub fn decode(bytes: &[u8]) -> Option<Notice> {
        let mut rest = Reader(bytes);
        let [b'S', b'1', flags, _] = rest.array().ok()? else { return None };
        let nonce = u64::from_be_bytes(rest.array().ok()?);
        Some(Notice { nonce, applied: rest.number().ok()?, draining: flags & DRAINING != 0 })
    }
}

/// A message of a service to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Envelope<'a> {
    /// Messages are consumed.
    Commit(Commit<'a>),
    /// Messages for the client that answer nothing.
    Push(Outputs<'a>),
    /// Of a kind that this version does not know; it is skipped.
    Unknown(u8),
}

/// "Consumed up to this seq, these are the outputs, this is the new capsule."
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit<'a> {
    /// 1, 2, 3 ... in each session.
    pub number: u64,
    /// Seq of the last message that is consumed.
    pub upto: u64,
    /// The new capsule; `None`: the old one stays.
    pub capsule: Option<&'a [u8]>,
    /// The service wants to hear at once that it is applied.
    pub prompt: bool,
    /// Messages for the client.
    pub outputs: Outputs<'a>,
}

/// Messages for the client, checked to be whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outputs<'a>(&'a [u8]);

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Output<'a> {
    /// Text or binary (RFC 6455, 5.6). That text is UTF-8 is not checked here.
    pub text: bool,
    /// Its payload.
    pub payload: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// From bytes, each length checked against the message's end.
    ///
    /// # Errors
    /// When they are not a whole envelope.
    pub fn decode(bytes: &'a [u8]) -> Result<Envelope<'a>, Malformed> {
        let mut rest = Reader(bytes);
        let Some(kind) = bytes.first() else { return Err(Malformed::Short) };
        match kind {
            b'C' => {
                let [_, flags, 0, 0] = rest.array()? else { return Err(Malformed::Flags) };
                let (number, upto) = (rest.number()?, rest.number()?);
                let capsule = rest.block()?;
                let present = flags & CAPSULE != 0;
                if flags & !(CAPSULE | PROMPT) != 0 || (!present && !capsule.is_empty()) {
                    return Err(Malformed::Flags);
                }
                let (capsule, prompt) = (present.then_some(capsule), flags & PROMPT != 0);
                let outputs = Outputs::checked(rest.0)?;
                Ok(Envelope::Commit(Commit { number, upto, capsule, prompt, outputs }))
            }
            b'P' => {
                let [_, 0, 0, 0] = rest.array()? else { return Err(Malformed::Flags) };
                Ok(Envelope::Push(Outputs::checked(rest.0)?))
            }
            other => Ok(Envelope::Unknown(*other)),
        }
    }
}

impl<'a> Outputs<'a> {
    /// Bytes that they take in the envelope.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `bytes` must be outputs, one behind the other.
    fn checked(bytes: &'a [u8]) -> Result<Outputs<'a>, Malformed> {
        let mut outputs = Outputs(bytes);
        while let Some(opcode) = outputs.0.first() {
            if !matches!(opcode, 1 | 2) {
                return Err(Malformed::Opcode);
            }
            if outputs.next().is_none() {
                let short = outputs.0.len() < OUTPUT_HEAD;
                return Err(if short { Malformed::Short } else { Malformed::Length });
            }
        }
        Ok(Outputs(bytes))
    }
}

impl<'a> Iterator for Outputs<'a> {
    type Item = Output<'a>;

    #[inline]
    fn next(&mut self) -> Option<Output<'a>> {
        let (&[opcode, a, b, c, d], rest) = self.0.split_first_chunk::<OUTPUT_HEAD>()?;
        let (payload, rest) = rest.split_at_checked(u32::from_be_bytes([a, b, c, d]) as usize)?;
        self.0 = rest;
        Some(Output { text: opcode == 1, payload })
    }
}

/// Writes an envelope.
#[derive(Debug, Clone)]
pub struct EnvelopeWriter(Vec<u8>);

impl EnvelopeWriter {
    /// A COMMIT without outputs yet.
    pub fn commit(number: u64, upto: u64, capsule: Option<&[u8]>, prompt: bool) -> EnvelopeWriter {
        let block = capsule.unwrap_or_default();
        let mut bytes = Vec::with_capacity(COMMIT_HEAD + block.len());
        let flags = if capsule.is_some() { CAPSULE } else { 0 } | if prompt { PROMPT } else { 0 };
        bytes.extend([b'C', flags, 0, 0]);
        bytes.extend(number.to_be_bytes());
        bytes.extend(upto.to_be_bytes());
        put_block(&mut bytes, block);
        EnvelopeWriter(bytes)
    }

    /// A PUSH without outputs yet.
    pub fn push() -> EnvelopeWriter {
        let mut bytes = Vec::with_capacity(PUSH_HEAD);
        bytes.extend([b'P', 0, 0, 0]);
        EnvelopeWriter(bytes)
    }

    /// Adds a message for the client.
    pub fn output(&mut self, text: bool, payload: &[u8]) {
        self.0.reserve(OUTPUT_HEAD + payload.len());
        self.0.push(if text { 1 } else { 2 });
        put_block(&mut self.0, payload);
    }

    /// The envelope's bytes.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// A length and so many bytes. Whoever builds a message bounds its parts far below 2^32.
fn put_block(to: &mut Vec<u8>, block: &[u8]) {
    to.extend((block.len() as u32).to_be_bytes());
    to.extend(block);
}

/// Takes fields off the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (field, rest) = self.0.split_first_chunk().ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(*field)
    }

    fn number(&mut self) -> Result<u64, Malformed> {
        let number = u64::from_be_bytes(self.array()?);
        if number > NUMBER_MAX { Err(Malformed::Number) } else { Ok(number) }
    }

    fn block(&mut self) -> Result<&'a [u8], Malformed> {
        let len = u32::from_be_bytes(self.array()?) as usize;
        let (block, rest) = self.0.split_at_checked(len).ok_or(Malformed::Length)?;
        self.0 = rest;
        Ok(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// Bytes that often look like a message: a known first byte, few flags, small numbers.
    fn likely() -> impl Strategy<Value = Vec<u8>> {
        let head = (prop::sample::select(b"ACPS1".to_vec()), 0u8..4, 0u8..2);
        let byte = prop_oneof![4 => Just(0u8), 2 => 1u8..4, 1 => any::<u8>()];
        let tail = vec(byte, 0..80);
        (head, tail).prop_map(|((kind, second, third), tail)| [vec![kind, second, third, 0], tail].concat())
    }

    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![0..=5u64, 0..=NUMBER_MAX, Just(NUMBER_MAX)]
    }

    /// Outputs as a service has them.
    fn outputs() -> impl Strategy<Value = Vec<(bool, Vec<u8>)>> {
        vec((any::<bool>(), vec(any::<u8>(), 0..20)), 0..5)
    }

    fn written(mut writer: EnvelopeWriter, outputs: impl IntoIterator<Item = (bool, Vec<u8>)>) -> Vec<u8> {
        for (text, payload) in outputs {
            writer.output(text, &payload);
        }
        writer.finish()
    }

    fn owned(outputs: Outputs<'_>) -> Vec<(bool, Vec<u8>)> {
        outputs.map(|output| (output.text, output.payload.to_vec())).collect()
    }

    /// Whatever comes, it is refused, or means what it says again when it is encoded.
    fn check(bytes: &[u8]) -> Result<(), TestCaseError> {
        match Envelope::decode(bytes) {
            Ok(Envelope::Commit(it)) => {
                let writer = EnvelopeWriter::commit(it.number, it.upto, it.capsule, it.prompt);
                prop_assert_eq!(written(writer, owned(it.outputs)), bytes);
            }
            Ok(Envelope::Push(outputs)) => {
                prop_assert_eq!(written(EnvelopeWriter::push(), owned(outputs)), bytes);
            }
            Ok(Envelope::Unknown(kind)) => prop_assert!(!matches!(kind, b'C' | b'P')),
            Err(_) => {}
        }
        if let Ok(attach) = Attach::decode(bytes) {
            let again = attach.encode();
            prop_assert_eq!(Attach::decode(&again), Ok(attach));
        }
        if let Some(notice) = Notice::decode(bytes) {
            prop_assert_eq!(Notice::decode(&notice.encode()), Some(notice));
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_mean_something(bytes in prop_oneof![vec(any::<u8>(), 0..100), likely()]) {
            check(&bytes)?;
        }

        #[test]
        fn what_is_written_is_read(
            numbers in (number(), number()),
            capsule in proptest::option::of(vec(any::<u8>(), 0..40)),
            prompt: bool,
            outputs in outputs(),
        ) {
            let (number, upto) = numbers;
            let capsule = capsule.as_deref();
            let bytes = written(EnvelopeWriter::commit(number, upto, capsule, prompt), outputs.clone());
            let Ok(Envelope::Commit(commit)) = Envelope::decode(&bytes) else { panic!("{bytes:?}") };
            prop_assert_eq!((commit.number, commit.upto), (number, upto));
            prop_assert_eq!((commit.capsule, commit.prompt), (capsule, prompt));
            prop_assert_eq!(owned(commit.outputs), outputs);
        }

        #[test]
        fn no_beginning_of_a_commit_but_whole_outputs_is_one(outputs in outputs(), cut: prop::sample::Index) {
            let bytes = written(EnvelopeWriter::commit(1, 1, Some(b"capsule"), false), outputs.clone());
            let cut = cut.index(bytes.len());
            let whole = outputs.iter().scan(COMMIT_HEAD + 7, |at, (_, payload)| {
                *at += OUTPUT_HEAD + payload.len();
                Some(*at)
            });
            let ends: Vec<_> = std::iter::once(COMMIT_HEAD + 7).chain(whole).collect();
            prop_assert_eq!(Envelope::decode(&bytes[..cut]).is_ok(), ends.contains(&cut));
        }
    }

    #[test]
    fn numbers_end_where_those_of_javascript_do() {
        let commit = |number: u64| EnvelopeWriter::commit(number, 0, None, false).finish();
        assert!(Envelope::decode(&commit(NUMBER_MAX)).is_ok());
        assert_eq!(Envelope::decode(&commit(NUMBER_MAX + 1)), Err(Malformed::Number));
        assert_eq!(NUMBER_MAX, 9_007_199_254_740_991);
    }
}
