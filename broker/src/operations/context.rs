//! What is handed to those who move sessions of themselves: the supervisor, and the evacuation.

use std::sync::Arc;

use super::Operations;
use crate::session::registry::Registry;
use crate::snapshot::Current;

/// Operations, the sessions that they move, and what is configured.
#[derive(Clone)]
pub(crate) struct OperationContext {
    pub(crate) operations: Arc<Operations>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) current: Arc<Current>,
}
