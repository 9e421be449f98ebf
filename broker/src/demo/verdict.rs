//! Whether what `docs/guarantees.md` promises was kept. Pure: evidence in, verdict out.

use super::cast::Promise;
use super::evidence::{Evidence, PoolEvidence, SessionEvidence, Tally};
use super::pause::{Pauses, StrikeKind};

/// The judgement.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// Each pool's name and figures.
    pub(crate) pools: Vec<(&'static str, Tally)>,
    /// The pauses of each kind of strike, for each pool.
    pub(crate) pauses: Vec<(StrikeKind, Vec<Pauses>)>,
    /// Each promise, kept or broken.
    pub(crate) findings: Vec<Finding>,
}

/// One promise and what became of it.
#[derive(Debug)]
pub(crate) struct Finding {
    /// Whether it was kept.
    pub(crate) kept: bool,
    /// The facts, in a sentence.
    pub(crate) sentence: String,
    /// The first session in which it was broken.
    pub(crate) look: Option<String>,
}

impl Verdict {
    /// Whether every promise was kept.
    pub(crate) fn kept(&self) -> bool {
        self.findings.iter().all(|finding| finding.kept)
    }

    /// The figures of all pools together.
    pub(crate) fn total(&self) -> Tally {
        self.pools.iter().map(|(_, tally)| *tally).sum()
    }
}

/// Judges.
pub(crate) fn judge(evidence: &Evidence) -> Verdict {
    let pools: Vec<_> = evidence.pools.iter().map(|pool| (pool.name, pool.tally())).collect();
    let pauses = StrikeKind::ALL.map(|kind| (kind, pauses(evidence, kind))).into();
    let mut findings: Vec<_> = evidence.pools.iter().map(answers).collect();
    findings.extend([order(evidence), content(evidence), repeats(evidence), clients(evidence)]);
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
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::demo::admin::{Counts, Ledger, Session};
    use crate::demo::pause::Strike;
    use crate::demo::transcript::Transcript;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A session of five messages in which the answers to these seqs came, in this order, and of which
    /// the broker knows what is usual: all acknowledged, moved once.
    fn session(answers: &[usize]) -> SessionEvidence {
        let mut transcript = Transcript::new("client".to_owned());
        let messages: Vec<_> = (0..5).map(|index| transcript.send(ms(index * 100))).collect();
        for seq in answers {
            transcript.receive(&format!("one: {}", messages[seq - 1]), ms(500));
        }
        let up = Counts { acknowledged: 5, replayed: 0, in_doubt: 0 };
        let broker = Session {
            id: "5e55".to_owned(),
            pool: "pool".to_owned(),
            client: ([127, 0, 0, 1], 1).into(),
            state: "relaying".to_owned(),
            failovers: 1,
            ledger: Ledger { up },
        };
        SessionEvidence { transcript, broker: Some(broker) }
    }

    fn counts(session: &mut SessionEvidence) -> &mut Counts {
        &mut session.broker.as_mut().expect("set above").ledger.up
    }

    fn verdict(promise: Promise, session: SessionEvidence) -> Verdict {
        let pool = PoolEvidence { name: "pool", promise, sessions: vec![session] };
        judge(&Evidence { pools: vec![pool], strikes: Vec::new() })
    }

    /// The one broken finding, and where to look.
    fn broken(promise: Promise, session: SessionEvidence) -> String {
        let verdict = verdict(promise, session);
        assert!(!verdict.kept());
        let mut broken = verdict.findings.into_iter().filter(|finding| !finding.kept);
        let first = broken.next().expect("a broken promise");
        let first = format!("{}; {}", first.sentence, first.look.unwrap_or_default());
        assert_eq!(broken.next().map(|finding| finding.sentence), None, "beside: {first}");
        first
    }

    #[test]
    fn all_is_kept_when_every_answer_came_once_and_in_order() {
        for promise in [Promise::EveryAnswer, Promise::EveryAnswerOrDoubt] {
            let verdict = verdict(promise, session(&[1, 2, 3, 4, 5]));
            assert!(verdict.kept(), "{:?}", verdict.findings);
            let total = verdict.total();
            assert_eq!((total.sent, total.answered, total.lost, total.doubtful), (5, 5, 0, 0));
        }
    }

    #[test]
    fn a_missing_answer_is_a_loss() {
        let said = broken(Promise::EveryAnswer, session(&[1, 2, 4, 5]));
        assert!(said.contains("1 of 5 messages are lost"), "{said}");
        assert!(said.contains("session 5e55") && said.contains("no answer to message 3"), "{said}");
    }

    #[test]
    fn in_doubt_does_not_excuse_where_every_answer_is_promised() {
        let mut session = session(&[1, 2, 4, 5]);
        counts(&mut session).in_doubt = 1;
        assert!(broken(Promise::EveryAnswer, session).contains("1 of 5 messages are lost"));
    }

    #[test]
    fn in_doubt_excuses_as_many_as_were_counted() {
        let mut excused = session(&[1, 2, 5]);
        counts(&mut excused).in_doubt = 2;
        let judged = verdict(Promise::EveryAnswerOrDoubt, excused);
        assert!(judged.kept());
        assert_eq!((judged.total().doubtful, judged.total().lost), (2, 0));

        let mut too_many = session(&[1, 2]);
        counts(&mut too_many).in_doubt = 2;
        let said = broken(Promise::EveryAnswerOrDoubt, too_many);
        assert!(said.contains("1 of 5 messages are lost"), "{said}");
    }

    #[test]
    fn what_was_never_acknowledged_is_not_in_doubt() {
        let mut session = session(&[1, 2, 3, 4]);
        *counts(&mut session) = Counts { acknowledged: 4, replayed: 0, in_doubt: 1 };
        assert!(broken(Promise::EveryAnswerOrDoubt, session).contains("1 of 5 messages are lost"));
    }

    #[test]
    fn answers_out_of_order_are_told() {
        let said = broken(Promise::EveryAnswer, session(&[1, 3, 2, 4, 5]));
        assert!(said.contains("a later message: 1"), "{said}");
    }

    #[test]
    fn answers_may_come_twice_when_they_were_replayed() {
        let mut replayed = session(&[1, 2, 3, 3, 4, 5]);
        counts(&mut replayed).replayed = 1;
        assert!(verdict(Promise::EveryAnswer, replayed).kept());
        let said = broken(Promise::EveryAnswer, session(&[1, 2, 3, 3, 4, 5]));
        assert!(said.contains("did not replay as many messages: 1"), "{said}");
    }

    #[test]
    fn a_replay_in_one_session_does_not_explain_a_repeat_in_another() {
        let mut replayed = session(&[1, 2, 3, 4, 5]);
        counts(&mut replayed).replayed = 9;
        let sessions = vec![replayed, session(&[1, 1, 2, 3, 4, 5])];
        let pool = PoolEvidence { name: "pool", promise: Promise::EveryAnswer, sessions };
        assert!(!judge(&Evidence { pools: vec![pool], strikes: Vec::new() }).kept());
    }

    #[test]
    fn foreign_answers_are_told() {
        let mut session = session(&[1, 2, 3, 4, 5]);
        session.transcript.receive("one: client 1 gibberish", ms(600));
        assert!(broken(Promise::EveryAnswer, session).contains("repeat no message of their client: 1"));
    }

    #[test]
    fn closed_clients_are_told() {
        let mut session = session(&[1, 2, 3, 4, 5]);
        session.transcript.close("Close 1013 no backend".to_owned());
        let said = broken(Promise::EveryAnswer, session);
        assert!(said.contains("ended by: Close 1013 no backend"), "{said}");
    }

    #[test]
    fn a_demo_without_a_failover_shows_nothing() {
        let mut still = session(&[1, 2, 3, 4, 5]);
        still.broker.as_mut().expect("set above").failovers = 0;
        assert!(broken(Promise::EveryAnswer, still).contains("no session moved"));
    }

    #[test]
    fn a_session_that_the_broker_has_forgotten_gets_no_excuse() {
        let mut session = session(&[1, 2, 3, 4]);
        session.broker = None;
        let verdict = verdict(Promise::EveryAnswerOrDoubt, session);
        assert!(!verdict.findings[0].kept);
        assert!(verdict.findings[0].look.as_ref().is_some_and(|look| look.contains("gone from the broker")));
    }

    #[test]
    fn a_pool_that_sent_nothing_fails() {
        let pool = PoolEvidence { name: "pool", promise: Promise::EveryAnswer, sessions: Vec::new() };
        let verdict = judge(&Evidence { pools: vec![pool], strikes: Vec::new() });
        assert!(!verdict.findings[0].kept);
    }

    #[test]
    fn pauses_are_told_by_pool_and_kind() {
        let mut transcript = Transcript::new("client".to_owned());
        for (sent, answered) in [(0, 1), (200, 230), (2400, 2490)] {
            let message = transcript.send(ms(sent));
            transcript.receive(&format!("one: {message}"), ms(answered));
        }
        let sessions = vec![SessionEvidence { transcript, broker: None }];
        let pool = PoolEvidence { name: "pool", promise: Promise::EveryAnswer, sessions };
        let strike = |pool, kind, at| Strike { kind, pool, backends: vec!["one".to_owned()], at: ms(at) };
        let killed = strike(0, StrikeKind::Killed, 100);
        let elsewhere = strike(1, StrikeKind::AllKilled, 150);
        let stopped = strike(0, StrikeKind::Stopped, 2300);
        let verdict = judge(&Evidence { pools: vec![pool], strikes: vec![killed, elsewhere, stopped] });
        let shown: Vec<_> = verdict.pauses.iter().map(|(_, pauses)| pauses[0].to_string()).collect();
        assert_eq!(shown, ["30/30/30", "90/90/90", "-"]);
    }
}
