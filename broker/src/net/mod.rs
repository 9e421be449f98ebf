//! Connections, apart from what is spoken on them: the one type for them, making them, ending them so that the last
//! words arrive, what counts as one client, calls that block, how places among many are shared,
//! and what proxies say in front of all else.
//! Knows neither HTTP nor WebSocket, nor any setting by name.

pub(crate) mod address;
pub(crate) mod blocking;
pub(crate) mod connect;
pub(crate) mod guests;
pub(crate) mod lingering_close;
pub(crate) mod listener;
pub(crate) mod networks;
pub(crate) mod patient;
pub(crate) mod places;
pub(crate) mod proxy_header;
pub(crate) mod stream;
