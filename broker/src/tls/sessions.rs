//! What backends have given for resumption: one store for a pool, so that a herd of failovers finds tickets in it.
//!
//! rustls' own keeps eight tickets of a name, and one serves one connection: the ninth session of a herd would pay for a
//! whole handshake. Here the fullest backend gives one up when there are too many in all. It also takes all for one that
//! prove to be the same name, and yet each has keys of its own: here each has what it has given.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

use crate::lock::OrderedMutex;
use crate::lock::rank::ResumptionsRank;

/// Tickets of TLS 1.3 of all backends, each some two kilobytes with the certificates that came before it.
const TICKETS_MAX: usize = 1024;
/// Backends of which something is kept.
const BACKENDS_MAX: usize = 1024;

/// What one backend has given.
#[derive(Default)]
struct GivenTickets {
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    /// The newest last.
    tickets: VecDeque<Tls13ClientSessionValue>,
}

#[derive(Default)]
struct GivenByAll {
    by_address: HashMap<Arc<str>, GivenTickets>,
    tickets: usize,
}

/// The store of one pool.
#[derive(Default)]
pub(super) struct Resumptions(OrderedMutex<GivenByAll, ResumptionsRank>);

/// The part of it that is one backend's.
#[derive(Debug)]
pub(super) struct BackendResumptions {
    /// Where that is.
    pub(super) address: Arc<str>,
    pub(super) store: Arc<Resumptions>,
}

impl GivenByAll {
    /// The entry of this address. For a new one that is too many, any other gives way.
    fn entry(&mut self, address: &Arc<str>) -> &mut GivenTickets {
        if self.by_address.len() >= BACKENDS_MAX && !self.by_address.contains_key(address) {
            let any = self.by_address.keys().next().cloned();
            let gone = any.and_then(|any| self.by_address.remove(&any));
            self.tickets -= gone.map_or(0, |gone| gone.tickets.len());
        }
        self.by_address.entry(Arc::clone(address)).or_default()
    }

    fn insert(&mut self, address: &Arc<str>, ticket: Tls13ClientSessionValue) {
        self.entry(address).tickets.push_back(ticket);
        self.tickets += 1;
        if self.tickets > TICKETS_MAX {
            let fullest = self.by_address.values_mut().max_by_key(|given| given.tickets.len());
            let oldest = fullest.and_then(|given| given.tickets.pop_front());
            self.tickets -= usize::from(oldest.is_some());
        }
    }

    fn take(&mut self, address: &str) -> Option<Tls13ClientSessionValue> {
        let newest = self.by_address.get_mut(address)?.tickets.pop_back()?;
        self.tickets -= 1;
        Some(newest)
    }
}

/// All of a backend's connections ask for one name.
impl ClientSessionStore for BackendResumptions {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.store.0.lock().entry(&self.address).group = Some(group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.store.0.lock().by_address.get(&self.address)?.group
    }

    fn set_tls12_session(&self, _: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.store.0.lock().entry(&self.address).tls12 = Some(session);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.store.0.lock().by_address.get(&self.address)?.tls12.clone()
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        if let Some(given) = self.store.0.lock().by_address.get_mut(&self.address) {
            given.tls12 = None;
        }
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.store.0.lock().insert(&self.address, ticket);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.store.0.lock().take(&self.address)
    }
}

impl fmt::Debug for Resumptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resumptions(hidden)")
    }
}
