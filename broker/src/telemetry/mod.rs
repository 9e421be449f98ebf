//! What is told to people and to their tools: logs and metrics. Reads everything, and changes nothing but how much is
//! logged.

pub mod logging;
pub(crate) mod metrics;
