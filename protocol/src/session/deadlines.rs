//! What may last how long: each deadline of a session, when it comes, and what is done then. The folder has the short way
//! through all that is asked for with each message, for a session that does nothing but relay.

mod short_way;

use crate::time::Time;

use super::report::{EndCause, Failure};
use super::{BackendPhase, ClientPhase, Session};

pub(super) use short_way::{NextDeadline, soonest};

/// What time alone can bring about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deadline {
    /// A failover is over: the new backend has lasted, or the session has waited too long.
    Episode,
    /// A client that is to reconnect has had its turn.
    OrphanTurn,
    /// The client answers no Close.
    ClientClose,
    /// The backend answers no Close.
    BackendClose,
    /// What came before the client's end is not delivered in time.
    GiveUp,
    /// The client does not come back.
    Absence,
    /// The backend talks and answers no ping.
    Unfit,
    /// The backend owes an answer and says nothing.
    Silence,
    /// The client takes nothing.
    Stall,
    /// The client is asked for a sign of life, or has given none.
    ClientKeepalive,
    /// A message stays open.
    SlowMessage,
    /// The next dial.
    Redial,
    /// What was acknowledged too early for some services is let go of.
    Hold,
    /// The next step of a planned move.
    Migration,
    /// The backend is asked for a sign of life.
    BackendKeepalive,
    /// A conversation is not repeated in time, or the client is to have a sign of life.
    Conversation,
}

impl Session {
    /// When [`Session::advance`] must be called again, whatever happens until then.
    #[inline]
    pub fn poll_timeout(&mut self) -> Option<Time> {
        match self.next_deadline {
            NextDeadline::Kept => {}
            NextDeadline::Plain => {
                self.next_deadline = NextDeadline::Found;
                self.find_due();
            }
            NextDeadline::Found | NextDeadline::Sought => self.find_due(),
        }
        let mut at = self.due;
        // The client is told by `advance`, whatever is due. It comes and goes with messages, so it is apart.
        if self.client_link.returning.is_some() {
            at = self.tell_client_at().map_or(at, |tell| tell.min(at));
        }
        Some(at).filter(|at| *at < Time::NEVER)
    }

    fn find_due(&mut self) {
        self.due = self
            .deadlines()
            .map(|(_, at)| at.unwrap_or(Time::NEVER))
            .into_iter()
            .fold(Time::NEVER, Time::min);
    }

    /// Acts on every time that has come.
    pub(super) fn expire(&mut self, now: Time) {
        // Whatever came up since the driver was told the time lies behind it, or is not due yet.
        if now < self.due {
            return;
        }
        // What is done for one may be an end of others, so they are looked at anew after it.
        let mut first = 0;
        while let Some((place, deadline)) = self.next_due(first, now) {
            self.come(deadline, now);
            first = place + 1;
        }
    }

    /// The first deadline that has come, from this place in the order on.
    fn next_due(&self, first: usize, now: Time) -> Option<(usize, Deadline)> {
        let mut places = self.deadlines().into_iter().enumerate().skip(first);
        let due = places.find(|(_, (_, at))| at.is_some_and(|at| at <= now))?;
        Some((due.0, due.1.0))
    }

    /// Every deadline, in the order in which they are acted on when several have come, and when it comes.
    /// It is asked for with each message, so it is a list that the compiler can take apart.
    #[inline(always)]
    fn deadlines(&self) -> [(Deadline, Option<Time>); 16] {
        let client_close = match self.state.client {
            ClientPhase::Told { until, .. } => until,
            _ => None,
        };
        let (redial, backend_close) = match self.backend {
            BackendPhase::Waiting { at } => (at, None),
            BackendPhase::Closing { until } | BackendPhase::Draining { until } => (None, Some(until)),
            _ => (None, None),
        };
        let give_up = self.closing().map(|closing| closing.give_up);
        [
            (Deadline::Episode, self.episode_timeout()),
            (Deadline::OrphanTurn, self.orphan_at()),
            (Deadline::ClientClose, client_close),
            (Deadline::BackendClose, backend_close),
            (Deadline::GiveUp, give_up.filter(|_| self.backend != BackendPhase::Over)),
            (Deadline::Absence, self.away_until()),
            (Deadline::Unfit, self.unfit_at()),
            (Deadline::Silence, self.silence_at()),
            (Deadline::Stall, self.stall_at()),
            (Deadline::ClientKeepalive, self.client_keepalive_at()),
            (Deadline::SlowMessage, self.slow_message_at()),
            (Deadline::Redial, redial),
            (Deadline::Hold, self.backend_link.writer.hold_ends()),
            (Deadline::Migration, self.migration_at()),
            (Deadline::BackendKeepalive, self.backend_keepalive_at()),
            (Deadline::Conversation, self.conversation_at()),
        ]
    }

    fn come(&mut self, deadline: Deadline, now: Time) {
        match deadline {
            Deadline::Episode => self.expire_episode(now),
            Deadline::OrphanTurn => self.expire_orphan(now),
            Deadline::ClientClose => self.expire_client_close(now),
            Deadline::BackendClose => self.expire_backend_close(now),
            Deadline::GiveUp => self.backend_over(),
            Deadline::Absence => self.expire_absence(now),
            Deadline::Unfit => self.ask_about_fitness(now),
            Deadline::Silence => self.ask_about_silence(now),
            Deadline::Stall => self.client_lost(now, EndCause::ClientStall),
            Deadline::ClientKeepalive => self.client_is_silent(now),
            Deadline::SlowMessage => self.message_too_slow(now),
            Deadline::Conversation => self.expire_conversation(now),
            // The steps that `advance` takes in any case look at the time themselves.
            Deadline::Redial | Deadline::Hold | Deadline::Migration | Deadline::BackendKeepalive => {}
        }
    }

    #[inline]
    fn stall_at(&self) -> Option<Time> {
        let over = matches!(self.state.client, ClientPhase::Over);
        self.client_link
            .timers
            .stalled_since()
            .filter(|_| {
                !over && !self.away() && (self.state.downstream.waiting() > 0 || self.client_is_behind())
            })
            .map(|since| since + self.config.client_stall)
    }

    /// Neither side may keep a message open for long. The client's does not age while it is not
    /// read.
    #[inline]
    fn slow_message_at(&self) -> Option<Time> {
        let read = matches!(self.state.client, ClientPhase::Open) && !self.client_link.timers.paused();
        let client = self.client_link.timers.message_since().filter(|_| read);
        let backend = self.backend_link.timers.message_since().filter(|_| self.listens_to_backend());
        [client, backend].into_iter().flatten().min().map(|since| since + self.config.message_timeout)
    }

    fn message_too_slow(&mut self, now: Time) {
        let limit = self.config.message_timeout;
        if self.client_link.timers.message_since().is_some_and(|since| since + limit <= now)
            && matches!(self.state.client, ClientPhase::Open)
        {
            self.client_link.timers.forget_message();
            let code = self.config.codes.slow_message;
            self.dismiss(now, code, "a message took too long", EndCause::SlowMessage, true);
        } else {
            self.backend_link.timers.forget_message();
            self.leave_backend(now, Failure::SlowMessage);
        }
    }
}
