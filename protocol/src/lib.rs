//! The brain of Steadfast: frames, replay ring and session machine.
//!
//! Invariant: nothing here opens a socket, reads a clock or draws a random number. Time and entropy
//! are arguments, so every run can be repeated exactly.
//!
//! [`session`] tells the story; the other modules are its parts, from the bytes upwards.

pub mod buffer;
pub mod entropy;
pub mod relay;
pub mod session;
pub mod steadfast_v1;
pub mod time;
pub mod websocket;
