//! A gate: one listener and the pool behind it, as all its sessions share them.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::pool::Pool;

/// Where sessions come in, and where they go.
#[derive(Debug)]
pub(crate) struct Gate {
    /// The bound address.
    pub(crate) address: SocketAddr,
    pub(crate) pool: Arc<Pool>,
}
