//! Pools: which backends there are, and which one a session gets. A change makes the next
//! list of backends, and replaces the old one as a whole.

mod evidence;
mod invitations;
pub(super) mod newcomers;
mod own;
mod pongs;
mod promises;
pub(super) mod quarantine;
pub(crate) mod suspects;

use std::collections::HashSet;
use std::hash::RandomState;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use steadfast_protocol::session::Config;
use steadfast_protocol::time::Time;
use steadfast_protocol::websocket::close_code::CloseCode;
use tokio::time::{Instant, sleep_until};

use crate::clock;
use crate::config::settings::{self, PublicUrl, Query, Settings};
use crate::lock::rank::{CensusRank, ChangingRank, DocketRank, EjectingRank, PoolSnapshotRank, TurnsRank};
use crate::lock::{OrderedMutex, OrderedMutexGuard, OrderedRwLock};
use crate::metric::{self, SeriesByWord};
use crate::tls::{PoolTls, TlsSetup};
use crate::upstream::backend::{
    Backend, BackendLease, BackendOrigin, BackendShare, PoolWorld, ReservedPlace, Rules,
};
use crate::upstream::balance::{self, Affinity, Candidate, CandidateTrust, NoPlace, PlacementChoice, Turns};
use crate::upstream::conversations::{Conversations, ProtocolNotice};
use crate::upstream::discovery::FoundBackend;
use crate::upstream::health::circuit::ejectable;
use crate::upstream::health::docket::Docket;
use crate::upstream::health::witness::{Census, Complaint};
use crate::upstream::manner::Manner;
use crate::upstream::queue::{LOOK, Queue};
use crate::upstream::sticky::{Clients, Preferred, Sticky};
use invitations::Invitations;
use newcomers::Newcomers;
use pongs::Pongs;
use quarantine::RequestQuarantine;
use suspects::Suspects;

/// How long a session waits, at the most, before it tries a backend that is out for what was inferred.
const BEFORE_LAST: Duration = Duration::from_secs(1);

/// Backends that one answer of the DNS brings and that have a line each; the others are counted in one.
const FOUND_TOLD: usize = 32;

/// How often a choice is made anew when somebody else has taken the lease meanwhile.
const TRIES: usize = 16;

/// A named set of backends. It outlives reloads: sessions keep it for as long as they are.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) name: Arc<str>,
    present: OrderedRwLock<Arc<PoolSnapshot>, PoolSnapshotRank>,
    /// Whoever changes the backends holds it.
    changing: OrderedMutex<Removed, ChangingRank>,
    turns: OrderedMutex<Turns, TurnsRank>,
    pub(crate) queue: Arc<Queue>,
    /// Who waits for its first backend.
    pub(crate) newcomers: Newcomers,
    /// Who waits for the backend that it belongs to.
    waiting_for_own: Newcomers,
    /// What is known of clients that come back.
    pub(crate) clients: Arc<Clients>,
    /// Where its sessions come from.
    census: Arc<OrderedMutex<Census, CensusRank>>,
    /// What they have met, and waits for evidence.
    docket: OrderedMutex<Docket, DocketRank>,
    /// There is something in it.
    has_cases: AtomicBool,
    /// Tells sessions apart there.
    hasher: RandomState,
    /// How its backends answer pings.
    pub(crate) pongs: Pongs,
    /// Upgrade requests that may kill its backends.
    pub(crate) quarantine: RequestQuarantine,
    /// Sessions whose messages may.
    suspects: Suspects,
    /// Backends are ejected, and let go, one after another, so that the floor holds.
    ejecting: OrderedMutex<(), EjectingRank>,
    source: AtomicUsize,
    invitations: Invitations,
    /// What the log has told of what its clients speak, a bit for each number.
    announced: [AtomicU64; ProtocolNotice::NUMBERS / 64],
    /// It has told that some conversations cannot be repeated.
    told_unsaveable: AtomicBool,
    /// Sessions ended, by cause.
    pub(crate) ends: SeriesByWord,
}

/// What a reload, the API and DNS change; replaced as a whole.
#[derive(Debug, Clone)]
pub(crate) struct PoolSnapshot {
    pub(crate) settings: settings::PoolSettings,
    /// What its sessions are told.
    pub(crate) session: Arc<Config>,
    /// The same, with an `ack_hold` for clients that are kept with one.
    pub(crate) held: Arc<Config>,
    /// What is done for clients by what they speak.
    pub(crate) conversations: Arc<Conversations>,
    pub(crate) dialing: DialSettings,
    /// How TLS is spoken to those backends that speak it; `None`: none of them does.
    pub(crate) tls: Option<Arc<PoolTls>>,
    /// How clients come back to their backends; `None`: they do not.
    pub(crate) sticky: Option<Arc<Sticky>>,
    pub(crate) backends: Vec<Arc<Backend>>,
    rules: Rules,
}

/// How its backends are dialled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DialSettings {
    pub(crate) connect: Duration,
    pub(super) upgrade: Duration,
    pub(crate) manner: Manner,
}

/// Backends that were taken away while sessions were on them.
type Removed = Vec<Weak<Backend>>;

/// One session's question.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ask<'a> {
    /// The backend that its client belongs to: it is tried first, whatever the pool's rule says.
    pub(crate) preferred: Option<Preferred>,
    /// What it is placed by.
    pub(crate) affinity: Option<Affinity>,
    /// The backend that it has just left.
    pub(crate) just_failed: Option<usize>,
    /// Backends that it does not ask again.
    pub(crate) tried: &'a [usize],
}

/// Why there is no lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoLease {
    /// No backend is up, or none is left to ask.
    Nobody,
    /// All are full, and nobody waits any more or has waited in vain.
    Full,
}

/// What cannot be done to a pool's backends, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PoolRefusal {
    Taken(String),
    Unknown(String),
    /// It speaks TLS, and the pool has nothing to speak it with.
    Plain(String),
}

impl Pool {
    pub(crate) fn new(pool: &settings::PoolSettings, settings: &Settings, tls: &TlsSetup) -> Pool {
        let pool_of_now = Pool {
            name: pool.name.as_str().into(),
            present: OrderedRwLock::new(Arc::new(PoolSnapshot::new(pool, settings, tls))),
            changing: OrderedMutex::default(),
            turns: OrderedMutex::default(),
            queue: Arc::default(),
            newcomers: Newcomers::default(),
            waiting_for_own: Newcomers::default(),
            clients: Arc::default(),
            census: Arc::default(),
            docket: OrderedMutex::default(),
            has_cases: AtomicBool::new(false),
            hasher: RandomState::new(),
            pongs: Pongs::default(),
            suspects: Suspects::default(),
            quarantine: RequestQuarantine::default(),
            ejecting: OrderedMutex::default(),
            source: AtomicUsize::new(0),
            invitations: Invitations::default(),
            announced: Default::default(),
            told_unsaveable: AtomicBool::new(false),
            ends: SeriesByWord::default(),
        };
        pool_of_now.configure(pool, settings, tls);
        pool_of_now
    }

    pub(crate) fn snapshot(&self) -> Arc<PoolSnapshot> {
        Arc::clone(&self.present.read())
    }

    // ---- placing sessions ----

    /// A lease on the best backend there is, without waiting.
    pub(crate) fn pick(&self, now: Time, ask: &Ask<'_>) -> Result<BackendLease, NoLease> {
        self.pick_own(now, ask).or_else(|_| self.pick_among(now, ask, |_, _| true))
    }

    /// A lease on a backend that is out for what was inferred: its session is the only one that tries it.
    fn pick_last(&self, now: Time, ask: &Ask<'_>) -> Result<BackendLease, NoLease> {
        self.pick_of(
            ask,
            |backend| backend.last_resort(now).filter(|_| !ask.tried.contains(&backend.id)),
            |backend, placed| backend.lease_as_last_resort(now, placed.reason),
        )
    }

    /// A lease for a session that need not leave the one it has: on an eligible backend, and on this one if
    /// it is named. Where backends are checked, nobody leaves for one of which no check has come back
    /// yet.
    pub(super) fn pick_eligible(
        &self,
        now: Time,
        ask: &Ask<'_>,
        only: Option<usize>,
    ) -> Result<BackendLease, NoLease> {
        let checked = self.snapshot().settings.health.is_some();
        let pick = |only: Option<usize>| {
            self.pick_among(now, ask, |backend, candidate| {
                let named = only.is_none_or(|only| only == backend.id);
                named && candidate.standing == CandidateTrust::Eligible && (!checked || backend.is_proven())
            })
        };
        let own = ask.preferred.filter(|_| only.is_none()).map(|own| pick(Some(own.backend)));
        own.and_then(Result::ok).map_or_else(|| pick(only), Ok)
    }

    fn pick_among(
        &self,
        now: Time,
        ask: &Ask<'_>,
        fits: impl Fn(&Backend, &Candidate) -> bool,
    ) -> Result<BackendLease, NoLease> {
        self.pick_of(
            ask,
            |backend| {
                let left = ask.just_failed == Some(backend.id);
                let candidate = backend.candidate(now, left).filter(|_| !ask.tried.contains(&backend.id));
                candidate.filter(|candidate| fits(backend, candidate))
            },
            |backend, placed| backend.lease(now, placed.standing, placed.reason),
        )
    }

    /// A place for a client that is sent to its backend, and where that is reached. It does not wait; those who do come
    /// first.
    pub(crate) fn reserve(
        &self,
        now: Time,
        affinity: Option<Affinity>,
    ) -> Result<(ReservedPlace, PublicUrl), NoLease> {
        if self.queue.waiting() > 0 {
            return Err(NoLease::Full);
        }
        let place = self.pick_of(
            &Ask { affinity, ..Ask::default() },
            // Of others nobody knows where clients reach them.
            |backend| backend.public_candidate(now).filter(|_| backend.origin == BackendOrigin::File),
            |backend, _| backend.reserve(),
        )?;
        let present = self.snapshot();
        let named = present.settings.backends.iter().find(|named| named.name == place.backend().name);
        // A reload may just have taken it away.
        let url = named.and_then(|named| named.public_url.clone()).ok_or(NoLease::Nobody)?;
        Ok((place, url))
    }

    fn pick_of<L>(
        &self,
        ask: &Ask<'_>,
        candidate: impl Fn(&Arc<Backend>) -> Option<Candidate>,
        lease: impl Fn(&Arc<Backend>, PlacementChoice) -> Option<L>,
    ) -> Result<L, NoLease> {
        let present = self.snapshot();
        for _ in 0..TRIES {
            let candidates: Vec<_> = present.backends.iter().filter_map(&candidate).collect();
            let mut turns = self.turns.lock();
            let balance = &present.settings.balance;
            let placed = balance::place(&candidates, balance, ask.affinity, &mut turns, &mut rand::random);
            drop(turns);
            let placed = placed.map_err(NoLease::from)?;
            let chosen = present.backends.iter().find(|backend| backend.id == placed.id);
            if let Some(lease) = chosen.and_then(|backend| lease(backend, placed)) {
                return Ok(lease);
            }
        }
        Err(NoLease::Full)
    }

    /// A lease, waiting for one when all are taken. Backends that are out for what was inferred come last: somebody
    /// waits a while first. `newcomer`: it counts against the queue's limit. `waits` is told when the wait begins.
    pub(super) async fn lease(
        &self,
        ask: &Ask<'_>,
        newcomer: bool,
        waits: impl Fn(),
    ) -> Result<BackendLease, NoLease> {
        if newcomer && let Some(lease) = self.lease_own(ask, &waits).await {
            return Ok(lease);
        }
        let settings::QueueSettings { max, timeout } = self.snapshot().settings.queue;
        let resort = Instant::now() + BEFORE_LAST.min(timeout / 2);
        // Whoever comes now stands behind those who wait.
        if !newcomer || !ask.tried.is_empty() || self.queue.waiting() == 0 {
            match self.choose(ask, resort) {
                Err(NoLease::Full) => {}
                done => return done,
            }
        }
        let most = if newcomer { max } else { usize::MAX };
        if !ask.tried.is_empty() && most > 0 {
            waits();
            return self.lease_aside(ask, (resort, timeout)).await;
        }
        let Some(mut ticket) = self.queue.join(newcomer, most, timeout) else {
            metric::LIMIT_HITS.count(metric::Limit::Queue);
            return self.pick_last(clock::now(), ask).map_err(|_| NoLease::Full);
        };
        waits();
        while ticket.wait().await {
            match self.choose(ask, resort) {
                Err(NoLease::Full) => {}
                done => return done,
            }
        }
        metric::QUEUE_TIMEOUTS.count(self.name.to_string());
        Err(NoLease::Full)
    }

    /// The best there is; from `resort` on, for want of better, one that is out.
    fn choose(&self, ask: &Ask<'_>, resort: Instant) -> Result<BackendLease, NoLease> {
        let now = clock::now();
        let none = match self.pick(now, ask) {
            Err(none) => none,
            found => return found,
        };
        match Instant::now() >= resort {
            true => {
                self.pick_last(now, ask).map_err(|_| if self.may_wait(ask) { NoLease::Full } else { none })
            }
            false => Err(if self.may_wait(ask) { NoLease::Full } else { none }),
        }
    }

    /// One that is out may take the session later.
    fn may_wait(&self, ask: &Ask<'_>) -> bool {
        let present = self.snapshot();
        present.backends.iter().any(|backend| backend.seems_to_leave() && !ask.tried.contains(&backend.id))
    }

    /// As [`Pool::lease`], for one that cannot use every place: first in the line, it would keep others
    /// from places that it does not want.
    async fn lease_aside(
        &self,
        ask: &Ask<'_>,
        (resort, patience): (Instant, Duration),
    ) -> Result<BackendLease, NoLease> {
        let until = Instant::now() + patience;
        while Instant::now() < until {
            sleep_until(until.min(Instant::now() + LOOK)).await;
            match self.choose(ask, resort) {
                Err(NoLease::Full) => {}
                done => return done,
            }
        }
        Err(NoLease::Full)
    }

    /// Ends the requests that its backends are answering.
    pub(crate) fn cut_requests(&self) {
        self.snapshot().backends.iter().for_each(|backend| backend.requests.cut());
    }

    /// Whether a session of `backend` has somewhere better to go.
    pub(crate) fn has_other(&self, now: Time, backend: usize) -> bool {
        self.room_beside(now, Some(backend)) > 0
    }

    /// How many sessions could go to eligible backends at once, other than `backend`. Where backends are
    /// checked, nobody leaves for one of which no check has come back yet.
    pub(crate) fn room_beside(&self, now: Time, backend: Option<usize>) -> usize {
        let present = self.snapshot();
        let checked = present.settings.health.is_some();
        let known = |other: &&Arc<Backend>| !checked || other.is_proven();
        let others = present.backends.iter().filter(|other| Some(other.id) != backend).filter(known);
        let candidate = |other: &Arc<Backend>| {
            let candidate = other.candidate(now, false)?;
            // A trial is one session, whatever else there is room for.
            let max = if other.takes_one() { Some(candidate.sessions + 1) } else { None };
            let max_sessions = [candidate.max_sessions, max].into_iter().flatten().min();
            Some(Candidate { max_sessions, ..candidate })
        };
        balance::room(&others.filter_map(candidate).collect::<Vec<_>>())
    }

    /// Backends whose shares count: those that are neither ejected nor on trial. Where backends are
    /// checked, one of which no check has come back yet is none.
    pub(crate) fn bearers(&self, now: Time) -> Vec<Candidate> {
        let present = self.snapshot();
        let checked = present.settings.health.is_some();
        let known = |backend: &&Arc<Backend>| !backend.takes_one() && (!checked || backend.is_proven());
        let backends = present.backends.iter().filter(known);
        // Neither reserved places nor requests move to anybody.
        let candidate = |backend: &Arc<Backend>| {
            let candidate = backend.candidate(now, false)?;
            Some(Candidate { sessions: backend.sessions_alone(), ..candidate })
        };
        let candidates = backends.filter_map(candidate);
        candidates.filter(|candidate| candidate.standing != CandidateTrust::Ejected).collect()
    }

    /// Whether it has backends, and each of them is among these.
    pub(super) fn all_among(&self, ids: &[usize]) -> bool {
        let present = self.snapshot();
        !present.backends.is_empty() && present.backends.iter().all(|backend| ids.contains(&backend.id))
    }

    /// The addresses to dial from, the one whose turn it is first; empty: any.
    pub(crate) fn sources(&self) -> Vec<IpAddr> {
        let mut sources = self.snapshot().settings.sources.clone();
        if !sources.is_empty() {
            let turn = self.source.fetch_add(1, Relaxed) % sources.len();
            sources.rotate_left(turn);
        }
        sources
    }

    // ---- what its clients speak ----

    /// Whether a client is to reconnect now: there is so much room, less what those need who were told before.
    pub(crate) fn invite(&self, now: Time, room: usize) -> bool {
        self.invitations.invite(now, room)
    }

    /// The log tells this once.
    pub(crate) fn announce(&self, announcement: &ProtocolNotice) {
        let ProtocolNotice { number, protocol, sentence } = announcement;
        let Some(announced) = self.announced.get(number / 64) else { return };
        let bit = 1 << (number % 64);
        if announced.load(Relaxed) & bit == 0 && announced.fetch_or(bit, Relaxed) & bit == 0 {
            tracing::warn!(pool = &*self.name, protocol, "{sentence}");
        }
    }

    /// Whether this is the first session whose conversation cannot be repeated.
    pub(crate) fn is_first_unsaveable(&self) -> bool {
        !self.told_unsaveable.load(Relaxed) && !self.told_unsaveable.swap(true, Relaxed)
    }

    /// With what its clients are closed when the broker ends, which has this code.
    pub(crate) fn shutdown_code(&self, brokers: CloseCode) -> CloseCode {
        self.snapshot().settings.close_codes.shutdown.unwrap_or(brokers)
    }

    // ---- what happens to backends ----

    /// A dial or a young session has failed.
    pub(crate) fn failed(&self, now: Time, backend: &Backend, complaint: Complaint) {
        let _one = self.ejecting.lock();
        let present = self.snapshot();
        backend.failed(now, complaint, present.can_do_without(backend));
    }

    /// Those backends leave whose Closes let infer that they go, as many as the pool can do without.
    pub(crate) fn grant_leaves(&self, now: Time) {
        let _one = self.ejecting.lock();
        let present = self.snapshot();
        for backend in &present.backends {
            if backend.wishes_to_leave(now) && present.can_do_without(backend) {
                backend.grant_leave();
            }
        }
    }

    /// Backends that are down and have sessions.
    pub(crate) fn down(&self) -> Vec<Arc<Backend>> {
        let present = self.snapshot();
        let down = present.backends.iter().filter(|backend| backend.is_down() && backend.sessions() > 0);
        down.cloned().collect()
    }

    /// Backends that were taken away and still have sessions.
    pub(crate) fn removed(&self) -> Vec<Arc<Backend>> {
        let mut removed = self.changing();
        removed.retain(|backend| backend.upgrade().is_some_and(|backend| backend.sessions() > 0));
        removed.iter().filter_map(Weak::upgrade).collect()
    }

    // ---- changes of its backends ----

    /// The file's word on this pool. Backends that it does not name any more are taken away, unless
    /// somebody else has named them.
    pub(crate) fn configure(&self, pool: &settings::PoolSettings, settings: &Settings, tls: &TlsSetup) {
        let mut removed = self.changing();
        let before = self.snapshot();
        let mut next = self.with_clients(PoolSnapshot::new(pool, settings, tls));
        let discovered: HashSet<_> = pool.discoveries.iter().map(|discovery| &discovery.query).collect();
        let named = |name: &str| pool.backends.iter().any(|backend| backend.name == name);
        let stays = |backend: &Arc<Backend>| match &backend.origin {
            BackendOrigin::File => pool.backends.iter().any(|wanted| is_same(backend, wanted)),
            // The file wins over others with the same name.
            BackendOrigin::Api => !named(&backend.name),
            BackendOrigin::Dns(query) => discovered.contains(query) && !named(&backend.name),
        };
        let kept: Vec<_> = before.backends.iter().filter(|backend| stays(backend)).cloned().collect();
        let make = |wanted: &settings::BackendSettings| {
            let found =
                kept.iter().find(|backend| backend.origin == BackendOrigin::File && is_same(backend, wanted));
            match found {
                Some(backend) => {
                    backend.configure(clock::now(), BackendShare::from(wanted), next.rules.clone());
                    Arc::clone(backend)
                }
                None => self.make(wanted, BackendOrigin::File, &next),
            }
        };
        let mut backends: Vec<_> = pool.backends.iter().map(make).collect();
        for backend in kept.iter().filter(|backend| backend.origin != BackendOrigin::File) {
            backend.set_rules(next.rules.clone());
            backends.push(Arc::clone(backend));
        }
        next.backends = backends;
        self.replace(&mut removed, next, "it is no longer in the configuration");
    }

    /// The file names this pool no more: it gets no new sessions, and those that are there stay.
    pub(crate) fn retire(&self) {
        tracing::info!(
            pool = &*self.name,
            sessions = self.snapshot().backends.iter().map(|backend| backend.sessions()).sum::<usize>(),
            "the pool is no longer in the configuration; its sessions stay until they end"
        );
    }

    /// Adds a backend while running.
    pub(crate) fn add(&self, backend: &settings::BackendSettings) -> Result<(), PoolRefusal> {
        let mut removed = self.changing();
        let before = self.snapshot();
        if before.backends.iter().any(|present| present.name == backend.name) {
            return Err(PoolRefusal::Taken(format!(
                "the pool has a backend named {:?} already",
                backend.name
            )));
        }
        if backend.tls && before.tls.is_none() {
            return Err(PoolRefusal::Plain(format!(
                "the pool speaks no TLS; give {:?} a [pool.tls] in the file, which may be empty",
                &*self.name
            )));
        }
        let made = self.make(backend, BackendOrigin::Api, &before);
        let mut backends = before.backends.clone();
        backends.push(made);
        self.replace(&mut removed, before.with(backends), "");
        tracing::info!(pool = &*self.name, backend = backend.name, "backend added by the API");
        Ok(())
    }

    /// Takes a backend away; its sessions move.
    pub(crate) fn remove(&self, name: &str) -> Result<(), PoolRefusal> {
        let mut removed = self.changing();
        let before = self.snapshot();
        let backends: Vec<_> = before.backends.iter().filter(|other| other.name != name).cloned().collect();
        if backends.len() == before.backends.len() {
            return Err(PoolRefusal::Unknown(format!("the pool has no backend named {name:?}")));
        }
        self.replace(&mut removed, before.with(backends), "the API was asked for it");
        Ok(())
    }

    /// The backends that DNS has named for this query.
    pub(super) fn found(&self, query: &Query) -> Vec<FoundBackend> {
        let origin = BackendOrigin::Dns(query.clone());
        let present = self.snapshot();
        let named = present.backends.iter().filter(|backend| backend.origin == origin);
        named.filter_map(|backend| backend.found(clock::now())).collect()
    }

    /// What DNS says now of one name.
    pub(super) fn discovered(&self, discovery: &settings::Discovery, found: &[FoundBackend]) {
        let mut removed = self.changing();
        let before = self.snapshot();
        // The question was asked before a reload that wants something else.
        if !before.settings.discoveries.contains(discovery) {
            return;
        }
        let origin = BackendOrigin::Dns(discovery.query.clone());
        let wanted = |found: &FoundBackend| discovery.backend(found);
        let wanted: Vec<settings::BackendSettings> = found.iter().map(wanted).collect();
        let stays = |backend: &Arc<Backend>| {
            backend.origin != origin || wanted.iter().any(|wanted| is_same(backend, wanted))
        };
        let mut backends: Vec<_> = before.backends.iter().filter(|backend| stays(backend)).cloned().collect();
        let mut found = 0;
        for wanted in &wanted {
            match backends.iter().find(|backend| backend.name == wanted.name) {
                Some(backend) if backend.origin == origin => {
                    backend.configure(clock::now(), BackendShare::from(wanted), before.rules.clone());
                }
                // Somebody else has named it, and may say more of it.
                Some(_) => {}
                None => {
                    backends.push(self.make(wanted, origin.clone(), &before));
                    found += 1;
                    if found <= FOUND_TOLD {
                        tracing::info!(pool = &*self.name, backend = wanted.name, "backend found by DNS");
                    }
                }
            }
        }
        if found > FOUND_TOLD {
            tracing::info!(pool = &*self.name, more = found - FOUND_TOLD, "more backends found by DNS");
        }
        self.replace(&mut removed, before.with(backends), "DNS names it no more");
    }

    /// The backend with this name.
    pub(crate) fn named(&self, name: &str) -> Option<Arc<Backend>> {
        self.snapshot().backends.iter().find(|backend| backend.name == name).cloned()
    }

    fn make(
        &self,
        backend: &settings::BackendSettings,
        origin: BackendOrigin,
        present: &PoolSnapshot,
    ) -> Arc<Backend> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let id = NEXT.fetch_add(1, Relaxed);
        let shared = PoolWorld { queue: Arc::clone(&self.queue), census: Arc::clone(&self.census) };
        let world = (shared, clock::now());
        Arc::new(Backend::new(id, Arc::clone(&self.name), backend, origin, present.rules.clone(), world))
    }

    /// Backends that are in the present set and not in the next are taken away.
    fn replace(&self, removed: &mut Removed, next: PoolSnapshot, why: &str) {
        let before = self.snapshot();
        let next = Arc::new(next);
        *self.present.write() = Arc::clone(&next);
        let now = clock::now();
        for backend in &before.backends {
            if next.backends.iter().all(|other| other.id != backend.id) {
                backend.remove(now, why);
                removed.push(Arc::downgrade(backend));
            }
        }
        self.queue.notify();
    }

    fn changing(&self) -> OrderedMutexGuard<'_, Removed> {
        self.changing.lock()
    }
}

impl PoolSnapshot {
    /// As configured, and without backends.
    fn new(pool: &settings::PoolSettings, settings: &Settings, tls: &TlsSetup) -> PoolSnapshot {
        PoolSnapshot {
            settings: pool.clone(),
            session: Arc::new(promises::of(pool, settings)),
            held: Arc::new(promises::with_hold(pool, settings)),
            conversations: Arc::new(Conversations::new(pool, &settings.profiles)),
            dialing: DialSettings::new(pool, settings),
            tls: tls.pool(&pool.name).cloned(),
            sticky: None,
            backends: Vec::new(),
            rules: Rules::new(pool, settings),
        }
    }

    /// What TLS is spoken with to a backend that speaks it, or not.
    pub(crate) fn tls_of(&self, speaks_tls: bool) -> Option<&PoolTls> {
        self.tls.as_deref().filter(|_| speaks_tls)
    }

    fn with(&self, backends: Vec<Arc<Backend>>) -> PoolSnapshot {
        PoolSnapshot { backends, ..self.clone() }
    }
}

impl PoolSnapshot {
    /// Whether this backend, too, may be out for what was inferred.
    fn can_do_without(&self, backend: &Backend) -> bool {
        let most = ejectable(self.backends.len(), self.settings.outlier.max_ejected);
        let others = self.backends.iter().filter(|other| other.id != backend.id);
        others.filter(|other| other.is_out()).count() < most
    }
}

impl From<NoPlace> for NoLease {
    fn from(none: NoPlace) -> NoLease {
        match none {
            NoPlace::Full => NoLease::Full,
            NoPlace::Nobody => NoLease::Nobody,
        }
    }
}

impl settings::Discovery {
    /// The backend that a record stands for.
    fn backend(&self, found: &FoundBackend) -> settings::BackendSettings {
        settings::BackendSettings {
            name: found.name.clone(),
            host: found.address.ip().to_string(),
            port: found.address.port(),
            tls: self.tls,
            weight: found.weight.unwrap_or(self.weight),
            backup: self.backup || found.backup,
            max_sessions: self.max_sessions,
            public_url: None,
        }
    }
}

/// The same service under the same name; its share may differ.
fn is_same(backend: &Backend, wanted: &settings::BackendSettings) -> bool {
    (&backend.name, &backend.host, backend.port, backend.tls)
        == (&wanted.name, &wanted.host, wanted.port, wanted.tls)
}

impl Rules {
    fn new(pool: &settings::PoolSettings, settings: &Settings) -> Rules {
        Rules {
            outlier: pool.outlier.clone(),
            slow_start: pool.slow_start,
            penalty_min: settings.failover.penalty_min,
            penalty_max: settings.failover.penalty_max,
            ask_timeout: settings.drain.ask_timeout,
            drained_requests: settings.drain.requests,
        }
    }
}

impl DialSettings {
    fn new(pool: &settings::PoolSettings, settings: &Settings) -> DialSettings {
        let settings::Timeouts { connect, upgrade, .. } = settings.timeouts;
        let settings::LimitSettings { header, header_lines, .. } = settings.limits;
        let manner = Manner { case: pool.header_case, header, header_lines, proxy: pool.send_proxy };
        DialSettings { connect, upgrade, manner }
    }
}

#[cfg(test)]
mod tests;
