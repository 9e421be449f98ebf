//! Whether backends are well: checks, agents, what backends ask for, and what their sessions have met. Judges one
//! backend by what it is told, and moves no session.

pub(crate) mod agent;
pub(crate) mod circuit;
pub(crate) mod deaths;
pub(crate) mod departure;
pub(crate) mod docket;
pub(crate) mod drain_reason;
pub(crate) mod drain_requests;
pub(crate) mod failures;
pub(crate) mod probe;
pub(crate) mod resort;
pub(crate) mod suspect_turns;
pub(crate) mod tracker;
pub(crate) mod witness;
