//! Where a request goes, and who may ask: routes, what binds a listener and a route to a pool, pauses, admission,
//! clients that were sent to a backend, and whose word is taken for who asks.
//! Knows pools by what sessions need of them, and no session.

pub(crate) mod admission;
pub(crate) mod binding;
pub(crate) mod listener;
pub(crate) mod pauses;
pub(crate) mod reserve;
pub(crate) mod route;
pub(crate) mod trust;
