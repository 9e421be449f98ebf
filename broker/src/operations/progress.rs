//! How far an operation has come: which sessions are part of it, and what became of them.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use steadfast_protocol::session::{MoveOutcome, Stay};
use steadfast_protocol::time::Time;

/// How soon a session that stayed is tried again; twice as long each time.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(15);

/// An operation's sessions, and its counts. Each session that is part of it is in exactly one of the
/// counts, or remains.
#[derive(Debug, Default)]
pub(super) struct SessionProgress {
    retry: Retry,
    members: HashMap<u128, Member>,
    /// Those that wait for their turn, by when it comes.
    queue: BTreeSet<(Time, u128)>,
    tally: Tally,
    pub(super) moved: usize,
    pub(super) forced: usize,
    /// Of those that have moved: their clients were closed, to reconnect.
    pub(super) reconnected: usize,
    pub(super) failed: usize,
    pub(super) gone: usize,
    /// Sessions that remained when the operation had ended, and why.
    left: Tally,
}

/// How soon it is where nobody is to wait longer each time.
const SOON: Duration = Duration::from_millis(500);

/// When sessions that stayed are tried again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Retry {
    /// After a while, which grows.
    #[default]
    Later,
    /// After a moment.
    Soon,
}

/// A session that is part of it.
#[derive(Debug, Clone, Copy)]
struct Member {
    stage: SessionStage,
    /// Why it stayed when it was last tried.
    stayed: Option<Stayed>,
    /// How often it stayed.
    tries: u32,
    target: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SessionStage {
    /// Its turn comes at this time.
    Queued(Time),
    /// It moves, with this ticket.
    Moving(u64),
    /// It was told to leave at once, and reports nothing.
    Told,
    /// It is left where it is; it would have its turn at this time.
    Resting(Time),
}

/// Why a session is still where it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stayed {
    /// It was never quiet.
    Busy,
    /// No other backend took it.
    NoTarget,
    /// The one that had taken it failed first.
    TargetLost,
    /// It cannot move at all.
    Pinned,
}

/// How many sessions remain, by what is known of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) remaining: usize,
    pub(crate) moving: usize,
    /// Of those that do not move now: why they stayed when they were tried.
    pub(crate) busy: usize,
    pub(crate) no_target: usize,
    pub(crate) target_lost: usize,
    pub(crate) pinned: usize,
    /// Never tried so far, or moving for the first time.
    pub(super) untried: usize,
}

impl SessionProgress {
    /// Without a session.
    pub(super) fn new(retry: Retry) -> SessionProgress {
        SessionProgress { retry, ..SessionProgress::default() }
    }

    // ---- which sessions there are ----

    /// A session that is to move, to `target` if that is given. One that is there already keeps its
    /// place and gets the target, unless it moves.
    pub(super) fn join(&mut self, now: Time, id: u128, target: Option<usize>) {
        let fresh = Member { stage: SessionStage::Queued(now), stayed: None, tries: 0, target };
        let next = match self.members.get(&id) {
            None => fresh,
            Some(own) => match own.stage {
                SessionStage::Resting(at) if own.stayed != Some(Stayed::Pinned) => {
                    Member { stage: SessionStage::Queued(at), target, ..*own }
                }
                SessionStage::Moving(_) | SessionStage::Told => *own,
                SessionStage::Queued(_) | SessionStage::Resting(_) => Member { target, ..*own },
            },
        };
        self.put(id, Some(next));
    }

    /// A session that is to move, or would if it could.
    pub(super) fn find(&mut self, now: Time, id: u128, pinned: bool) {
        if pinned { self.pin(id) } else { self.join(now, id, None) }
    }

    /// A session that is to move and never can.
    pub(super) fn pin(&mut self, id: u128) {
        let (stage, stayed) = (SessionStage::Resting(Time::NEVER), Some(Stayed::Pinned));
        let pinned = Member { stage, stayed, tries: 0, target: None };
        self.put(id, Some(pinned));
    }

    /// Those that wait for their turn are left where they are, until they are joined again.
    pub(super) fn rest(&mut self) {
        for (at, id) in std::mem::take(&mut self.queue) {
            if let Some(own) = self.members.get(&id).copied() {
                self.put(id, Some(Member { stage: SessionStage::Resting(at), ..own }));
            }
        }
    }

    /// Those that remain and do not move now.
    pub(super) fn idle_ids(&self) -> impl Iterator<Item = u128> {
        self.members.iter().filter(|(_, own)| !own.stage.is_under_way()).map(|(id, _)| *id)
    }

    /// The tickets of those that move, with their sessions.
    pub(super) fn tickets(&self) -> impl Iterator<Item = (u128, u64)> {
        self.members.iter().filter_map(|(id, member)| match member.stage {
            SessionStage::Moving(ticket) => Some((*id, ticket)),
            SessionStage::Told | SessionStage::Queued(_) | SessionStage::Resting(_) => None,
        })
    }

    /// Those that were told to leave at once.
    pub(super) fn told_ids(&self) -> impl Iterator<Item = u128> {
        self.members.iter().filter(|(_, own)| own.stage == SessionStage::Told).map(|(id, _)| *id)
    }

    pub(super) fn is_member(&self, id: u128) -> bool {
        self.members.contains_key(&id)
    }

    /// Where it is to go; `None`: anywhere.
    pub(super) fn target(&self, id: u128) -> Option<usize> {
        self.members.get(&id)?.target
    }

    // ---- what happens to them ----

    /// The one whose turn has come.
    pub(super) fn next(&self, now: Time) -> Option<u128> {
        self.queue.first().filter(|(at, _)| *at <= now).map(|(_, id)| *id)
    }

    /// Nobody waits for a turn, now or later.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.tally.moving == 0
    }

    /// It has been sent away.
    pub(super) fn begun(&mut self, id: u128, ticket: u64) {
        if let Some(own) = self.members.get(&id).copied() {
            self.put(id, Some(Member { stage: SessionStage::Moving(ticket), ..own }));
        }
    }

    /// It was told to leave at once.
    pub(super) fn told(&mut self, id: u128) {
        if let Some(own) = self.members.get(&id).copied() {
            self.put(id, Some(Member { stage: SessionStage::Told, ..own }));
        }
    }

    /// Its turn comes later, for no reason of its own.
    pub(super) fn put_off(&mut self, id: u128, until: Time) {
        if let Some(own) = self.members.get(&id).copied() {
            self.put(id, Some(Member { stage: SessionStage::Queued(until), ..own }));
        }
    }

    /// Its move has ended.
    pub(super) fn ended(&mut self, now: Time, id: u128, outcome: MoveOutcome) {
        let Some(own) = self.members.get(&id).copied() else { return };
        let stayed = match outcome {
            MoveOutcome::Moved { forced } => {
                self.moved += 1;
                self.forced += usize::from(forced);
                return self.put(id, None);
            }
            MoveOutcome::Reconnects => {
                self.moved += 1;
                self.reconnected += 1;
                return self.put(id, None);
            }
            MoveOutcome::FailedOver | MoveOutcome::Closed => {
                self.failed += 1;
                return self.put(id, None);
            }
            // It is gone when its backend holds it no more.
            MoveOutcome::Ended | MoveOutcome::Stayed(Stay::Asked) => {
                return self.put_off(id, now + self.retry.after(0));
            }
            MoveOutcome::Stayed(Stay::Busy) => Stayed::Busy,
            MoveOutcome::Stayed(Stay::NoTarget) => Stayed::NoTarget,
            MoveOutcome::Stayed(Stay::TargetLost) => Stayed::TargetLost,
        };
        let (stage, tries) =
            (SessionStage::Queued(now + self.retry.after(own.tries)), own.tries.saturating_add(1));
        self.put(id, Some(Member { stage, stayed: Some(stayed), tries, ..own }));
    }

    /// It has ended or left by itself.
    pub(super) fn gone(&mut self, id: u128) {
        if self.members.contains_key(&id) {
            self.gone += 1;
            self.put(id, None);
        }
    }

    /// None of those that do not move now is left.
    pub(super) fn all_gone(&mut self) {
        let idle: Vec<u128> = self.idle_ids().collect();
        idle.into_iter().for_each(|id| self.gone(id));
    }

    /// The operation has ended: who does not move now is forgotten but for the count.
    pub(super) fn close(&mut self) {
        let mut moving = std::mem::take(&mut self.members);
        moving.retain(|_, own| own.stage.is_under_way());
        let Tally { remaining, moving: under_way, untried, .. } = self.tally;
        let moving_untried = moving.values().filter(|own| own.stayed.is_none()).count();
        self.left = Tally {
            remaining: remaining - under_way,
            moving: 0,
            untried: untried.saturating_sub(moving_untried),
            ..self.tally
        };
        self.queue.clear();
        self.tally = Tally::default();
        for (id, own) in moving {
            self.put(id, Some(own));
        }
    }

    /// After the end: one that was on its way has come to rest.
    pub(super) fn settle(&mut self, now: Time, id: u128, outcome: MoveOutcome) {
        if outcome == MoveOutcome::Ended {
            return self.gone(id);
        }
        self.ended(now, id, outcome);
        if self.members.contains_key(&id) {
            self.put(id, None);
            self.left.remaining += 1;
        }
    }

    /// The operation runs again, and will find those that are there by itself.
    pub(super) fn reopen(&mut self) {
        self.left = Tally::default();
    }

    // ---- what it comes to ----

    /// How many sessions are, or were, part of it.
    pub(super) fn total(&self) -> usize {
        self.moved + self.failed + self.gone + self.remaining().remaining
    }

    pub(super) fn remaining(&self) -> Tally {
        let (now, left) = (self.tally, self.left);
        Tally {
            remaining: now.remaining + left.remaining,
            moving: now.moving,
            busy: now.busy + left.busy,
            no_target: now.no_target + left.no_target,
            target_lost: now.target_lost + left.target_lost,
            pinned: now.pinned + left.pinned,
            untried: now.untried + left.untried,
        }
    }

    /// The only place where members change, so that the queue and the tally follow.
    fn put(&mut self, id: u128, next: Option<Member>) {
        if let Some(old) = self.members.remove(&id) {
            self.tally.count(&old, |n| *n -= 1);
            if let SessionStage::Queued(at) = old.stage {
                self.queue.remove(&(at, id));
            }
        }
        let Some(next) = next else { return };
        self.tally.count(&next, |n| *n += 1);
        if let SessionStage::Queued(at) = next.stage {
            self.queue.insert((at, id));
        }
        self.members.insert(id, next);
    }
}

impl Tally {
    fn count(&mut self, member: &Member, change: impl Fn(&mut usize)) {
        change(&mut self.remaining);
        if member.stayed.is_none() {
            change(&mut self.untried);
        }
        if member.stage.is_under_way() {
            return change(&mut self.moving);
        }
        match member.stayed {
            None => {}
            Some(Stayed::Busy) => change(&mut self.busy),
            Some(Stayed::NoTarget) => change(&mut self.no_target),
            Some(Stayed::TargetLost) => change(&mut self.target_lost),
            Some(Stayed::Pinned) => change(&mut self.pinned),
        }
    }
}

impl SessionStage {
    /// It leaves, or has left.
    fn is_under_way(self) -> bool {
        matches!(self, SessionStage::Moving(_) | SessionStage::Told)
    }
}

impl Retry {
    /// When one is tried again that has stayed so many times before.
    fn after(self, tries: u32) -> Duration {
        match self {
            Retry::Later => BACKOFF_MIN.saturating_mul(1 << tries.min(16)).min(BACKOFF_MAX),
            Retry::Soon => SOON,
        }
    }
}

#[cfg(test)]
mod tests;
