//! TCP connections, apart from what is spoken on them: making them, and ending them so that the last words arrive.
//! Knows neither HTTP nor WebSocket, nor any setting by name.

pub(crate) mod connect;
pub(crate) mod lingering_close;
