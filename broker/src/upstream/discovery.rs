//! Backends found by name: what is asked of the DNS, and what becomes of its answers.
//! What is found is handed to the pool, which decides.

pub(super) mod follower;
pub(super) mod resolver;
mod srv;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::Duration;

/// The most backends that one name brings.
pub(super) const FOUND_MAX: usize = 1024;

/// One backend of a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FoundBackend {
    /// `host/ip:port`, where host is the name asked for or an SRV record's target.
    pub(super) name: String,
    pub(super) address: SocketAddr,
    /// An SRV record's share, 1 to 256.
    pub(super) weight: Option<u32>,
    /// An SRV record with another priority than the lowest.
    pub(super) backup: bool,
}

/// What a name stands for at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NameAnswer {
    /// At least one and at most [`FOUND_MAX`], primaries first, by address; each address once.
    pub(super) found: Vec<FoundBackend>,
    /// How many more there were.
    pub(super) left_out: usize,
    /// How long it holds, as the records say.
    pub(super) ttl: Duration,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LookupError {
    /// The DNS says that there is no such name, or that it has no such records.
    Vanished(String),
    /// The DNS says nothing of the name: no answer, a server's failure or refusal.
    Failed(String),
}

impl FoundBackend {
    fn new(host: &str, address: SocketAddr) -> FoundBackend {
        FoundBackend { name: format!("{host}/{address}"), address, weight: None, backup: false }
    }
}

impl NameAnswer {
    /// Of two entries with one address the primary stays, so that no backend counts twice.
    fn new(mut found: Vec<FoundBackend>, ttl: Duration) -> NameAnswer {
        found.sort_by(|a, b| (a.address, a.backup, &a.name).cmp(&(b.address, b.backup, &b.name)));
        found.dedup_by_key(|found| found.address);
        found.sort_by_key(|found| (found.backup, found.address));
        let left_out = found.len().saturating_sub(FOUND_MAX);
        found.truncate(FOUND_MAX);
        NameAnswer { found, left_out, ttl }
    }
}
