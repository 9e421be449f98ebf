//! TLS as the harness has it on both of its ends: which connections have it, and what was agreed on them. It is
//! TLS 1.3 alone, and a server's certificate is always verified.

use std::fmt;
use std::path::Path;

use clap::ValueEnum;
use tokio_rustls::rustls::{CommonState, HandshakeKind, ProtocolVersion};

pub(crate) use configs::{acceptor, client_config};
pub(crate) use papers::Papers;

mod configs;
mod papers;
mod tickets;

/// Whom all certificates are for.
pub(crate) const NAME: &str = "localhost";

/// On which sides of a broker connections have TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sides {
    /// On none.
    Off,
    /// Those with clients.
    Client,
    /// Those with clients and those with backends.
    Both,
}

impl fmt::Display for Sides {
    /// As on the command line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Client => "client",
            Self::Both => "both",
        })
    }
}

/// The same, with what it takes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tls<'a> {
    /// Shown to clients.
    pub(crate) client: Option<&'a Papers>,
    /// By which backends are verified.
    pub(crate) backend: Option<&'a Papers>,
}

impl<'a> Tls<'a> {
    /// With these papers on these sides.
    pub(crate) fn new(sides: Sides, papers: &'a Papers) -> Self {
        match sides {
            Sides::Off => Self::default(),
            Sides::Client => Self { client: Some(papers), backend: None },
            Sides::Both => Self { client: Some(papers), backend: Some(papers) },
        }
    }

    /// Whether no connection has it.
    pub(crate) fn is_off(self) -> bool {
        self.client.is_none() && self.backend.is_none()
    }

    /// The authority that clients trust.
    pub(crate) fn client_ca(self) -> Option<&'a Path> {
        self.client.map(|papers| papers.ca.as_path())
    }
}

/// What both ends of a connection have agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Agreed {
    /// By a ticket of an earlier one, so without certificates.
    pub(crate) resumed: bool,
    version: &'static str,
    suite: String,
    group: String,
}

impl Agreed {
    /// Of a connection whose handshake is done.
    pub(crate) fn of(state: &CommonState) -> Self {
        let suite = state.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()));
        let group = state.negotiated_key_exchange_group().map(|group| format!("{:?}", group.name()));
        Self {
            resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
            version: match state.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
                _ => "another TLS",
            },
            suite: suite.unwrap_or_default().trim_start_matches("TLS13_").to_owned(),
            group: group.unwrap_or_default(),
        }
    }
}

impl fmt::Display for Agreed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, suite, group, .. } = self;
        write!(f, "{version} {suite} {group}{}", if self.resumed { " resumed" } else { "" })
    }
}
