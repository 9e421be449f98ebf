//! What one backend makes of a dial, and whether its answer is the client's to see. What follows of that for the backend
//! is told elsewhere.

use std::io;

use http::{Response, StatusCode};
use hyper::body::Incoming;

use crate::clock;
use crate::net::connect::is_local;
use crate::upstream::backend::Backend;

use super::Link;
use super::hang_ups::HangUp;

/// What one backend made of a dial.
pub(super) enum DialOutcome {
    Linked(Box<Link>),
    /// It answered the upgrade with something else.
    Answered(Box<Response<Incoming>>),
    /// It serves, but not this session.
    Incompatible(&'static str),
    /// It cannot be reached: nothing of the session's has come to it.
    Unreached(String),
    /// It has made nothing of the request, or does not speak HTTP.
    Failed(String),
    /// Its answer is larger than we read.
    OverLimit,
    /// It took the request and ended the connection without a byte: it may have died of it.
    HungUp(HangUp),
    /// The fault lies here: no descriptor, no port.
    Local(io::Error),
}

impl DialOutcome {
    /// Of a connection that could not be made.
    pub(super) fn unconnected(error: io::Error) -> DialOutcome {
        match is_local(&error) {
            true => DialOutcome::Local(error),
            false => DialOutcome::Unreached(format!("cannot connect: {error}")),
        }
    }
}

/// Server errors that one request has met.
#[derive(Debug, Default)]
pub(super) struct ServerErrors {
    met: usize,
    /// One of those that gave them has failed others as well.
    doubted: bool,
}

impl ServerErrors {
    /// A backend has answered. True: it is the second one to which others have nothing to say against that gives such
    /// an error, so the request is to blame, and that answer is the client's.
    pub(super) fn are_the_requests(&mut self, backend: &Backend, status: StatusCode) -> bool {
        if !status.is_server_error() {
            return false;
        }
        self.met += 1;
        self.doubted |= !backend.is_clean(clock::now());
        self.met >= 2 && !self.doubted
    }
}

/// Redirects and refusals are for the client, unless they speak of this moment only.
pub(super) fn goes_to_client(status: StatusCode) -> bool {
    (status.is_redirection() || status.is_client_error()) && !tries_elsewhere(status)
}

/// Answers that another backend need not give: server errors, "too early", "too many requests",
/// a timeout, and a success that is no upgrade.
pub(super) fn tries_elsewhere(status: StatusCode) -> bool {
    let passing = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
    status.is_server_error() || status.is_success() || passing.contains(&status)
}
