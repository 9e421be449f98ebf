//! The process: its listeners, workers, signals and limits, from the start to the orderly end. Starts everything, and is
//! known to nothing but the program.

pub mod limits;
pub mod listeners;
mod run;
pub mod shutdown;
pub mod signals;
mod wind_down;
pub(crate) mod worker;

pub use run::{Reloads, run};
