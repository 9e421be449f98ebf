//! The little of RFC 6455 and of HTTP/1.1 that a load generator and an echo server need, on raw bytes: both must
//! cost next to nothing beside the broker they measure.

pub(crate) mod control;
pub(crate) mod count;
pub(crate) mod frame;
pub(crate) mod handshake;
pub(crate) mod http;
pub(crate) mod protocols;
