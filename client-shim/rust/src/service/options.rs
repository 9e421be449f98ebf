//! What a service takes, and from whom.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode};
use steadfast_protocol::steadfast_v1::service::Limits;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::wire;

use super::HandshakeError;

/// Looks at a session's handshake, which is its client's, and may refuse it.
pub type Admit = Arc<dyn Fn(&Request<()>) -> Result<(), Refusal> + Send + Sync>;

/// Is told of connections that came to nothing.
pub type OnRefused = Arc<dyn Fn(SocketAddr, &HandshakeError) + Send + Sync>;

/// An answer other than 101. The broker passes it on to a client whose session is new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// A code that is no success.
    pub status: StatusCode,
    /// Why, for people.
    pub sentence: String,
}

/// What a service takes.
#[derive(Clone)]
pub struct Options {
    /// The broker's limits.
    pub limits: Limits,
    /// Bytes of messages that wait to be taken, from which on a session's connection is not read.
    pub inbox: usize,
    /// Bytes of commits and pushes that wait to be written, from which on sending waits.
    pub outbox: usize,
    /// The application's subprotocols. The first one of a client's that is among them is agreed on.
    pub protocols: Vec<String>,
    /// Connections that may be in their handshake at the same time; others wait to be accepted.
    pub handshakes: usize,
    /// From a connection to its session.
    pub handshake_timeout: Duration,
    /// Who may come; `None`: everybody.
    pub admit: Option<Admit>,
    /// Who is told of connections that came to nothing.
    pub on_refused: Option<OnRefused>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            limits: Limits::default(),
            inbox: 1024 * 1024,
            outbox: 1024 * 1024,
            protocols: Vec::new(),
            handshakes: 256,
            handshake_timeout: Duration::from_secs(10),
            admit: None,
            on_refused: None,
        }
    }
}

impl Options {
    /// ATTACH is the one message that is longer than a client's may be, by a capsule and its head.
    pub(super) fn socket(&self) -> WebSocketConfig {
        let envelope = usize::try_from(self.limits.envelope()).unwrap_or(usize::MAX);
        wire::config(envelope, envelope)
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("limits", &self.limits)
            .field("inbox", &self.inbox)
            .field("outbox", &self.outbox)
            .field("protocols", &self.protocols)
            .field("handshakes", &self.handshakes)
            .field("handshake_timeout", &self.handshake_timeout)
            .finish_non_exhaustive()
    }
}
