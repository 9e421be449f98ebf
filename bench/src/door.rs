//! Where clients come in, as a client process is told by its arguments.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::link::Target;
use crate::tls::Tls;

/// An address, and what it takes to speak with it.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub(crate) struct Door {
    /// The peer.
    #[arg(long)]
    pub(crate) address: SocketAddr,
    /// It has TLS, and this authority has signed its certificate.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl Door {
    /// Of a peer that has TLS with its clients or not.
    pub(crate) fn new(address: SocketAddr, tls: Tls<'_>) -> Self {
        Self { address, ca: tls.client_ca().map(Into::into) }
    }

    /// For clients that shake hands in full.
    pub(crate) fn target(&self) -> io::Result<Target> {
        Target::new(self.address, self.ca.as_deref(), false)
    }

    /// For clients that come back with tickets.
    pub(crate) fn target_with_tickets(&self) -> io::Result<Target> {
        Target::new(self.address, self.ca.as_deref(), true)
    }

    /// As on a command line.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = String> {
        let ca = self.ca.as_ref().map(|ca| format!("--ca={}", ca.display()));
        [format!("--address={}", self.address)].into_iter().chain(ca)
    }
}
