//! Services and clients that link the shim, and what is said to them and by them on the wire.

mod away;
mod bad_input;
mod by_hand;
mod counter;
mod hostile;
mod load;
mod plain;
mod scene;
mod takeovers;
