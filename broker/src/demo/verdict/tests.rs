use std::time::Duration;

use super::*;
use crate::api::model::operations::{CountsReply, OperationReply};
use crate::api::model::samples;
use crate::api::model::sessions::{LedgerReply, MessagesReply, SessionReply};
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
    let upstream = MessagesReply { acknowledged: 5, ..MessagesReply::default() };
    let ledger = LedgerReply { upstream, ..LedgerReply::default() };
    let broker = SessionReply { id: "5e55".to_owned(), failovers: 1, ledger, ..samples::session() };
    SessionEvidence { transcript, broker: Some(broker) }
}

fn counts(session: &mut SessionEvidence) -> &mut MessagesReply {
    &mut session.broker.as_mut().expect("set above").ledger.upstream
}

fn verdict(promise: Promise, session: SessionEvidence) -> Verdict {
    let pool = PoolEvidence { name: "pool", promise, sessions: vec![session] };
    judge(&Evidence { pools: vec![pool], strikes: Vec::new(), drains: Vec::new() })
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
    *counts(&mut session) = MessagesReply { acknowledged: 4, in_doubt: 1, ..MessagesReply::default() };
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
    assert!(!judge(&Evidence { pools: vec![pool], strikes: Vec::new(), drains: Vec::new() }).kept());
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
    let verdict = judge(&Evidence { pools: vec![pool], strikes: Vec::new(), drains: Vec::new() });
    assert!(!verdict.findings[0].kept);
}

/// A drain of `one` within the first second, of which the broker says this, and the first finding about it.
fn drain(state: OperationState, sessions: CountsReply, session: SessionEvidence) -> Finding {
    let operation = OperationReply {
        id: "drain-1".to_owned(),
        state,
        message: "one session is never quiet".to_owned(),
        elapsed_ms: 300,
        sessions,
        ..samples::operation()
    };
    let drain = Drain { pool: 0, backend: "one".to_owned(), operation };
    let backends = vec!["one".to_owned()];
    let strike = Strike { kind: StrikeKind::Drained, pool: 0, backends, at: ms(500), until: ms(1000) };
    let pool = PoolEvidence { name: "pool", promise: Promise::EveryAnswer, sessions: vec![session] };
    let evidence = Evidence { pools: vec![pool], strikes: vec![strike], drains: vec![drain] };
    let mut findings = judge(&evidence).findings.into_iter();
    findings.find(|finding| finding.sentence.starts_with("one ")).expect("a finding about the drain")
}

#[test]
fn a_drain_must_end_without_anybody_noticing() {
    let moved = CountsReply { moved: 1, ..CountsReply::default() };
    let all = [1, 2, 3, 4, 5];
    let smooth = drain(OperationState::Done, moved, session(&all));
    assert!(smooth.kept && smooth.sentence.contains("1 sessions moved in 0.3 s"), "{}", smooth.sentence);
    let mut closed = session(&all);
    closed.transcript.close("Close 1001".to_owned());
    let spoiled = [
        drain(OperationState::Done, CountsReply::default(), session(&all)),
        drain(OperationState::Done, CountsReply { forced: 1, ..moved }, session(&all)),
        drain(OperationState::Done, CountsReply { failed: 1, ..moved }, session(&all)),
        drain(OperationState::Expired, moved, session(&all)),
        drain(OperationState::Done, moved, session(&[1, 2, 4, 5])),
        drain(OperationState::Done, moved, session(&[1, 2, 2, 3, 4, 5])),
        drain(OperationState::Done, moved, closed),
    ];
    let kept: Vec<_> =
        spoiled.iter().filter(|finding| finding.kept).map(|finding| &finding.sentence).collect();
    assert!(kept.is_empty(), "{kept:?}");
    assert!(spoiled[3].sentence.contains("drain-1 is expired: one session is never quiet"));
    assert!(spoiled[4].look.as_ref().is_some_and(|look| look.contains("no answer to message 3")));
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
    let strike = |pool, kind, at| {
        let backends = vec!["one".to_owned()];
        Strike { kind, pool, backends, at: ms(at), until: ms(at + 1000) }
    };
    let killed = strike(0, StrikeKind::Killed, 100);
    let elsewhere = strike(1, StrikeKind::AllKilled, 150);
    let stopped = strike(0, StrikeKind::Stopped, 2300);
    let verdict =
        judge(&Evidence { pools: vec![pool], strikes: vec![killed, elsewhere, stopped], drains: Vec::new() });
    let shown: Vec<_> = verdict.pauses.iter().map(|(_, pauses)| pauses[0].to_string()).collect();
    assert_eq!(shown, ["-", "30/30/30", "90/90/90", "-"]);
}
