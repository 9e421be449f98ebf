//! What the driver knows of an end that says nothing: from the kernel, from other sessions, from checks and
//! from probes.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use steadfast_kernel_socket::Support;
use steadfast_protocol::session::{Evidence, Judgement, Session};
use steadfast_protocol::time::Time;

use crate::clock;
use crate::config::settings::{Check, Health};
use crate::metric;
use crate::session::registry::{Core, Entry};
use crate::upstream::approach::Approach;
use crate::upstream::backend::Backend;
use crate::upstream::health::probe::life;
use crate::upstream::pool::PoolSnapshot;

use super::socket::SocketSide;
use super::{Io, blame};

/// Timeouts in a row without an answer, and probes, from which on a connection may be dead.
const RETRANSMITS: u8 = 3;
const PROBES: u8 = 2;

/// The least age of the last acknowledgement at which it is. A host that lives answers probes of a closed window only once
/// in half a second (`net.ipv4.tcp_invalid_ratelimit`), so that two in a row may get no answer.
const AGE_MIN: Duration = Duration::from_secs(1);

/// What this machine's kernel can say of connections.
static SUPPORT: OnceLock<Support> = OnceLock::new();

/// Finds out what the kernel can say. Takes some milliseconds.
pub(crate) fn test_kernel() {
    let support = *SUPPORT.get_or_init(Support::test);
    if support.ages {
        tracing::debug!(?support, "the kernel says whether connections are dead");
    } else {
        tracing::warn!(
            ?support,
            "the kernel does not say whether a connection is dead: a backend whose host has vanished is left \
             when it is mute to all its sessions, and a client's when it misses its pong"
        );
    }
}

impl Io {
    /// The backend owes something and says nothing. True: the session has left it.
    pub(super) fn judge_silence(&mut self, entry: &Arc<Entry>, core: &mut Core, now: Time) -> bool {
        let Some(backend) = core.lease.as_ref().map(|lease| Arc::clone(lease.backend())) else {
            return false;
        };
        // A timer may come before the news that there is something to read, as when the broker was stopped for a while.
        if self.backend.as_ref().is_some_and(|side| side.stream.has_something_to_read()) {
            return false;
        }
        let present = entry.binding.pool.snapshot();
        let limit = present.session.ack_timeout;
        let dead = self.backend.as_mut().is_some_and(|side| is_dead(side, limit));
        let shared = present.settings.shared_address;
        let lived = if shared { None } else { backend.life.last() };
        if !shared {
            probe(&backend, &present, entry, (now, lived));
        }
        let patience = if shared { entry.binding.pool.pongs.patience(limit) } else { limit };
        // Behind a shared address stands another process, or the same one anew.
        let other = shared || self.holds_successor() || entry.binding.pool.has_other(now, backend.id);
        let judgement = core.machine.handle_evidence(now, &Evidence { dead, lived, patience, other });
        self.follow_judgement(entry, core, (judgement, &backend, dead), now)
    }

    fn follow_judgement(
        &mut self,
        entry: &Entry,
        core: &mut Core,
        (judgement, backend, dead): (Judgement, &Backend, bool),
        now: Time,
    ) -> bool {
        let (session, pool, name) = (entry.name(), &*entry.binding.pool.name, &*backend.name);
        match judgement {
            Judgement::Stays => return false,
            Judgement::Follows => {
                tracing::warn!(
                    session,
                    pool,
                    backend = name,
                    "a second backend is silent on the same message"
                );
                if let Some(before) = self.moving.as_ref().and_then(|moving| moving.just_failed.as_ref()) {
                    before.pardon();
                }
                return false;
            }
            Judgement::Left { blamed } => {
                // A connection may die alone; that of a host that is gone does not.
                let alone =
                    backend.life.last_heard().is_some_and(|at| now.since(at) < self.ack_timeout(entry));
                tracing::warn!(session, pool, backend = name, dead, blamed, "backend is silent, and left");
                if (blamed && !entry.binding.pool.snapshot().settings.shared_address) || (dead && !alone) {
                    backend.penalise(now);
                    blame::at_once(entry, core, now);
                }
            }
        }
        // Whom to blame for it is settled.
        while let Some(event) = core.machine.poll_event() {
            self.report(entry, core, &event);
        }
        true
    }

    pub(super) fn ack_timeout(&self, entry: &Entry) -> Duration {
        entry.binding.pool.snapshot().session.ack_timeout
    }

    /// The backend talks and has answered no ping for long.
    pub(super) fn judge_fitness(&self, entry: &Entry, core: &mut Core, now: Time) {
        if entry.binding.pool.pongs.ever_came() {
            core.machine.set_fit();
        } else {
            core.machine.set_unfit(now);
        }
    }

    /// The client owes an answer.
    pub(super) fn judge_client(&mut self, entry: &Entry, core: &mut Core, now: Time) {
        let limit = entry.binding.pool.snapshot().session.client_pong;
        if self.client.as_mut().is_some_and(|side| is_dead(side, limit)) {
            core.machine.handle_client_dead(now);
        }
    }
}

fn support() -> Support {
    SUPPORT.get().copied().unwrap_or_default()
}

/// Whether nothing that was sent is even taken by the peer's host, for `limit` at the least. Before it can be
/// said, the kernel must be asking.
fn is_dead(side: &mut SocketSide, limit: Duration) -> bool {
    if !support().ages {
        return false;
    }
    if !side.asking {
        // In whole seconds, as the kernel has them.
        let every = (limit / 3).max(Duration::from_secs(1));
        side.asking = side.stream.set_keepalive(every).is_ok();
    }
    side.stream
        .tcp_state()
        .is_ok_and(|state| shows_death((state.retransmits, state.probes), state.last_ack_age, limit))
}

/// `tries`: retransmissions and probes in a row without an answer; `age`: of the last acknowledgement.
fn shows_death((retransmits, probes): (u8, u8), age: Duration, limit: Duration) -> bool {
    (retransmits >= RETRANSMITS || probes >= PROBES) && age >= limit.max(AGE_MIN)
}

/// Asks a backend of which nobody hears anything, unless its checks do so often enough.
fn probe(
    backend: &Arc<Backend>,
    present: &PoolSnapshot,
    entry: &Arc<Entry>,
    (now, lived): (Time, Option<Time>),
) {
    let half = present.session.ack_timeout / 2;
    // The question comes every half of the time, or a little sooner; an answer must not be older than the whole.
    let interval = half * 3 / 4;
    let checked = present.settings.health.as_ref().is_some_and(|health| is_enough(health, half));
    let heard = lived.is_some_and(|at| now.since(at) < interval);
    if !present.settings.probe || checked || heard || !backend.life.begins_probe(now, interval) {
        return;
    }
    metric::PROBES.count(present.settings.name.clone());
    let (backend, sources, manner) =
        (Arc::clone(backend), entry.binding.pool.sources(), present.dialing.manner);
    let tls = present.tls.clone().filter(|_| backend.tls);
    tokio::spawn(async move {
        let (history, tls) = (&backend.history, tls.as_deref());
        let approach = Approach { sources: &sources, history, manner, tls };
        if life::answers((&backend.host, backend.port), approach, half).await {
            backend.life.answered(clock::now());
        }
    });
}

/// A connection that is accepted is no sign of life, since the kernel does that.
fn is_enough(health: &Health, half: Duration) -> bool {
    !matches!(health.check, Check::Tcp) && health.interval <= half
}

/// What a session knows of its pool when it has a backend, and its lease of the session.
pub(super) fn tell_fitness(entry: &Entry, core: &mut Core) {
    let messages = messages(&core.machine);
    if let Some(lease) = &mut core.lease {
        lease.begins(messages);
    }
    let pongs = &entry.binding.pool.pongs;
    if pongs.ever_came() {
        core.machine.set_fit();
    } else if pongs.only_missed() {
        core.machine.set_unproven();
    }
}

/// A backend has said something to a session.
pub(super) fn note_life(core: &mut Core, now: Time) {
    let Core { lease, machine, .. } = core;
    if let Some(lease) = lease {
        lease.backend().life.heard(now);
        lease.heard(now, || messages(machine));
    }
}

/// Messages that were handled, or have come, in all the session's life.
fn messages(machine: &Session) -> u64 {
    let ledger = machine.ledger();
    ledger.upstream.acknowledged + ledger.downstream.forwarded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_answers_probes_as_seldom_as_it_may_lives() {
        let shows =
            |tries, age, limit| shows_death(tries, Duration::from_millis(age), Duration::from_millis(limit));
        // Two probes within the half second that may pass between two answers.
        assert!(!shows((0, 2), 500, 400));
        assert!(shows((0, 2), 1000, 400) && shows((3, 0), 1000, 400));
        assert!(!shows((0, 2), 1000, 10_000) && shows((0, 2), 10_000, 10_000));
        assert!(!shows((2, 1), 60_000, 400), "one probe, or a retransmission, says nothing");
    }
}
