//! Whether what `docs/guarantees.md` promises was kept. Pure: evidence in, verdict out.

use super::cast::Promise;
use super::drain::Drain;
use super::evidence::{Evidence, PoolEvidence, SessionEvidence, Tally};
use super::pause::{Pauses, Strike, StrikeKind};
use crate::operations::OperationState;

/// The judgement.
#[derive(Debug)]
pub(super) struct Verdict {
    /// Each pool's name and figures.
    pub(super) pools: Vec<(&'static str, Tally)>,
    /// The pauses of each kind of strike, for each pool.
    pub(super) pauses: Vec<(StrikeKind, Vec<Pauses>)>,
    /// Each promise, kept or broken.
    pub(super) findings: Vec<Finding>,
}

/// One promise and what became of it.
#[derive(Debug)]
pub(super) struct Finding {
    /// Whether it was kept.
    pub(super) kept: bool,
    /// The facts, in a sentence.
    pub(super) sentence: String,
    /// The first session in which it was broken.
    pub(super) look: Option<String>,
}

impl Verdict {
    /// Whether every promise was kept.
    pub(super) fn kept(&self) -> bool {
        self.findings.iter().all(|finding| finding.kept)
    }

    /// The figures of all pools together.
    pub(super) fn total(&self) -> Tally {
        self.pools.iter().map(|(_, tally)| *tally).sum()
    }
}

/// Judges.
pub(super) fn judge(evidence: &Evidence) -> Verdict {
    let pools: Vec<_> = evidence.pools.iter().map(|pool| (pool.name, pool.tally())).collect();
    let pauses = StrikeKind::ALL.map(|kind| (kind, pauses(evidence, kind))).into();
    let mut findings: Vec<_> = evidence.pools.iter().map(answers).collect();
    findings.extend([order(evidence), content(evidence), repeats(evidence), clients(evidence)]);
    findings.extend(evidence.drains.iter().map(|drain| drained(evidence, drain)));
    findings.push(moves(&pools));
    Verdict { pools, pauses, findings }
}

fn answers(pool: &PoolEvidence) -> Finding {
    let Tally { sent, lost, doubtful, .. } = pool.tally();
    let sentence = match (lost, doubtful) {
        (0, _) if sent == 0 => "no message was sent".to_owned(),
        (0, 0) => format!("each of {sent} messages got its answer"),
        (0, _) => format!(
            "each of {sent} messages got its answer, but for {doubtful} whose backend died at work on them; the \
             broker counts them in doubt"
        ),
        (_, _) => match pool.promise {
            Promise::EveryAnswer => format!("{lost} of {sent} messages are lost: they got no answer"),
            Promise::EveryAnswerOrDoubt => format!(
                "{lost} of {sent} messages are lost: they got no answer, and the broker does not count them in doubt"
            ),
        },
    };
    let look = pool.first(|tally| tally.lost > 0).map(SessionEvidence::describe);
    Finding { kept: lost == 0 && sent > 0, sentence: format!("{}: {sentence}", pool.name), look }
}

fn order(evidence: &Evidence) -> Finding {
    evidence.finding(
        |tally| tally.reordered,
        |_| "every client got its answers in the order of its messages".to_owned(),
        |count| format!("answers that came after the answer to a later message: {count}"),
    )
}

fn content(evidence: &Evidence) -> Finding {
    evidence.finding(
        |tally| tally.altered,
        |_| "every answer was to the letter that of a message of its client".to_owned(),
        |count| format!("answers that repeat no message of their client: {count}"),
    )
}

fn repeats(evidence: &Evidence) -> Finding {
    evidence.finding(
        |tally| tally.unexplained,
        |total| match total.twice {
            0 => "no answer came twice".to_owned(),
            twice => {
                format!("answers that came twice: {twice}, no more than the broker replayed in any session")
            }
        },
        |count| format!("answers that came twice though the broker did not replay as many messages: {count}"),
    )
}

fn clients(evidence: &Evidence) -> Finding {
    evidence.finding(
        |tally| tally.closed,
        |_| "no client's connection ended".to_owned(),
        |count| format!("clients whose connection ended: {count}"),
    )
}

/// A drained backend ends up empty, and nobody notices.
fn drained(evidence: &Evidence, drain: &Drain) -> Finding {
    let ours = |strike: &&Strike| strike.kind == StrikeKind::Drained && strike.pool == drain.pool;
    let strike = evidence.strikes.iter().find(ours);
    let sessions = evidence.pools.get(drain.pool).into_iter().flat_map(|pool| &pool.sessions);
    let noticed = |session: &&SessionEvidence| strike.is_some_and(|strike| notices(strike, session));
    let look = sessions.clone().find(noticed).map(SessionEvidence::describe);
    let (Drain { backend, operation, .. }, noticed) = (drain, sessions.filter(noticed).count());
    let (moves, seconds) = (operation.sessions, operation.elapsed_ms as f64 / 1e3);
    let smooth = moves.moved > 0 && moves.forced + moves.failed + moves.remaining == 0;
    let sentence = match (operation.state, noticed) {
        (OperationState::Done, 0) if smooth => format!(
            "{backend} was drained: {} sessions moved in {seconds:.1} s; no client was closed, nothing was lost or came twice",
            moves.moved
        ),
        (OperationState::Done, 0) => format!(
            "{backend} was drained, but of its sessions {} moved, {} of them without a quiet moment; {} failed, {} stayed",
            moves.moved, moves.forced, moves.failed, moves.remaining
        ),
        (OperationState::Done, _) => {
            format!(
                "{backend} was drained, and {noticed} clients were closed, missed an answer or got one twice"
            )
        }
        (state, _) => {
            format!("{backend} was not drained; {} is {}: {}", operation.id, state.name(), operation.message)
        }
    };
    Finding { kept: operation.state == OperationState::Done && smooth && noticed == 0, sentence, look }
}

/// Whether a session that was on the drained backend has noticed it.
fn notices(strike: &Strike, session: &SessionEvidence) -> bool {
    let transcript = &session.transcript;
    let spoiled = transcript.unanswered_until(strike.until) + transcript.twice_until(strike.until);
    strike.hits(transcript) && (spoiled > 0 || transcript.closed().is_some())
}

/// Without this, a demo in which nothing happened would pass.
fn moves(pools: &[(&'static str, Tally)]) -> Finding {
    let still = pools.iter().find(|(_, tally)| tally.failovers == 0);
    let sentence = match still {
        Some((name, _)) => format!("{name}: no session moved to another backend, so nothing was shown"),
        None => {
            let failovers: usize = pools.iter().map(|(_, tally)| tally.failovers).sum();
            format!("sessions moved {failovers} times to another backend")
        }
    };
    Finding { kept: still.is_none(), sentence, look: None }
}

/// The pauses of one kind of strike, for each pool.
fn pauses(evidence: &Evidence, kind: StrikeKind) -> Vec<Pauses> {
    let in_pool = |(index, pool): (usize, &PoolEvidence)| {
        let strikes = evidence.strikes.iter().filter(|strike| strike.pool == index && strike.kind == kind);
        let transcripts = || pool.sessions.iter().map(|session| &session.transcript);
        strikes.flat_map(|strike| Pauses::of(strike, transcripts())).collect()
    };
    evidence.pools.iter().enumerate().map(in_pool).collect()
}

impl Evidence {
    /// A promise about every session, broken when `fault` counts anything in any of them.
    fn finding(
        &self,
        fault: impl Fn(&Tally) -> usize,
        kept: impl FnOnce(&Tally) -> String,
        broken: impl FnOnce(usize) -> String,
    ) -> Finding {
        let total: Tally = self.pools.iter().map(PoolEvidence::tally).sum();
        let mut firsts = self.pools.iter().filter_map(|pool| pool.first(|tally| fault(tally) > 0));
        match firsts.next() {
            None => Finding { kept: true, sentence: kept(&total), look: None },
            Some(session) => {
                Finding { kept: false, sentence: broken(fault(&total)), look: Some(session.describe()) }
            }
        }
    }
}

#[cfg(test)]
mod tests;
