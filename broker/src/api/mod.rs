//! The admin API as its users see it: the commands and the demo ask with it. Knows addresses and answers, and nothing of
//! the broker behind them.

pub(crate) mod client;
