//! What is done to the backends, and when. The same every time; `--seconds` stretches it.

use std::time::Duration;

use super::cast::{BACKENDS_PER_POOL, POOLS};
use super::pause::StrikeKind;

/// The length for which the times of the script are written down.
const LENGTH_SECONDS: f64 = 18.0;

/// How long the broker waits for a silent backend. Shorter than any stop of the script.
pub(crate) const ACK_TIMEOUT: Duration = Duration::from_secs(2);

/// The least `--seconds`: shorter, and a stopped backend would go on before anyone noticed.
pub(crate) const SECONDS_MIN: u64 = 12;

/// What the script does to a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// SIGKILL.
    Kill,
    /// Started anew on the port it had.
    Restart,
    /// SIGSTOP: the connections stay open and nothing is heard.
    Stop,
    /// SIGCONT.
    Continue,
}

/// One moment of the script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// Since the crowd began to talk.
    pub(crate) at: Duration,
    /// What is done.
    pub(crate) deed: Deed,
    /// To which backends of a pool, from 0.
    pub(crate) backends: &'static [usize],
    /// In which pools, by their position in [`super::cast::POOLS`].
    pub(crate) pools: &'static [usize],
}

const EVERY_POOL: &[usize] = &[0, 1, 2];
/// `ack_hold` covers crashes, not a stop that is longer than it: see `docs/guarantees.md`.
const WITHOUT_HOLD: &[usize] = &[0, 1];
const HELD: &[usize] = &[2];

const EVENTS: &[(f64, Deed, &[usize], &[usize])] = &[
    (2.0, Deed::Kill, &[0], EVERY_POOL),
    (4.0, Deed::Restart, &[0], EVERY_POOL),
    (5.0, Deed::Stop, &[1], WITHOUT_HOLD),
    (6.0, Deed::Kill, &[1], HELD),
    (8.0, Deed::Restart, &[1], HELD),
    (8.5, Deed::Continue, &[1], WITHOUT_HOLD),
    (9.5, Deed::Kill, &[2], EVERY_POOL),
    (11.0, Deed::Restart, &[2], EVERY_POOL),
    (12.5, Deed::Kill, &[0, 1, 2], EVERY_POOL),
    (13.5, Deed::Restart, &[0, 1, 2], EVERY_POOL),
];

impl Event {
    /// The names of the backends that are concerned.
    pub(crate) fn targets(&self) -> impl Iterator<Item = String> {
        self.pools.iter().flat_map(|&pool| self.backends.iter().map(move |&index| POOLS[pool].backend(index)))
    }

    /// What it is to the sessions of the backends, unless it does them good.
    pub(crate) fn strike(&self) -> Option<StrikeKind> {
        match self.deed {
            Deed::Kill if self.backends.len() == BACKENDS_PER_POOL => Some(StrikeKind::AllKilled),
            Deed::Kill => Some(StrikeKind::Killed),
            Deed::Stop => Some(StrikeKind::Stopped),
            Deed::Restart | Deed::Continue => None,
        }
    }

    /// What is done, to the backends of these names, which serve so many sessions.
    pub(crate) fn sentence(&self, names: &[String], sessions: usize) -> String {
        let all = self.backends.len() == BACKENDS_PER_POOL && self.pools.len() == POOLS.len();
        let names = if all { format!("all {} backends", names.len()) } else { names.join(", ") };
        match self.deed {
            Deed::Kill => format!("SIGKILL to {names} ({sessions} sessions)"),
            Deed::Stop => format!("SIGSTOP to {names} ({sessions} sessions)"),
            Deed::Continue => format!("SIGCONT to {names}"),
            Deed::Restart => format!("starting {names} again"),
        }
    }
}

/// The script for a demo of that many seconds.
pub(crate) fn events(seconds: u64) -> Vec<Event> {
    let stretch = seconds as f64 / LENGTH_SECONDS;
    EVENTS
        .iter()
        .map(|&(at, deed, backends, pools)| Event {
            at: Duration::from_secs_f64(at * stretch),
            deed,
            backends,
            pools,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::pause::WINDOW;

    #[test]
    fn events_are_in_order_and_within_the_length() {
        for seconds in [SECONDS_MIN, 18, 60] {
            let events = events(seconds);
            assert!(events.is_sorted_by_key(|event| event.at));
            assert!(events.iter().all(|event| event.at < Duration::from_secs(seconds)));
        }
    }

    /// Each backend is done to what can be done to it, and runs at the end.
    #[test]
    fn deeds_follow_on_each_other() {
        let mut state = vec![vec![Deed::Restart; BACKENDS_PER_POOL]; POOLS.len()];
        for event in events(18) {
            for &pool in event.pools {
                for &backend in event.backends {
                    let before = std::mem::replace(&mut state[pool][backend], event.deed);
                    let running = matches!(before, Deed::Restart | Deed::Continue);
                    assert_eq!(running, matches!(event.deed, Deed::Kill | Deed::Stop), "{event:?}");
                    assert!(event.deed != Deed::Continue || before == Deed::Stop, "{event:?}");
                }
            }
        }
        assert!(state.iter().flatten().all(|last| *last == Deed::Restart));
    }

    #[test]
    fn the_shortest_stop_outlasts_the_ack_timeout() {
        let events = events(SECONDS_MIN);
        let time = |deed| events.iter().find(|event| event.deed == deed).expect("in the script").at;
        assert!(time(Deed::Continue) - time(Deed::Stop) > ACK_TIMEOUT);
    }

    #[test]
    fn no_strike_falls_into_the_window_of_another() {
        for pool in 0..POOLS.len() {
            let struck = |event: &Event| event.strike().is_some() && event.pools.contains(&pool);
            let strikes: Vec<_> =
                events(SECONDS_MIN).into_iter().filter(struck).map(|event| event.at).collect();
            assert!(strikes.windows(2).all(|pair| pair[1] - pair[0] > WINDOW), "{strikes:?}");
        }
    }

    #[test]
    fn every_backend_of_every_pool_is_struck() {
        let struck = |pool: usize, backend: usize| {
            let deed = |event: &Event| matches!(event.deed, Deed::Kill | Deed::Stop);
            let mut events = events(18).into_iter().filter(deed);
            events.any(|event| event.pools.contains(&pool) && event.backends.contains(&backend))
        };
        for pool in 0..POOLS.len() {
            assert!((0..BACKENDS_PER_POOL).all(|backend| struck(pool, backend)));
        }
    }
}
