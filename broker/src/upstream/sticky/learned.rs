//! What is remembered of clients: to which backend each belongs. It is bounded: who was not heard of for longest is
//! forgotten first.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use steadfast_protocol::time::Time;

/// Uses of an entry are written down once in so long.
const USE: Duration = Duration::from_secs(1);

/// So much is remembered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Clients.
    pub(super) entries: usize,
    /// Since the last use.
    pub(super) timeout: Duration,
}

/// Where a client belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Belonging {
    /// The hash of the backend's name.
    pub(super) backend: u64,
    /// Since when, in seconds since 1970.
    pub(super) since: u32,
}

/// Clients by their numbers.
#[derive(Debug, Default)]
pub(super) struct Learned {
    clients: HashMap<u64, KnownClient>,
    /// The same by their last use.
    by_use: BTreeSet<(Time, u64)>,
}

#[derive(Debug)]
struct KnownClient {
    belonging: Belonging,
    used: Time,
}

impl Learned {
    /// Where a client belongs; `None`: that is not known, or not any more.
    pub(super) fn get(&mut self, now: Time, client: u64, bounds: Bounds) -> Option<Belonging> {
        let entry = self.clients.get_mut(&client)?;
        let idle = now.since(entry.used);
        if idle >= bounds.timeout {
            self.forget(client);
            return None;
        }
        let belonging = entry.belonging;
        if idle >= USE.min(bounds.timeout / 2) {
            self.by_use.remove(&(entry.used, client));
            entry.used = now;
            self.by_use.insert((now, client));
        }
        Some(belonging)
    }

    /// It belongs there from now on.
    pub(super) fn put(&mut self, now: Time, client: u64, belonging: Belonging, bounds: Bounds) {
        self.forget(client);
        self.clients.insert(client, KnownClient { belonging, used: now });
        self.by_use.insert((now, client));
        while let Some((used, oldest)) = self.by_use.first().copied() {
            if self.clients.len() <= bounds.entries && now.since(used) < bounds.timeout {
                break;
            }
            self.forget(oldest);
        }
    }

    fn forget(&mut self, client: u64) {
        if let Some(entry) = self.clients.remove(&client) {
            self.by_use.remove(&(entry.used, client));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds = Bounds { entries: 3, timeout: Duration::from_secs(60) };

    fn at(seconds: u64) -> Time {
        Time::after_origin(Duration::from_secs(seconds))
    }

    fn belongs(backend: u64) -> Belonging {
        Belonging { backend, since: 0 }
    }

    #[test]
    fn the_last_word_counts() {
        let mut learned = Learned::default();
        assert_eq!(learned.get(at(0), 1, BOUNDS), None);
        learned.put(at(0), 1, belongs(10), BOUNDS);
        learned.put(at(1), 1, belongs(11), BOUNDS);
        assert_eq!(learned.get(at(2), 1, BOUNDS), Some(belongs(11)));
        assert_eq!((learned.clients.len(), learned.by_use.len()), (1, 1));
    }

    #[test]
    fn who_was_not_heard_of_for_longest_goes_first() {
        let mut learned = Learned::default();
        for client in 1..=3 {
            learned.put(at(client), client, belongs(client), BOUNDS);
        }
        assert!(learned.get(at(10), 1, BOUNDS).is_some(), "it is used");
        learned.put(at(11), 4, belongs(4), BOUNDS);
        let known: Vec<_> = (1..=4).filter(|client| learned.get(at(12), *client, BOUNDS).is_some()).collect();
        assert_eq!(known, [1, 3, 4]);
    }

    #[test]
    fn after_a_time_without_use_one_is_forgotten() {
        let mut learned = Learned::default();
        learned.put(at(0), 1, belongs(1), BOUNDS);
        assert!(learned.get(at(59), 1, BOUNDS).is_some());
        assert!(learned.get(at(118), 1, BOUNDS).is_some(), "since its last use");
        assert_eq!(learned.get(at(178), 1, BOUNDS), None);
        learned.put(at(200), 2, belongs(2), BOUNDS);
        learned.put(at(260), 3, belongs(3), BOUNDS);
        assert_eq!(learned.clients.len(), 1, "nobody has asked for the other");
    }

    #[test]
    fn a_lower_bound_holds_from_the_next_word_on() {
        let mut learned = Learned::default();
        for client in 0..1000 {
            learned.put(at(0), client, belongs(client), Bounds { entries: 1000, ..BOUNDS });
        }
        assert_eq!(learned.clients.len(), 1000);
        learned.put(at(0), 1000, belongs(0), BOUNDS);
        assert_eq!((learned.clients.len(), learned.by_use.len()), (3, 3));
    }

    proptest! {
        #[test]
        fn it_is_never_more_than_its_bound(
            steps in prop::collection::vec((0..20_u64, 0..3_u64, any::<bool>()), 0..200),
            entries in 1..8_usize,
        ) {
            let bounds = Bounds { entries, timeout: Duration::from_secs(20) };
            let (mut learned, mut now) = (Learned::default(), 0);
            let mut known = HashMap::new();
            for (client, later, puts) in steps {
                now += later;
                if puts {
                    learned.put(at(now), client, belongs(now), bounds);
                    known.insert(client, now);
                } else if let Some(found) = learned.get(at(now), client, bounds) {
                    prop_assert_eq!(found.backend, known[&client], "what was said last");
                }
                prop_assert!(learned.clients.len() <= entries);
                prop_assert_eq!(learned.clients.len(), learned.by_use.len());
            }
        }
    }
}
