//! Where values are written, and files that the configuration names. These are read later, by those who know what is in them; what is wrong
//! then is told with the line on which the file was named.

use std::fmt;
use std::path::PathBuf;

/// Where a value was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueOrigin {
    /// A line of the file, counted from 1.
    Line(usize),
    /// A flag or its environment variable, such as `--listen`.
    Flag(&'static str),
    /// Nowhere: it is missing.
    Nowhere,
}

/// Where something stands in the configuration, for what turns out to be wrong with it.
///
/// Its `Debug` says nothing: two configurations that differ in their lines alone are the same.
#[derive(Clone)]
pub struct ConfigPlace {
    pub(super) origin: ValueOrigin,
    /// The table, and the key if it is one key's, as problems have them: `[pool.tls] ca`.
    pub(super) key: String,
}

impl fmt::Debug for ConfigPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConfigPlace")
    }
}

/// A file that a key names.
#[derive(Debug, Clone)]
pub struct NamedFile {
    /// As it was written: a path that is not absolute begins where the broker was started.
    pub path: PathBuf,
    /// The key.
    pub place: ConfigPlace,
}
