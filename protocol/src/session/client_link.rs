//! What belongs to one connection of a client, and ends with it. It is built in one place, so that nothing is reset by
//! hand.

mod life;
mod returning;
mod timers;

use crate::time::Time;
use crate::websocket::scanner::{FrameSender, Scanner};

use super::Config;
use timers::ClientTimers;

pub(super) use returning::{ClientSpeech, ReturningLink, ShimLink};

/// One connection of a client.
#[derive(Debug)]
pub(super) struct ClientLink {
    pub(super) scanner: Scanner,
    pub(super) timers: ClientTimers,
    /// What it has of its own if its client may come back.
    pub(super) returning: Option<Box<ReturningLink>>,
}

impl ClientLink {
    /// A client is connected. `kinds`: whether its messages have kinds, if it may come back.
    pub(super) fn new(config: &Config, deflate: bool, kinds: Option<bool>, now: Time) -> ClientLink {
        ClientLink {
            scanner: Scanner::new(FrameSender::Client, config.message_limit, deflate),
            timers: ClientTimers::new(now),
            returning: kinds.map(ReturningLink::new).map(Box::new),
        }
    }
}
