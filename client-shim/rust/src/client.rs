//! A client whose session outlives its connections.
//!
//! ```no_run
//! use steadfast_shim::client::{Client, Event, Options};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use futures::StreamExt;
//!
//! let mut client = Client::connect(Options::new(["ws://broker.example/chat"]))?;
//! let receipt = client.send("hello").await?;
//! while let Some(event) = client.next().await {
//!     match event {
//!         Event::Message { message, .. } => println!("{message:?}"),
//!         Event::Fresh { unknown: Some(ids), .. } => println!("nobody knows what became of {ids:?}"),
//!         Event::Closed(end) => println!("over: {}", end.cause),
//!         _ => {}
//!     }
//! }
//! println!("committed: {}", receipt.committed().await.is_ok());
//! # Ok(())
//! # }
//! ```
//!
//! A task of its own holds the connection. It reads on until [`Options::inbox`] bytes wait to be taken, so
//! a client that only sends must take its events too, or drop [`Events`].

mod dial;
mod driver;
mod event;
mod options;
mod receipt;
mod sender;
mod shared;
mod tls;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::{Sink, Stream};

use crate::Message;

pub use event::Event;
pub use options::{BadOptions, Options};
pub use receipt::{NotDelivered, Receipt};
pub use sender::Sender;
pub use steadfast_protocol::steadfast_v1::client::{Breach, Cause, Config, End, Fate, Loss, SendError};
pub use steadfast_protocol::steadfast_v1::client_wire::Reason;

use dial::BrokerDialer;
use shared::{Hold, SharedClient};

/// A client: a [`Stream`] of events and a [`Sink`] of messages.
///
/// When it is dropped with all its parts, its connection is dropped, and the broker keeps the session for a
/// while in vain; [`Client::close`] ends it.
#[derive(Debug)]
pub struct Client {
    sender: Sender,
    events: Events,
}

/// The events of a client. When they are dropped, messages that come are not kept.
#[derive(Debug)]
pub struct Events {
    hold: Arc<Hold>,
}

impl Client {
    /// Begins to connect, and goes on for as long as it has to. What comes of it is told by events.
    ///
    /// # Errors
    /// When the options make no sense.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn connect(options: Options) -> Result<Client, BadOptions> {
        let dialer = BrokerDialer::new(&options)?;
        let shared = Arc::new(SharedClient::new(options.config, options.inbox));
        tokio::spawn(driver::drive(shared.clone(), dialer));
        let hold = Arc::new(Hold::new(shared));
        Ok(Client { sender: Sender::new(hold.clone()), events: Events { hold } })
    }

    /// Both halves, for two tasks.
    pub fn split(self) -> (Sender, Events) {
        (self.sender, self.events)
    }

    /// See [`Sender::send`].
    ///
    /// # Errors
    /// See [`Sender::send`].
    pub async fn send(&self, message: impl Into<Message>) -> Result<Receipt, SendError> {
        self.sender.send(message).await
    }

    /// See [`Sender::try_send`].
    ///
    /// # Errors
    /// See [`Sender::try_send`].
    pub fn try_send(&self, message: impl Into<Message>) -> Result<Receipt, SendError> {
        self.sender.try_send(message)
    }

    /// What sends, to be given to others.
    pub fn sender(&self) -> &Sender {
        &self.sender
    }

    /// Says goodbye with code 1000 once everything is written, and waits until it is over. Messages that
    /// still come are dropped.
    pub async fn close(self) -> End {
        self.sender.begin_close(1000, "");
        let (_sender, events) = self.split();
        events.hold.shared().discard();
        events.hold.shared().until(|state| state.end.clone()).await
    }
}

impl Stream for Events {
    type Item = Event;

    /// Ends after [`Event::Closed`].
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.hold.shared().poll_event(cx)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.hold.shared().discard();
    }
}

impl Stream for Client {
    type Item = Event;

    /// Ends after [`Event::Closed`].
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        Pin::new(&mut self.events).poll_next(cx)
    }
}

/// As that of [`Sender`].
impl Sink<Message> for Client {
    type Error = SendError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        Pin::new(&mut self.sender).poll_ready(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), SendError> {
        Pin::new(&mut self.sender).start_send(message)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        Pin::new(&mut self.sender).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        Pin::new(&mut self.sender).poll_close(cx)
    }
}
