//! Building commits and pushes.

use steadfast_protocol::steadfast_v1::service::{Draft, Misuse, Numbered};
use steadfast_protocol::steadfast_v1::service_wire::Output;

use crate::Message;

use super::Ended;
use super::shared::{SharedSession, Unsent};

/// Why a commit or push was not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendError {
    /// The session is not here any more.
    Ended(Ended),
    /// The broker would not take it.
    Misuse(Misuse),
}

impl std::fmt::Display for SendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SendError::Ended(ended) => ended.fmt(f),
            SendError::Misuse(misuse) => misuse.fmt(f),
        }
    }
}

impl std::error::Error for SendError {}

/// A commit that is being made. Nothing happens before [`Commit::send`].
#[derive(Debug)]
#[must_use = "a commit does nothing until it is sent"]
pub struct Commit<'a> {
    shared: &'a SharedSession,
    upto: u64,
    /// The number of one that is repeated.
    number: Option<u64>,
    capsule: Option<Vec<u8>>,
    outputs: Vec<Message>,
    prompt: bool,
}

impl<'a> Commit<'a> {
    pub(super) fn new(shared: &'a SharedSession, upto: u64, number: Option<u64>) -> Commit<'a> {
        Commit { shared, upto, number, capsule: None, outputs: Vec::new(), prompt: false }
    }

    /// Adds a message for the client.
    pub fn output(mut self, message: impl Into<Message>) -> Commit<'a> {
        self.outputs.push(message.into());
        self
    }

    /// Adds several.
    pub fn outputs(mut self, messages: impl IntoIterator<Item = impl Into<Message>>) -> Commit<'a> {
        self.outputs.extend(messages.into_iter().map(Into::into));
        self
    }

    /// The state that the next service gets, instead of the one before.
    pub fn capsule(mut self, capsule: impl Into<Vec<u8>>) -> Commit<'a> {
        self.capsule = Some(capsule.into());
        self
    }

    /// The broker is to tell at once that it is applied.
    pub fn prompt(mut self) -> Commit<'a> {
        self.prompt = true;
        self
    }

    /// Sends it, and returns its number; waits while too much is unwritten. That it was sent does not mean
    /// that it is applied: see [`super::Sender::applied`]. Nothing is sent when it is dropped before.
    ///
    /// # Errors
    /// When the session is not here any more, or the broker would not take it.
    pub async fn send(self) -> Result<u64, SendError> {
        let outputs = outputs(&self.outputs);
        let capsule = self.capsule.as_deref();
        let draft = Draft { upto: self.upto, capsule, outputs: &outputs, prompt: self.prompt };
        queue(self.shared, |machine| match self.number {
            None => machine.commit(&draft).map(|Numbered { number, message }| (number, Some(message))),
            Some(number) => {
                let numbered = machine.repeat(number, &draft)?;
                Ok((number, numbered.map(|numbered| numbered.message)))
            }
        })
        .await
    }
}

/// A push that is being made. Nothing happens before [`Push::send`].
#[derive(Debug)]
#[must_use = "a push does nothing until it is sent"]
pub struct Push<'a> {
    shared: &'a SharedSession,
    outputs: Vec<Message>,
}

impl<'a> Push<'a> {
    pub(super) fn new(shared: &'a SharedSession) -> Push<'a> {
        Push { shared, outputs: Vec::new() }
    }

    /// Adds a message for the client.
    pub fn output(mut self, message: impl Into<Message>) -> Push<'a> {
        self.outputs.push(message.into());
        self
    }

    /// Sends it; waits while too much is unwritten. Nothing is sent when it is dropped before.
    ///
    /// # Errors
    /// When the session is not here any more, or the broker would not take it.
    pub async fn send(self) -> Result<(), SendError> {
        let outputs = outputs(&self.outputs);
        queue(self.shared, |machine| Ok(((), Some(machine.push(&outputs)?)))).await
    }
}

fn outputs(messages: &[Message]) -> Vec<Output<'_>> {
    messages.iter().map(|one| Output { text: one.is_text(), payload: one.as_bytes() }).collect()
}

async fn queue<T>(
    shared: &SharedSession,
    make: impl Fn(&mut steadfast_protocol::steadfast_v1::service::Service) -> Result<(T, Option<Vec<u8>>), Misuse>,
) -> Result<T, SendError> {
    let sent = shared.until(|state| match state.send(&make) {
        Ok(made) => Some(Ok(made)),
        Err(Unsent::Full) => None,
        Err(Unsent::Ended) => Some(Err(SendError::Ended(Ended(state.end.clone())))),
        Err(Unsent::Misuse(misuse)) => Some(Err(SendError::Misuse(misuse))),
    });
    let sent = sent.await;
    shared.work.notify_one();
    sent
}
