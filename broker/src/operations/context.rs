//! What is handed to the supervisor, which moves sessions of itself.

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
