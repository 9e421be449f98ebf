//! What becomes of one message.

use std::sync::Arc;

use steadfast_protocol::steadfast_v1::client::Fate;

use super::shared::SharedClient;

/// A message that was taken. Dropping it changes nothing.
#[derive(Debug, Clone)]
pub struct Receipt {
    id: u64,
    shared: Arc<SharedClient>,
}

/// A message that will not be acknowledged any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotDelivered {
    /// Its session has ended before it was known to be committed: the service may have acted on it, or not.
    Unknown,
    /// It was never written to a connection.
    Unsent,
}

impl std::fmt::Display for NotDelivered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            NotDelivered::Unknown => "its session has ended; the service may have acted on it, or not",
            NotDelivered::Unsent => "the client is closed, and it was never sent",
        })
    }
}

impl std::error::Error for NotDelivered {}

impl Receipt {
    pub(super) fn new(id: u64, shared: Arc<SharedClient>) -> Receipt {
        Receipt { id, shared }
    }

    /// The message's id: 1, 2, 3 ..., over all sessions of the client.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What is known of it now.
    pub fn fate(&self) -> Fate {
        // The machine knows every id that it gave.
        self.shared.lock().machine.fate(self.id).unwrap_or(Fate::Unknown)
    }

    /// Waits until the broker has it: from then on it outlives this client's connections, and the service's.
    ///
    /// # Errors
    /// When that will not be known any more.
    pub async fn received(&self) -> Result<(), NotDelivered> {
        self.until(|fate| matches!(fate, Fate::Received | Fate::Committed)).await
    }

    /// Waits until the service has committed it.
    ///
    /// # Errors
    /// When that will not be known any more.
    pub async fn committed(&self) -> Result<(), NotDelivered> {
        self.until(|fate| fate == Fate::Committed).await
    }

    async fn until(&self, reached: impl Fn(Fate) -> bool) -> Result<(), NotDelivered> {
        let says = |fate| match fate {
            _ if reached(fate) => Some(Ok(())),
            Fate::Unknown => Some(Err(NotDelivered::Unknown)),
            Fate::Unsent => Some(Err(NotDelivered::Unsent)),
            Fate::Kept | Fate::Received | Fate::Committed => None,
        };
        self.shared.until(|state| says(state.machine.fate(self.id).unwrap_or(Fate::Unknown))).await
    }
}
