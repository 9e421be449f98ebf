//! The directory of sessions: who is there, for the admin API, the metrics and the shutdown.

use std::borrow::Borrow;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst,
};
use std::task::Waker;

use dashmap::DashSet;
use steadfast_protocol::session::{Ledger, Session};
use steadfast_protocol::time::Time;
use steadfast_protocol::websocket::close_code::CloseCode;
use tokio::sync::Notify;

use crate::clock;
use crate::http::replay_request::Handshake;
use crate::lock::rank::{DirectoryRank, EntryRank, PastRank};
use crate::lock::{OrderedMutex, OrderedMutexGuard, enter};
use crate::routing::binding::RouteBinding;
use crate::upstream::backend::BackendLease;
use crate::upstream::balance::Affinity;
use crate::upstream::dial::Agreed;

/// All sessions of the broker.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    live: DashSet<Listed, BuildHasherDefault<IdHasher>>,
    /// Sessions and upgrades that may become some.
    admitted: AtomicUsize,
    /// What became of the messages of sessions that have ended.
    past: OrderedMutex<Ledger, PastRank>,
    begun: AtomicU64,
    /// Sessions whose clients are away.
    away: AtomicUsize,
    /// A place was given back.
    left: Notify,
    /// No client can come back any more, and sessions whose clients are away end with this code; zero: not
    /// yet.
    no_more_accepted: AtomicU16,
    /// Sessions are being closed with this code; zero: not yet.
    closing: AtomicU16,
}

/// One session, as its own task and everyone else sees it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: u128,
    pub(crate) binding: Arc<RouteBinding>,
    client: PackedAddress,
    pub(crate) began: Time,
    /// When its task must be woken, in microseconds since the clock's origin; `u64::MAX`: never.
    due: AtomicU64,
    /// What each further backend is told, and must agree to.
    pub(super) handshake: Handshake,
    /// Absent if nothing is agreed and it is placed by nothing.
    terms: Option<Box<EntryTerms>>,
    /// Dials so far, for `Steadfast-Attempt`.
    pub(super) attempts: AtomicU32,
    /// Its client is back: a connection waits to be taken over.
    announced: AtomicBool,
    /// Its client counts among those that are away.
    away: AtomicBool,
    core: OrderedMutex<Core, EntryRank>,
}

/// What the next backend must agree to, and what it is chosen by.
#[derive(Debug)]
struct EntryTerms {
    agreed: Agreed,
    affinity: Option<Affinity>,
}

/// A client's address, small for the many of IPv4.
#[derive(Debug)]
enum PackedAddress {
    V4(SocketAddrV4),
    V6(Box<SocketAddrV6>),
}

/// What is known of a session before it begins.
#[derive(Debug)]
pub(crate) struct NewSession {
    pub(crate) id: u128,
    pub(crate) handshake: Handshake,
    pub(crate) agreed: Agreed,
    pub(crate) affinity: Option<Affinity>,
    pub(crate) attempts: AtomicU32,
    pub(crate) binding: Arc<RouteBinding>,
}

/// An entry, found by its id.
#[derive(Debug)]
struct Listed(Arc<Entry>);

/// Ids are drawn at random, and so are hashes of themselves.
#[derive(Debug, Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u128(&mut self, id: u128) {
        self.0 = id as u64;
    }
}

impl Borrow<u128> for Listed {
    fn borrow(&self) -> &u128 {
        &self.0.id
    }
}

impl Hash for Listed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.hash(state);
    }
}

impl PartialEq for Listed {
    fn eq(&self, other: &Listed) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Listed {}

/// What changes. Its own task holds the lock while it works, others for a glance.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) machine: Session,
    /// The backend it is on.
    pub(crate) lease: Option<BackendLease>,
    /// Its task.
    pub(crate) waker: Waker,
}

impl Entry {
    /// A session that begins now, on the backend of `lease`.
    pub(crate) fn new(
        new_session: NewSession,
        client: SocketAddr,
        machine: Session,
        lease: BackendLease,
    ) -> Entry {
        let core = Core { machine, lease: Some(lease), waker: Waker::noop().clone() };
        let NewSession { id, handshake, agreed, affinity, attempts, binding } = new_session;
        let due = AtomicU64::new(u64::MAX);
        let client = match client {
            SocketAddr::V4(address) => PackedAddress::V4(address),
            SocketAddr::V6(address) => PackedAddress::V6(Box::new(address)),
        };
        let some = agreed.is_something() || affinity.is_some();
        let terms = some.then(|| Box::new(EntryTerms { agreed, affinity }));
        Entry {
            id,
            binding,
            client,
            began: clock::now(),
            due,
            handshake,
            terms,
            attempts,
            announced: AtomicBool::new(false),
            away: AtomicBool::new(false),
            core: OrderedMutex::new(core),
        }
    }

    /// Asks to be woken at `at`, within one round of the sweep.
    pub(super) fn set_due(&self, at: Option<Time>) {
        let micros = at.map_or(u64::MAX, |at| at.micros_since(Time::ORIGIN));
        self.due.store(micros, Relaxed);
    }

    fn wake_if_due(&self, now: u64) {
        if self.due.load(Relaxed) <= now {
            // Once; its task says when the next time is.
            self.due.store(u64::MAX, Relaxed);
            self.core().waker.wake_by_ref();
        }
    }

    /// Its client is back on another connection.
    pub(super) fn announce(&self) {
        self.announced.store(true, SeqCst);
        self.core().waker.wake_by_ref();
    }

    /// Whether a connection was announced since the last call.
    pub(super) fn is_announced(&self) -> bool {
        self.announced.load(Relaxed) && self.announced.swap(false, SeqCst)
    }

    pub(crate) fn core(&self) -> OrderedMutexGuard<'_, Core> {
        self.core.lock()
    }

    pub(crate) fn client(&self) -> SocketAddr {
        match &self.client {
            PackedAddress::V4(address) => SocketAddr::V4(*address),
            PackedAddress::V6(address) => SocketAddr::V6(**address),
        }
    }

    /// What it has agreed, for the next backend.
    pub(super) fn agreed(&self) -> Agreed {
        self.terms.as_ref().map(|terms| terms.agreed.clone()).unwrap_or_default()
    }

    /// The subprotocol that is agreed on.
    pub(crate) fn protocol(&self) -> Option<&[u8]> {
        self.terms.as_ref()?.agreed.protocol.as_deref()
    }

    /// What it is placed by.
    pub(crate) fn affinity(&self) -> Option<Affinity> {
        self.terms.as_ref()?.affinity
    }

    /// The id as headers, logs and the API show it.
    pub(crate) fn name(&self) -> String {
        session_name(self.id)
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// 32 hex digits.
pub(crate) fn session_name(id: u128) -> String {
    let mut name = [0; 32];
    for (two, byte) in name.chunks_exact_mut(2).zip(id.to_be_bytes()) {
        two.copy_from_slice(&[byte >> 4, byte & 0xf].map(|digit| DIGITS[usize::from(digit)]));
    }
    // They are ASCII, which this finds out by the word; nothing is replaced.
    std::str::from_utf8(&name).map(str::to_owned).unwrap_or_default()
}

impl Registry {
    pub(crate) fn insert(&self, entry: Arc<Entry>) {
        self.begun.fetch_add(1, Relaxed);
        self.list(Listed(Arc::clone(&entry)));
        // It may have begun after the others were told.
        let code = self.no_more_accepted.load(SeqCst);
        if code != 0 {
            let code = entry.binding.pool.shutdown_code(CloseCode(code));
            entry.core().machine.stop_accepting(clock::now(), code);
        }
        let code = self.closing.load(SeqCst);
        if code != 0 {
            let code = entry.binding.pool.shutdown_code(CloseCode(code));
            entry.core().machine.shut_down(clock::now(), code);
        }
    }

    /// Takes a place for one more session, while there are fewer than `max`. False: there are as many.
    pub(super) fn take_place(&self, max: usize) -> bool {
        let more = |admitted| (admitted < max).then_some(admitted + 1);
        self.admitted.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    /// Gives such a place back.
    pub(super) fn give_place(&self) {
        self.admitted.fetch_sub(1, Relaxed);
        self.left.notify_waiters();
    }

    /// Whether three of four places under `max` are taken.
    pub(crate) fn is_crowded(&self, max: usize) -> bool {
        self.admitted.load(Relaxed) >= max - max / 4
    }

    /// Wakes the sessions whose time has come. A sweep over all costs less than a timer for each:
    /// sessions' deadlines move with every message and hardly ever come.
    pub(crate) fn sweep(&self, now: Time) {
        let now = now.since_origin().as_micros() as u64;
        let _held = enter::<DirectoryRank>();
        for listed in self.live.iter() {
            listed.0.wake_if_due(now);
        }
    }

    /// Takes an ended session out and keeps its counts.
    pub(crate) fn remove(&self, id: u128, ledger: Ledger) {
        self.unlist(id);
        *self.past() += ledger;
    }

    pub(crate) fn get(&self, id: u128) -> Option<Arc<Entry>> {
        let _held = enter::<DirectoryRank>();
        self.live.get(&id).map(|listed| Arc::clone(&listed.0))
    }

    pub(crate) fn len(&self) -> usize {
        let _held = enter::<DirectoryRank>();
        self.live.len()
    }

    /// A session's client has gone, and may come back.
    pub(super) fn client_went(&self, entry: &Entry) {
        if !entry.away.swap(true, Relaxed) {
            self.away.fetch_add(1, Relaxed);
        }
    }

    /// It is back, or will not come.
    pub(super) fn client_came(&self, entry: &Entry) {
        if entry.away.swap(false, Relaxed) {
            self.away.fetch_sub(1, Relaxed);
        }
    }

    /// How many clients are away that may come back.
    pub(super) fn away(&self) -> usize {
        self.away.load(Relaxed)
    }

    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Relaxed)
    }

    /// All live sessions. A copy of the list, so that no lock is held while they are looked at.
    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        let _held = enter::<DirectoryRank>();
        self.live.iter().map(|listed| Arc::clone(&listed.0)).collect()
    }

    /// Counts of the sessions that have ended.
    pub(crate) fn past(&self) -> OrderedMutexGuard<'_, Ledger> {
        self.past.lock()
    }

    /// Waits until no session is left, and no upgrade that may become one.
    pub(crate) async fn emptied(&self) {
        loop {
            let left = self.left.notified();
            if self.admitted.load(SeqCst) == 0 {
                return;
            }
            left.await;
        }
    }

    /// Tells every session that no client is taken any more. A pool may have a code of its own.
    pub(crate) fn stop_accepting(&self, now: Time, code: CloseCode) {
        self.no_more_accepted.store(code.0, SeqCst);
        self.tell(code, |machine, code| machine.stop_accepting(now, code));
    }

    /// Tells every session that the broker ends, likewise.
    pub(crate) fn shut_down(&self, now: Time, code: CloseCode) {
        self.closing.store(code.0, SeqCst);
        self.tell(code, |machine, code| machine.shut_down(now, code));
    }

    fn list(&self, listed: Listed) {
        let _held = enter::<DirectoryRank>();
        self.live.insert(listed);
    }

    fn unlist(&self, id: u128) {
        let _held = enter::<DirectoryRank>();
        self.live.remove(&id);
    }

    fn tell(&self, code: CloseCode, what: impl Fn(&mut Session, CloseCode)) {
        for entry in self.all() {
            let code = entry.binding.pool.shutdown_code(code);
            let mut core = entry.core();
            what(&mut core.machine, code);
            core.waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_all_digits() {
        for id in [0, 7, 0x0123_4567_89ab_cdef_fedc_ba98_7654_3210, u128::MAX] {
            assert_eq!(session_name(id), format!("{id:032x}"));
        }
    }

    /// The allocator has a size of 640 bytes and the next of 768. To find an aligned place in it, it asks itself for as
    /// many bytes more as the alignment may take, where a size is no power of two. An entry must fit the first with
    /// those, and with the two counts of its `Arc`.
    #[test]
    fn an_entry_takes_no_more_than_its_allocation() {
        let counts = (AtomicUsize::new(0), AtomicUsize::new(0));
        let besides = size_of_val(&counts) + align_of::<Entry>() - 1;
        assert!(size_of::<Entry>() + besides <= 640, "{} bytes", size_of::<Entry>());
    }
}
