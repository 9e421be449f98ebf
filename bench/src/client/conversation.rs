//! What a client that links the shim and its broker say to each other besides messages
//! (`docs/protocol.md`, the client link). Sans-IO.

use steadfast_protocol::steadfast_v1::client_wire::{
    FromBroker, FromClient, Reason, Standing, TEXT_MAX, Watermarks,
};

use crate::client::MASK;
use crate::wire::frame::{self, Header};

/// How one connection's broker and client stand.
#[derive(Debug, Default)]
pub(crate) struct Conversation {
    welcomed: bool,
    /// How far the messages have come, as the broker has told last.
    told: Watermarks,
    /// Seq of the last message down that was acknowledged.
    acknowledged: u64,
    /// The text that is being read.
    text: Vec<u8>,
}

impl Conversation {
    /// The broker has said what it says first; messages may be sent.
    pub(crate) fn is_welcomed(&self) -> bool {
        self.welcomed
    }

    /// Whether this is the header of a text that is to be taken.
    pub(crate) fn is_text(header: &Header) -> bool {
        let whole = header.fin && header.opcode == frame::TEXT && header.mask.is_none();
        whole && header.length <= TEXT_MAX as u64
    }

    /// Takes a part of a text, and answers the welcome into `queue`. `sent` is the seq of the last message
    /// that was sent. What must not be said comes back as the error.
    pub(crate) fn take(
        &mut self,
        bytes: &[u8],
        last: bool,
        sent: u64,
        queue: &mut Vec<u8>,
    ) -> Result<(), String> {
        self.text.extend_from_slice(bytes);
        if !last {
            return Ok(());
        }
        let fine = match FromBroker::parse(&self.text) {
            Some(FromBroker::Welcome(welcome)) if !self.welcomed => {
                self.welcomed = true;
                put_acknowledgement(queue, 0);
                welcome.standing == Standing::Fresh(Reason::New)
            }
            Some(FromBroker::Ack(told)) if self.welcomed => self.hear(told, sent),
            _ => false,
        };
        let text = std::mem::take(&mut self.text);
        if fine { Ok(()) } else { Err(String::from_utf8_lossy(&text).into_owned()) }
    }

    fn hear(&mut self, told: Watermarks, sent: u64) -> bool {
        let before = std::mem::replace(&mut self.told, told);
        let rising = told.received >= before.received && told.committed >= before.committed;
        rising && told.committed <= told.received && told.received <= sent
    }

    /// Acknowledges the messages down up to `seq`, if that is news.
    pub(crate) fn acknowledge(&mut self, seq: u64, queue: &mut Vec<u8>) {
        if seq > self.acknowledged {
            self.acknowledged = seq;
            put_acknowledgement(queue, seq);
        }
    }
}

fn put_acknowledgement(queue: &mut Vec<u8>, seq: u64) {
    frame::put_frame(queue, frame::TEXT, Some(MASK), FromClient::Ack(seq).text().as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELCOME: &str = "w 3f6c0b52a1e84d979c02d5e7b8f1a604 \
        P2wLUqHoTZecAtXnuPGmBNHHqfBbPoJkH5CrPF1-b4ARIjNEVWZ3iJmqu8zd7v8B 120000";

    fn say(conversation: &mut Conversation, text: &str, sent: u64) -> Result<Vec<u8>, String> {
        let mut queue = Vec::new();
        let (first, second) = text.as_bytes().split_at(text.len() / 2);
        conversation.take(first, false, sent, &mut queue)?;
        conversation.take(second, true, sent, &mut queue).map(|()| queue)
    }

    fn acknowledgement(seq: u64) -> Vec<u8> {
        let mut queue = Vec::new();
        put_acknowledgement(&mut queue, seq);
        queue
    }

    #[test]
    fn the_welcome_is_answered_and_comes_once() {
        let mut conversation = Conversation::default();
        let welcome = format!("{WELCOME} fresh new");
        assert_eq!(say(&mut conversation, &welcome, 0), Ok(acknowledgement(0)));
        assert!(conversation.is_welcomed());
        assert_eq!(say(&mut conversation, &welcome, 0), Err(welcome));
    }

    #[test]
    fn an_acknowledgement_is_made_once_and_one_of_the_brokers_must_make_sense() {
        let mut conversation = Conversation::default();
        say(&mut conversation, &format!("{WELCOME} fresh new"), 0).unwrap();
        let mut queue = Vec::new();
        conversation.acknowledge(3, &mut queue);
        conversation.acknowledge(3, &mut queue);
        assert_eq!(queue, acknowledgement(3));

        assert_eq!(say(&mut conversation, "a 4 2", 4), Ok(Vec::new()));
        for wrong in ["a 3 2", "a 4 1", "a 4 5", "a 5 2", "a 4", "b"] {
            let mut conversation =
                Conversation { welcomed: true, told: conversation.told, ..Conversation::default() };
            assert_eq!(say(&mut conversation, wrong, 4), Err(wrong.to_owned()));
        }
    }

    #[test]
    fn nothing_comes_before_the_welcome_and_a_session_that_goes_on_was_never_asked_for() {
        for wrong in ["a 0 0".to_owned(), format!("{WELCOME} resumed 0 0"), format!("{WELCOME} fresh stale")]
        {
            assert_eq!(say(&mut Conversation::default(), &wrong, 0), Err(wrong));
        }
    }
}
