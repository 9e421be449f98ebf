//! Arbitrary bytes as messages of `steadfast.v1`, from whatever peer: nothing panics, what is decoded lies
//! within the message and means the same when it is encoded again, and no backend is offered an entry of ours.
#![no_main]

use libfuzzer_sys::fuzz_target;
use steadfast_protocol::steadfast_v1::NUMBER_MAX;
use steadfast_protocol::steadfast_v1::client_wire::{FromBroker, FromClient, Offer, TEXT_MAX, Token};
use steadfast_protocol::steadfast_v1::service_wire::{
    Attach, Commit, Envelope, EnvelopeWriter, Notice, Outputs,
};

/// Bytes before a COMMIT's capsule.
const COMMIT_HEAD: usize = 24;

/// Bytes before an output's payload.
const OUTPUT_HEAD: usize = 5;

fn envelope(bytes: &[u8]) {
    match Envelope::decode(bytes) {
        Ok(Envelope::Commit(commit)) => self::commit(bytes, commit),
        Ok(Envelope::Push(outputs)) => {
            assert_eq!(bytes.len(), 4 + length(bytes, outputs));
            assert_eq!(written(EnvelopeWriter::push(), outputs), bytes);
        }
        Ok(Envelope::Unknown(kind)) => assert!(bytes[0] == kind && kind != b'C' && kind != b'P'),
        Err(malformed) => assert!(!malformed.to_string().is_empty()),
    }
}

fn commit(bytes: &[u8], commit: Commit<'_>) {
    assert!(commit.number <= NUMBER_MAX && commit.upto <= NUMBER_MAX);
    let capsule = commit.capsule.unwrap_or_default();
    assert!(commit.capsule.is_none() || lies_within(bytes, capsule));
    assert_eq!(bytes.len(), COMMIT_HEAD + capsule.len() + length(bytes, commit.outputs));
    let writer = EnvelopeWriter::commit(commit.number, commit.upto, commit.capsule, commit.prompt);
    assert_eq!(written(writer, commit.outputs), bytes);
}

/// Bytes of the outputs with their heads.
fn length(message: &[u8], outputs: Outputs<'_>) -> usize {
    let within = |payload| assert!(lies_within(message, payload), "an output lies outside of its message");
    outputs.inspect(|output| within(output.payload)).map(|output| OUTPUT_HEAD + output.payload.len()).sum()
}

fn lies_within(message: &[u8], part: &[u8]) -> bool {
    let (message, part) = (message.as_ptr_range(), part.as_ptr_range());
    message.start <= part.start && part.end <= message.end
}

fn written(mut writer: EnvelopeWriter, outputs: Outputs<'_>) -> Vec<u8> {
    for output in outputs {
        writer.output(output.text, output.payload);
    }
    writer.finish()
}

fn attach(bytes: &[u8]) {
    let Ok(attach) = Attach::decode(bytes) else { return };
    assert!([attach.epoch, attach.applied, attach.committed].iter().all(|number| *number <= NUMBER_MAX));
    assert!(attach.capsule.is_none_or(|capsule| lies_within(bytes, capsule)));
    assert_eq!(Attach::decode(&attach.encode()), Ok(attach));
}

fn notice(bytes: &[u8]) {
    let Some(notice) = Notice::decode(bytes) else { return };
    assert!(notice.applied <= NUMBER_MAX);
    assert_eq!(Notice::decode(&notice.encode()), Some(notice));
}

fn texts(bytes: &[u8]) {
    if let Some(text) = FromClient::parse(bytes) {
        assert!(bytes.len() <= TEXT_MAX && FromClient::is_known(bytes[0]));
        assert_eq!(FromClient::parse(text.text().as_bytes()), Some(text));
    }
    if let Some(text) = FromBroker::parse(bytes) {
        assert!(bytes.len() <= TEXT_MAX && FromBroker::is_known(bytes[0]));
        assert_eq!(FromBroker::parse(text.text().as_bytes()), Some(text));
    }
}

fn offer(header: &str) {
    let offer = Offer::parse(header);
    for name in &offer.application {
        assert!(!name.is_empty() && !name.contains(',') && !name.starts_with("steadfast."));
        assert_eq!(offer.application.iter().filter(|other| *other == name).count(), 1);
    }
    let chosen = offer.application.iter().map(|name| Some(name.as_str())).chain([None]);
    for answer in chosen.filter_map(|name| offer.answer(name)) {
        assert!(header.split(',').any(|entry| entry.trim() == answer), "{answer} was not offered");
    }
    let Some(Ok(resume)) = offer.resume else { return };
    assert_eq!(Token::parse(&resume.token.text()), Some(resume.token));
    let again = Offer::parse(&Offer::entries(&offer.application, Some(&resume)).join(","));
    // Behind so many entries that a few more are not read any more, there may be none.
    assert!(again.resume == offer.resume || offer.application.len() > 30);
}

fuzz_target!(|bytes: &[u8]| {
    envelope(bytes);
    attach(bytes);
    notice(bytes);
    texts(bytes);
    offer(&String::from_utf8_lossy(bytes));
});
