//! What the broker says: its welcome, its acknowledgements, and the application's messages.

use std::time::Duration;

use crate::steadfast_v1::client_wire::{self as wire, FromBroker, Standing, Welcome};
use crate::time::Time;

use super::{Breach, Client, Event, HeldSession, Inbox, LinkPhase, Open};

impl Client {
    /// A message of the broker's; the seq of one of the application's.
    pub(super) fn understand(
        &mut self,
        now: Time,
        text: bool,
        message: &[u8],
    ) -> Result<Option<u64>, Breach> {
        let kind = *message.first().ok_or(Breach::BadFrame)?;
        let greeting = matches!(self.link, LinkPhase::Greeting { .. });
        if kind == wire::MESSAGE {
            let due = now + self.config.ack_delay;
            return if greeting {
                Err(Breach::NoWelcome)
            } else {
                Ok(Some(self.inbox.count(message.len(), due)))
            };
        }
        if !FromBroker::is_known(kind) {
            return Ok(None);
        }
        match FromBroker::parse(message).filter(|_| text).ok_or(Breach::BadFrame)? {
            FromBroker::Welcome(welcome) if greeting => self.handle_welcome(now, &welcome)?,
            FromBroker::Welcome(_) => return Err(Breach::SecondWelcome),
            FromBroker::Ack(_) if greeting => return Err(Breach::NoWelcome),
            FromBroker::Ack(told) => {
                let before = self.watermarks();
                self.outbox.acknowledge(told)?;
                let now = self.watermarks();
                if now.0 > before.0 || now == before {
                    // It has got a message of this connection's, or a question: the broker has read it, so
                    // no token before its own is good any more.
                    self.rivals = 0;
                }
                self.tell_progress(before);
            }
        }
        Ok(None)
    }

    fn handle_welcome(&mut self, now: Time, welcome: &Welcome) -> Result<(), Breach> {
        if welcome.token.session() != welcome.session {
            return Err(Breach::WrongSession);
        }
        match welcome.standing {
            Standing::Resumed(told) => {
                if self.session() != Some(welcome.session) {
                    return Err(Breach::WrongSession);
                }
                let before = self.watermarks();
                self.outbox.resume(told)?;
                self.events.push_back(Event::Resumed);
                self.tell_progress(before);
            }
            Standing::Fresh(reason) => {
                let unknown = self.outbox.begin();
                (self.inbox, self.rivals) = (Inbox::default(), 0);
                self.events.push_back(Event::Fresh { reason, unknown });
            }
        }
        self.held =
            Some(HeldSession { token: welcome.token, window: Duration::from_millis(welcome.window_ms) });
        self.apart = None;
        self.link =
            LinkPhase::Open(Open { since: now, heard: now, asked: None, query: false, confirmed: false });
        Ok(())
    }

    /// Ids up to which messages are received and committed.
    fn watermarks(&self) -> (u64, u64) {
        (self.outbox.received(), self.outbox.committed())
    }

    /// Nobody needs to know of two steps what the second one says.
    fn tell_progress(&mut self, before: (u64, u64)) {
        let (received, committed) = self.watermarks();
        if (received, committed) != before {
            self.events.pop_back_if(|last| matches!(last, Event::Progress { .. }));
            self.events.push_back(Event::Progress { received, committed });
        }
    }
}
