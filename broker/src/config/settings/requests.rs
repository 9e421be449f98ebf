//! How a pool's backends are asked over HTTP, beside WebSocket.

use std::time::Duration;

/// How requests that are no WebSocket upgrades are passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// Which requests go over connections that have served others.
    pub reuse: Reuse,
    /// Connections to a backend that each worker keeps for its next requests.
    pub idle: usize,
    /// How long one is kept.
    pub idle_timeout: Duration,
    /// How long a backend may take to answer, once it has the request.
    pub answer_timeout: Duration,
    /// How long a client may pause in a request's body.
    pub body_timeout: Duration,
    /// Bytes of a request's body; `None`: any number.
    pub body_max: Option<usize>,
}

/// Which requests go over connections to backends that have served others. A backend may end such a connection in the
/// same moment, and whether it has taken a request is not known then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// Those that can be sent again, and those of clients that have had an answer before on theirs.
    Safe,
    /// None.
    Never,
}
