//! Chains as people build them, whole: real servers and clients of Socket.IO and SockJS by every transport they have, and
//! between them the files that the documents show, Steadfast's and those of others.

#[path = "../peers/mod.rs"]
mod peers;

mod documents;
mod fleet;
mod front;
mod hosts;
mod meteor;
mod redis;
mod socketio;
