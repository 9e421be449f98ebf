//! TLS toward clients and toward backends, and Unix domain sockets: what holds for plain connections holds for these, and
//! what is wrong with one is counted, told, and nobody else's trouble.

#[path = "../peers/mod.rs"]
mod peers;

mod bad_backends;
mod bad_clients;
mod browser;
mod files;
mod handshakes;
mod herd;
mod messages;
mod openssl;
mod proxies;
mod scene;
mod sessions;
mod third_party;
