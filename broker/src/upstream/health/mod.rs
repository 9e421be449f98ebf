//! Whether backends are well: checks, agents, what backends ask for, and what their sessions have met. Judges one
//! backend by what it is told, and moves no session.

pub(crate) mod agent;
pub(crate) mod circuit;
pub(crate) mod deaths;
pub(super) mod departure;
pub(crate) mod docket;
pub(super) mod drain_reason;
pub(super) mod drain_requests;
pub(super) mod failures;
pub(crate) mod probe;
pub(super) mod resort;
pub(super) mod suspect_turns;
pub(crate) mod tracker;
pub(super) mod witness;
