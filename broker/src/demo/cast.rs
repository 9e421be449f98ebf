//! The pools of the demo: what stands behind the broker, and what each is promised.

use clap::ValueEnum;

/// Backends in each pool.
pub(super) const BACKENDS_PER_POOL: usize = 3;

/// The pools, in the order in which they are shown.
pub(super) const POOLS: [Pool; 3] = [
    Pool { name: "immediate", kind: Kind::Immediate, ack_hold: "0s", promise: Promise::EveryAnswer },
    Pool { name: "async", kind: Kind::Async, ack_hold: "0s", promise: Promise::EveryAnswerOrDoubt },
    Pool { name: "async-held", kind: Kind::Async, ack_hold: "200ms", promise: Promise::EveryAnswer },
];

/// One pool of backends of the same kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pool {
    /// Its name in the broker's configuration.
    pub(crate) name: &'static str,
    /// How its backends answer.
    pub(super) kind: Kind,
    /// The broker's `ack_hold` for it.
    pub(super) ack_hold: &'static str,
    /// What `docs/guarantees.md` says about its answers.
    pub(super) promise: Promise,
}

impl Pool {
    /// The name of a backend of this pool.
    pub(super) fn backend(&self, index: usize) -> String {
        format!("{}-{}", self.name, index + 1)
    }
}

/// How a backend answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// Each message before it reads the next.
    Immediate,
    /// Each message 20 ms after it came, while it reads on.
    Async,
}

/// What happens to the answers of messages that a dying backend had read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Promise {
    /// All of them come.
    EveryAnswer,
    /// They may die with the backend, and are then counted in doubt.
    EveryAnswerOrDoubt,
}
