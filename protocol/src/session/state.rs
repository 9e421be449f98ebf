//! What of a session outlives its connections, and the process.

use crate::buffer::ring::Ring;
use crate::relay::downstream::DownstreamWriter;

use super::Client;
use super::backend_link::SlowestAnswer;
use super::ledger::Exceptions;
use super::resume::Returning;
use super::service::Commits;

/// A session without scanners, pings, timers and sockets: [`Session::restore`](super::Session::restore) makes a
/// session of it again, in another process if need be. The client's upgrade request, which the next backend must
/// see, is kept beside it by the driver.
#[derive(Debug)]
pub struct SessionState {
    /// The client's messages that are not acknowledged.
    pub(super) ring: Ring,
    /// What is kept for a client that may come back, and how far others were served.
    pub(super) down: DownstreamWriter,
    /// Where the client stands; a time in it does not outlive the process.
    pub(super) client: Client,
    pub(super) shim: Option<Box<ShimState>>,
    pub(super) exceptions: Option<Box<Exceptions>>,
    /// How slow its backends were.
    pub(super) slowest: SlowestAnswer,
    /// The session ends with its backend, whatever the pool says.
    pub(super) no_failover: bool,
    /// The client's conversation ends with its backend.
    pub(super) begins_anew: bool,
    /// permessage-deflate is agreed.
    pub(super) deflate: bool,
}

/// What sessions have with an end that links the shim, or with a client that may come back.
#[derive(Debug)]
pub(super) struct ShimState {
    pub(super) commits: Option<Commits>,
    pub(super) returning: Option<Returning>,
}
