//! Saying goodbye: whose Close goes where, what is still delivered, and why the session ended.

use crate::steadfast_v1::kind_byte::AddKind;
use crate::time::Time;
use crate::websocket::close_code::CloseCode;
use crate::websocket::frame::{Opcode, close_payload};

use super::report::{EndCause, Failure, MoveOutcome, SessionEnd};
use super::{BackendPhase, ClientPhase, Closing, ClosingWords, Session};

impl Session {
    /// The broker ends: both sides are told.
    pub fn shut_down(&mut self, now: Time, code: CloseCode) {
        if matches!(self.state.client, ClientPhase::Open) {
            self.dismiss(now, code, "the service is going away", EndCause::Shutdown, false);
        }
        self.stop_waiting();
    }

    /// The broker takes no clients any more: a session whose client is away ends, with this code for its
    /// backend. Others go on for as long as their clients' connections do.
    pub fn stop_accepting(&mut self, now: Time, code: CloseCode) {
        if self.away() {
            self.shut_down(now, code);
        } else {
            self.stop_waiting();
        }
    }

    /// Somebody wants the session to end: both sides are told Close with this code and reason. False: it
    /// ends already.
    pub fn abort(&mut self, now: Time, code: CloseCode, reason: &str) -> bool {
        let open = matches!(self.state.client, ClientPhase::Open);
        if open {
            self.dismiss(now, code, reason, EndCause::Aborted, false);
        }
        self.stop_waiting();
        open
    }

    /// The client has said Close (`close`), or hung up. Whole messages are still delivered.
    pub(super) fn client_left(&mut self, now: Time, close: Option<Box<[u8]>>, cause: EndCause) {
        self.set_end(cause, close.as_deref().and_then(CloseCode::of));
        let (hears, give_up) = (close.is_some(), now + self.config.deadline);
        let words = close.map_or(ClosingWords::HangUp, ClosingWords::Close);
        self.exceptions().closing = Some(Closing { words, give_up, reached: 0 });
        if !hears {
            self.cut_client();
        }
        self.state.client = ClientPhase::Left { hears };
        self.drop_unsent_open();
        self.say_closing_words(now);
        self.settle(now);
    }

    /// The client is not worth waiting for: it stalls, or answers no ping. One that has got no part of a frame
    /// is told so, in front of all that it has got nothing of.
    pub(super) fn client_lost(&mut self, now: Time, cause: EndCause) {
        if self.detach(now) {
            return;
        }
        if !matches!(self.state.client, ClientPhase::Open) || cause == EndCause::ResumeExpired {
            return self.client_gives_up(now, cause);
        }
        let Some(missed) = self.state.downstream.drop_unbegun() else {
            return self.client_gives_up(now, cause);
        };
        if missed > 0 {
            self.exceptions().lost_downstream += missed;
        }
        let give_up = now + self.config.deadline;
        self.exceptions().closing.get_or_insert(Closing { words: ClosingWords::HangUp, give_up, reached: 0 });
        self.dismiss(now, self.config.codes.slow_client, "the client does not answer or read", cause, false);
        // What it is waited for from now on is its answer.
        self.client_link.timers.served();
        let limit = now + self.config.close_timeout;
        if let ClientPhase::Told { until, .. } = &mut self.state.client {
            *until = Some(limit);
        }
    }

    fn client_gives_up(&mut self, now: Time, cause: EndCause) {
        match self.state.client {
            ClientPhase::Open => self.client_left(now, None, cause),
            _ => self.client_over(),
        }
    }

    /// Whether the client's connection ends with a reset: it has not taken a frame, or the last Close, to its
    /// end, and what the kernel holds for it is not to stay there.
    pub fn resets_client(&self) -> bool {
        self.state.exceptions.as_ref().is_some_and(|exceptions| exceptions.reset_client)
    }

    /// Sends the client away with a Close of the broker's, and the backend too. `deaf`: the
    /// client's bytes make no sense any more.
    pub(super) fn dismiss(&mut self, now: Time, code: CloseCode, reason: &str, cause: EndCause, deaf: bool) {
        self.dismiss_as(now, &close_payload(code, reason), cause, deaf);
    }

    /// As [`Session::dismiss`], with this payload.
    pub(super) fn dismiss_as(&mut self, now: Time, payload: &[u8], cause: EndCause, deaf: bool) {
        self.set_end(cause, CloseCode::of(payload));
        self.drop_unsent_open();
        // What came before a breach is still delivered; a session that ends for another reason
        // has nowhere to deliver it.
        let connected = matches!(self.backend, BackendPhase::Linked | BackendPhase::Closing { .. });
        let give_up = now + self.config.deadline;
        let words = || ClosingWords::Close(payload.into());
        self.exceptions().closing.get_or_insert_with(|| Closing { words: words(), give_up, reached: 0 });
        match self.state.client {
            ClientPhase::Open => self.tell_client(payload, false, deaf),
            ClientPhase::Left { hears: true } => self.tell_client(payload, true, deaf),
            ClientPhase::Left { hears: false } => self.client_over(),
            ClientPhase::Told { .. } | ClientPhase::Over => {}
        }
        if !connected {
            self.backend_over();
        }
    }

    /// The backend is to be told this code, whatever the client is told after it.
    pub(super) fn say_closing_with(&mut self, now: Time, code: CloseCode) {
        let give_up = now + self.config.deadline;
        let words = || ClosingWords::Close(close_payload(code, ""));
        self.exceptions().closing.get_or_insert_with(|| Closing { words: words(), give_up, reached: 0 });
    }

    /// A Close came from the backend.
    pub(super) fn backend_closed(&mut self, now: Time, payload: &[u8]) {
        // Nothing after a Close counts (RFC 6455, 5.5.1).
        self.backend_link.deaf = true;
        let code = CloseCode::of(payload);
        if matches!(self.backend, BackendPhase::Draining { .. }) {
            return self.draining_closed(now, code, payload);
        }
        let failure = code.filter(|code| self.config.failure_codes.contains(code));
        if failure.is_none() && self.in_prologue() {
            // The client has been taken by another: what this one says is no word of the application's to it.
            return self.denied(now);
        }
        if self.backend_link.writer.closed() && !self.crosses_ours(code) {
            // It answers ours, so it has read everything before it; a service says itself what it has done.
            if self.commits().is_none() {
                self.backend_link.writer.acknowledge_all(&mut self.state.ring);
            }
            return self.close_answered(now, payload);
        }
        let undelivered =
            !matches!(self.state.client, ClientPhase::Left { .. }) || !self.state.ring.all_released();
        if let Some(code) = failure
            && undelivered
            && self.config.failover
            && !self.state.no_failover
        {
            self.keep_word(payload);
            return self.leave_backend(now, Failure::Close(code));
        }
        if failure.is_some() {
            self.set_end(EndCause::BackendFailed, code);
        }
        self.closed_by_application(now, code, payload);
    }

    /// The session ends as the backend says.
    pub(super) fn closed_by_application(&mut self, now: Time, code: Option<CloseCode>, payload: &[u8]) {
        self.drop_half();
        self.set_end(EndCause::BackendClose, code);
        self.close_answered(now, payload);
    }

    /// Half a message of the backend's will never be whole.
    pub(super) fn drop_half(&mut self) {
        if self.drop_half_unit() | self.state.downstream.drop_open() {
            self.exceptions().suppressed += 1;
        }
        self.kind_begins(AddKind::default());
    }

    /// A Close that is no echo of ours may have been said before ours was read: it proves nothing.
    fn crosses_ours(&self, code: Option<CloseCode>) -> bool {
        let ours = match self.words() {
            Some(ClosingWords::Close(payload)) => CloseCode::of(payload),
            _ => None,
        };
        code != ours && !self.state.ring.all_released()
    }

    /// Passes a backend's Close on to the client, whose own then goes back, if it is to come.
    fn close_answered(&mut self, now: Time, payload: &[u8]) {
        match self.state.client {
            ClientPhase::Open => {
                self.doubt_written();
                self.tell_client(payload, false, false);
                self.backend = BackendPhase::Closing { until: now + self.config.close_timeout };
            }
            ClientPhase::Left { hears: true } => {
                self.tell_client(payload, true, false);
                self.backend_over();
            }
            ClientPhase::Left { hears: false } => {
                self.client_over();
                self.backend_over();
            }
            ClientPhase::Told { .. } | ClientPhase::Over => self.backend_over(),
        }
    }

    /// The client has answered our Close.
    pub(super) fn client_answered(&mut self, payload: &[u8]) {
        if let ClientPhase::Told { answered, .. } = &mut self.state.client {
            *answered = true;
        }
        // The backend began it and waits for the answer. In the middle of a message there is no
        // place for one.
        let waits = self.closing().is_none()
            && self.backend_link.deaf
            && matches!(self.backend, BackendPhase::Closing { .. });
        if waits && self.state.ring.sent_between_messages() {
            self.count_undelivered();
            self.backend_link.writer.close(&self.state.ring, payload);
        }
    }

    fn tell_client(&mut self, payload: &[u8], answered: bool, deaf: bool) {
        self.state.downstream.control(Opcode::Close, payload);
        self.state.client = ClientPhase::Told { until: None, answered, deaf };
    }

    /// What the client has begun and the backend has seen nothing of need not be cut.
    fn drop_unsent_open(&mut self) {
        if !self.backend_is_cut() {
            self.state.ring.drop_open();
        }
    }

    /// The client has not answered in time.
    pub(super) fn expire_client_close(&mut self, now: Time) {
        if !self.detach(now) {
            self.client_over();
        }
    }

    /// The backend has not.
    pub(super) fn expire_backend_close(&mut self, now: Time) {
        if matches!(self.backend, BackendPhase::Draining { .. }) {
            self.leave_backend(now, Failure::Planned);
        } else if self.state.ring.all_released() || self.closing().is_none() {
            self.backend_over();
        } else if self.comes_to_the_close() {
            self.await_answer(now);
        } else {
            self.leave_backend(now, Failure::Silence);
        }
    }

    /// The backend has got its Close, and what it says to that is waited for.
    fn await_answer(&mut self, now: Time) {
        let reached = self.backend_link.writer.acked(&self.state.ring);
        if let Some(closing) = self.closing_mut() {
            closing.reached = reached;
        }
        self.backend = BackendPhase::Closing { until: now + self.config.close_timeout };
    }

    /// It reads on towards the Close.
    fn comes_to_the_close(&self) -> bool {
        let acked = self.backend_link.writer.acked(&self.state.ring);
        self.closing().is_some_and(|closing| acked > closing.reached)
    }

    /// Time in which its words were not read, since the client is slow, does not count.
    pub(super) fn wait_for_the_slow_client(&mut self, now: Time) {
        let close_said = matches!(self.backend, BackendPhase::Closing { .. });
        if close_said && self.backend_link.timers.paused() && self.closing().is_some() {
            self.await_answer(now);
        }
    }

    /// Takes the steps towards the end that have become possible.
    #[inline]
    pub(super) fn settle(&mut self, now: Time) {
        // As almost always: nothing was said that ends anything.
        if matches!((&self.state.client, self.backend), (ClientPhase::Open, BackendPhase::Linked)) {
            return;
        }
        self.settle_backend(now);
        self.settle_client(now);
    }

    fn settle_backend(&mut self, now: Time) {
        let delivered = self.state.ring.all_released();
        match (self.backend, self.words()) {
            (BackendPhase::Linked, Some(ClosingWords::Close(_))) if self.backend_link.writer.closed() => {
                self.await_answer(now);
            }
            (BackendPhase::Linked | BackendPhase::Draining { .. }, Some(ClosingWords::HangUp))
                if delivered =>
            {
                self.backend_over()
            }
            // A Close has no place in a message that is cut.
            (BackendPhase::Linked, Some(_)) if delivered && self.backend_is_cut() => self.backend_over(),
            (BackendPhase::Waiting { .. } | BackendPhase::Dialing, Some(_)) if delivered => {
                self.backend_over()
            }
            // The backend began it, and has its answer.
            (BackendPhase::Closing { .. }, None)
                if self.backend_link.writer.closed() || self.client_silenced() =>
            {
                self.backend_over()
            }
            _ => {}
        }
    }

    /// No answer of the client will come to be passed on.
    fn client_silenced(&self) -> bool {
        match self.state.client {
            ClientPhase::Told { answered, .. } => answered && !self.backend_link.writer.closing(),
            ClientPhase::Over => !self.backend_link.writer.closing(),
            ClientPhase::Open | ClientPhase::Left { .. } => false,
        }
    }

    fn settle_client(&mut self, now: Time) {
        if self.backend == BackendPhase::Over
            && let ClientPhase::Left { hears } = self.state.client
        {
            match self.words() {
                // The backend is gone without an answer: the client gets its own code back.
                Some(ClosingWords::Close(payload)) if hears => {
                    let payload = payload.clone();
                    self.tell_client(&payload, true, false);
                }
                _ => self.client_over(),
            }
        }
        let written = self.state.downstream.waiting() == 0 && !self.away();
        match &mut self.state.client {
            ClientPhase::Told { answered: true, .. } if written => self.client_over(),
            // Its time begins when it can have read the Close.
            ClientPhase::Told { until, .. } if written => {
                until.get_or_insert(now + self.config.close_timeout);
            }
            _ => {}
        }
    }

    pub(super) fn client_over(&mut self) {
        self.cut_client();
        self.state.client = match self.state.client {
            // The backend still has messages of it to get.
            ClientPhase::Left { .. } if self.backend != BackendPhase::Over => {
                ClientPhase::Left { hears: false }
            }
            _ => ClientPhase::Over,
        };
    }

    fn cut_client(&mut self) {
        if self.state.downstream.waiting() > 0 {
            self.exceptions().reset_client = true;
        }
        self.abandon_client();
    }

    fn abandon_client(&mut self) {
        let missed = self.state.downstream.abandon();
        if missed > 0 {
            self.exceptions().lost_downstream += missed;
        }
    }

    /// No backend is wanted any more; what it has not acknowledged is lost.
    pub(super) fn backend_over(&mut self) {
        if self.backend != BackendPhase::Over {
            self.backend_link.reset = self.backend_is_cut();
            self.end_move(MoveOutcome::Ended);
            self.count_undelivered();
            self.backend = BackendPhase::Over;
        }
    }

    /// The backend ends the session by its own decision: what it was given whole it may have
    /// handled, or not. What a service has not committed has had no effect.
    fn doubt_written(&mut self) {
        let acked = self.backend_link.writer.acked_seq(&self.state.ring);
        let written = self.state.ring.base_seq() + self.state.ring.fully_written();
        if self.backend_link.pongs && self.commits().is_none() && written > acked {
            self.exceptions().in_doubt += written - acked;
            self.state.ring.release_written();
        }
    }

    /// Nothing of what waits can be delivered; in the middle of a message, not even a Close.
    pub(super) fn drop_undelivered(&mut self) {
        let between = self.state.ring.sent_between_messages();
        self.count_undelivered();
        if !between {
            self.backend_over();
            self.backend_link.reset = true;
        }
    }

    fn count_undelivered(&mut self) {
        // What was counted before has left the ring.
        let done = self.done_seq().max(self.state.ring.base_seq());
        let lost = self.state.ring.whole_seq().saturating_sub(done);
        self.state.ring.clear();
        // Without acknowledgements, what was written to a backend that has not failed has arrived.
        if !self.backend_link.pongs {
            self.backend_link.writer.mark_written(&self.state.ring);
        }
        if lost > 0 {
            self.exceptions().lost_upstream += lost;
        }
    }

    fn set_end(&mut self, cause: EndCause, code: Option<CloseCode>) {
        self.exceptions().end.get_or_insert(SessionEnd { cause, code });
    }
}
