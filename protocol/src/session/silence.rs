//! A backend that owes something and says nothing: when the driver is asked what is known of it, and what
//! follows from that.
//!
//! ```text
//!                 owes, and no pong or data frame for half of ack_timeout
//!   heard ------------------------------------------------------------------> mute
//!     ^                                                                        |  again and again
//!     | a pong, or a data frame                                                v
//!     |                                                       Command::JudgeSilence, handle_evidence
//!     |                                                                        |
//!     |     the connection is dead                              ----> left, whatever else lives
//!     |     the backend is mute everywhere for ack_timeout      ----> left, if there is another
//!     |     it lives, this session is mute for stall_timeout    ----> left, if there is another
//!     |     the next one falls mute on the same message         ----> follows: stays
//!     '------ else                                              <---- stays
//!
//!   follows, and mute for stall_timeout: the session ends
//! ```
//!
//! A slow service, one that is stopped and one that is gone look the same from here. What tells them apart,
//! the driver knows: what the kernel says of the connection, whether the backend has been heard by others,
//! and whether there is another one.

use std::time::Duration;

use crate::time::Time;

use super::report::{Command, EndCause, Event, Failure, ServiceBreach};
use super::{BackendPhase, Session};

/// What is known besides of a backend that says nothing to this session.
#[derive(Debug, Clone, Copy)]
pub struct Evidence {
    /// The connection to it is dead: what was sent is not even taken by its host.
    pub dead: bool,
    /// When it last gave a sign of life to anybody else: a byte to another session, or an answer to a check.
    pub lived: Option<Time>,
    /// How long it may say nothing to anybody.
    pub patience: Duration,
    /// There is another one to go to.
    pub other: bool,
}

/// What has become of a session whose backend says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// It stays, and the driver will be asked again.
    Stays,
    /// It has left, or ended. `blamed`: as far as is known, its backend is at fault.
    Left {
        /// The backend was mute to everybody.
        blamed: bool,
    },
    /// It stays: the backend before this one fell silent on the same message, so that neither is to blame.
    Follows,
}

/// A message on which a backend has fallen silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stall {
    /// Seq of the one before it.
    acked_seq: u64,
    /// The next backend has done so too.
    follows: bool,
}

/// Whether a backend answers pings, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// It should, and nothing speaks against it.
    Open,
    /// It talks and has answered none in time, so it may never do.
    Doubted,
    /// It has answered one, or another of its pool has.
    Given,
}

/// For how long a backend that talks may answer no ping if none of its pool has answered one, where nothing
/// else is set.
const UNFIT: Duration = Duration::from_secs(300);

/// The driver is told of pongs that took longer than this part of `ack_timeout`.
const SLOW_PONG: u128 = 4;

impl Session {
    /// Takes what is known of a backend that owes something and says nothing, in answer to [`Command::JudgeSilence`].
    pub fn handle_evidence(&mut self, now: Time, evidence: &Evidence) -> Judgement {
        let Some(since) = self.mute_since() else { return Judgement::Stays };
        if evidence.dead {
            self.leave_backend(now, Failure::Dead);
            return Judgement::Left { blamed: false };
        }
        // What its socket takes may lie in kernels; it is a reason to wait, not a sign of life.
        let moved = self.backend_link.timers.has_moved().then_some(now);
        let lived = moved.or(evidence.lived).map_or(since, |at| at.max(since));
        let patience = evidence.patience.max(self.config.ack_timeout);
        let everywhere =
            self.backend_link.pongs && self.backend_link.timers.told_again() && now.since(lived) >= patience;
        let stalled = self.stalled(now, since);
        if !everywhere && !stalled {
            if evidence.lived.is_some_and(|at| now.since(at) < self.config.ack_timeout) {
                self.wait_for_the_slow(now);
            }
            return Judgement::Stays;
        }
        match self.follows() {
            true if stalled => {
                let code = self.config.codes.deadline;
                self.dismiss(now, code, "the service does not read on", EndCause::Stalled, false);
                Judgement::Left { blamed: false }
            }
            true => self.follow(),
            false if evidence.other => {
                self.remember_stall();
                self.leave_backend(now, Failure::Silence);
                Judgement::Left { blamed: everywhere }
            }
            false => Judgement::Stays,
        }
    }

    fn stalled(&self, now: Time, since: Time) -> bool {
        let most = self.config.stall_timeout;
        !most.is_zero() && now.since(since) >= most
    }

    /// It is the message: the failover has brought a backend that is as good as the one before.
    fn follow(&mut self) -> Judgement {
        self.underway.end_episode();
        let stall = self.exceptions().stall.as_mut();
        let known = stall.is_none_or(|stall| std::mem::replace(&mut stall.follows, true));
        if known { Judgement::Stays } else { Judgement::Follows }
    }

    fn remember_stall(&mut self) {
        let acked_seq = self.backend_link.writer.acked_seq(&self.state.ring);
        let owed = self.state.ring.whole_seq() > acked_seq;
        self.exceptions().stall = owed.then_some(Stall { acked_seq, follows: false });
    }

    /// The backend before this one has fallen silent on the message on which this one is silent; or on one that
    /// this one was silent on too, and the next would get again, since it is not committed.
    fn follows(&self) -> bool {
        let stall = self.state.exceptions.as_ref().and_then(|exceptions| exceptions.stall.as_ref());
        let acked_seq = self.backend_link.writer.acked_seq(&self.state.ring);
        stall.is_some_and(|stall| {
            let again = stall.follows && stall.acked_seq >= self.state.ring.base_seq();
            again || stall.acked_seq == acked_seq
        })
    }

    /// Since when a backend that owes something has said nothing to this session.
    #[inline]
    fn mute_since(&self) -> Option<Time> {
        let since = self
            .backend_link
            .timers
            .awaits_since()
            .filter(|_| self.listens_to_backend() && self.backend_link.writer.awaits(&self.state.ring))?;
        Some(since.max(self.backend_link.timers.heard()))
    }

    /// When the driver is to be asked.
    #[inline]
    pub(super) fn silence_at(&self) -> Option<Time> {
        let since = self.mute_since()?;
        let last = self.backend_link.timers.silence_told().unwrap_or(since).max(since);
        Some(last + self.config.ack_timeout / 2)
    }

    /// The driver is asked.
    pub(super) fn ask_about_silence(&mut self, now: Time) {
        let again = self
            .backend_link
            .timers
            .silence_told()
            .is_some_and(|told| self.mute_since().is_some_and(|at| at <= told));
        self.backend_link.timers.tell_silence(now, self.state.ring.sent(), again);
        self.ask(Command::JudgeSilence);
    }

    /// Only a backend is listened to that is linked, while the client takes what it says.
    #[inline]
    pub(super) fn listens_to_backend(&self) -> bool {
        self.backend == BackendPhase::Linked && !self.client_is_behind()
    }
}

// ---- fitness ----

impl Session {
    /// A pong has come, so many microseconds after its ping.
    #[inline]
    pub(super) fn pong_took(&mut self, took: u64) {
        if std::mem::replace(&mut self.backend_link.proof, Proof::Given) != Proof::Given {
            self.note(Event::Fit);
        }
        if u128::from(took) * SLOW_PONG > self.config.ack_timeout.as_micros() {
            self.note(Event::SlowPong(Duration::from_micros(took)));
        }
    }

    /// When a backend that talks and has answered no ping is asked about. It may answer when it has come to the
    /// end of a long answer; a client that must not wait for that gets on without acknowledgements.
    #[inline]
    pub(super) fn unfit_at(&self) -> Option<Time> {
        let open =
            self.backend_link.pongs && self.backend_link.proof != Proof::Given && self.listens_to_backend();
        let asked = self.backend_link.writer.asked().filter(|_| open)?;
        let since = self.backend_link.timers.awaits_since()?.max(asked);
        let limit = match self.config.stall_timeout {
            // What would be released is all that keeps the client from going on.
            _ if self.ring_is_full() => self.config.ack_timeout,
            Duration::ZERO => UNFIT,
            limit => limit,
        };
        let told = self.backend_link.timers.unfit_told().map(|told| told + self.config.ack_timeout);
        (self.backend_link.timers.heard() > since).then(|| told.unwrap_or(since + limit))
    }

    /// The driver is asked whether any backend of the pool has answered a ping.
    pub(super) fn ask_about_fitness(&mut self, now: Time) {
        self.backend_link.timers.tell_unfit(now);
        self.ask(Command::JudgeFitness);
    }

    /// Whether pongs are to be waited for. One that talks and answers no ping in time may answer none ever, and
    /// must not stand still for that.
    #[inline]
    pub(super) fn expects_pongs(&mut self, now: Time) -> bool {
        if self.backend_link.proof != Proof::Open {
            return self.backend_link.proof == Proof::Given;
        }
        let since =
            self.backend_link.writer.asked().filter(|asked| self.backend_link.timers.heard() > *asked);
        if since.is_some_and(|since| now.since(since) >= self.config.ack_timeout) {
            self.backend_link.proof = Proof::Doubted;
            self.note(Event::Unproven);
        }
        self.backend_link.proof == Proof::Open
    }

    /// Backends of the pool talk, and none has answered a ping in time.
    pub fn set_unproven(&mut self) {
        self.backend_link.proof = Proof::Doubted;
    }

    /// Some backend of the pool has answered a ping, so that all do: it is the same program.
    pub fn set_fit(&mut self) {
        self.backend_link.proof = Proof::Given;
    }

    /// Acknowledgements are not to be had from this backend, in answer to [`Command::JudgeFitness`]. A service that
    /// links the shim owes them.
    pub fn set_unfit(&mut self, now: Time) {
        if self.backend_link.proof == Proof::Given || !self.backend_link.pongs {
            return;
        }
        if self.commits().is_some() {
            return self.service_broke(now, ServiceBreach::NoPong);
        }
        self.backend_link.pongs = false;
        self.backend_link.writer.forget_pings();
        self.state.ring.release_written();
        self.suspects_unjudged();
        self.proven();
        self.note(Event::Unfit);
    }
}

// ---- keepalive ----

impl Session {
    /// Whether the backend is to be pinged although no message asks for it.
    #[inline]
    pub(super) fn keepalive_due(&self, now: Time) -> bool {
        self.backend_keepalive_at().is_some_and(|at| at <= now)
    }

    #[inline]
    pub(super) fn backend_keepalive_at(&self) -> Option<Time> {
        let unfit = self.config.ack == super::AckMode::Pong && !self.backend_link.pongs;
        let quiet = self.backend_link.timers.awaits_since().is_none()
            && self.backend == BackendPhase::Linked
            && !unfit;
        // Inside an open message a ping has no place; its own timeout runs.
        let place = self.state.ring.sent() <= self.state.ring.whole();
        let wanted =
            quiet && place && !self.config.keepalive.is_zero() && !self.backend_link.writer.closing();
        wanted.then(|| self.last_mark() + self.config.keepalive)
    }

    /// Without acknowledgements, a ping marks now and then what the backend has read, also while it talks.
    fn last_mark(&self) -> Time {
        let unmarked = self.state.ring.base_seq() > self.backend_link.writer.ponged_seq();
        match self
            .backend_link
            .timers
            .marked()
            .filter(|_| self.config.ack == super::AckMode::None && unmarked)
        {
            Some(marked) => marked.min(self.backend_link.timers.heard()),
            None => self.backend_link.timers.heard(),
        }
    }

    /// Notes when the last mark was made. The time of the first one begins with the first message.
    pub(super) fn note_mark(&mut self, now: Time) {
        let unmarked = self.state.ring.base_seq() > self.backend_link.writer.ponged_seq();
        match self.backend_link.writer.asked() {
            Some(asked) => self.backend_link.timers.mark(asked),
            None if unmarked && self.backend_link.timers.marked().is_none() => {
                self.backend_link.timers.mark(now)
            }
            None => {}
        }
    }

    /// Without acknowledgements, what was written beyond the last pong may be lost with the backend.
    pub(super) fn count_unmarked(&mut self) {
        if self.backend_link.pongs {
            return;
        }
        let lost = self.state.ring.base_seq().saturating_sub(self.backend_link.writer.ponged_seq());
        self.backend_link.writer.mark_written(&self.state.ring);
        if lost > 0 {
            let exceptions = self.exceptions();
            exceptions.lost_upstream += lost;
            exceptions.lost_unmarked += lost;
        }
    }
}
