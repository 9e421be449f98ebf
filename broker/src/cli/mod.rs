//! The command line: what can be asked for, the commands for a running broker, and those for profiles. The former know the
//! broker by its API alone, the latter not at all.

pub mod args;
pub mod commands;
pub mod exit;
mod printable;
pub mod profile;
