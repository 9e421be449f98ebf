//! Who may come in: networks, origins, and how much one address may have. The rules that hold for all are asked first,
//! then those of the route that the request takes.

mod networks;
mod origins;
mod rates;
mod sessions;

use std::net::IpAddr;
use std::sync::Arc;

use governor::clock::Clock;
use governor::nanos::Nanos;
use http::StatusCode;
use http::header::HeaderMap;

use crate::config::settings::AccessSettings;
use crate::http::denial::Denial;
use crate::metric::DenialReason;
use crate::net::address::Address;
use networks::Networks;
use origins::Origins;
use rates::{BrokerClock, Rates, quota};
use sessions::AddressSessions;

pub(crate) use sessions::AddressPermit;

/// One set of rules with what it has counted, for all workers. The broker has one and each route
/// another.
pub(crate) struct Guard<C: Clock<Instant = Nanos> = BrokerClock> {
    networks: Networks,
    origins: Origins,
    /// How many sessions an address may have, and how many each has.
    sessions: Option<(u32, Arc<AddressSessions>)>,
    rates: Option<Arc<Rates<C>>>,
}

/// A session's places among those of its address, under the broker's rules and its route's; `None`:
/// neither counts sessions.
pub(crate) type AddressPermits = Option<Box<[Option<AddressPermit>; 2]>>;

impl Guard {
    /// A guard that has counted nothing yet.
    pub(crate) fn new(access: &AccessSettings) -> Guard {
        Guard::with_clock(access, BrokerClock)
    }
}

impl<C: Clock<Instant = Nanos> + Clone> Guard<C> {
    fn with_clock(access: &AccessSettings, clock: C) -> Guard<C> {
        Guard {
            networks: Networks::new(&access.allow, &access.deny),
            origins: Origins::new(&access.origins),
            sessions: access.sessions_per_address.map(|limit| (limit, Arc::default())),
            rates: quota(access).map(|quota| Arc::new(Rates::new(quota, clock))),
        }
    }

    /// The guard for a changed configuration. So that a reload is no way around the limits, it goes on
    /// with the counts of this one: those of sessions under any limit, those of upgrades as long as
    /// rate and burst are the same. Passes of both guards count together. Sessions that came while
    /// they were not counted stay uncounted.
    pub(crate) fn renewed(&self, access: &AccessSettings) -> Guard<C>
    where
        C: Default,
    {
        let mut guard = Guard::with_clock(access, C::default());
        if let (Some((_, fresh)), Some((_, counted))) = (&mut guard.sessions, &self.sessions) {
            *fresh = Arc::clone(counted);
        }
        if let (Some(fresh), Some(counted)) = (&mut guard.rates, &self.rates)
            && fresh.quota() == counted.quota()
        {
            *fresh = Arc::clone(counted);
        }
        guard
    }

    /// Judges one upgrade by the client's address and the headers of its request. The permit, if
    /// sessions are limited, holds the address's place among its sessions until it is dropped.
    ///
    /// The rate is asked last, so that only upgrades that may come in otherwise use it up.
    ///
    /// # Errors
    /// The first of network, origin, sessions and rate that says no.
    pub(crate) fn admit(&self, client: IpAddr, headers: &HeaderMap) -> Result<Option<AddressPermit>, Denial> {
        self.judge(client, headers)?;
        let address = Address::of(client);
        let permit = match &self.sessions {
            Some((limit, sessions)) => Some(sessions.enter(address, *limit).ok_or(SESSIONS)?),
            None => None,
        };
        self.check_rate(address)?;
        Ok(permit)
    }

    /// As [`Guard::admit`], for one that comes back to a session of its own: that has its place already.
    ///
    /// # Errors
    /// The first of network, origin and rate that says no.
    pub(crate) fn readmit(&self, client: IpAddr, headers: &HeaderMap) -> Result<(), Denial> {
        self.judge(client, headers)?;
        self.check_rate(Address::of(client))
    }

    /// Judges a request that is no upgrade, by the client's address alone: pages are read without an origin, and what
    /// counts upgrades and sessions does not count it.
    ///
    /// # Errors
    /// When its network may not come in.
    pub(crate) fn admit_request(&self, client: IpAddr) -> Result<(), Denial> {
        if self.networks.admit(client) { Ok(()) } else { Err(NETWORK) }
    }

    fn judge(&self, client: IpAddr, headers: &HeaderMap) -> Result<(), Denial> {
        self.admit_request(client)?;
        if !self.origins.admit(headers) {
            return Err(ORIGIN);
        }
        Ok(())
    }

    fn check_rate(&self, address: Address) -> Result<(), Denial> {
        self.rates.as_ref().map_or(Ok(()), |rates| rates.check(address).map_err(too_many_upgrades))
    }
}

const NETWORK: Denial = Denial {
    reason: DenialReason::Network,
    status: StatusCode::FORBIDDEN,
    retry_after: None,
    sentence: "clients of this network may not connect here",
};

const ORIGIN: Denial = Denial {
    reason: DenialReason::Origin,
    status: StatusCode::FORBIDDEN,
    retry_after: None,
    sentence: "pages of this origin may not connect here",
};

/// Nobody knows when a session ends; the time is that of other refusals.
const SESSIONS: Denial = Denial {
    reason: DenialReason::Sessions,
    status: StatusCode::TOO_MANY_REQUESTS,
    retry_after: Some(1),
    sentence: "this address has too many sessions; close one, or try again later",
};

fn too_many_upgrades(seconds: u32) -> Denial {
    Denial {
        reason: DenialReason::Rate,
        status: StatusCode::TOO_MANY_REQUESTS,
        retry_after: Some(seconds),
        sentence: "too many upgrades from this address; try again later",
    }
}

#[cfg(test)]
mod tests;
