//! Steadfast, a session-preserving WebSocket failover broker.
//!
//! [`server::run`] is the broker: listeners, settings and a way to stop it go in; sessions happen. The story
//! of one session is in `session` (the driver) and in `steadfast_protocol::session` (the machine).

mod admin;
mod api;
mod broker;
pub mod cli;
mod clock;
pub mod config;
pub mod demo;
mod downstream;
mod http;
mod lock;
mod metric;
mod net;
mod operations;
mod pace;
mod reload;
mod routing;
pub mod server;
mod session;
mod snapshot;
pub mod telemetry;
pub mod tls;
mod upstream;
mod words;
