//! The command line: what can be asked for, and the commands for a running broker. These know the broker by its API
//! alone.

pub mod args;
pub mod commands;
pub mod exit;
