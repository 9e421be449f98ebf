//! Sessions behind a broker's pool with `ack = "shim"`.
//!
//! ```no_run
//! use steadfast_shim::service::{Event, Listener, Options};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let mut listener = Listener::bind("127.0.0.1:9001", Options::default()).await?;
//! loop {
//!     let mut session = listener.accept().await?;
//!     tokio::spawn(async move {
//!         while let Some(event) = session.next().await {
//!             if let Event::Message { seq, message } = event {
//!                 // Consumed, and answered: both or neither, whatever dies.
//!                 if session.commit(seq).output(message).send().await.is_err() {
//!                     break;
//!                 }
//!             }
//!         }
//!     });
//! }
//! # }
//! ```
//!
//! A task of its own holds each connection, and answers the broker's pings while the service is busy. It
//! reads on until [`Options::inbox`] bytes wait to be taken. A service that takes nothing for as long as the
//! pool's `ack_timeout` after that is dead for the broker, and the session goes to another one.

mod commit;
mod driver;
mod end;
mod event;
mod handshake_error;
mod listener;
mod options;
mod sender;
mod session;
mod shared;
mod upgrade;

pub use commit::{Commit, Push, SendError};
pub use end::{End, Ended};
pub use event::Event;
pub use handshake_error::HandshakeError;
pub use listener::Listener;
pub use options::{Admit, OnRefused, Options, Refusal};
pub use sender::Sender;
pub use session::Session;
pub use steadfast_protocol::steadfast_v1::service::{Breach, Limits, Misuse};
pub use upgrade::{SHIM, is_broker};
