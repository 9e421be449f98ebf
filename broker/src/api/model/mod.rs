//! What goes over `/api/v1`: every request and every reply, each as one type for both ends. A file for each kind of
//! resource.
//!
//! The commands may be older or newer than the broker that they ask: a field that is added later has a default.

pub(crate) mod backends;
pub(crate) mod errors;
pub(crate) mod listeners;
pub(crate) mod operations;
pub(crate) mod reload;
#[cfg(test)]
pub(crate) mod samples;
pub(crate) mod sessions;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Deserializer};

/// Reads a value that may be absent: `null` is told from absence, and is for the value itself to take or refuse.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(value: D) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}
