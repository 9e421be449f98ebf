//! A binding: one listener, one route and the pool behind it, as all their sessions share them.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::net::listener::ListenAddress;
use crate::upstream::pool::Pool;

/// Where sessions come in, and where they go.
#[derive(Debug)]
pub(crate) struct RouteBinding {
    /// The bound address.
    pub(crate) address: ListenAddress,
    /// The route's name; `None`: no route matched, and the listener has a pool.
    pub(crate) route: Option<Arc<str>>,
    pub(crate) pool: Arc<Pool>,
}

impl RouteBinding {
    /// Where its clients have connected to; `None`: the listener has all addresses of this machine, or none.
    pub(crate) fn entrance(&self) -> Option<SocketAddr> {
        self.address.entrance()
    }
}
