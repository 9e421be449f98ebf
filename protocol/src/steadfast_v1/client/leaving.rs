//! The end of a connection: whether there is to be another, and when it is over.

use crate::steadfast_v1::{CLOSE_STALE, CLOSE_SUPERSEDED};
use crate::time::Time;
use crate::websocket::close_code::CloseCode;

use super::{Cause, Client, Command, End, Event, LinkPhase, Loss};

/// Attempts of its own to which a client loses its session, at the most, before it believes that somebody
/// else has it.
const RIVALS_MAX: u32 = 8;

impl Client {
    /// The connection has ended. `close`: code and reason of the broker's Close, 1005 when it had no code;
    /// `None`: there was none.
    pub fn handle_disconnected(&mut self, now: Time, close: Option<(CloseCode, &str)>) {
        self.settle(now);
        match (&self.link, close) {
            (LinkPhase::Waiting { .. } | LinkPhase::Over, _) => {}
            (LinkPhase::Leaving, Some(_)) => self.end(Cause::Asked),
            (_, None) => self.lose(now, Loss::Ended),
            (_, Some((code, _))) if self.comes_back_after(code) => {
                self.lose(now, Loss::Closed(code));
                // One of them has had its way.
                self.rivals -= u32::from(code == CLOSE_SUPERSEDED);
            }
            (_, Some((code, reason))) => self.end(Cause::Closed { code, reason: reason.to_owned() }),
        }
    }

    /// Whether there is to be another connection after a Close with this code.
    fn comes_back_after(&self, code: CloseCode) -> bool {
        match code {
            // Going away, restart, try again later (RFC 6455, 7.4.1, and the registry of 11.7).
            CloseCode::GOING_AWAY | CloseCode::SERVICE_RESTART | CloseCode::TRY_AGAIN_LATER | CLOSE_STALE => {
                true
            }
            // By an attempt of this client's own, which was dropped here before the broker read it.
            CLOSE_SUPERSEDED => self.rivals > 0,
            _ => false,
        }
    }

    /// Drops the connection, and wants another.
    pub(super) fn abandon(&mut self, now: Time, loss: Loss) {
        self.drop_connection(None);
        self.lose(now, loss);
    }

    /// Drops the connection, and wants no other.
    pub(super) fn finish(&mut self, cause: Cause) {
        self.drop_connection(None);
        self.end(cause);
    }

    pub(super) fn drop_connection(&mut self, close: Option<(CloseCode, String)>) {
        if !matches!(self.link, LinkPhase::Waiting { .. } | LinkPhase::Over) {
            self.hang_up = Some(Command::Abandon { close });
        }
    }

    /// A connection that has lasted forgets what it took to get there.
    fn settle(&mut self, now: Time) {
        if let LinkPhase::Open(open) = &self.link
            && now.since(open.since) >= self.config.stable
        {
            self.attempts = 0;
        }
    }

    /// The connection, or the attempt at one, is no more.
    pub(super) fn lose(&mut self, now: Time, loss: Loss) {
        self.settle(now);
        let closed = matches!(loss, Loss::Closed(_));
        match &self.link {
            // Of one that was not closed nobody knows whether it is still on its way.
            LinkPhase::Connecting { .. } | LinkPhase::Greeting { .. } if self.held.is_some() && !closed => {
                self.rivals = (self.rivals + 1).min(RIVALS_MAX);
            }
            LinkPhase::Leaving if self.outbox.is_delivered() => return self.end(Cause::Asked),
            _ => {}
        }
        self.apart.get_or_insert(now);
        self.link = LinkPhase::Waiting { at: None };
        self.events.push_back(Event::Lost(loss));
    }

    pub(super) fn end(&mut self, cause: Cause) {
        if matches!(self.link, LinkPhase::Over) {
            return;
        }
        self.link = LinkPhase::Over;
        let (unknown, unsent) = (self.outbox.unsettled(), self.outbox.unsent());
        self.outbox.close();
        self.events.push_back(Event::Closed(End { cause, unknown, unsent }));
    }

    pub(super) fn gives_up(&self) -> Option<Time> {
        self.apart.map(|since| since + self.config.give_up)
    }
}
