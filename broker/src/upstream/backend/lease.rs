//! A session's place on a backend.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use steadfast_protocol::time::Time;
use steadfast_protocol::websocket::close_code::CloseCode;

use super::Backend;
use crate::net::address::Address;
use crate::upstream::balance::ChoiceReason;
use crate::upstream::health::failures::Lasting;

/// A session's place on a backend; given back when dropped.
#[derive(Debug)]
pub(crate) struct BackendLease {
    backend: Arc<Backend>,
    /// Apart, since an entry of the registry has no more room.
    stay: Box<Stay>,
    /// Why it is here.
    pub(crate) reason: ChoiceReason,
}

/// What is known of the session there.
#[derive(Debug)]
struct Stay {
    /// Since when it is linked; until then, since the lease was taken.
    since: Time,
    /// Where it comes from, once it is linked.
    client: Option<Address>,
    use_of: Use,
    failed: bool,
    /// It tries a backend that is out.
    tries: bool,
}

/// What a session has used its backend for.
#[derive(Debug)]
enum Use {
    /// It has not begun.
    Unknown,
    /// So many messages were handled before, wrapping around; more of them speak for it when it has lasted so long.
    Since { messages: u32, lasts_ms: u32 },
    /// They did.
    Told,
}

impl BackendLease {
    /// A place that the backend counts already.
    pub(super) fn new(backend: &Arc<Backend>, now: Time, reason: ChoiceReason) -> BackendLease {
        let backend = Arc::clone(backend);
        let stay = Stay { since: now, client: None, use_of: Use::Unknown, failed: false, tries: false };
        BackendLease { backend, stay: Box::new(stay), reason }
    }

    /// Since when its session is linked.
    pub(crate) fn since(&self) -> Time {
        self.stay.since
    }

    /// It is the session that tries a backend that is out.
    pub(super) fn trying(mut self) -> BackendLease {
        self.stay.tries = true;
        self
    }

    pub(crate) fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }

    /// The backend has taken the session of this client.
    pub(crate) fn linked(&mut self, now: Time, client: IpAddr) {
        let client = Address::of(client);
        self.backend.census.lock().came(now, client);
        (self.stay.since, self.stay.client) = (now, Some(client));
        let mut status = self.backend.status();
        status.linked(now);
        if self.stay.tries {
            status.resort.linked(now);
        }
    }

    /// The backend has closed this session with a code that stands for a failure.
    pub(crate) fn closed_with(&self, now: Time, code: CloseCode) {
        self.backend.closed_with(now, self.stay.since, code);
    }

    /// The backend has failed this session. True: so soon that it counts against it.
    pub(crate) fn fail(&mut self, now: Time) -> bool {
        self.stay.failed = true;
        now.since(self.stay.since) < self.backend.status().rules.outlier.early_death
    }

    /// Its session begins here. `messages` counts those that it has had handled, or got, in all its life.
    pub(crate) fn begins(&mut self, messages: u64) {
        let early_death = self.backend.status().rules.outlier.early_death;
        let lasts_ms = u32::try_from(early_death.as_millis()).unwrap_or(u32::MAX);
        self.stay.use_of = Use::Since { messages: messages as u32, lasts_ms };
    }

    /// The backend has been heard; `messages` as in [`BackendLease::begins`]. A session that has been used and lasts
    /// speaks for its backend, while it is there.
    pub(crate) fn heard(&mut self, now: Time, messages: impl FnOnce() -> u64) {
        let Use::Since { messages: before, lasts_ms } = self.stay.use_of else { return };
        let lasts = now.since(self.stay.since) >= Duration::from_millis(lasts_ms.into());
        if lasts && messages() as u32 != before {
            self.stay.use_of = Use::Told;
            self.tell_lasting(now, true);
        }
    }

    /// The backend has answered a request on it. That says no more for its sessions than one that was idle.
    pub(super) fn served(&self, now: Time) {
        self.tell_lasting(now, false);
    }

    fn tell_lasting(&self, now: Time, used: bool) {
        let session = Lasting { linked: self.stay.since, used };
        self.backend.change(now, |status| {
            let change = status.circuit.lasted(now, session)?;
            Some(status.circuit_changed(now, change))
        });
    }
}

impl Drop for BackendLease {
    fn drop(&mut self) {
        self.backend.sessions.fetch_sub(1, Relaxed);
        let now = crate::clock::now();
        if let Some(client) = self.stay.client {
            self.backend.census.lock().left(now, client);
        }
        let early_death = {
            let mut status = self.backend.status();
            if self.stay.tries {
                status.resort.left();
            }
            status.rules.outlier.early_death
        };
        if self.stay.client.is_some() && !self.stay.failed && now.since(self.stay.since) >= early_death {
            self.tell_lasting(now, false);
        } else {
            self.backend.change(now, |status| {
                if self.stay.failed {
                    status.circuit.let_down(now)
                } else {
                    status.circuit.left()
                }
                None
            });
        }
        self.backend.queue.notify();
    }
}
