//! Reading the configuration again.

use serde::{Deserialize, Serialize};

/// Answers `POST /api/v1/reload`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReloadReply {
    pub(crate) reloaded: bool,
}
