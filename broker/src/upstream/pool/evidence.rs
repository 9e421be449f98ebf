//! What sessions say of a pool's backends: it waits in the docket until it counts, and then is held against them.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use steadfast_protocol::time::Time;
use steadfast_protocol::websocket::close_code::CloseCode;

use super::Pool;
use crate::metric::{self, VerdictWord};
use crate::net::address::Address;
use crate::upstream::backend::Backend;
use crate::upstream::health::docket::{Charge, Failing, Mishap};
use crate::upstream::health::witness::Complaint;

impl Pool {
    /// A backend has failed this session of this client. `others`: it may go on at another one.
    pub(crate) fn testify(&self, (session, client): (&str, IpAddr), failure: Failing, others: bool) {
        let now = failure.at;
        let others = others && self.has_beside(now, failure.backend);
        let who = (self.key(session), Address::of(client));
        let mut docket = self.docket.lock();
        let charge = docket.failed(who, failure, others);
        self.has_cases.store(!docket.is_empty(), Relaxed);
        drop(docket);
        self.hold_against(now, charge);
    }

    /// A backend has taken it.
    pub(crate) fn placed(&self, now: Time, session: &str) {
        if self.has_cases.load(Relaxed) {
            let charges = self.docket.lock().placed(now, self.key(session));
            self.hold_against(now, charges);
        }
    }

    /// That backend has acknowledged what was sent again.
    pub(crate) fn settled(&self, now: Time, session: &str) {
        self.docket.lock().settled(self.key(session));
        self.survived(now, session);
    }

    /// Whether one of its messages is to blame for what it has met.
    pub(crate) fn blames(&self, session: &str) -> bool {
        self.docket.lock().blames(self.key(session))
    }

    /// It has ended.
    pub(crate) fn left(&self, now: Time, session: &str) {
        let charges = self.docket.lock().left(self.key(session));
        self.hold_against(now, charges);
    }

    /// Time alone may have decided what counts.
    pub(crate) fn judge(&self, now: Time) {
        self.forget_deaths(now);
        if !self.has_cases.load(Relaxed) {
            return;
        }
        let present = self.snapshot();
        let well = |id: usize, since: Time| {
            // Nothing is held against one that was taken away.
            let Some(backend) = present.backends.iter().find(|backend| backend.id == id) else {
                return Some(true);
            };
            is_well(backend, now, since)
        };
        let mut docket = self.docket.lock();
        let ruling = docket.advance(now, present.settings.outlier.early_death, well);
        self.has_cases.store(!docket.is_empty(), Relaxed);
        drop(docket);
        let session_blamed = |backend: &Arc<Backend>, _| tell(backend, VerdictWord::Session);
        self.each(ruling.acquitted, session_blamed);
        self.hold_against(now, ruling.charges);
    }

    /// Whether many clients may stand behind this address, as far as the pool's sessions tell.
    pub(crate) fn is_of_many(&self, now: Time, address: Address) -> bool {
        self.census.lock().stands_for_many(now, address)
    }

    /// The word of a session, or of a request that might have become one, that counts at once.
    pub(crate) fn complaint(&self, now: Time, client: IpAddr, session: &str) -> Complaint {
        self.complain(now, Address::of(client), self.key(session))
    }

    fn complain(&self, at: Time, client: Address, session: u64) -> Complaint {
        let wanted = usize::try_from(self.snapshot().settings.outlier.failures).unwrap_or(usize::MAX);
        self.census.lock().complaint(at, (client, session), wanted)
    }

    fn hold_against(&self, now: Time, charges: impl IntoIterator<Item = Charge>) {
        self.each(charges, |backend, charge| self.hold(now, backend, charge));
    }

    /// Of those backends that are there yet.
    fn each(&self, charges: impl IntoIterator<Item = Charge>, then: impl Fn(&Arc<Backend>, Charge)) {
        for charge in charges {
            let present = self.snapshot();
            if let Some(backend) = present.backends.iter().find(|backend| backend.id == charge.backend) {
                then(backend, charge);
            }
        }
    }

    fn hold(&self, now: Time, backend: &Arc<Backend>, charge: Charge) {
        let complaint = || self.complain(charge.at, charge.client, charge.session);
        match charge.what {
            Mishap::Close(code @ CloseCode::SERVICE_RESTART) => {
                return backend.closed_with(charge.at, charge.at, code);
            }
            // It says to each session what it says of itself.
            Mishap::Close(CloseCode::GOING_AWAY) if backend.seems_to_go(now) => return,
            Mishap::Busy => return backend.is_busy(now, complaint()),
            Mishap::Error | Mishap::HangUp | Mishap::NoAnswer => backend.penalise(now),
            Mishap::Close(_) | Mishap::End | Mishap::Breach | Mishap::Silence => {}
        }
        tell(backend, VerdictWord::Backend);
        self.failed(now, backend, complaint());
    }

    /// Whether another backend may take a session.
    fn has_beside(&self, now: Time, backend: usize) -> bool {
        let present = self.snapshot();
        let mut others = present.backends.iter().filter(|other| other.id != backend);
        others.any(|other| other.candidate(now, false).is_some())
    }

    pub(super) fn key(&self, session: &str) -> u64 {
        self.hasher.hash_one(session)
    }
}

/// Whom a failure at this backend speaks of.
fn tell(backend: &Backend, verdict: VerdictWord) {
    metric::VERDICTS.count((backend.pool.to_string(), backend.series(), verdict));
    let (pool, backend, verdict) = (&*backend.pool, &backend.name, verdict.name());
    tracing::debug!(pool, backend, verdict, "a failure was judged");
}

/// Whether others have fared well at this backend since then. `None`: nobody has said anything.
fn is_well(backend: &Backend, now: Time, since: Time) -> Option<bool> {
    if backend.is_down() || backend.is_penalised(now) {
        Some(false)
    } else if backend.life.last_heard().is_some_and(|heard| heard >= since) {
        Some(true)
    } else {
        // Where there is nobody, nobody speaks for it.
        (backend.sessions() == 0).then_some(false)
    }
}
