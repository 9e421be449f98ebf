//! Libraries that others wrote, unmodified, on both sides of the broker: npm `ws`, Python `websockets`,
//! tokio-tungstenite, curl, Socket.IO.

#[path = "../peers/mod.rs"]
mod peers;

mod client;
mod conversation;
mod exchange;
mod failover;
mod handshake;
