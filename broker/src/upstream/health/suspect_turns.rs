//! Turns of sessions that may have killed backends: who gives its messages to a backend, and beside whom.
//!
//! ```text
//!            join              grant                         leave: cleared
//!   session ------> waiting ------------> in the group ----------------------> out, and the groups may grow
//!                     ^                       |   leave: died
//!                     '-----------------------'   its next group has half as many at the most, and the backend's
//!                                                 groups begin with one again
//! ```
//!
//! Groups begin with one session and grow with those that are cleared, so that a killer is found with few deaths where
//! few are suspected, and many innocents wait for few others. In all of a pool no more are out than a budget. One that
//! is slow is not waited for long, and does not count in the budget then; longer if it has died in a turn before.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use steadfast_protocol::time::Time;
use tokio::sync::Notify;

/// How long others wait for one that is slow.
const TURN: Duration = Duration::from_secs(1);

/// And for one that has died in a turn before.
const TURN_ALONE: Duration = Duration::from_secs(10);

/// How often it is looked what time has brought about, however many wait.
const LOOK: Duration = Duration::from_millis(50);

/// So many are cleared one by one before groups grow, and as many again for each that a group has more.
const STEP: usize = 4;

/// The share of a pool's sessions that may be out, as Envoy's retry budget has it, and the least number.
const SHARE: usize = 5;
const LEAST: usize = 3;

/// Turns of one pool.
#[derive(Debug)]
pub(crate) struct SuspectTurns {
    /// By the backends' ids.
    lines: HashMap<usize, SuspectQueue>,
    numbers: u64,
    /// When it was last looked what time has brought about.
    looked: Time,
}

#[derive(Debug, Default)]
struct SuspectQueue {
    /// In their order.
    waiting: BTreeMap<u64, TurnWaiter>,
    group: Vec<TurnHolder>,
    /// Sessions that were cleared since the last death here.
    cleared: usize,
}

#[derive(Debug)]
struct TurnWaiter {
    comes: Arc<Notify>,
    most: usize,
}

#[derive(Debug)]
struct TurnHolder {
    number: u64,
    since: Time,
    most: usize,
}

/// How a turn ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TurnEnd {
    /// All suspects are acknowledged.
    Cleared,
    /// The backend has failed.
    Died,
    /// It has come to nothing.
    Nothing,
}

/// Returns how many of a pool's suspects may be out.
pub(crate) fn budget(sessions: usize) -> usize {
    (sessions / SHARE).max(LEAST)
}

impl Default for SuspectTurns {
    fn default() -> SuspectTurns {
        SuspectTurns { lines: HashMap::new(), numbers: 0, looked: Time::ORIGIN }
    }
}

impl SuspectTurns {
    /// Stands in the line of this backend, and returns the turn's number; `comes` is told when it has come. In the
    /// group there are to be `most` at the most.
    pub(crate) fn join(&mut self, backend: usize, most: usize, comes: &Arc<Notify>) -> u64 {
        self.numbers += 1;
        let waiting = TurnWaiter { comes: Arc::clone(comes), most };
        self.lines.entry(backend).or_default().waiting.insert(self.numbers, waiting);
        self.numbers
    }

    /// Gives as many turns as there are.
    pub(crate) fn grant(&mut self, now: Time, budget: usize) -> Vec<Arc<Notify>> {
        let is_out = |member: &&TurnHolder| member.is_waited_for(now);
        let mut out = self.lines.values().flat_map(|line| &line.group).filter(is_out).count();
        let mut granted = Vec::new();
        while out < budget {
            let first = |(id, line): (&usize, &SuspectQueue)| line.next(now).map(|number| (number, *id));
            let Some((number, backend)) = self.lines.iter().filter_map(first).min() else { break };
            let Some(line) = self.lines.get_mut(&backend) else { break };
            let Some(TurnWaiter { comes, most }) = line.waiting.remove(&number) else { break };
            line.group.push(TurnHolder { number, since: now, most });
            out += 1;
            granted.push(comes);
        }
        granted
    }

    /// As [`SuspectTurns::grant`], for whoever has waited for a while.
    pub(crate) fn look(&mut self, now: Time, budget: usize) -> Vec<Arc<Notify>> {
        if now.since(self.looked) < LOOK {
            return Vec::new();
        }
        self.looked = now;
        self.grant(now, budget)
    }

    /// A turn, or the wait for one, ends. Returns how many may be in the session's next group.
    pub(crate) fn leave(&mut self, backend: usize, number: u64, end: TurnEnd) -> usize {
        let Some(line) = self.lines.get_mut(&backend) else { return usize::MAX };
        line.waiting.remove(&number);
        let mut most = usize::MAX;
        if let Some(index) = line.group.iter().position(|member| member.number == number) {
            let size = line.group.len();
            most = line.group.swap_remove(index).most;
            match end {
                TurnEnd::Cleared => line.cleared += 1,
                TurnEnd::Died => (line.cleared, most) = (0, most.min((size / 2).max(1))),
                TurnEnd::Nothing => {}
            }
        }
        if line.waiting.is_empty() && line.group.is_empty() {
            self.lines.remove(&backend);
        }
        most
    }
}

impl SuspectQueue {
    /// Who may come into the group now.
    fn next(&self, now: Time) -> Option<u64> {
        let (number, first) = self.waiting.first_key_value()?;
        let beside = self.group.iter().filter(|member| member.is_waited_for(now));
        let (size, least) = beside.fold((0, first.most), |(n, most), member| (n + 1, most.min(member.most)));
        (size < least.min(self.cleared / STEP).max(1)).then_some(*number)
    }
}

impl TurnHolder {
    fn is_waited_for(&self, now: Time) -> bool {
        let longest = if self.most == usize::MAX { TURN } else { TURN_ALONE };
        now.since(self.since) < longest
    }
}

#[cfg(test)]
mod tests;
