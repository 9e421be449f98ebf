//! Who links the shim, or which protocol is spoken with a profile or without, and what that asks of broker, backend and
//! clients.

use std::fmt;

use clap::ValueEnum;

use crate::client::Dialect;
use crate::wire::protocols::Protocol;

/// Who links the shim, or speaks what.
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
    /// Nobody: they speak Socket.IO, and the pool has its profile.
    #[value(name = "socket.io")]
    SocketIo,
    /// The same, and the pool has no profile.
    #[value(name = "socket.io-none")]
    SocketIoNone,
    /// Nobody: they speak JSON-RPC, and the pool has its profile.
    #[value(name = "json-rpc")]
    JsonRpc,
    /// The same, and the pool has no profile.
    #[value(name = "json-rpc-none")]
    JsonRpcNone,
}

impl Variant {
    /// As on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Service => "service",
            Self::Client => "client",
            Self::Both => "both",
            Self::SocketIo => "socket.io",
            Self::SocketIoNone => "socket.io-none",
            Self::JsonRpc => "json-rpc",
            Self::JsonRpcNone => "json-rpc-none",
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
            Self::SocketIo | Self::SocketIoNone => Dialect::SocketIo,
            Self::JsonRpc | Self::JsonRpcNone => Dialect::JsonRpc,
        }
    }

    /// The protocol that is spoken, if it is one that a profile knows.
    pub(crate) fn protocol(self) -> Option<Protocol> {
        self.dialect().protocol()
    }

    /// The pool's `profile`, where one might be expected.
    pub(crate) fn profile(self) -> Option<&'static str> {
        match self {
            Self::Plain | Self::Service | Self::Client | Self::Both => None,
            Self::SocketIo => Some("socket.io"),
            Self::JsonRpc => Some("json-rpc"),
            Self::SocketIoNone | Self::JsonRpcNone => Some("none"),
        }
    }

    /// What has the same traffic and no profile.
    pub(crate) fn without_profile(self) -> Option<Self> {
        match self.protocol()? {
            Protocol::SocketIo => Some(Self::SocketIoNone),
            Protocol::JsonRpc => Some(Self::JsonRpcNone),
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
