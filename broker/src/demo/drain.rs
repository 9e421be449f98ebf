//! Drains: backends are emptied over the broker's API, as an operator does it.

use super::cast::POOLS;
use crate::api::client::{Api, ChangeReply, Error, NOTHING};
use crate::api::model::operations::{OneOperation, OperationReply};

/// A drain that was begun.
#[derive(Debug, Clone)]
pub(super) struct Drain {
    /// The pool, by its position in [`super::cast::POOLS`].
    pub(super) pool: usize,
    /// The backend's name.
    pub(super) backend: String,
    /// How far it is.
    pub(super) operation: OperationReply,
}

impl Drain {
    /// Begins to drain a backend of a pool.
    pub(super) async fn begin(api: &Api, pool: usize, backend: usize) -> Result<Self, Error> {
        let backend = POOLS[pool].backend(backend);
        let OneOperation { operation } = order(api, pool, &backend, "drain").await?.view()?;
        Ok(Self { pool, backend, operation })
    }

    /// Asks how far it is.
    pub(super) async fn look(&mut self, api: &Api) -> Result<(), Error> {
        let path = format!("/api/v1/operations/{}", self.operation.id);
        let OneOperation { operation } = api.get(&path).await?.view()?;
        self.operation = operation;
        Ok(())
    }

    /// Lets the backend have sessions again; ends the drain if that is under way.
    pub(super) async fn undo(&self, api: &Api) -> Result<(), Error> {
        order(api, self.pool, &self.backend, "undrain").await.map(drop)
    }
}

/// Has the API do what stands at the end of a backend's path.
async fn order(api: &Api, pool: usize, backend: &str, what: &str) -> Result<ChangeReply, Error> {
    let path = format!("/api/v1/pools/{}/backends/{backend}/{what}", POOLS[pool].name);
    api.post(&path, NOTHING).await
}
