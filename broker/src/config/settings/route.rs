//! Which requests go to a pool, and by which conditions.

use std::time::Duration;

use http::header::HeaderName;
use regex::Regex;

use super::{AccessSettings, HeaderRules};

/// Which requests go to a pool, and with which headers. All of its conditions must hold.
#[derive(Debug, Clone)]
pub struct Route {
    /// Unique among routes; `route-1`, `route-2` ... by their order unless the file names it.
    pub name: String,
    /// One of these is the request's host; empty: any.
    pub hosts: Vec<HostPattern>,
    /// What the path must be; `None`: any.
    pub path: Option<PathMatch>,
    /// What each of these headers must be.
    pub headers: Vec<HeaderMatch>,
    /// What each of these parameters of the query must be.
    pub queries: Vec<QueryMatch>,
    /// Which of requests it is for.
    pub kind: RouteKind,
    /// The name of the pool that its sessions go to.
    pub pool: String,
    /// Its clients are told which backend to connect to; `None`: the broker stands between them.
    pub redirect: Option<RedirectSettings>,
    /// The client's headers on their way to backends.
    pub request_headers: HeaderRules,
    /// The backend's headers on their way to the client.
    pub response_headers: HeaderRules,
    /// Who may come in here, on top of the broker's own rules.
    pub access: AccessSettings,
}

/// A host as a route names it, in lower case and without a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// `chat.example.com`
    Exact(String),
    /// `*.example.com`, kept as `.example.com`: any name below, but not the name itself.
    Suffix(String),
}

/// What a path must be. It is the path alone, without the query, as the client wrote it.
#[derive(Debug, Clone)]
pub enum PathMatch {
    /// This and nothing else.
    Exact(String),
    /// It begins so. `/chat` also fits `/chats`; `/chat/` does not.
    Prefix(String),
    /// The expression is found in it; anchors are the writer's.
    Regex(Regex),
}

/// What a header must be.
#[derive(Debug, Clone)]
pub struct HeaderMatch {
    /// Its name.
    pub name: HeaderName,
    /// What one of its values must be; `None`: it must be there.
    pub value: Option<ValueMatch>,
}

/// What a parameter of the query must be.
#[derive(Debug, Clone)]
pub struct QueryMatch {
    /// Its name, decoded.
    pub name: String,
    /// What one of its values must be, decoded; `None`: it must be there.
    pub value: Option<ValueMatch>,
}

/// Which of requests a route is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteKind {
    /// Those that ask for a WebSocket (RFC 6455, 4.1).
    WebSocket,
    /// All others.
    Http,
    /// All.
    Any,
}

/// How clients are sent to a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RedirectSettings {
    /// For so long a client counts as a session of the backend that it was sent to.
    pub reserve: Duration,
}

/// What a header's value, or a parameter's, must be.
#[derive(Debug, Clone)]
pub enum ValueMatch {
    /// This and nothing else.
    Exact(String),
    /// The expression is found in it.
    Regex(Regex),
}
