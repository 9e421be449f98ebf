//! Leases for sessions and requests of clients that belong to a backend.

use std::sync::Arc;

use steadfast_protocol::time::Time;

use super::{Backend, BackendLease, BackendState};
use crate::upstream::balance::ChoiceReason;

/// How far a client is followed to the backend that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reach {
    /// To one whose weight is zero.
    pub(crate) unweighted: bool,
    /// To one that is drained.
    pub(crate) drained: bool,
}

/// Why a client does not get its own backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream) enum NotOwn {
    /// It has no room at the moment.
    Full,
    /// It takes nobody, or not this one.
    Out,
}

impl Backend {
    /// The hash of its name, the same on every machine.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// Takes a lease for a client that belongs here. One that was just penalised still gets its own clients.
    pub(in crate::upstream) fn lease_own(
        self: &Arc<Backend>,
        now: Time,
        reach: Reach,
    ) -> Result<BackendLease, NotOwn> {
        let mut status = self.status();
        let serves = match status.state {
            BackendState::Up => true,
            BackendState::HalfOpen => status.circuit.admits(),
            BackendState::Off => reach.unweighted && !status.is_out(),
            BackendState::Draining => {
                let lasts = !status.emptied && now.since(status.since) < status.rules.drained_requests;
                reach.drained && lasts && !status.circuit.is_ejected()
            }
            BackendState::Ejected | BackendState::Disabled | BackendState::Down | BackendState::Removed => {
                false
            }
        };
        if !serves {
            return Err(NotOwn::Out);
        }
        self.take_place(&status).ok_or(NotOwn::Full)?;
        status.circuit.leased();
        drop(status);
        Ok(BackendLease::new(self, now, ChoiceReason::OWN))
    }

    /// Its drain has found it empty: nobody comes to it any more. False: somebody has come meanwhile.
    pub(crate) fn closes_empty(&self) -> bool {
        self.status().emptied = true;
        let is_empty = self.sessions() == 0;
        if !is_empty {
            self.status().emptied = false;
        }
        is_empty
    }
}
