//! What backends have given for resumption: one store for a pool, so that a herd of failovers finds tickets in it.
//!
//! rustls' own keeps eight tickets of a server, and one serves one connection: the ninth session of a herd would pay for a
//! whole handshake. Here the fullest server gives one up when there are too many in all.

use std::collections::{HashMap, VecDeque};
use std::fmt;

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

use crate::lock::OrderedMutex;
use crate::lock::rank::ResumptionsRank;

/// Tickets of TLS 1.3 of all servers, each some two kilobytes with the certificates that came before it.
const TICKETS_MAX: usize = 1024;
/// Servers of which something is kept.
const SERVERS_MAX: usize = 1024;

/// What one server has given.
#[derive(Default)]
struct Server {
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    /// The newest last.
    tickets: VecDeque<Tls13ClientSessionValue>,
}

#[derive(Default)]
struct Servers {
    by_name: HashMap<ServerName<'static>, Server>,
    tickets: usize,
}

/// The store of one pool.
#[derive(Default)]
pub(super) struct Resumptions(OrderedMutex<Servers, ResumptionsRank>);

impl Servers {
    /// The entry of this name. For a new one that is too many, any other gives way.
    fn entry(&mut self, name: ServerName<'static>) -> &mut Server {
        if self.by_name.len() >= SERVERS_MAX && !self.by_name.contains_key(&name) {
            let any = self.by_name.keys().next().cloned();
            let gone = any.and_then(|any| self.by_name.remove(&any));
            self.tickets -= gone.map_or(0, |gone| gone.tickets.len());
        }
        self.by_name.entry(name).or_default()
    }

    fn insert(&mut self, name: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.entry(name).tickets.push_back(ticket);
        self.tickets += 1;
        if self.tickets > TICKETS_MAX {
            let fullest = self.by_name.values_mut().max_by_key(|server| server.tickets.len());
            let oldest = fullest.and_then(|server| server.tickets.pop_front());
            self.tickets -= usize::from(oldest.is_some());
        }
    }

    fn take(&mut self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let newest = self.by_name.get_mut(name)?.tickets.pop_back()?;
        self.tickets -= 1;
        Some(newest)
    }
}

impl ClientSessionStore for Resumptions {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        self.0.lock().entry(name).group = Some(group);
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.lock().by_name.get(&name.to_owned())?.group
    }

    fn set_tls12_session(&self, name: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.0.lock().entry(name).tls12 = Some(session);
    }

    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.lock().by_name.get(&name.to_owned())?.tls12.clone()
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        if let Some(server) = self.0.lock().by_name.get_mut(name) {
            server.tls12 = None;
        }
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.0.lock().insert(name, ticket);
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.lock().take(name)
    }
}

impl fmt::Debug for Resumptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resumptions(hidden)")
    }
}
