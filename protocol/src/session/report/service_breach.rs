//! What a service that links the shim must not do.

use crate::steadfast_v1::service_wire::Malformed;

/// What a service has done that `steadfast.v1` forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceBreach {
    /// A message that is no envelope.
    BadEnvelope(Malformed),
    /// A text message, which no envelope is.
    Text,
    /// A commit's number is not the one that follows the last.
    CommitGap,
    /// A commit's seq lies before what is committed already.
    CommitBackwards,
    /// A commit's seq is of a message that no backend was given.
    FutureSeq,
    /// A capsule is over the pool's limit.
    CapsuleTooBig,
    /// An output is over the limit of a message.
    OutputTooBig,
    /// Something was said before ATTACH.
    TooEarly,
    /// A ping was not answered, though other things were said.
    NoPong,
}

impl ServiceBreach {
    /// The word for logs and closes.
    pub fn name(self) -> &'static str {
        match self {
            ServiceBreach::BadEnvelope(_) | ServiceBreach::Text => "bad_envelope",
            ServiceBreach::CommitGap => "commit_gap",
            ServiceBreach::CommitBackwards => "commit_backwards",
            ServiceBreach::FutureSeq => "future_seq",
            ServiceBreach::CapsuleTooBig => "capsule_too_big",
            ServiceBreach::OutputTooBig => "output_too_big",
            ServiceBreach::TooEarly => "too_early",
            ServiceBreach::NoPong => "no_pong",
        }
    }

    /// A sentence for the one who wrote the service.
    pub fn sentence(self) -> String {
        let sentence = match self {
            ServiceBreach::BadEnvelope(why) => return format!("a message is no whole envelope: {why}"),
            ServiceBreach::Text => "an envelope is a binary message",
            ServiceBreach::CommitGap => "a commit's number is one more than the last one's",
            ServiceBreach::CommitBackwards => "a commit's seq is not below that of the one before",
            ServiceBreach::FutureSeq => "no message with a commit's seq was sent yet",
            ServiceBreach::CapsuleTooBig => "a capsule is over the pool's limit",
            ServiceBreach::OutputTooBig => "an output is over the limit of a message",
            ServiceBreach::TooEarly => "nothing may be said before the session is attached",
            ServiceBreach::NoPong => "every ping is to be answered with a pong",
        };
        sentence.to_owned()
    }
}
