//! One way to a backend, and what comes of the one that gets through first.

use std::net::{IpAddr, SocketAddr};

/// A target, and where to come from; `None`: the system chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) target: SocketAddr,
    pub(super) source: Option<IpAddr>,
}

/// A connection, and what the others tell beside it.
#[derive(Debug)]
pub(super) struct Won<S> {
    pub(super) stream: S,
    pub(super) way: Way,
    /// Sources that had begun earlier and were still silent toward the same target.
    pub(super) overtaken: Vec<IpAddr>,
}
