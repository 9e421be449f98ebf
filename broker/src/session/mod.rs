//! One session each: the driver between its two sockets and the machine, the directory of all, and what is told of them.
//! Knows backends and routes by what a session holds of them, and nobody who opens sessions or moves them.

pub(crate) mod access_log;
pub(crate) mod context;
pub(crate) mod driver;
pub(crate) mod memory;
pub(crate) mod permits;
pub(crate) mod plain_token;
pub(crate) mod pressing;
pub(crate) mod registry;
pub(crate) mod resumption;
pub(crate) mod tickets;
