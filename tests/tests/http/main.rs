//! Plain HTTP/1.1 beside WebSocket, on the same listeners and pools. Each test can be run against HAProxy too, see `front`.

#[path = "../peers/mod.rs"]
mod peers;

mod expect;
mod front;
mod headers;
mod keep_alive;
mod requests;
mod smuggling;
mod streams;
