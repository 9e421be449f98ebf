//! One client, one backend or one reader of the log cannot take the broker from the others.
//!
//! Nothing here is timed: what one has got is counted while another was served.

mod admin;
mod crowd;
mod dials;
mod evidence;
mod exhaustion;
mod floods;
mod handshakes;
mod logs;
mod memory;
mod together;
