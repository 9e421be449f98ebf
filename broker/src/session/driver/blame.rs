//! What a session says of a backend that has failed it. It counts when the session fares better at the next one, which
//! the pool's docket waits for; the session does not.

use steadfast_protocol::session::{Failure, Session};
use steadfast_protocol::time::Time;
use steadfast_protocol::websocket::close_code::CloseCode;

use crate::clock;
use crate::session::registry::{Core, Entry};
use crate::upstream::health::deaths::{BackendLoss, Given};
use crate::upstream::health::docket::{Failing, Mishap, Occasion};

use super::Io;

/// Whether the docket waits to hear of the session.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accusation {
    #[default]
    None,
    /// How it fares at the next backend.
    Open,
    /// Whether it lasts there.
    Settled,
}

impl Io {
    /// The backend has failed the session, which `goes_on` at another one or not.
    pub(super) fn accuse(
        &mut self,
        entry: &Entry,
        core: &mut Core,
        (failure, goes_on): (Failure, bool),
        now: Time,
    ) {
        let (Some(what), Some(lease)) = (mishap(failure), &mut core.lease) else { return };
        let young = lease.fail(now);
        let unread = core.machine.left_unread();
        let suspicion = &mut self.moving.get_or_insert_default().suspicion;
        if let Some(ended) = death(failure) {
            let (backend, since) = (lease.backend().id, lease.since());
            let given = Given::new(unread.clone(), since, now);
            entry.binding.pool.lost(&entry.name(), BackendLoss { backend, at: now, since, given, ended });
            suspicion.died();
        }
        let restarts = failure == Failure::Close(CloseCode::SERVICE_RESTART);
        if let Failure::Close(code) = failure
            && !(restarts && unread.is_some())
        {
            lease.closed_with(now, code);
        }
        // What no message can have brought about is known of the backend already, and no failure.
        if restarts && unread.is_none() {
            return;
        }
        let when = unread.map_or_else(|| Occasion::Idle(now.since(lease.since())), Occasion::Messages);
        let backend = lease.backend().id;
        let failure = Failing { backend, at: now, what, when, young: young || restarts };
        entry.binding.pool.testify((&entry.name(), entry.client().ip()), failure, goes_on);
        self.moving.get_or_insert_default().accusation = Accusation::Open;
    }

    /// The next backend may have acknowledged what the one before had not.
    pub(super) fn note_settled(&mut self, entry: &Entry, machine: &Session, now: Time) {
        let Some(moving) = &mut self.moving else { return };
        if moving.accusation == Accusation::Open && self.backend.is_some() && machine.settled() {
            moving.accusation = Accusation::Settled;
            entry.binding.pool.settled(now, &entry.name());
        }
    }

    /// Two backends have failed the session on the same message, and are well: a third need not meet it.
    pub(super) fn is_blamed(&self, entry: &Entry) -> bool {
        let accuses = self.moving.as_ref().is_some_and(|moving| moving.accusation == Accusation::Open);
        accuses && entry.binding.pool.blames(&entry.name())
    }

    /// The session ends: it says nothing more.
    pub(super) fn withdraw(&self, entry: &Entry) {
        let accusation = self.moving.as_ref().map_or(Accusation::None, |moving| moving.accusation);
        if accusation != Accusation::None {
            entry.binding.pool.left(clock::now(), &entry.name());
        }
    }
}

/// Counts a failure at once: the session cannot have brought it about, or goes on nowhere.
pub(super) fn at_once(entry: &Entry, core: &mut Core, now: Time) {
    if let Some(lease) = &mut core.lease
        && lease.fail(now)
    {
        let pool = &entry.binding.pool;
        let complaint = pool.complaint(now, entry.client().ip(), &entry.name());
        pool.failed(now, lease.backend(), complaint);
    }
}

/// What the backend is to blame for. To leave it was the broker's plan, and a cut the client's doing.
fn mishap(failure: Failure) -> Option<Mishap> {
    match failure {
        Failure::Close(code) => Some(Mishap::Close(code)),
        Failure::Eof | Failure::Reset => Some(Mishap::End),
        Failure::Protocol | Failure::SlowMessage | Failure::Breach => Some(Mishap::Breach),
        Failure::Silence | Failure::Dead => Some(Mishap::Silence),
        // Another one may take the client, or have more time for it: nobody knows whose fault it is.
        Failure::Prologue | Failure::Denied => None,
        Failure::Planned | Failure::Ordered | Failure::Cut | Failure::Restored => None,
    }
}

/// Whether the backend may have died, of whatever it was: `true` if its connection has ended, `false` if it has said so
/// or says nothing any more.
fn death(failure: Failure) -> Option<bool> {
    let passing = [CloseCode::GOING_AWAY, CloseCode::SERVICE_RESTART, CloseCode::TRY_AGAIN_LATER];
    match failure {
        Failure::Eof | Failure::Reset | Failure::Protocol => Some(true),
        Failure::Close(code) if passing.contains(&code) => None,
        Failure::Close(_) | Failure::Silence | Failure::SlowMessage => Some(false),
        Failure::Dead | Failure::Breach | Failure::Prologue | Failure::Denied => None,
        Failure::Planned | Failure::Ordered | Failure::Cut | Failure::Restored => None,
    }
}
