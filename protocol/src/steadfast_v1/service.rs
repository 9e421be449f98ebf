//! A session as a service holds it: what has come from the broker, what is consumed, and the commits.
//!
//! ```text
//!              ATTACH                  repeat, upto ahead of what has come
//!   Waiting -----------> Serving ------------------------------------------> Skipping
//!      |                 |  ^  ^                                                |
//!      | any other       |  |  '---------- all of that has come ----------------'
//!      | message         '--'
//!      v                 message, commit, push, notice
//!    Breach <----------- notice of a commit that was never made
//! ```
//!
//! The driver hands in each message and ping in the order in which they come, and sends what `commit`,
//! `repeat` and `push` return in the order in which those were called. Which of the three states a
//! session is in follows from its numbers; a breach ends it, and the driver drops the connection.

mod refusal;
#[cfg(test)]
mod tests;

use super::SessionId;
use super::service_wire::{Attach, EnvelopeWriter, Notice, Output};

pub use refusal::{Breach, Misuse};

/// What an envelope may be longer than the largest message and the largest capsule together, in bytes.
const ENVELOPE_SPARE: u64 = 1024;

/// What the broker takes, as its configuration has it, in bytes. It closes a session with a breach for
/// more; here it is refused before it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The pool's `capsule`.
    pub capsule: u32,
    /// `limits.message`.
    pub message: u32,
}

impl Default for Limits {
    /// The broker's own defaults.
    fn default() -> Limits {
        Limits { capsule: 64 * 1024, message: 16 * 1024 * 1024 }
    }
}

/// Where a session stands when it comes to a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Its name.
    pub session: SessionId,
    /// Grows with each backend that the session comes to: a fencing token.
    pub epoch: u64,
    /// Number of the last commit that was applied; zero: none yet.
    pub applied: u64,
    /// Seq of the last message that is consumed.
    pub committed: u64,
    /// What the last commit with a capsule has left.
    pub capsule: Option<Vec<u8>>,
}

/// What a message of the broker's is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The first one: the session is there.
    Attached(Attachment),
    /// A message of the client's, with its seq.
    Message(u64),
    /// A message of the client's with this seq, which a repeated commit has consumed already.
    Skipped(u64),
}

/// What a commit says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Draft<'a> {
    /// Seq of the last message that is consumed with it.
    pub upto: u64,
    /// The new capsule; `None`: the old one stays.
    pub capsule: Option<&'a [u8]>,
    /// Messages for the client. Texts must be UTF-8.
    pub outputs: &'a [Output<'a>],
    /// Whether the broker is to tell at once that it is applied.
    pub prompt: bool,
}

/// A commit, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbered {
    /// Its number: 1, 2, 3 ... in each session, wherever that is.
    pub number: u64,
    /// The binary message to send.
    pub message: Vec<u8>,
}

/// One session. See the [module](self) for its states.
#[derive(Debug)]
pub struct Service {
    limits: Limits,
    attached: Option<Attached>,
    draining: bool,
}

/// The numbers of a session that has come.
#[derive(Debug)]
struct Attached {
    session: SessionId,
    epoch: u64,
    /// Of the last message that has come.
    seq: u64,
    /// Of the last message that is consumed by a commit that was made.
    consumed: u64,
    /// Of the last commit that was made.
    number: u64,
    /// Of the last commit that is known to be applied.
    applied: u64,
}

impl Service {
    /// Nothing has come yet.
    pub fn new(limits: Limits) -> Service {
        Service { limits, attached: None, draining: false }
    }

    /// A data message has come, whole.
    ///
    /// # Errors
    /// When it is the first and no ATTACH; the connection is to be dropped.
    pub fn handle_message(&mut self, text: bool, payload: &[u8]) -> Result<Input, Breach> {
        let Some(attached) = &mut self.attached else {
            return self.attach(text, payload).map(Input::Attached);
        };
        attached.seq += 1;
        let known = attached.seq <= attached.consumed;
        Ok(if known { Input::Skipped(attached.seq) } else { Input::Message(attached.seq) })
    }

    fn attach(&mut self, text: bool, payload: &[u8]) -> Result<Attachment, Breach> {
        if text {
            return Err(Breach::Text);
        }
        let Attach { epoch, applied, committed, session, capsule } =
            Attach::decode(payload).map_err(Breach::Attach)?;
        let (seq, consumed, number) = (committed, committed, applied);
        self.attached = Some(Attached { session, epoch, seq, consumed, number, applied });
        Ok(Attachment { session, epoch, applied, committed, capsule: capsule.map(<[u8]>::to_vec) })
    }

    /// A ping has come. The WebSocket layer answers it (RFC 6455, 5.5.3). `Some`: it was a notice, and what
    /// it told is in [`Service::applied`] and [`Service::is_draining`].
    ///
    /// # Errors
    /// When it tells of commits that were not made; the connection is to be dropped.
    pub fn handle_ping(&mut self, payload: &[u8]) -> Result<Option<Notice>, Breach> {
        let (Some(notice), Some(attached)) = (Notice::decode(payload), &mut self.attached) else {
            return Ok(None);
        };
        if notice.applied > attached.number {
            return Err(Breach::Applied { told: notice.applied, made: attached.number });
        }
        attached.applied = attached.applied.max(notice.applied);
        self.draining = notice.draining;
        Ok(Some(notice))
    }

    /// Everything up to a message is consumed.
    ///
    /// # Errors
    /// When the broker would not take it.
    pub fn commit(&mut self, draft: &Draft<'_>) -> Result<Numbered, Misuse> {
        let attached = self.attached.as_ref().ok_or(Misuse::NotAttached)?;
        if draft.upto > attached.seq.max(attached.consumed) {
            return Err(Misuse::Future { upto: draft.upto, seq: attached.seq });
        }
        self.make(draft)
    }

    /// For a service that keeps its commits in a store of its own: sends one of them again of which it
    /// does not know whether the broker has it. To be called before the first message is handled, in the
    /// order of the numbers. `None`: the broker has it. What it has consumed is skipped when it comes.
    ///
    /// # Errors
    /// When it is not the next one, or the broker would not take it.
    pub fn repeat(&mut self, number: u64, draft: &Draft<'_>) -> Result<Option<Numbered>, Misuse> {
        let next = self.attached.as_ref().ok_or(Misuse::NotAttached)?.number + 1;
        if number > next {
            return Err(Misuse::Gap { number, next });
        }
        if number < next {
            return Ok(None);
        }
        self.make(draft).map(Some)
    }

    fn make(&mut self, draft: &Draft<'_>) -> Result<Numbered, Misuse> {
        let Draft { upto, capsule, outputs, prompt } = *draft;
        let limits = self.limits;
        let attached = self.attached.as_mut().ok_or(Misuse::NotAttached)?;
        if upto < attached.consumed {
            return Err(Misuse::Backwards { upto, consumed: attached.consumed });
        }
        limits.check(capsule, outputs)?;
        let number = attached.number + 1;
        let mut envelope = EnvelopeWriter::commit(number, upto, capsule, prompt);
        for output in outputs {
            envelope.output(output.text, output.payload);
        }
        let message = limits.check_envelope(envelope.finish())?;
        (attached.number, attached.consumed) = (number, upto);
        Ok(Numbered { number, message })
    }

    /// Messages for the client that answer nothing: the binary message to send. It is delivered once if
    /// the broker reads it, and is not repeated.
    ///
    /// # Errors
    /// When the broker would not take it.
    pub fn push(&self, outputs: &[Output<'_>]) -> Result<Vec<u8>, Misuse> {
        self.attached.as_ref().ok_or(Misuse::NotAttached)?;
        self.limits.check(None, outputs)?;
        let mut envelope = EnvelopeWriter::push();
        for output in outputs {
            envelope.output(output.text, output.payload);
        }
        self.limits.check_envelope(envelope.finish())
    }

    /// The session's name, once it has come.
    pub fn session(&self) -> Option<SessionId> {
        self.attached.as_ref().map(|attached| attached.session)
    }

    /// A fencing token: it grows with each backend that the session comes to. Zero: it has not come.
    pub fn epoch(&self) -> u64 {
        self.attached.as_ref().map_or(0, |attached| attached.epoch)
    }

    /// Seq of the last message that has come.
    pub fn seq(&self) -> u64 {
        self.attached.as_ref().map_or(0, |attached| attached.seq)
    }

    /// Seq of the last message that is consumed, by a commit that was made.
    pub fn consumed(&self) -> u64 {
        self.attached.as_ref().map_or(0, |attached| attached.consumed)
    }

    /// Number of the last commit that was made.
    pub fn number(&self) -> u64 {
        self.attached.as_ref().map_or(0, |attached| attached.number)
    }

    /// Number of the last commit that is known to be applied.
    pub fn applied(&self) -> u64 {
        self.attached.as_ref().map_or(0, |attached| attached.applied)
    }

    /// Whether the session is to leave: the time for a last capsule.
    pub fn is_draining(&self) -> bool {
        self.draining
    }
}

impl Limits {
    /// The longest message that a service may send, in bytes.
    pub fn envelope(&self) -> u64 {
        u64::from(self.message) + u64::from(self.capsule) + ENVELOPE_SPARE
    }

    fn check(&self, capsule: Option<&[u8]>, outputs: &[Output<'_>]) -> Result<(), Misuse> {
        let fits = |bytes: &[u8], limit: u32| bytes.len() as u64 <= u64::from(limit);
        if let Some(capsule) = capsule.filter(|capsule| !fits(capsule, self.capsule)) {
            return Err(Misuse::CapsuleTooBig { len: capsule.len(), limit: self.capsule });
        }
        match outputs.iter().find(|output| !fits(output.payload, self.message)) {
            Some(output) => Err(Misuse::OutputTooBig { len: output.payload.len(), limit: self.message }),
            None => Ok(()),
        }
    }

    fn check_envelope(&self, message: Vec<u8>) -> Result<Vec<u8>, Misuse> {
        let (len, limit) = (message.len() as u64, self.envelope());
        if len > limit { Err(Misuse::EnvelopeTooBig { len, limit }) } else { Ok(message) }
    }
}
