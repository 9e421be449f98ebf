//! Pressing: now and then, while somebody is in need of memory, or too many clients are away, this looks who gives back.

use std::sync::Arc;

use steadfast_protocol::session::EndCause;
use steadfast_protocol::time::Time;

use crate::metric::{self, PressWord};
use crate::net::address::Address;
use crate::session::access_log;
use crate::session::context::SessionContext;
use crate::session::memory::policy::{self, Absent, Holder, HolderClient, Looks, Need};
use crate::session::registry::Entry;

/// What sessions are told that gave back what they held.
const SHORT: &str = "memory is short; try again later";

/// What they are told of which too many were away. Nobody hears it but their backends.
const AWAY: &str = "too many clients are away";

/// Looks, and remembers what it saw.
#[derive(Debug, Default)]
pub(crate) struct Presser {
    looks: Looks,
}

impl Presser {
    /// Looks whether somebody must give back. `away_max`: how many clients may be away at once.
    pub(crate) fn look(&mut self, context: &SessionContext, away_max: usize, now: Time) {
        let excess = context.registry.away().saturating_sub(away_max);
        if excess > 0 {
            end_the_absent(context, excess, now);
        }
        let Some(since) = context.budget.in_need_since() else {
            self.looks = Looks::default();
            return;
        };
        let need = Need { waited: now.since(since), wanted: context.budget.excess() + 1 };
        let entries = context.registry.all();
        let share = context.budget.share();
        let holders: Vec<_> = entries.iter().filter_map(|entry| holder(entry, share, now)).collect();
        for (id, why) in self.looks.look(now, &holders, need) {
            if let Some(entry) = context.registry.get(id) {
                press(&entry, why, now);
            }
        }
    }
}

/// What a session holds beyond its share; `None`: nothing.
fn holder(entry: &Entry, share: usize, now: Time) -> Option<Holder> {
    let holding = entry.core().machine.holding();
    let over = holding.bytes.checked_sub(share).filter(|over| *over > 0)?;
    Some(Holder { id: entry.id, owner: owner(entry, now), over, holding, began: entry.began })
}

/// As whose it counts: addresses of many clients are told apart as they are where backends are judged.
fn owner(entry: &Entry, now: Time) -> HolderClient {
    let address = Address::of(entry.client().ip());
    match entry.binding.pool.is_of_many(now, address) {
        true => HolderClient::Session(entry.id),
        false => HolderClient::Address(address),
    }
}

/// Ends those that have been away for longest.
fn end_the_absent(context: &SessionContext, excess: usize, now: Time) {
    let absent = |entry: Arc<Entry>| {
        let core = entry.core();
        let (until, unproven) = (core.machine.away_until()?, core.machine.holding().unproven);
        drop(core);
        Some(Absent { id: entry.id, owner: owner(&entry, now), until, unproven })
    };
    let absent = context.registry.all().into_iter().filter_map(absent).collect();
    for id in policy::ends_of_absence(absent, excess) {
        if let Some(entry) = context.registry.get(id) {
            press(&entry, PressWord::Away, now);
        }
    }
}

fn press(entry: &Entry, why: PressWord, now: Time) {
    let mut core = entry.core();
    let (cause, reason) = match why {
        PressWord::Away => (EndCause::DetachedLimit, AWAY),
        _ => (EndCause::MemoryShort, SHORT),
    };
    let held = core.machine.buffered();
    if core.machine.press(now, cause, reason) {
        metric::PRESSED.count(why);
        core.waker.wake_by_ref();
        drop(core);
        access_log::pressed(entry, why, held);
    }
}
