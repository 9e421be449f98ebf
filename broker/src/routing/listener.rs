//! Which of the listeners for clients is meant.

use crate::net::listener::ListenAddress;

/// Which listener a connection came to.
#[derive(Debug, Clone)]
pub(crate) struct ListenerId {
    /// Its place in the configuration.
    pub(crate) number: usize,
    pub(crate) address: ListenAddress,
}
