//! Which of the listeners for clients is meant.

use std::net::SocketAddr;

/// Which listener a connection came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListenerId {
    /// Its place in the configuration.
    pub(crate) number: usize,
    pub(crate) address: SocketAddr,
}
