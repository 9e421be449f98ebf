//! Reading files of JSON, with errors that name the file.

use std::fs;
use std::io;
use std::path::Path;

use serde::de::DeserializeOwned;

/// Reads `file`.
///
/// # Errors
///
/// It cannot be read, or is not what it should be.
pub(crate) fn read<T: DeserializeOwned>(file: &Path) -> io::Result<T> {
    let named =
        |kind, error: &dyn std::fmt::Display| io::Error::new(kind, format!("{}: {error}", file.display()));
    let text = fs::read(file).map_err(|error| named(error.kind(), &error))?;
    serde_json::from_slice(&text).map_err(|error| named(io::ErrorKind::InvalidData, &error))
}
