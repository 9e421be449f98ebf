//! What the machine and its driver say to each other: what is to be done, what has happened, and in which words. Knows
//! nothing of how a session comes to it.

mod command;
mod end;
mod event;
mod failure;
mod holding;
mod planned_move;
mod service_breach;
mod status;

pub use command::{Command, Dial};
pub use end::{EndCause, SessionEnd};
pub use event::Event;
pub use failure::{DialFailure, Failure};
pub use holding::{HeldFor, Holding};
pub use planned_move::{Move, MoveOutcome, Stay};
pub use service_breach::ServiceBreach;
pub use status::Status;
