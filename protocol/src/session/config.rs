//! What a session is told once: its pool's promises, its limits and its patience.

use std::time::Duration;

use crate::websocket::close_code::CloseCode;

/// How the broker learns that a backend has a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckMode {
    /// It does not: what was written is forgotten.
    None,
    /// A pong to a ping that was sent behind the message.
    Pong,
    /// A commit of a service that links the shim.
    Shim,
}

/// Settings of a session, shared by all sessions of a pool.
#[derive(Debug, Clone)]
pub struct Config {
    /// How acknowledgements come.
    pub ack: AckMode,
    /// How long a message stays in the ring after its pong.
    pub ack_hold: Duration,
    /// How long a backend may owe a sign of life.
    pub ack_timeout: Duration,
    /// How long a backend that lives may say nothing to a session to which it owes something; zero: for ever.
    pub stall_timeout: Duration,
    /// Whether the session outlives its backend.
    pub failover: bool,
    /// How long a client whose conversation has ended with its backend is kept for another to have room.
    pub auto_wait: Duration,
    /// How long an ask of a client's with a profile is said again to the next backend; an older one is in doubt.
    pub reply_timeout: Duration,
    /// How long the next backend may take for each step of a conversation that is repeated.
    pub prologue_timeout: Duration,
    /// Bytes of what is kept of a conversation.
    pub profile_records: usize,
    /// Bytes of the state that a service which links the shim may leave with a commit.
    pub capsule_limit: usize,
    /// How long the session is kept for a client that can come back; zero: not at all.
    pub resume_window: Duration,
    /// How long, at the most, for one that has never shown that it knows its token.
    pub unproven_window: Duration,
    /// Bytes of one message, all fragments, as on the wire.
    pub message_limit: u32,
    /// Bytes of the ring from which on the client is not read between messages.
    pub ring_limit: usize,
    /// From a Close to its answer.
    pub close_timeout: Duration,
    /// How long a client may take nothing while data waits for it.
    pub client_stall: Duration,
    /// How long a message may stay open.
    pub message_timeout: Duration,
    /// Silence after which a peer is pinged; zero: never.
    pub keepalive: Duration,
    /// How long a client may owe a pong.
    pub client_pong: Duration,
    /// How long nothing must be said before a session leaves a backend that works. One whose backend
    /// has been slower to answer waits longer.
    pub quiet: Duration,
    /// The longest that such a one waits.
    pub quiet_max: Duration,
    /// How long a quiet moment is waited for while everything flows.
    pub patience: Duration,
    /// How long the client's messages are held after that until one comes.
    pub hold: Duration,
    /// A planned move dials the next backend first of all; else only when its session is ready to go there.
    pub dial_ahead: bool,
    /// A planned move closes the old backend before the next one is dialled.
    pub break_before_make: bool,
    /// How long after a failure nothing may move until the session is stable again.
    pub deadline: Duration,
    /// From the first failure until the session is stable again, whatever moves.
    pub longest: Duration,
    /// How long a new backend must last.
    pub stable: Duration,
    /// The shortest wait before a redial that follows a failed one.
    pub backoff_min: Duration,
    /// The longest.
    pub backoff_max: Duration,
    /// The first redial waits a random part of this.
    pub jitter: Duration,
    /// A backend's Close with one of these codes is its failure.
    pub failure_codes: Vec<CloseCode>,
    /// Deaths count together within this time.
    pub poison_window: Duration,
    /// Deaths with suspects in the window from which on messages are replayed one at a time.
    pub poison_deaths: u32,
    /// Deaths with one message alone in flight that end the session.
    pub poison_convictions: u32,
    /// The codes clients are closed with.
    pub codes: Codes,
}

/// The codes clients are closed with.
#[derive(Debug, Clone, Copy)]
pub struct Codes {
    /// The deadline has passed.
    pub deadline: CloseCode,
    /// The longest time that a failover may take has.
    pub longest: CloseCode,
    /// The client stalls, or answers no ping.
    pub slow_client: CloseCode,
    /// Every backend refuses the session.
    pub refused: CloseCode,
    /// A poison message.
    pub poison: CloseCode,
    /// The backend failed and sessions do not outlive it.
    pub on_failure: CloseCode,
    /// The client is to reconnect, since its conversation ends with its backend.
    pub reconnect: CloseCode,
    /// A message took too long.
    pub slow_message: CloseCode,
}
