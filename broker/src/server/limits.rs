//! How much the broker can carry: sessions by descriptors, buffers by memory.
//! Measured once, at the start; a broker that would carry nothing does not begin.

mod memory;

use std::fmt;
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::admin;
use crate::config::Settings;
use crate::config::settings::{LimitSettings, PoolSettings};
use crate::session::memory::SHARE_MIN;

/// Descriptors for what there is little of: files, the log, look-ups of names, connections that are told that their
/// session goes on elsewhere, checks of backends that are found while the broker runs.
const DESCRIPTORS_RESERVED: usize = 192;
/// A worker's runtime, and that of the main thread.
const DESCRIPTORS_PER_THREAD: usize = 4;
/// Each worker has its own handle of each listener, and may have accepted one connection for which another makes room.
const DESCRIPTORS_PER_ENTRANCE: usize = 2;
/// A session has one socket to its client and one to its backend.
const DESCRIPTORS_PER_SESSION: usize = 2;
/// The share of the descriptors that handshakes may take, where nothing is configured: one in so many.
const HANDSHAKE_SHARE: u64 = 16;
/// One that has begun its request has buffers of about 32 KiB: a thirtieth of the memory may be theirs.
const MEMORY_PER_HANDSHAKE: u64 = 1 << 20;
/// Handshakes at once, where nothing is configured: at the most, and at the least.
const HANDSHAKES: (usize, usize) = (8192, 16);
/// The share of the available memory that buffers may take.
const MEMORY_SHARE: u64 = 4;
/// Taken for available where the system does not say.
const MEMORY_UNKNOWN: u64 = 1 << 30;

/// What the machine and the configuration allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// The process's limit of open descriptors.
    pub descriptors: u64,
    /// Sessions at once.
    pub max_sessions: usize,
    /// As many as the descriptors allow or the configuration asks for; more than there may be when the buffers do not
    /// suffice for a share of each.
    pub sessions_wanted: usize,
    /// Connections at once whose request has not come yet.
    pub max_handshakes: usize,
    /// Bytes that all sessions together may hold.
    pub buffers: usize,
}

/// Descriptors that are not for sessions: the most that all of this ever takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Beside {
    /// The broker itself, with its threads and their handles of the listeners.
    broker: usize,
    /// Connections to the admin listener.
    admin: usize,
    /// Checks, agents and probes, of each backend that is configured.
    checks: usize,
    /// Dials that try several ways at once, and planned moves, which have a connection more.
    moving: usize,
}

/// The descriptors do not suffice for what is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooFewDescriptors {
    available: u64,
    needed: u64,
    sessions: usize,
    handshakes: usize,
    beside: Beside,
}

impl Capacity {
    /// Raises the limit of descriptors as far as it goes, and computes what it and the memory allow.
    ///
    /// # Errors
    ///
    /// The descriptors do not suffice for `limits.max_sessions`, or for a single session, with all that is beside them.
    pub fn measure(settings: &Settings) -> Result<Self, TooFewDescriptors> {
        let memory = memory::available(Path::new("/"));
        Self::compute(raise_descriptors(), memory, &settings.limits, Beside::of(settings))
    }

    /// Says it in the log, on one line.
    pub fn log(&self) {
        let Self { descriptors, max_sessions, sessions_wanted, max_handshakes, buffers } = self;
        if max_sessions < sessions_wanted {
            tracing::warn!(
                max_sessions,
                sessions_wanted,
                buffers,
                "the buffers have no share of {SHARE_MIN} bytes for as many sessions, so there may be fewer: raise \
                 limits.buffers or lower limits.max_sessions"
            );
        }
        tracing::info!(descriptors, max_sessions, max_handshakes, buffers, "capacity");
    }

    fn compute(
        descriptors: u64,
        memory: Option<u64>,
        limits: &LimitSettings,
        beside: Beside,
    ) -> Result<Self, TooFewDescriptors> {
        let memory = memory.unwrap_or(MEMORY_UNKNOWN);
        let wanted = limits.max_sessions.unwrap_or(1);
        let of_sessions = (wanted as u64).saturating_mul(DESCRIPTORS_PER_SESSION as u64);
        let left = descriptors.saturating_sub(beside.sum()).saturating_sub(of_sessions);
        let (most, least) = HANDSHAKES;
        let handshakes = limits.max_handshakes.unwrap_or_else(|| {
            let share = (descriptors / HANDSHAKE_SHARE).min(memory / MEMORY_PER_HANDSHAKE).min(left);
            usize::try_from(share).unwrap_or(usize::MAX).clamp(least, most)
        });
        let needed = beside.sum().saturating_add(handshakes as u64).saturating_add(of_sessions);
        if descriptors < needed {
            return Err(TooFewDescriptors {
                available: descriptors,
                needed,
                sessions: wanted,
                handshakes,
                beside,
            });
        }
        let possible = wanted as u64 + (descriptors - needed) / DESCRIPTORS_PER_SESSION as u64;
        let possible = usize::try_from(possible).unwrap_or(usize::MAX);
        let share = usize::try_from(memory / MEMORY_SHARE).unwrap_or(usize::MAX);
        let buffers = limits.buffers.unwrap_or(share.max(2 * limits.message));
        let sessions_wanted = limits.max_sessions.unwrap_or(possible);
        Ok(Self {
            descriptors,
            max_sessions: sessions_wanted.min((buffers / (2 * SHARE_MIN)).max(1)),
            sessions_wanted,
            max_handshakes: handshakes,
            buffers,
        })
    }
}

impl Beside {
    fn of(settings: &Settings) -> Beside {
        let per_worker = DESCRIPTORS_PER_THREAD + DESCRIPTORS_PER_ENTRANCE * settings.listeners.len();
        let workers = settings.workers.saturating_mul(per_worker);
        let of_pool = |pool: &PoolSettings| {
            // Without checks it is a probe that asks whether a backend lives.
            pool.backends.len() * (1 + usize::from(pool.agent.is_some()))
        };
        Beside {
            broker: DESCRIPTORS_RESERVED.saturating_add(DESCRIPTORS_PER_THREAD).saturating_add(workers),
            admin: settings.admin.address.map_or(0, |_| admin::CONNECTIONS_MAX),
            checks: settings.pools.iter().map(of_pool).sum(),
            moving: settings.herd.dials.saturating_add(settings.herd.moves),
        }
    }

    fn sum(&self) -> u64 {
        let Beside { broker, admin, checks, moving } = *self;
        [broker, admin, checks, moving].into_iter().fold(0, |sum, part| sum.saturating_add(part as u64))
    }
}

/// The limit of descriptors, raised to the hard one where the system lets us.
fn raise_descriptors() -> u64 {
    let resource = Resource::RLIMIT_NOFILE;
    let Ok((soft, hard)) = getrlimit(resource) else { return 0 };
    match setrlimit(resource, hard, hard) {
        Ok(()) => hard,
        Err(error) => {
            tracing::warn!(soft, hard, %error, "the limit of descriptors cannot be raised");
            soft
        }
    }
}

impl fmt::Display for TooFewDescriptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { available, needed, sessions, handshakes, beside } = self;
        let Beside { broker, admin, checks, moving } = beside;
        let plural = if *sessions == 1 { "session needs" } else { "sessions need" };
        write!(
            f,
            "too few descriptors: {sessions} {plural} {needed} ({DESCRIPTORS_PER_SESSION} a session, {handshakes} for handshakes, \
             {broker} for the broker, {admin} for the admin listener, {checks} for checks, {moving} for herd.dials and \
             herd.moves) and the hard limit is {available}; raise it (ulimit -Hn, LimitNOFILE= of systemd, --ulimit nofile= of \
             docker) or lower limits.max_sessions, limits.max_handshakes, herd.dials or herd.moves"
        )
    }
}

impl std::error::Error for TooFewDescriptors {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, parse};

    fn settings(top: &str, below: &str) -> Settings {
        let text = format!(
            "workers = 2\n{top}\n[[listener]]\naddress = \"127.0.0.1:0\"\n[[pool]]\nname = \"a\"\n[[pool.backend]]\n\
             url = \"ws://127.0.0.1:1\"\n{below}\n"
        );
        parse(&text, &Overrides::default()).expect("a sound configuration")
    }

    fn limits(written: &str) -> LimitSettings {
        settings("", &format!("[limits]\n{written}")).limits
    }

    /// So many that are not for sessions.
    fn beside(sum: usize) -> Beside {
        Beside { broker: sum, admin: 0, checks: 0, moving: 0 }
    }

    #[test]
    fn sessions_come_from_descriptors_and_buffers_from_memory() {
        let capacity = Capacity::compute(20_000, Some(8 << 30), &limits(""), beside(500));
        let expected = Capacity {
            descriptors: 20_000,
            max_sessions: 9125,
            sessions_wanted: 9125,
            max_handshakes: 1250,
            buffers: 2 << 30,
        };
        assert_eq!(capacity, Ok(expected));
        let large =
            |memory| Capacity::compute(1_000_000, Some(memory), &limits(""), beside(500)).expect("enough");
        let capacity = large(64 << 30);
        assert_eq!((capacity.max_handshakes, capacity.max_sessions), (8192, 495_654));
        assert_eq!(large(300 << 20).max_handshakes, 300);
    }

    #[test]
    fn what_is_configured_is_kept() {
        let limits = limits("max_sessions = 10\nmax_handshakes = 7\nbuffers = \"40MiB\"");
        let expected = Capacity {
            descriptors: 1024,
            max_sessions: 10,
            sessions_wanted: 10,
            max_handshakes: 7,
            buffers: 40 << 20,
        };
        assert_eq!(Capacity::compute(1024, Some(8 << 30), &limits, beside(256)), Ok(expected));
    }

    #[test]
    fn two_messages_always_fit() {
        let capacity = Capacity::compute(1024, Some(1 << 20), &limits(""), beside(256)).expect("enough");
        assert_eq!(capacity.buffers, 32 << 20);
    }

    #[test]
    fn there_are_no_more_sessions_than_the_buffers_have_shares_for() {
        let limits = limits("max_sessions = 10_000\nmessage = \"1MiB\"\nring = \"1MiB\"\nbuffers = \"4MiB\"");
        let capacity = Capacity::compute(100_000, None, &limits, beside(256)).expect("enough");
        assert_eq!((capacity.max_sessions, capacity.sessions_wanted), (1024, 10_000));
    }

    #[test]
    fn too_few_descriptors_are_refused_to_the_last_one() {
        let capacity = Capacity::compute(256 + 16 + 2, None, &limits(""), beside(256));
        assert_eq!(capacity.map(|capacity| capacity.max_sessions), Ok(1));
        let error = Capacity::compute(273, None, &limits(""), beside(256)).expect_err("one is missing");
        assert_eq!((error.available, error.needed), (273, 274));

        let limits = limits("max_sessions = 100\nmax_handshakes = 50");
        assert!(Capacity::compute(256 + 200 + 50, None, &limits, beside(256)).is_ok());
        let error =
            Capacity::compute(256 + 200 + 49, None, &limits, beside(256)).expect_err("one is missing");
        assert!(error.to_string().contains("100 sessions need 506 "), "{error}");
    }

    #[test]
    fn handshakes_make_room_for_sessions_that_are_promised() {
        let limits = limits("max_sessions = 300");
        let capacity = Capacity::compute(1024, None, &limits, beside(256)).expect("enough");
        assert_eq!(capacity.max_handshakes, 64, "a sixteenth");
        let capacity = Capacity::compute(900, None, &limits, beside(256)).expect("enough");
        assert_eq!(capacity.max_handshakes, 44, "what is left");
        assert!(Capacity::compute(871, None, &limits, beside(256)).is_err(), "16 are the least");
    }

    #[test]
    fn each_kind_of_connection_counts() {
        let plain = Beside::of(&settings("", ""));
        let sum = |top: &str, below: &str| Beside::of(&settings(top, below)).sum() - plain.sum();
        assert_eq!(plain.moving, 512);
        assert_eq!(sum("", "[herd]\ndials = 266\nmoves = 356"), 110);
        assert_eq!(sum("[admin]\naddress = \"127.0.0.1:0\"", ""), admin::CONNECTIONS_MAX as u64);
        assert_eq!(sum("", "[pool.agent]\nport = 1"), 1);
        assert_eq!(sum("", "[[pool.backend]]\nurl = \"ws://127.0.0.1:2\""), 1);
        assert_eq!(sum("", "[[listener]]\naddress = \"127.0.0.1:0\""), 4, "two of each worker");
    }

    #[test]
    fn no_figure_overflows() {
        let most = Beside { moving: usize::MAX, ..beside(1) };
        assert!(Capacity::compute(u64::MAX - 1, Some(u64::MAX), &limits(""), most).is_err());
        assert!(Capacity::compute(u64::MAX, Some(u64::MAX), &limits(""), beside(0)).is_ok());
    }
}
