//! The side of the clients until their session begins: their connections, their upgrade requests, and what these are
//! answered. Finds and opens sessions, and lets go of a connection once its session has it.

pub(crate) mod accept;
mod arrival;
mod balancer_page;
pub(crate) mod connection;
mod introduction;
mod keep_alive;
mod learned_body;
mod redirect;
mod request;
mod response;
mod secured;
mod serving;
mod target;
mod to_https;
mod turns;
mod upgrade;
