//! The brain of Steadfast: frames, replay ring and session machine.
//!
//! Invariant: nothing here opens a socket, reads a clock or draws a random number. Time and entropy
//! are arguments, so every run can be repeated exactly.
//!
//! [`session`] tells the story; the other modules are its parts, from the bytes upwards.

pub mod chain;
pub mod deflate;
pub mod downlink;
pub mod frame;
mod frames;
mod kept;
pub mod ring;
pub mod scanner;
pub mod session;
pub mod shim;
pub mod time;
pub mod uplink;
pub mod violation;
