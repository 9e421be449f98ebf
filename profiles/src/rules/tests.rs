//! Rules, from how they are written to what they say of messages.

mod aliases;
mod bounds;
mod builtin;
mod faults;
mod reader;
mod talk;
mod words;
