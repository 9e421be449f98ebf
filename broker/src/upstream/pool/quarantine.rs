//! Upgrade requests that kill whoever reads them.
//!
//! A backend that ends the connection without one byte of an answer may have died of the request, or may
//! just be going. The same looks the same from outside, so what happens to others decides: a backend that
//! hung up on another request shortly before or after, and not at the same time, hangs up on everybody.
//! Requests that were under way together with the killer end together with it, and so tell nothing. The
//! same request once more may be its client's next try, unless both were under way at once.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::Duration;

use steadfast_protocol::time::Time;

use crate::http::replay_request::Handshake;
use crate::lock::rank::QuarantineRank;
use crate::lock::{OrderedMutex, OrderedMutexGuard};
use crate::net::address::Address;

/// How long a kill is remembered, and how long requests like those that killed are turned away.
const MEMORY: Duration = Duration::from_secs(60);

/// How close another failure of the backend must be to speak for a request.
const CLOSE: Duration = Duration::from_secs(1);

/// Hang-ups that are further apart than this have not come from one death.
const AT_ONCE: Duration = Duration::from_millis(200);

/// How long a failure may matter, since one that was under way beside it may end later.
const RECENT: Duration = Duration::from_secs(10);

/// Kills that convict.
const KILLS: usize = 2;

/// Suspects that are remembered; the oldest is forgotten for a new one.
const SUSPECTS_MAX: usize = 1024;

/// Failures that are remembered. The latest suffice: each has met those before it already.
const RECENT_MAX: usize = 64;

/// What has hung up on whom, in one pool.
#[derive(Debug, Default)]
pub(crate) struct RequestQuarantine {
    /// Secret, so that nobody is taken for somebody else on purpose.
    hasher: RandomState,
    table: OrderedMutex<KillerTable, QuarantineRank>,
}

#[derive(Debug, Default)]
struct KillerTable {
    suspects: HashMap<Asker, Vec<Kill>>,
    recent: VecDeque<DialFailed>,
}

/// Who asks, and for what: the client's address, the addresses that proxies have named, and the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Asker {
    client: Address,
    rest: u64,
}

/// One upgrade request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UpgradeRequest {
    asker: Asker,
    /// The same when its client tries again.
    whole: u64,
    /// Another one then.
    session: u64,
    /// When its search for a backend began.
    since: Time,
}

/// A dial of a backend, from before the connection to its failure: whoever was anywhere on the way when
/// the backend died has met the same death.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) begun: Time,
    pub(crate) ended: Time,
}

/// A backend that may have died of a request.
#[derive(Debug)]
struct Kill {
    backend: usize,
    name: String,
    request: UpgradeRequest,
    span: Span,
}

/// A dial that failed.
#[derive(Debug)]
struct DialFailed {
    backend: usize,
    /// `None`: that of a session, whose request was good once.
    request: Option<UpgradeRequest>,
    span: Span,
    hung_up: bool,
}

/// What follows from a hang-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HangupJudgement {
    pub(crate) verdict: HangupVerdict,
    /// Requests that were held to be killers, and are not any more, since others fare alike.
    pub(crate) acquitted: usize,
}

/// What a hang-up says of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HangupVerdict {
    /// It was good once, as that of a session, and is not judged.
    Known,
    /// Others fare alike at this backend.
    Excused,
    /// It may be a killer.
    Suspect,
    /// It is held to be one: these backends hung up on it.
    Killer(Vec<String>),
}

impl RequestQuarantine {
    /// Returns what tells this request from others. `since`: its search for a backend began then.
    pub(crate) fn request(
        &self,
        (client, handshake): (IpAddr, &Handshake),
        session: &str,
        since: Time,
    ) -> UpgradeRequest {
        let (whole, session) = (self.hasher.hash_one(handshake), self.hasher.hash_one(session));
        UpgradeRequest { asker: self.asker(client, handshake), whole, session, since }
    }

    fn asker(&self, client: IpAddr, handshake: &Handshake) -> Asker {
        let forwarded: Vec<_> = handshake.forwarded_for().collect();
        let rest = self.hasher.hash_one((handshake.path(), forwarded));
        Asker { client: Address::of(client), rest }
    }

    /// Returns for how long requests like this are turned away yet.
    pub(crate) fn banned(&self, now: Time, client: IpAddr, handshake: &Handshake) -> Option<Duration> {
        let mut table = self.table();
        // Nearly always; then nobody pays for the hashes.
        if table.suspects.is_empty() {
            return None;
        }
        let asker = self.asker(client, handshake);
        let kills = table.suspects.get(&asker)?;
        let (count, left) = (kills.len(), left(kills, now));
        if left.is_none() {
            table.suspects.remove(&asker);
        }
        left.filter(|_| count >= KILLS)
    }

    /// A backend has taken this request: it does not kill as such.
    pub(crate) fn linked(&self, client: IpAddr, handshake: &Handshake) {
        let mut table = self.table();
        if !table.suspects.is_empty() {
            table.suspects.remove(&self.asker(client, handshake));
        }
    }

    /// A dial of `backend` has failed in another way than by a hang-up. `None`: that of a session.
    pub(crate) fn failed(&self, now: Time, backend: usize, request: Option<UpgradeRequest>) {
        let span = Span { begun: now, ended: now };
        self.table().remember(now, DialFailed { backend, request, span, hung_up: false });
    }

    /// A backend has hung up on this request. `None`: that of a session.
    pub(crate) fn hung_up(
        &self,
        (backend, name): (usize, &str),
        request: Option<UpgradeRequest>,
        span: Span,
    ) -> HangupJudgement {
        let failure = DialFailed { backend, request, span, hung_up: true };
        let kill = request.map(|request| Kill { backend, name: name.to_owned(), request, span });
        let mut table = self.table();
        let acquitted = table.excuse(&failure);
        let verdict = match kill {
            None => HangupVerdict::Known,
            Some(kill) if table.is_excused(&kill) => HangupVerdict::Excused,
            Some(kill) => table.suspect(kill),
        };
        table.remember(span.ended, failure);
        HangupJudgement { verdict, acquitted }
    }

    fn table(&self) -> OrderedMutexGuard<'_, KillerTable> {
        self.table.lock()
    }
}

impl KillerTable {
    /// Takes back what was held against others, if this failure speaks for them. Returns how many of them
    /// were held to be killers.
    fn excuse(&mut self, failure: &DialFailed) -> usize {
        let mut acquitted = 0;
        for request in self.recent.iter().filter_map(|other| other.request) {
            let Some(kills) = self.suspects.get_mut(&request.asker) else { continue };
            let before = kills.len();
            kills.retain(|kill| !failure.excuses(kill));
            acquitted += usize::from(before >= KILLS && kills.len() < KILLS);
            if kills.is_empty() {
                self.suspects.remove(&request.asker);
            }
        }
        acquitted
    }

    /// Whether a failure speaks for this kill. Since the same asker was hung up on there before, it may have
    /// killed the backend then, and that this could not be reached is the consequence.
    fn is_excused(&self, kill: &Kill) -> bool {
        let own = |other: &&DialFailed| {
            let asker = other.request.map(|request| request.asker);
            other.hung_up && other.backend == kill.backend && asker == Some(kill.request.asker)
        };
        let since = self.recent.iter().filter(own).map(|other| other.span.ended).min();
        let counts = |other: &DialFailed| other.hung_up || since.is_none_or(|since| other.span.ended < since);
        self.recent.iter().any(|other| other.excuses(kill) && counts(other))
    }

    fn remember(&mut self, now: Time, failure: DialFailed) {
        self.recent.retain(|other| now.since(other.span.ended) <= RECENT);
        if self.recent.len() >= RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(failure);
    }

    fn suspect(&mut self, kill: Kill) -> HangupVerdict {
        let (asker, now) = (kill.request.asker, kill.span.ended);
        self.make_room(asker, now);
        let kills = self.suspects.entry(asker).or_default();
        kills.retain(|other| now.since(other.span.ended) < MEMORY);
        // What was under way at once may have met one misfortune; and a third changes nothing.
        if kills.len() >= KILLS || kills.iter().any(|other| other.span.gap(kill.span).is_zero()) {
            return HangupVerdict::Suspect;
        }
        kills.push(kill);
        match kills.len() {
            KILLS => HangupVerdict::Killer(kills.iter().map(|kill| kill.name.clone()).collect()),
            _ => HangupVerdict::Suspect,
        }
    }

    fn make_room(&mut self, asker: Asker, now: Time) {
        if self.suspects.len() < SUSPECTS_MAX || self.suspects.contains_key(&asker) {
            return;
        }
        self.suspects.retain(|_, kills| left(kills, now).is_some());
        if self.suspects.len() >= SUSPECTS_MAX {
            let last = |kills: &[Kill]| kills.last().map(|kill| kill.span.ended);
            let oldest = self.suspects.iter().min_by_key(|(_, kills)| last(kills)).map(|(asker, _)| *asker);
            oldest.and_then(|oldest| self.suspects.remove(&oldest));
        }
    }
}

impl DialFailed {
    /// Whether the backend failed another request shortly before or after, and not at the same time. A
    /// backend that died of the request is not there afterwards, so then only a hang-up counts.
    fn excuses(&self, kill: &Kill) -> bool {
        let (own, its) = (self.span, kill.span);
        let gap = own.gap(its);
        // One of them is zero.
        let apart = own.ended.since(its.ended).max(its.ended.since(own.ended));
        self.backend == kill.backend
            && self.is_of_another(kill)
            && gap <= CLOSE
            && (!gap.is_zero() || apart >= AT_ONCE)
            && (own.ended <= its.ended || self.hung_up)
    }

    /// Whether somebody else has asked: another request, or the same while this one was under way, which is
    /// no next try.
    fn is_of_another(&self, kill: &Kill) -> bool {
        let Some(own) = self.request else { return true };
        let its = kill.request;
        let at_once = own.since < kill.span.ended && its.since < self.span.ended;
        own.session != its.session && (at_once || (own.asker, own.whole) != (its.asker, its.whole))
    }
}

impl Span {
    /// The time between two of them; zero when they overlap.
    fn gap(self, other: Span) -> Duration {
        // One of them is zero.
        self.begun.since(other.ended).max(other.begun.since(self.ended))
    }
}

/// How long these kills are held against their request yet.
fn left(kills: &[Kill], now: Time) -> Option<Duration> {
    let passed = now.since(kills.last()?.span.ended);
    MEMORY.checked_sub(passed).filter(|left| !left.is_zero())
}
