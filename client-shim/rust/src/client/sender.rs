//! What an application sends through.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::Sink;
use steadfast_protocol::steadfast_v1::client::SendError;

use crate::Message;
use crate::wire::Close;

use super::Receipt;
use super::shared::{ClientState, Hold, SharedClient};

/// Sends messages. Clones send through the same client; what each of them sends keeps its order.
pub struct Sender {
    hold: Arc<Hold>,
    /// A message that was taken when another clone had taken the room.
    late: Option<Message>,
    waiting: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
}

impl Sender {
    pub(super) fn new(hold: Arc<Hold>) -> Sender {
        Sender { hold, late: None, waiting: None }
    }

    /// Sends a message; waits for room, while as many bytes as are allowed wait for the broker. Nothing is
    /// sent when it is dropped before.
    ///
    /// # Errors
    /// When the message is too big, or the client is closed.
    pub async fn send(&self, message: impl Into<Message>) -> Result<Receipt, SendError> {
        let message = message.into();
        let sent = self.shared().until(|state| match send(state, &message) {
            Err(SendError::Full) => None,
            sent => Some(sent),
        });
        let sent = sent.await;
        self.receipt(sent)
    }

    /// Sends a message if there is room for it.
    ///
    /// # Errors
    /// When there is none, the message is too big, or the client is closed.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<Receipt, SendError> {
        let sent = send(&mut self.shared().lock(), &message.into());
        self.receipt(sent)
    }

    /// Waits until the broker has all messages, or the client is over.
    pub async fn delivered(&self) {
        self.shared().until(|state| is_flushed(state).then_some(())).await;
    }

    /// Says goodbye with a Close once everything is written; [`super::Event::Closed`] tells when it is over.
    /// The code is 1000 or one of 3000 to 4999 (RFC 6455, 7.4); another is taken for 1000. A reason longer
    /// than 123 bytes is cut.
    pub fn begin_close(&self, code: u16, reason: &str) {
        let Close { code, reason } = Close::new(code.into(), reason);
        let now = self.shared().now();
        self.shared().lock().machine.close(now, code, &reason);
        self.shared().work.notify_one();
    }

    fn shared(&self) -> &Arc<SharedClient> {
        self.hold.shared()
    }

    fn receipt(&self, sent: Result<u64, SendError>) -> Result<Receipt, SendError> {
        let id = sent?;
        self.shared().work.notify_one();
        Ok(Receipt::new(id, self.shared().clone()))
    }

    /// Places the late message, and waits until the state is as it should be.
    fn poll_until(
        &mut self,
        cx: &mut Context<'_>,
        is: fn(&ClientState) -> bool,
    ) -> Poll<Result<(), SendError>> {
        loop {
            if let Some(waiting) = &mut self.waiting {
                std::task::ready!(waiting.as_mut().poll(cx));
                self.waiting = None;
            }
            if self.place()? && is(&self.shared().lock()) {
                return Poll::Ready(Ok(()));
            }
            let (shared, late) = (self.shared().clone(), self.late.is_some());
            self.waiting = Some(Box::pin(async move {
                let ready = |state: &ClientState| if late { has_room(state) } else { is(state) };
                shared.until(|state| ready(state).then_some(())).await;
            }));
        }
    }

    /// Whether no message is late any more.
    fn place(&mut self) -> Result<bool, SendError> {
        let Some(message) = self.late.take() else { return Ok(true) };
        match self.try_send(message.clone()) {
            Ok(_) => Ok(true),
            Err(SendError::Full) => {
                self.late = Some(message);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

fn send(state: &mut ClientState, message: &Message) -> Result<u64, SendError> {
    state.machine.send(message.is_text(), message.as_bytes())
}

/// Also when it is over: then sending says so.
fn has_room(state: &ClientState) -> bool {
    state.machine.has_room() || state.machine.is_over()
}

fn is_flushed(state: &ClientState) -> bool {
    state.machine.is_delivered() || state.machine.is_over()
}

fn is_over(state: &ClientState) -> bool {
    state.end.is_some()
}

/// Ready when there is room; flushed when the broker has everything; closed when it is over.
impl Sink<Message> for Sender {
    type Error = SendError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.poll_until(cx, has_room)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), SendError> {
        self.late = Some(message);
        self.place().map(drop)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.poll_until(cx, is_flushed)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        if self.place()? {
            self.begin_close(1000, "");
        }
        self.poll_until(cx, is_over)
    }
}

impl Clone for Sender {
    fn clone(&self) -> Sender {
        Sender::new(self.hold.clone())
    }
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").field("late", &self.late.is_some()).finish_non_exhaustive()
    }
}
