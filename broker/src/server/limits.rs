//! How much the broker can carry: sessions by descriptors, buffers by memory.
//! Measured once, at the start; a broker that would carry nothing does not begin.

mod memory;

use std::fmt;
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::config::Settings;
use crate::config::settings::LimitSettings;

/// Descriptors for all that is not a session: listeners, admin connections, the runtime, files.
const DESCRIPTORS_RESERVED: u64 = 256;
/// A session has one socket to its client and one to its backend.
const DESCRIPTORS_PER_SESSION: u64 = 2;
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
    /// Bytes that all sessions together may hold.
    pub buffers: usize,
}

/// The descriptors do not suffice for what is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooFewDescriptors {
    available: u64,
    needed: u64,
    sessions: usize,
    moving: usize,
}

impl Capacity {
    /// Raises the limit of descriptors as far as it goes, and computes what it and the memory allow.
    ///
    /// # Errors
    ///
    /// The descriptors do not suffice for `limits.max_sessions`, or for a single session.
    pub fn measure(settings: &Settings) -> Result<Self, TooFewDescriptors> {
        let memory = memory::available(Path::new("/"));
        Self::compute(
            raise_descriptors(),
            memory,
            &settings.limits,
            settings.herd.dials + settings.herd.moves,
        )
    }

    /// Says it in the log, on one line.
    pub fn log(&self) {
        let Self { descriptors, max_sessions, buffers } = self;
        tracing::info!(descriptors, max_sessions, buffers, "capacity");
    }

    fn compute(
        descriptors: u64,
        memory: Option<u64>,
        limits: &LimitSettings,
        moving: usize,
    ) -> Result<Self, TooFewDescriptors> {
        let reserved = DESCRIPTORS_RESERVED.saturating_add(moving as u64);
        let possible = descriptors.saturating_sub(reserved) / DESCRIPTORS_PER_SESSION;
        let possible = usize::try_from(possible).unwrap_or(usize::MAX);
        let wanted = limits.max_sessions.unwrap_or(1);
        if possible < wanted {
            let needed = reserved.saturating_add(DESCRIPTORS_PER_SESSION.saturating_mul(wanted as u64));
            return Err(TooFewDescriptors { available: descriptors, needed, sessions: wanted, moving });
        }
        let share = usize::try_from(memory.unwrap_or(MEMORY_UNKNOWN) / MEMORY_SHARE).unwrap_or(usize::MAX);
        Ok(Self {
            descriptors,
            max_sessions: limits.max_sessions.unwrap_or(possible),
            buffers: limits.buffers.unwrap_or(share.max(2 * limits.message)),
        })
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
        let Self { available, needed, sessions, moving } = self;
        let plural = if *sessions == 1 { "session needs" } else { "sessions need" };
        write!(
            f,
            "too few descriptors: {sessions} {plural} {needed} ({DESCRIPTORS_RESERVED} for the broker, {moving} for \
             herd.dials and herd.moves, {DESCRIPTORS_PER_SESSION} a session) and the hard limit is {available}; raise it (ulimit \
             -Hn, LimitNOFILE= of systemd, --ulimit nofile= of docker) or lower limits.max_sessions, herd.dials or herd.moves"
        )
    }
}

impl std::error::Error for TooFewDescriptors {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, parse};

    fn limits(written: &str) -> LimitSettings {
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\n[[pool]]\nname = \"a\"\n[[pool.backend]]\n\
             url = \"ws://127.0.0.1:1\"\n[limits]\n{written}\n"
        );
        parse(&text, &Overrides::default()).expect("a sound configuration").limits
    }

    #[test]
    fn sessions_come_from_descriptors_and_buffers_from_memory() {
        let capacity = Capacity::compute(20_000, Some(8 << 30), &limits(""), 256);
        let expected = Capacity { descriptors: 20_000, max_sessions: 9744, buffers: 2 << 30 };
        assert_eq!(capacity, Ok(expected));
    }

    #[test]
    fn what_is_configured_is_kept() {
        let limits = limits("max_sessions = 10\nbuffers = \"40MiB\"");
        let expected = Capacity { descriptors: 1024, max_sessions: 10, buffers: 40 << 20 };
        assert_eq!(Capacity::compute(1024, Some(8 << 30), &limits, 256), Ok(expected));
    }

    #[test]
    fn two_messages_always_fit() {
        let capacity = Capacity::compute(1024, Some(1 << 20), &limits(""), 256).expect("enough");
        assert_eq!(capacity.buffers, 32 << 20);
    }

    #[test]
    fn too_few_descriptors_are_refused_to_the_last_one() {
        assert_eq!(
            Capacity::compute(514, None, &limits(""), 256).map(|capacity| capacity.max_sessions),
            Ok(1)
        );
        let error = Capacity::compute(513, None, &limits(""), 256).expect_err("one is missing");
        assert_eq!((error.available, error.needed), (513, 514));

        let limits = limits("max_sessions = 100");
        assert!(Capacity::compute(256 + 256 + 200, None, &limits, 256).is_ok());
        let error = Capacity::compute(256 + 256 + 199, None, &limits, 256).expect_err("one is missing");
        assert!(error.to_string().contains("100 sessions need 712 "), "{error}");
    }

    #[test]
    fn no_figure_overflows() {
        let capacity = Capacity::compute(u64::MAX, Some(u64::MAX), &limits(""), usize::MAX);
        assert!(capacity.is_err());
        assert!(Capacity::compute(u64::MAX, Some(u64::MAX), &limits(""), 0).is_ok());
    }
}
