//! Rebalances that nobody has ordered, of pools that are configured for it.

use std::collections::HashMap;
use std::sync::Arc;

use steadfast_protocol::time::Time;

use super::Operations;
use super::kind::OperationCause;
use super::operation::{OperationTerms, Subject, Wish};
use super::rebalance::is_off;
use super::round::Round;
use super::survey::Survey;
use crate::config::settings::RebalanceSettings;
use crate::upstream::pool::Pool;

/// Looks in a row that must find a pool out of balance.
const LOOKS: u32 = 2;

/// When it looks at which pool, by the pools' names.
#[derive(Debug, Default)]
pub(super) struct Rebalancer(HashMap<Arc<str>, Watch>);

/// One pool's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Watch {
    /// The last look.
    looked: Time,
    /// Looks in a row that have found it out of balance.
    off: u32,
}

impl Watch {
    /// A look is due.
    fn is_due(&self, now: Time, rules: &RebalanceSettings) -> bool {
        now.since(self.looked) >= rules.interval
    }

    /// True: a rebalance is to begin.
    fn looked(&mut self, now: Time, off: bool) -> bool {
        (self.looked, self.off) = (now, if off { self.off + 1 } else { 0 });
        let begins = self.off >= LOOKS;
        if begins {
            self.off = 0;
        }
        begins
    }
}

impl Rebalancer {
    /// Looks at those of these pools for which it is time.
    pub(super) fn look(&mut self, operations: &Operations, pools: &[&Arc<Pool>], round: &Round<'_>) {
        let configured: Vec<(&Arc<Pool>, RebalanceSettings)> =
            pools.iter().filter_map(|pool| Some((*pool, pool.snapshot().settings.rebalance?))).collect();
        self.0.retain(|name, _| configured.iter().any(|(pool, _)| pool.name == *name));
        for (pool, rules) in configured {
            let first = || Watch { looked: round.now, off: 0 };
            let watch = self.0.entry(Arc::clone(&pool.name)).or_insert_with(first);
            if !watch.is_due(round.now, &rules) {
                continue;
            }
            let off = is_calm(operations, pool, round.now)
                && is_off(pool, round, &Survey::of(round.registry), rules.start);
            if watch.looked(round.now, off) {
                begin(operations, pool, &rules, round);
            }
        }
    }
}

/// Nothing else moves the pool's sessions, and no backend's share grows at the moment.
fn is_calm(operations: &Operations, pool: &Arc<Pool>, now: Time) -> bool {
    let recovers = pool.snapshot().backends.iter().any(|backend| backend.recovers(now));
    !recovers && !operations.works_on(pool)
}

fn begin(operations: &Operations, pool: &Arc<Pool>, rules: &RebalanceSettings, round: &Round<'_>) {
    let why = format!("the pool is out of balance by more than {} percent", rules.start);
    let subject = Subject::rebalance(pool, rules.tolerance, OperationCause::Automatic, why);
    if let Err(refused) =
        operations.begin(round.now, subject, OperationTerms::new(round.drain, Wish::default()))
    {
        tracing::debug!(pool = &*pool.name, ?refused, "no rebalance at present");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn two_looks_in_a_row_begin_one() {
        let rules = RebalanceSettings { start: 25, tolerance: 10, interval: Duration::from_secs(30) };
        let mut now = Time::ORIGIN;
        let mut watch = Watch { looked: now, off: 0 };
        assert!(!watch.is_due(now + Duration::from_secs(29), &rules));
        let begun = [true, false, true, true, true, true].map(|off| {
            now = now + rules.interval;
            assert!(watch.is_due(now, &rules));
            watch.looked(now, off)
        });
        assert_eq!(begun, [false, false, false, true, false, true]);
    }
}
