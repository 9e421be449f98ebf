//! Who links the shim, and what that asks of broker and clients.

use std::fmt;

use clap::ValueEnum;

use crate::client::Dialect;

/// Who links the shim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Variant {
    /// Nobody.
    Plain,
    /// The service.
    Service,
    /// The client.
    Client,
    /// Both.
    Both,
}

impl Variant {
    /// As on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Service => "service",
            Self::Client => "client",
            Self::Both => "both",
        }
    }

    /// The pool's `ack`: the backend links the shim where it is asked to.
    pub(crate) fn ack(self) -> &'static str {
        if self.commits() { "shim" } else { "pong" }
    }

    /// The service answers with commits.
    pub(crate) fn commits(self) -> bool {
        matches!(self, Self::Service | Self::Both)
    }

    /// How clients speak.
    pub(crate) fn dialect(self) -> Dialect {
        match self {
            Self::Plain | Self::Service => Dialect::Plain,
            Self::Client | Self::Both => Dialect::Shim,
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
