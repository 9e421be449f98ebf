//! One test for each arrow of the diagram in [`super`], and for each thing that is refused.

use super::*;
use crate::steadfast_v1::service_wire::{Commit, Envelope, Malformed};

const SESSION: SessionId = [7; 16];

fn waiting() -> Service {
    Service::new(Limits { capsule: 8, message: 16 })
}

/// Attached with these numbers.
fn serving(applied: u64, committed: u64) -> Service {
    let mut service = waiting();
    let attach = Attach { epoch: 3, applied, committed, session: SESSION, capsule: Some(b"state") };
    service.handle_message(false, &attach.encode()).expect("an ATTACH");
    service
}

fn text(payload: &str) -> Output<'_> {
    Output { text: true, payload: payload.as_bytes() }
}

fn notice(applied: u64, draining: bool) -> [u8; 20] {
    Notice { nonce: 1, applied, draining }.encode()
}

fn upto(upto: u64) -> Draft<'static> {
    Draft { upto, ..Draft::default() }
}

fn decoded(message: &[u8]) -> Commit<'_> {
    match Envelope::decode(message).expect("an envelope") {
        Envelope::Commit(commit) => commit,
        other => panic!("a COMMIT, not {other:?}"),
    }
}

#[test]
fn attach_comes_first_and_says_where_the_session_stands() {
    let mut service = waiting();
    assert_eq!((service.session(), service.epoch(), service.seq()), (None, 0, 0));
    let attach = Attach { epoch: 3, applied: 4, committed: 9, session: SESSION, capsule: None };
    let expected = Attachment { session: SESSION, epoch: 3, applied: 4, committed: 9, capsule: None };
    assert_eq!(service.handle_message(false, &attach.encode()), Ok(Input::Attached(expected)));
    assert_eq!((service.session(), service.epoch()), (Some(SESSION), 3));
    assert_eq!((service.seq(), service.consumed(), service.number(), service.applied()), (9, 9, 4, 4));
}

#[test]
fn an_empty_capsule_is_not_a_missing_one() {
    let mut service = waiting();
    let attach = Attach { epoch: 1, applied: 0, committed: 0, session: SESSION, capsule: Some(b"") };
    let Ok(Input::Attached(attachment)) = service.handle_message(false, &attach.encode()) else {
        panic!("attached");
    };
    assert_eq!(attachment.capsule, Some(Vec::new()));
}

#[test]
fn anything_else_first_is_a_breach() {
    assert_eq!(waiting().handle_message(true, b"hello"), Err(Breach::Text));
    assert_eq!(waiting().handle_message(false, b""), Err(Breach::Attach(Malformed::Short)));
    assert_eq!(waiting().handle_message(false, b"hello"), Err(Breach::Attach(Malformed::Kind)));
}

#[test]
fn messages_are_counted_from_what_is_committed() {
    let mut service = serving(4, 9);
    assert_eq!(service.handle_message(true, b"A"), Ok(Input::Message(10)), "what it says does not matter");
    assert_eq!(service.handle_message(false, b""), Ok(Input::Message(11)));
    assert_eq!(service.seq(), 11);
}

#[test]
fn a_commit_says_what_it_was_told() {
    let mut service = serving(4, 9);
    service.handle_message(true, b"question").expect("a message");
    let outputs = [text("answer"), Output { text: false, payload: &[1, 2] }];
    let draft = Draft { upto: 10, capsule: Some(b"new"), outputs: &outputs, prompt: true };
    let Numbered { number, message } = service.commit(&draft).expect("a commit");
    let commit = decoded(&message);
    assert_eq!((number, commit.number, commit.upto), (5, 5, 10));
    assert_eq!((commit.capsule, commit.prompt), (Some(&b"new"[..]), true));
    assert_eq!(commit.outputs.collect::<Vec<_>>(), outputs);
    assert_eq!((service.consumed(), service.number(), service.applied()), (10, 5, 4));
}

#[test]
fn a_commit_may_consume_nothing_and_several_messages_at_once() {
    let mut service = serving(0, 0);
    assert_eq!(service.commit(&upto(0)).map(|commit| commit.number), Ok(1));
    for _ in 0..3 {
        service.handle_message(true, b"").expect("a message");
    }
    assert_eq!(service.commit(&upto(3)).map(|commit| commit.number), Ok(2));
}

#[test]
fn what_the_broker_would_not_take_is_refused_and_changes_nothing() {
    let mut service = serving(4, 9);
    service.handle_message(true, b"").expect("a message");
    assert_eq!(service.commit(&upto(11)), Err(Misuse::Future { upto: 11, seq: 10 }));
    assert_eq!(service.commit(&upto(8)), Err(Misuse::Backwards { upto: 8, consumed: 9 }));
    let capsule = Draft { capsule: Some(&[0; 9]), ..upto(10) };
    assert_eq!(service.commit(&capsule), Err(Misuse::CapsuleTooBig { len: 9, limit: 8 }));
    let long = [text("seventeen letters")];
    let output = Draft { outputs: &long, ..upto(10) };
    assert_eq!(service.commit(&output), Err(Misuse::OutputTooBig { len: 17, limit: 16 }));
    assert_eq!(service.push(&long), Err(Misuse::OutputTooBig { len: 17, limit: 16 }));
    let many = vec![text("sixteen letters."); 50];
    let limit = Limits { capsule: 8, message: 16 }.envelope();
    let envelope = Draft { outputs: &many, ..upto(10) };
    assert_eq!(service.commit(&envelope), Err(Misuse::EnvelopeTooBig { len: 24 + 50 * 21, limit }));
    assert_eq!((service.number(), service.consumed()), (4, 9));
    assert_eq!(service.commit(&upto(10)).map(|commit| commit.number), Ok(5));
}

#[test]
fn nothing_can_be_sent_before_the_session_has_come() {
    let mut service = waiting();
    assert_eq!(service.commit(&upto(0)), Err(Misuse::NotAttached));
    assert_eq!(service.repeat(1, &upto(0)), Err(Misuse::NotAttached));
    assert_eq!(service.push(&[]), Err(Misuse::NotAttached));
}

#[test]
fn a_repeated_commit_may_lie_ahead_and_what_it_consumed_is_skipped() {
    let mut service = serving(4, 9);
    assert_eq!(service.repeat(4, &upto(9)), Ok(None), "the broker has it");
    assert_eq!(service.repeat(6, &upto(12)), Err(Misuse::Gap { number: 6, next: 5 }));
    let repeated = service.repeat(5, &upto(11)).expect("the next one").expect("a message");
    assert_eq!((repeated.number, decoded(&repeated.message).upto), (5, 11));
    assert_eq!(service.commit(&upto(10)), Err(Misuse::Backwards { upto: 10, consumed: 11 }));
    assert_eq!(service.commit(&upto(12)), Err(Misuse::Future { upto: 12, seq: 9 }));
    let seen: Vec<_> = (0..3).map(|_| service.handle_message(true, b"").expect("a message")).collect();
    assert_eq!(seen, [Input::Skipped(10), Input::Skipped(11), Input::Message(12)]);
    assert_eq!(service.commit(&upto(12)).map(|commit| commit.number), Ok(6));
}

#[test]
fn while_messages_are_skipped_outputs_may_be_committed() {
    let mut service = serving(0, 0);
    service.repeat(1, &upto(2)).expect("the next one");
    let outputs = [text("tick")];
    let number = service.commit(&Draft { outputs: &outputs, ..upto(2) }).map(|commit| commit.number);
    assert_eq!(number, Ok(2));
}

#[test]
fn notices_tell_what_is_applied_and_of_a_drain() {
    let mut service = serving(4, 9);
    service.commit(&upto(9)).expect("a commit");
    let told = service.handle_ping(&notice(5, false)).expect("a notice");
    assert_eq!(told.map(|notice| notice.applied), Some(5));
    assert_eq!((service.applied(), service.is_draining()), (5, false));
    service.handle_ping(&notice(5, true)).expect("a notice");
    assert!(service.is_draining());
    assert_eq!(service.handle_ping(b"are you there?"), Ok(None));
    assert!(service.is_draining(), "that was no notice");
    service.handle_ping(&notice(5, false)).expect("a notice");
    assert!(!service.is_draining(), "it stays after all");
    assert_eq!(waiting().handle_ping(&notice(9, true)), Ok(None), "too early to mean anything");
}

#[test]
fn a_notice_of_commits_that_were_never_made_is_a_breach() {
    let mut service = serving(4, 9);
    assert_eq!(service.handle_ping(&notice(5, false)), Err(Breach::Applied { told: 5, made: 4 }));
}

#[test]
fn a_push_carries_its_messages_and_no_number() {
    let mut service = serving(4, 9);
    let message = service.push(&[text("news")]).expect("a push");
    match Envelope::decode(&message).expect("an envelope") {
        Envelope::Push(outputs) => assert_eq!(outputs.collect::<Vec<_>>(), [text("news")]),
        other => panic!("a PUSH, not {other:?}"),
    }
    assert_eq!(service.commit(&upto(9)).map(|commit| commit.number), Ok(5));
}
