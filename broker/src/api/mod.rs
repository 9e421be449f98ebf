//! The admin API as its users see it. Its one model is what the admin listener writes and reads, and what the commands
//! and the demo read and write; its client knows addresses and answers, and nothing of the broker behind them.

pub(crate) mod client;
pub(crate) mod model;
