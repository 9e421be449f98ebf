//! The side of the backends: pools, which backend a session gets, how it is dialled, and how healthy it is. Knows no
//! session but by what it is told of one, and no client.

pub(crate) mod approach;
pub(crate) mod backend;
pub(crate) mod balance;
pub(crate) mod checks;
pub(crate) mod conversations;
pub(crate) mod dial;
pub(crate) mod discovery;
pub(crate) mod ejections;
pub(crate) mod forward;
pub(crate) mod health;
pub(crate) mod manner;
pub(crate) mod pool;
pub(crate) mod queue;
pub(crate) mod sticky;
