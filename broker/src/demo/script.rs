//! What is done to the backends, and when. The same every time; `--seconds` stretches it.

use std::time::Duration;

use super::cast::{BACKENDS_PER_POOL, POOLS};
use super::pause::StrikeKind;

/// The length for which the times of the script are written down.
const LENGTH_SECONDS: f64 = 22.0;

/// How long the broker waits for a silent backend. Shorter than any stop of the script.
pub(super) const ACK_TIMEOUT: Duration = Duration::from_secs(2);

/// The least `--seconds`: shorter, and a stopped backend would go on before anyone noticed.
pub(super) const SECONDS_MIN: u64 = 15;

/// What the script does to a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// Emptied over the broker's API, while it runs.
    Drain,
    /// Given sessions again, once it is empty.
    Undrain,
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
pub(super) struct Event {
    /// Since the crowd began to talk. What has to wait for the end of something else comes later.
    pub(super) at: Duration,
    /// What is done.
    pub(super) deed: Deed,
    /// To which backends of a pool, from 0.
    pub(super) backends: &'static [usize],
    /// In which pools, by their position in [`super::cast::POOLS`].
    pub(super) pools: &'static [usize],
}

const EVERY_POOL: &[usize] = &[0, 1, 2];
/// `ack_hold` covers crashes, not a stop that is longer than it: see `docs/guarantees.md`.
const WITHOUT_HOLD: &[usize] = &[0, 1];
const HELD: &[usize] = &[2];

const EVENTS: &[(f64, Deed, &[usize], &[usize])] = &[
    (2.0, Deed::Drain, &[2], EVERY_POOL),
    (3.0, Deed::Undrain, &[2], EVERY_POOL),
    (6.0, Deed::Kill, &[0], EVERY_POOL),
    (8.0, Deed::Restart, &[0], EVERY_POOL),
    (9.0, Deed::Stop, &[1], WITHOUT_HOLD),
    (10.0, Deed::Kill, &[1], HELD),
    (12.0, Deed::Restart, &[1], HELD),
    (12.5, Deed::Continue, &[1], WITHOUT_HOLD),
    (13.5, Deed::Kill, &[2], EVERY_POOL),
    (15.0, Deed::Restart, &[2], EVERY_POOL),
    (16.5, Deed::Kill, &[0, 1, 2], EVERY_POOL),
    (17.5, Deed::Restart, &[0, 1, 2], EVERY_POOL),
];

impl Event {
    /// The backends that are concerned: each one's pool, and its position there.
    pub(super) fn places(&self) -> impl Iterator<Item = (usize, usize)> {
        self.pools.iter().flat_map(|&pool| self.backends.iter().map(move |&backend| (pool, backend)))
    }

    /// Their names.
    pub(super) fn targets(&self) -> impl Iterator<Item = String> {
        self.places().map(|(pool, backend)| POOLS[pool].backend(backend))
    }

    /// What it is to the sessions of the backends, unless it does them good.
    pub(super) fn strike(&self) -> Option<StrikeKind> {
        match self.deed {
            Deed::Drain => Some(StrikeKind::Drained),
            Deed::Kill if self.backends.len() == BACKENDS_PER_POOL => Some(StrikeKind::AllKilled),
            Deed::Kill => Some(StrikeKind::Killed),
            Deed::Stop => Some(StrikeKind::Stopped),
            Deed::Undrain | Deed::Restart | Deed::Continue => None,
        }
    }

    /// What is done, to the backends of these names, which serve so many sessions.
    pub(super) fn sentence(&self, names: &[String], sessions: usize) -> String {
        let all = self.backends.len() == BACKENDS_PER_POOL && self.pools.len() == POOLS.len();
        let names = if all { format!("all {} backends", names.len()) } else { names.join(", ") };
        match self.deed {
            Deed::Drain => format!("draining {names} ({sessions} sessions)"),
            Deed::Undrain => format!("{names} may have sessions again"),
            Deed::Kill => format!("SIGKILL to {names} ({sessions} sessions)"),
            Deed::Stop => format!("SIGSTOP to {names} ({sessions} sessions)"),
            Deed::Continue => format!("SIGCONT to {names}"),
            Deed::Restart => format!("starting {names} again"),
        }
    }
}

/// The script for a demo of that many seconds.
pub(super) fn events(seconds: u64) -> Vec<Event> {
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
        for seconds in [SECONDS_MIN, 22, 60] {
            let events = events(seconds);
            assert!(events.is_sorted_by_key(|event| event.at));
            assert!(events.iter().all(|event| event.at < Duration::from_secs(seconds)));
        }
    }

    /// Each backend is done to what can be done to it, and runs at the end.
    #[test]
    fn deeds_follow_on_each_other() {
        let mut state = vec![vec![Deed::Restart; BACKENDS_PER_POOL]; POOLS.len()];
        for event in events(22) {
            for &pool in event.pools {
                for &backend in event.backends {
                    let before = std::mem::replace(&mut state[pool][backend], event.deed);
                    let running = matches!(before, Deed::Undrain | Deed::Restart | Deed::Continue);
                    let hard = matches!(event.deed, Deed::Drain | Deed::Kill | Deed::Stop);
                    assert_eq!(running, hard, "{event:?}");
                    assert!(event.deed != Deed::Undrain || before == Deed::Drain, "{event:?}");
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
            let mut events = events(22).into_iter().filter(deed);
            events.any(|event| event.pools.contains(&pool) && event.backends.contains(&backend))
        };
        for pool in 0..POOLS.len() {
            assert!((0..BACKENDS_PER_POOL).all(|backend| struck(pool, backend)));
        }
    }
}
