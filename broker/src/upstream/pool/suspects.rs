//! Sessions whose messages may have killed backends of this pool: their turns, and which message is convicted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use steadfast_protocol::time::Time;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::Pool;
use crate::clock;
use crate::lock::OrderedMutex;
use crate::lock::rank::{DeathsRank, SuspectsRank};
use crate::upstream::health::deaths::{BackendLoss, Deaths, PoisonVerdict};
use crate::upstream::health::suspect_turns::{SuspectTurns, TurnEnd, budget};

/// How often whoever waits looks again, since time alone may have decided.
const LOOK: Duration = Duration::from_millis(100);

/// What is known of a pool's suspects.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    deaths: OrderedMutex<Deaths, DeathsRank>,
    /// There are some.
    has_deaths: AtomicBool,
    line: Arc<SuspectLine>,
}

/// The lines of suspects for the pool's backends.
#[derive(Debug, Default)]
struct SuspectLine {
    turns: OrderedMutex<SuspectTurns, SuspectsRank>,
    /// How many may be out, as far as is known.
    budget: AtomicUsize,
}

/// A session with suspects that looks for a backend.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SuspectSearch<'a> {
    /// How many may be in its group.
    pub(crate) most: usize,
    /// It waits for its turn at this moment.
    pub(crate) waits: &'a AtomicBool,
}

/// A turn at a backend, or the wait for one; given back when dropped.
#[derive(Debug)]
pub(crate) struct SuspectTurn {
    line: Arc<SuspectLine>,
    backend: usize,
    /// `None`: it is given back.
    number: Option<u64>,
}

impl Pool {
    /// A session, or a request, has lost its backend.
    pub(crate) fn lost(&self, session: &str, loss: BackendLoss) {
        let window = self.snapshot().session.poison_window;
        self.suspects.change(|deaths| deaths.lost(self.key(session), loss, window));
    }

    /// The next backend has acknowledged what the one before had not, or has taken its request.
    pub(crate) fn survived(&self, now: Time, session: &str) {
        if self.suspects.has_deaths.load(Relaxed) {
            self.suspects.deaths.lock().survived(now, self.key(session));
        }
    }

    /// A message of this session was convicted.
    pub(crate) fn convicted(&self, session: &str) {
        self.suspects.change(|deaths| deaths.convicted(self.key(session)));
    }

    /// Waits until it is known whether this message, which is accused, has killed its backends alone.
    pub(crate) async fn convicts(&self, session: &str, seq: u64) -> bool {
        let wanted = usize::try_from(self.snapshot().session.poison_convictions).unwrap_or(usize::MAX).max(1);
        loop {
            match self.suspects.deaths.lock().judge(clock::now(), (self.key(session), seq), wanted) {
                PoisonVerdict::Convicted => return true,
                PoisonVerdict::Doubted => return false,
                PoisonVerdict::Waits => {}
            }
            sleep(LOOK).await;
        }
    }

    /// Deaths that are long over are forgotten.
    pub(super) fn forget_deaths(&self, now: Time) {
        if self.suspects.has_deaths.load(Relaxed) {
            let window = self.snapshot().session.poison_window;
            self.suspects.change(|deaths| deaths.forget(now, window));
        }
    }

    /// Waits for a turn at this backend.
    pub(crate) async fn suspects_turn(&self, backend: usize, search: SuspectSearch<'_>) -> SuspectTurn {
        let comes = Arc::new(Notify::new());
        let line = &self.suspects.line;
        let number = line.turns.lock().join(backend, search.most, &comes);
        let turn = SuspectTurn { line: Arc::clone(line), backend, number: Some(number) };
        search.waits.store(true, Relaxed);
        line.budget.store(budget(self.sessions()), Relaxed);
        line.grant();
        while timeout(LOOK, comes.notified()).await.is_err() {
            line.budget.store(budget(self.sessions()), Relaxed);
            line.look();
        }
        search.waits.store(false, Relaxed);
        turn
    }

    /// Sessions on its backends.
    fn sessions(&self) -> usize {
        self.snapshot().backends.iter().map(|backend| backend.sessions()).sum()
    }
}

impl Suspects {
    fn change(&self, change: impl FnOnce(&mut Deaths)) {
        let mut deaths = self.deaths.lock();
        change(&mut deaths);
        self.has_deaths.store(!deaths.is_empty(), Relaxed);
    }
}

impl SuspectLine {
    fn grant(&self) {
        let granted = self.turns.lock().grant(clock::now(), self.budget.load(Relaxed));
        granted.iter().for_each(|comes| comes.notify_one());
    }

    /// Time alone may have brought about a turn.
    fn look(&self) {
        let granted = self.turns.lock().look(clock::now(), self.budget.load(Relaxed));
        granted.iter().for_each(|comes| comes.notify_one());
    }

    fn leave(&self, backend: usize, number: u64, end: TurnEnd) -> usize {
        let most = self.turns.lock().leave(backend, number, end);
        self.grant();
        most
    }
}

impl SuspectTurn {
    /// All suspects are acknowledged.
    pub(crate) fn cleared(mut self) {
        self.end(TurnEnd::Cleared);
    }

    /// The backend has failed. Returns how many may be in the session's next group.
    pub(crate) fn died(mut self) -> usize {
        self.end(TurnEnd::Died)
    }

    fn end(&mut self, end: TurnEnd) -> usize {
        self.number.take().map_or(usize::MAX, |number| self.line.leave(self.backend, number, end))
    }
}

impl Drop for SuspectTurn {
    fn drop(&mut self) {
        self.end(TurnEnd::Nothing);
    }
}
