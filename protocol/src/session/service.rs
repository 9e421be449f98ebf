//! The broker's part toward a service that links the shim: which commit was applied last, the capsule,
//! and what a commit must be. What a service says to the client is handed to the writer downstream.
//!
//! ```text
//!   handle_linked --> ATTACH (epoch, applied, committed, capsule), then the messages behind `committed`
//!
//!   COMMIT n, upto      n = applied + 1, upto in reach: its outputs go downstream, the capsule is kept, and the
//!                       ring lets go of what is consumed, as far as this backend was given it
//!                       n <= applied: it was applied already; that is told again
//!                       anything else is a breach, and leaves the backend
//!   PUSH                its outputs go downstream
//!   notice              in the ping that is sent anyway, or at once if a commit asks for it
//! ```

mod outputs;

use crate::entropy::{Entropy, mask_key};
use crate::relay::downstream::DirectWrite;
use crate::relay::upstream::PingNotice;
use crate::steadfast_v1::assembler::{Assembler, AssemblyStep};
use crate::steadfast_v1::service_wire::{Attach, Commit, Envelope};
use crate::steadfast_v1::{CLOSE_BREACH, CLOSE_SUPERSEDED, SessionId};
use crate::time::Time;
use crate::websocket::close_code::CloseCode;
use crate::websocket::frame::{Opcode, close_payload, control_frame};
use crate::websocket::scanner::Data;

use super::report::{Event, Failure, ServiceBreach};
use super::{BackendPhase, Session};

use outputs::{EnvelopeRelay, Large};

/// What services have committed of a session, over all of them.
#[derive(Debug)]
pub(super) struct Commits {
    session: SessionId,
    /// That of the present backend.
    epoch: u64,
    /// Number of the last commit.
    applied: u64,
    /// Seq of the last message that is consumed.
    committed: u64,
    capsule: Option<Box<[u8]>>,
    /// Seq of the last message that any backend was given whole.
    given: u64,
}

/// What belongs to one connection of a service.
#[derive(Debug, Default)]
pub(super) struct ServiceLink {
    open: Assembler,
    /// It waits to be told what was applied.
    prompt: bool,
    /// The outstanding ping tells that the session is to leave.
    tells_draining: bool,
    /// What it is told when it is left, a Close's payload.
    last_words: Option<Box<[u8]>>,
}

impl Commits {
    pub(super) fn new(session: SessionId, epoch: u64) -> Commits {
        Commits { session, epoch, applied: 0, committed: 0, capsule: None, given: 0 }
    }

    pub(super) fn committed(&self) -> u64 {
        self.committed
    }

    /// What has come of it changes with each commit.
    pub(super) fn applied(&self) -> u64 {
        self.applied
    }

    /// Bytes kept for the next service.
    pub(super) fn buffered(&self) -> usize {
        self.capsule.as_ref().map_or(0, |capsule| capsule.len())
    }

    fn attach(&self) -> Vec<u8> {
        let Commits { epoch, applied, committed, session, .. } = *self;
        Attach { epoch, applied, committed, session, capsule: self.capsule.as_deref() }.encode()
    }

    fn judge(&self, commit: &Commit<'_>, capsule_limit: usize) -> Result<(), ServiceBreach> {
        if commit.number > self.applied + 1 {
            return Err(ServiceBreach::CommitGap);
        }
        if commit.upto < self.committed {
            return Err(ServiceBreach::CommitBackwards);
        }
        if commit.capsule.is_some_and(|capsule| capsule.len() > capsule_limit) {
            return Err(ServiceBreach::CapsuleTooBig);
        }
        Ok(())
    }
}

impl ServiceLink {
    /// Bytes kept of a message that is open.
    pub(super) fn buffered(&self) -> usize {
        self.open.len()
    }

    pub(super) fn tail(&mut self) -> &mut Vec<u8> {
        self.open.tail()
    }

    /// The outstanding ping, if there is one, tells that the session is to leave.
    pub(super) fn tells_draining(&self) -> bool {
        self.tells_draining
    }

    /// It waits to be told what was applied.
    pub(super) fn prompts(&self) -> bool {
        self.prompt
    }
}

impl Session {
    /// The present backend is told which session it has, before anything else.
    pub(super) fn attach_service(&mut self, epoch: u64) {
        let Some(commits) = self.commits_mut() else { return };
        commits.epoch = epoch;
        let attach = commits.attach();
        self.backend_link.writer.attach(&self.state.ring, &attach);
    }

    /// Takes a span of frames of a service.
    pub(super) fn service_data(&mut self, now: Time, data: &Data<'_>, direct: &mut DirectWrite<'_>) {
        let mut input = data.bytes;
        let mut out = EnvelopeRelay::new(input.len(), direct);
        while self.backend_listens() {
            let Some(step) = self.backend_link.service().and_then(|service| service.open.next(&mut input))
            else {
                break;
            };
            match step {
                AssemblyStep::Whole { text, payload } => {
                    if let Some(large) = self.envelope(now, text, payload, &mut out) {
                        self.deliver_copy(&large, payload, &mut out);
                    }
                }
                AssemblyStep::Assembled => self.assembled(now, &mut out),
            }
        }
        self.conclude(&mut out);
    }

    /// Counts `n` payload bytes that were read to [`ServiceLink::tail`].
    pub(super) fn service_read(&mut self, now: Time, n: usize) {
        if self.backend_link.service().is_some_and(|service| service.open.skip(n as u64)) {
            let direct: &mut DirectWrite<'_> = &mut |_| 0;
            let mut out = EnvelopeRelay::new(0, direct);
            self.assembled(now, &mut out);
            self.conclude(&mut out);
        }
    }

    /// Does once for all envelopes that were read at once what would be wasted on each.
    fn conclude(&mut self, out: &mut EnvelopeRelay<'_, '_>) {
        self.release_committed();
        self.deliver_joined(out);
    }

    fn assembled(&mut self, now: Time, out: &mut EnvelopeRelay<'_, '_>) {
        let Some((text, payload)) = self.backend_link.service().map(|service| service.open.take()) else {
            return;
        };
        if let Some(large) = self.envelope(now, text, &payload, out) {
            self.deliver_in_place(&large, payload, out);
        }
    }

    /// Does what an envelope says. A large message at its end is left to be delivered.
    fn envelope(
        &mut self,
        now: Time,
        text: bool,
        payload: &[u8],
        out: &mut EnvelopeRelay<'_, '_>,
    ) -> Option<Large> {
        let done = match Envelope::decode(payload) {
            _ if self.backend_link.writer.attaching() => Err(ServiceBreach::TooEarly),
            _ if text => Err(ServiceBreach::Text),
            Ok(Envelope::Commit(commit)) => self.commit(&commit, out),
            Ok(Envelope::Push(outputs)) => self.judge_outputs(outputs).map(|()| self.deliver(outputs, out)),
            Ok(Envelope::Unknown(_)) => Ok(None),
            Err(malformed) => Err(ServiceBreach::BadEnvelope(malformed)),
        };
        done.unwrap_or_else(|breach| {
            // What was said before it counts.
            self.conclude(out);
            self.service_broke(now, breach);
            None
        })
    }

    /// Applies a commit whole, or not at all.
    fn commit(
        &mut self,
        commit: &Commit<'_>,
        out: &mut EnvelopeRelay<'_, '_>,
    ) -> Result<Option<Large>, ServiceBreach> {
        let limit = self.config.capsule_limit;
        if let Some(service) = self.backend_link.service() {
            service.prompt |= commit.prompt;
        }
        let Some(commits) = self.commits() else { return Ok(None) };
        if commit.number <= commits.applied {
            return Ok(None);
        }
        commits.judge(commit, limit)?;
        if !self.was_given(commit.upto) {
            return Err(ServiceBreach::FutureSeq);
        }
        self.judge_outputs(commit.outputs)?;
        if let Some(commits) = self.commits_mut() {
            (commits.applied, commits.committed) = (commit.number, commit.upto);
            if let Some(capsule) = commit.capsule {
                commits.capsule = Some(capsule.into());
            }
        }
        Ok(self.deliver(commit.outputs, out))
    }

    /// The ring lets go of what is consumed. What this backend is yet to be given it must get, since it
    /// counts.
    pub(super) fn release_committed(&mut self) {
        let Some(committed) = self.commits().map(|commits| commits.committed) else { return };
        let ring = &self.state.ring;
        if committed > ring.base_seq() {
            self.release_consumed(committed, ring.sent());
        }
    }

    /// The next backend gets nothing that is consumed, whether the one before was given it or not.
    pub(super) fn release_all_committed(&mut self) {
        if let Some(committed) = self.commits().map(|commits| commits.committed) {
            self.release_consumed(committed, self.state.ring.whole());
        }
    }

    fn release_consumed(&mut self, committed: u64, before: u64) {
        let ring = &self.state.ring;
        // Mostly all is consumed, and no walk by its headers is needed.
        if committed >= ring.whole_seq() && before >= ring.whole() {
            return self.state.ring.release(ring.whole(), ring.whole_seq());
        }
        let messages = ring.messages();
        let last = messages.take_while(|(end, seq)| *end <= before && *seq <= committed).last();
        if let Some((end, seq)) = last {
            self.state.ring.release(end, seq);
        }
    }

    /// Whether any backend was given the message with this seq, and so all before it, whole.
    fn was_given(&mut self, seq: u64) -> bool {
        let known = self.commits().map_or(0, |commits| commits.given).max(self.state.ring.base_seq());
        if seq <= known {
            return true;
        }
        // A walk by headers, unless all is sent; so what it finds is kept for the commits behind this one.
        self.note_given();
        self.commits().is_some_and(|commits| seq <= commits.given)
    }

    /// Finds the last message that any backend was given whole.
    fn note_given(&mut self) {
        let here = self.state.ring.base_seq() + self.state.ring.fully_written();
        if let Some(commits) = self.commits_mut() {
            commits.given = commits.given.max(here);
        }
    }

    /// The service does what it must not: it has failed.
    pub(super) fn service_broke(&mut self, now: Time, breach: ServiceBreach) {
        self.note(Event::ServiceBreach(breach));
        let reason = format!("{}: {}", breach.name(), breach.sentence());
        self.part_from_service(CLOSE_BREACH, &reason);
        self.backend_link.deaf = true;
        self.leave_backend(now, Failure::Breach);
    }

    /// A backend that is left, while it may still live, is told that the session goes on elsewhere. Call
    /// it before anything that was said to it is forgotten.
    pub(super) fn fence(&mut self, failure: Failure) {
        self.note_given();
        let Some(commits) = self.commits() else { return };
        let reason = format!("fenced: epoch {} is over", commits.epoch);
        let lives = !matches!(failure, Failure::Eof | Failure::Reset | Failure::Close(_) | Failure::Restored);
        if lives && !self.backend_link.writer.closing() {
            self.part_from_service(CLOSE_SUPERSEDED, &reason);
        }
    }

    fn part_from_service(&mut self, code: CloseCode, reason: &str) {
        let between = self.backend_link.writer.between_frames(&self.state.ring);
        if let Some(service) = self.backend_link.service()
            && between
        {
            service.last_words.get_or_insert_with(|| close_payload(code, reason));
        }
    }

    /// The Close for a backend that was left while it may still live. It is written as it is, and what
    /// the backend still says is discarded.
    pub fn take_last_words(&mut self, entropy: &mut Entropy<'_>) -> Option<Vec<u8>> {
        let payload = self.backend_link.service()?.last_words.take()?;
        Some(control_frame(Opcode::Close, &payload, Some(mask_key(entropy))))
    }

    // ---- notices ----

    /// What the next ping tells.
    pub(super) fn notice(&self) -> Option<PingNotice> {
        let commits = self.commits()?;
        Some(PingNotice { applied: commits.applied, draining: self.leaves_soon() })
    }

    /// A ping with notice was made.
    pub(super) fn notice_told(&mut self, notice: Option<PingNotice>) {
        if let (Some(service), Some(notice)) = (self.backend_link.service(), notice) {
            (service.prompt, service.tells_draining) = (false, notice.draining);
        }
    }

    /// The present backend has asked to be told at once.
    pub(super) fn owes_notice(&self) -> bool {
        self.backend == BackendPhase::Linked && self.backend_link.owes_notice()
    }
}
