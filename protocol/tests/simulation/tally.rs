//! What has happened in schedules, counted, so that nobody takes it for granted that it did.

use std::collections::BTreeMap;

/// Counts of what has happened.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) schedules: u64,
    happened: BTreeMap<&'static str, u64>,
}

/// What must happen in many schedules, more than once in a thousand.
const ALL: [&str; 63] = [
    "a client's connection ends at the broker",
    "a client is back",
    "a client is superseded",
    "a session is restored",
    "an attempt of long ago",
    "a client is let go by the broker",
    "a session resumed",
    "a session new",
    "a session unknown",
    "a broker is silent for the client",
    "messages unknown",
    "a message unsent",
    "a service dies",
    "a service is left",
    "a session with commits",
    "messages are committed",
    "messages are not committed",
    "a session with pongs",
    "messages are acknowledged",
    "messages are lost at the end",
    "a session without",
    "messages are marked",
    "messages may be lost",
    "a greeting",
    "an answer cut in the middle",
    "a message that two services have read",
    "a service is unfit",
    "peace",
    "a service takes its time",
    "a message takes longer than a sign of life may",
    "a ping is not answered for a later one",
    "the window is full",
    "a client reads slowly",
    "a host is stopped",
    "a host dies",
    "a dial to a host that does nothing",
    "a probe",
    "a probe is answered",
    "a probe is not answered",
    "a service is slow, and not left",
    "the only host does nothing, and is not left",
    "a host that does nothing is left",
    "a service stalls",
    "silence follows a message",
    "two services stall",
    "a dead connection is left",
    "a dead connection is left that nobody has used",
    "a service is fenced",
    "a service is fenced by its store",
    "a commit",
    "a commit that was applied already",
    "a commit said again",
    "a commit cut in the middle",
    "a message skipped",
    "a push",
    "a breach",
    "a notice of a drain",
    "a move",
    "a forced move",
    "a move that fails",
    "a dial that fails",
    "a Close of the service's",
    "a poison message",
];

impl Tally {
    pub(crate) fn count(&mut self, what: &'static str, times: u64) {
        *self.happened.entry(what).or_default() += times;
    }

    pub(crate) fn assert_that_all_happens(&self) {
        for what in ALL {
            let times = self.happened.get(what).copied().unwrap_or_default();
            assert!(times * 1000 >= self.schedules, "{what}: only {times} times in {self}");
        }
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.schedules += other.schedules;
        for (what, times) in other.happened {
            self.count(what, times);
        }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} schedules", self.schedules)?;
        self.happened.iter().try_for_each(|(what, times)| writeln!(f, "{times:>12} {what}"))
    }
}
