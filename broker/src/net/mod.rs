//! Connections, apart from what is spoken on them: the one type for them, making them, ending them so that the last
//! words arrive, and what counts as one client.
//! Knows neither HTTP nor WebSocket, nor any setting by name.

pub(crate) mod address;
pub(crate) mod connect;
pub(crate) mod lingering_close;
pub(crate) mod networks;
pub(crate) mod stream;
