//! Plain HTTP/1.1 beside WebSocket, on the same listeners and pools. Each test can be run against HAProxy too, see `front`.

#[path = "../peers/mod.rs"]
mod peers;

mod browser;
mod crashes;
mod curl;
mod drains;
mod expect;
mod front;
mod headers;
mod judge;
mod keep_alive;
mod limits;
mod losses;
mod requests;
mod smuggling;
mod streams;
