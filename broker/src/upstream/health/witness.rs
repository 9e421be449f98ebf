//! Whose word counts against a backend, and how many must speak. Failures of one client's sessions may be that
//! client's doing, so clients are told apart by their addresses. Behind an address with much of a pool's sessions, or
//! one of only a few, stand many clients: there each session is one.

use std::collections::BTreeMap;
use std::time::Duration;

use steadfast_protocol::time::Time;

use crate::net::address::Address;

/// How long an address without a session counts as one on the pool.
const RECENT: Duration = Duration::from_secs(60);

/// An address with one session of so many is a balancer's.
const SHARE: usize = 5;

/// Addresses that are remembered. More than can be asked for as witnesses.
const ADDRESSES_MAX: usize = 4096;

/// Witnesses that are wanted, at the most.
pub(super) const WITNESSES_MAX: usize = 64;

/// Who attests a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Witness {
    /// Nothing of a client's has reached the backend: each time is a new one.
    Broker,
    /// A client.
    Address(Address),
    /// A session, or a request that might have become one, from an address of many clients.
    Session(u64),
}

/// One failure of a backend, and whose word there is for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Complaint {
    pub(crate) witness: Witness,
    /// So many must speak before the backend is out.
    pub(crate) needed: usize,
    /// When it happened; `None`: now.
    pub(crate) at: Option<Time>,
}

/// The addresses of a pool's sessions.
#[derive(Debug, Default)]
pub(crate) struct Census {
    addresses: BTreeMap<Address, Presence>,
    /// Sessions at present, those of addresses that are not remembered too.
    sessions: usize,
}

#[derive(Debug)]
struct Presence {
    sessions: usize,
    /// When it was last seen.
    last: Time,
}

impl Complaint {
    /// That no client has any part in.
    pub(crate) const BROKERS: Complaint = Complaint { witness: Witness::Broker, needed: 1, at: None };
}

impl Census {
    /// A session from this address is on the pool.
    pub(crate) fn came(&mut self, now: Time, address: Address) {
        self.sessions += 1;
        if let Some(presence) = self.seen(now, address) {
            presence.sessions += 1;
        }
    }

    /// It is not any more.
    pub(crate) fn left(&mut self, now: Time, address: Address) {
        self.sessions = self.sessions.saturating_sub(1);
        if let Some(presence) = self.addresses.get_mut(&address) {
            presence.sessions = presence.sessions.saturating_sub(1);
            presence.last = presence.last.max(now);
        }
    }

    /// A failure that a session of this address has met then, or its request. `wanted`: the failures that eject a backend.
    pub(crate) fn complaint(
        &mut self,
        at: Time,
        (address, session): (Address, u64),
        wanted: usize,
    ) -> Complaint {
        self.seen(at, address);
        let few = self.recent(at).take(SHARE).count() < SHARE;
        let witness = match self.stands_for_many(at, address) {
            true => Witness::Session(session),
            false => Witness::Address(address),
        };
        let most = wanted.min(WITNESSES_MAX);
        let mut sources = 0;
        for presence in self.recent(at) {
            sources += if few || self.is_of_many(presence.sessions) { presence.sessions.max(1) } else { 1 };
            if sources >= most {
                break;
            }
        }
        Complaint { witness, needed: sources.min(most), at: Some(at) }
    }

    /// Whether many clients may stand behind an address: the pool's sessions have only a few, or it has many of them.
    pub(crate) fn stands_for_many(&self, now: Time, address: Address) -> bool {
        let few = self.recent(now).take(SHARE).count() < SHARE;
        few || self.is_of_many(self.addresses.get(&address).map_or(0, |presence| presence.sessions))
    }

    /// Whether an address with so many sessions has a large part of the pool's.
    fn is_of_many(&self, sessions: usize) -> bool {
        sessions > 1 && sessions * SHARE >= self.sessions
    }

    fn recent(&self, now: Time) -> impl Iterator<Item = &Presence> {
        self.addresses.values().filter(move |presence| presence.is_recent(now))
    }

    /// `None`: there is no room to remember it.
    fn seen(&mut self, now: Time, address: Address) -> Option<&mut Presence> {
        if self.addresses.len() >= ADDRESSES_MAX && !self.addresses.contains_key(&address) {
            self.addresses.retain(|_, presence| presence.is_recent(now));
            if self.addresses.len() >= ADDRESSES_MAX {
                return None;
            }
        }
        let presence = self.addresses.entry(address).or_insert(Presence { sessions: 0, last: now });
        presence.last = presence.last.max(now);
        Some(presence)
    }
}

impl Presence {
    fn is_recent(&self, now: Time) -> bool {
        self.sessions > 0 || now.since(self.last) < RECENT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::after_origin(Duration::from_secs(seconds))
    }

    fn address(last: u16) -> Address {
        let [high, low] = last.to_be_bytes();
        Address::V4([192, 0, high, low])
    }

    /// So many sessions of each of these addresses, from 1 on.
    fn census(sessions: &[usize]) -> Census {
        let mut census = Census::default();
        for (n, count) in (1..).zip(sessions) {
            (0..*count).for_each(|_| census.came(at(0), address(n)));
        }
        census
    }

    fn complaint(census: &mut Census, n: u16, session: u64) -> (Witness, usize) {
        let Complaint { witness, needed, .. } = census.complaint(at(1), (address(n), session), 5);
        (witness, needed)
    }

    #[test]
    fn among_many_addresses_each_is_one_witness() {
        let mut census = census(&[1; 12]);
        assert_eq!(complaint(&mut census, 3, 77), (Witness::Address(address(3)), 5));
        assert_eq!(complaint(&mut census, 200, 78), (Witness::Address(address(200)), 5), "a request alone");
    }

    #[test]
    fn an_address_with_a_fifth_of_the_sessions_is_one_of_many_clients() {
        for (sessions, many) in [(2, false), (3, true)] {
            let mut census = census(&[&[sessions][..], &[1; 12]].concat());
            let expected = if many { Witness::Session(7) } else { Witness::Address(address(1)) };
            assert_eq!(complaint(&mut census, 1, 7).0, expected, "{sessions} of {}", sessions + 12);
            assert_eq!(complaint(&mut census, 2, 7).0, Witness::Address(address(2)));
        }
    }

    #[test]
    fn among_few_addresses_each_session_is_a_witness() {
        let mut census = census(&[1, 1, 1, 1]);
        assert_eq!(complaint(&mut census, 1, 7), (Witness::Session(7), 4));
        let mut balancer = self::census(&[40]);
        assert_eq!(complaint(&mut balancer, 1, 8), (Witness::Session(8), 5), "all behind one address");
    }

    #[test]
    fn where_few_are_few_are_needed() {
        let mut census = Census::default();
        assert_eq!(complaint(&mut census, 1, 7), (Witness::Session(7), 1));
        assert_eq!(complaint(&mut census, 2, 7), (Witness::Session(7), 2));
        census.came(at(1), address(2));
        census.came(at(1), address(2));
        assert_eq!(complaint(&mut census, 1, 7).1, 3);
    }

    #[test]
    fn addresses_without_sessions_count_for_a_minute() {
        let mut census = census(&[1; 8]);
        (2..=8).for_each(|n| census.left(at(100), address(n)));
        let needed = |census: &mut Census, second| census.complaint(at(second), (address(1), 7), 5).needed;
        assert_eq!(needed(&mut census, 159), 5);
        assert_eq!(needed(&mut census, 160), 1);
    }

    #[test]
    fn it_has_a_bound() {
        let mut census = Census::default();
        for n in 0..2 * ADDRESSES_MAX as u16 {
            census.came(at(1), address(n));
        }
        assert_eq!((census.addresses.len(), census.sessions), (ADDRESSES_MAX, 2 * ADDRESSES_MAX));
        for n in 0..2 * ADDRESSES_MAX as u16 {
            census.left(at(2), address(n));
        }
        assert_eq!(census.sessions, 0);
        census.came(at(70), address(9000));
        assert_eq!(census.addresses.len(), 1, "those of long ago are forgotten");
    }

    #[test]
    fn no_more_are_wanted_than_can_be_remembered() {
        let mut census = census(&[1; 100]);
        assert_eq!(census.complaint(at(1), (address(1), 7), 1_000_000).needed, WITNESSES_MAX);
    }
}
