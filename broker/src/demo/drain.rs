//! Drains: backends are emptied over the broker's API, as an operator does it.

use std::io;
use std::net::SocketAddr;

use super::admin::{self, Operation};
use super::cast::POOLS;

/// A drain that was begun.
#[derive(Debug, Clone)]
pub(crate) struct Drain {
    /// The pool, by its position in [`super::cast::POOLS`].
    pub(crate) pool: usize,
    /// The backend's name.
    pub(crate) backend: String,
    /// How far it is.
    pub(crate) operation: Operation,
}

impl Drain {
    /// Begins to drain a backend of a pool.
    pub(crate) async fn begin(admin: SocketAddr, pool: usize, backend: usize) -> io::Result<Self> {
        let name = POOLS[pool].backend(backend);
        let operation = admin::drain(admin, POOLS[pool].name, &name).await?;
        Ok(Self { pool, backend: name, operation })
    }

    /// Asks how far it is.
    pub(crate) async fn look(&mut self, admin: SocketAddr) -> io::Result<()> {
        self.operation = admin::operation(admin, &self.operation.id).await?;
        Ok(())
    }

    /// Lets the backend have sessions again; ends the drain if that is under way.
    pub(crate) async fn undo(&self, admin: SocketAddr) -> io::Result<()> {
        admin::undrain(admin, POOLS[self.pool].name, &self.backend).await
    }

    /// Whether it has ended, in whatever way.
    pub(crate) fn is_over(&self) -> bool {
        !matches!(self.operation.state.as_str(), "running" | "waiting")
    }
}
