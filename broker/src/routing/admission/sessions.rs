//! How many sessions each address has.

use std::sync::Arc;

use dashmap::{DashMap, Entry};

use crate::lock::enter;
use crate::lock::rank::AddressesRank;
use crate::net::address::Address;

/// Counts by address. An address without sessions has no entry, so there are never more entries than
/// sessions.
#[derive(Debug, Default)]
pub(super) struct AddressSessions(DashMap<Address, u32>);

/// A session's place among those of its address; given back when dropped.
#[derive(Debug)]
#[must_use = "the place is given back at once"]
pub(crate) struct AddressPermit {
    sessions: Arc<AddressSessions>,
    address: Address,
}

impl AddressSessions {
    /// A place, if the address has fewer than `limit`.
    pub(super) fn enter(self: &Arc<Self>, address: Address, limit: u32) -> Option<AddressPermit> {
        let _held = enter::<AddressesRank>();
        match self.0.entry(address) {
            Entry::Occupied(mut count) if *count.get() < limit => *count.get_mut() += 1,
            Entry::Vacant(place) if limit > 0 => drop(place.insert(1)),
            Entry::Occupied(_) | Entry::Vacant(_) => return None,
        }
        Some(AddressPermit { sessions: Arc::clone(self), address })
    }
}

impl Drop for AddressPermit {
    fn drop(&mut self) {
        let _held = enter::<AddressesRank>();
        self.sessions.0.remove_if_mut(&self.address, |_, count| {
            *count = count.saturating_sub(1);
            *count == 0
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
    use std::thread;

    use proptest::prelude::*;

    use super::*;

    const ONE: Address = Address::V4([192, 0, 2, 1]);
    const OTHER: Address = Address::V4([192, 0, 2, 2]);

    #[test]
    fn a_place_is_given_back() {
        let sessions = Arc::new(AddressSessions::default());
        let first = sessions.enter(ONE, 2).expect("a place");
        let second = sessions.enter(ONE, 2).expect("a place");
        assert!(sessions.enter(ONE, 2).is_none());
        assert!(sessions.enter(OTHER, 2).is_some());
        drop(first);
        let third = sessions.enter(ONE, 2).expect("a place");
        assert!(sessions.enter(ONE, 2).is_none());
        drop((second, third));
        assert!(sessions.0.is_empty());
    }

    #[test]
    fn a_limit_of_none_leaves_no_entry() {
        let sessions = Arc::new(AddressSessions::default());
        assert!(sessions.enter(ONE, 0).is_none());
        assert!(sessions.0.is_empty());
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<Option<AddressPermit>>() <= 24);
    }

    #[test]
    fn threads_never_have_more_than_the_limit() {
        const LIMIT: u32 = 3;
        let sessions = Arc::new(AddressSessions::default());
        let (inside, entered) = (AtomicU32::new(0), AtomicU32::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..5000 {
                        let Some(permit) = sessions.enter(ONE, LIMIT) else { continue };
                        assert!(inside.fetch_add(1, SeqCst) < LIMIT);
                        entered.fetch_add(1, SeqCst);
                        inside.fetch_sub(1, SeqCst);
                        drop(permit);
                    }
                });
            }
        });
        assert!(entered.into_inner() > 0);
        assert!(sessions.0.is_empty());
    }

    proptest! {
        /// Against a list of who is inside.
        #[test]
        fn counts_are_those_of_the_permits(
            limit in 0u32..4,
            steps in prop::collection::vec((any::<bool>(), 0u8..3, 0usize..8), 0..60),
        ) {
            let sessions = Arc::new(AddressSessions::default());
            let mut inside: Vec<(u8, AddressPermit)> = Vec::new();
            for (enters, who, which) in steps {
                if enters {
                    let count = inside.iter().filter(|(other, _)| *other == who).count();
                    let permit = sessions.enter(Address::V4([10, 0, 0, who]), limit);
                    prop_assert_eq!(permit.is_some(), count < limit as usize);
                    inside.extend(permit.map(|permit| (who, permit)));
                } else if which < inside.len() {
                    drop(inside.swap_remove(which));
                }
            }
            inside.clear();
            prop_assert!(sessions.0.is_empty());
        }
    }
}
