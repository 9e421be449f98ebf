//! Configuration: a file, environment variables and flags become [`Settings`].
//!
//! The way of a value: `raw` finds it in the file with its line, `typed` and `values` read it,
//! `keys` knows its default and bounds, `merge` lets `overrides` win and checks the whole. A wrong
//! configuration comes back as a [`ConfigError`] with one line for each `problem`.

mod built_in;
mod cookie_secrets;
mod file;
mod keys;
mod merge;
mod overrides;
mod place;
mod problem;
mod raw;
pub mod restart;
pub mod secrets;
pub mod settings;
mod stamp;
mod text;
mod token;
mod typed;
mod values;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use built_in::{BuiltIn, PROVEN, built_ins, find_profile, load_profiles};
pub use cookie_secrets::CookieSecrets;
pub(crate) use file::read_bytes;
pub use overrides::Overrides;
pub use place::{ConfigPlace, NamedFile};
pub(crate) use problem::ProblemReport;
pub use problem::{ConfigError, Problem};
pub use settings::Settings;
pub use stamp::Look;
pub(crate) use text::quoted;
pub use token::AdminToken;
pub use values::log_filter;
pub(crate) use values::name;
pub(crate) use values::network::backend;

use file::FILE_SIZE_MAX;
use place::ValueOrigin;

/// Where the configuration comes from, at the start and at each reload.
#[derive(Debug, Clone)]
pub struct Source {
    file: Option<PathBuf>,
    overrides: Overrides,
}

impl Source {
    /// A file, if there is one, and what wins over it.
    pub fn new(file: Option<PathBuf>, overrides: Overrides) -> Source {
        Source { file, overrides }
    }

    /// The file, if there is one.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// A look at the file, if there is one. What is read after it is no older.
    pub fn look(&self) -> Look {
        Look::new(self.file())
    }

    /// At the same files once more.
    pub fn look_again(&self, look: &Look) -> Look {
        look.again(self.file())
    }

    /// Reads it as it is now.
    ///
    /// # Errors
    ///
    /// As [`load`].
    pub fn load(&self) -> Result<Settings, ConfigError> {
        load(self.file(), &self.overrides)
    }
}

/// Reads the file, if one is given, and lets the overrides win over it.
///
/// # Errors
///
/// Every problem that was found. Those of single values come first: only when each is sound is the whole
/// judged.
pub fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Settings, ConfigError> {
    let mut report = ProblemReport::new(file);
    let text = match file.map(|file| file::read(file, FILE_SIZE_MAX)).transpose() {
        Ok(text) => text.unwrap_or_default(),
        Err(error) => {
            report.add(
                ValueOrigin::Nowhere,
                format!("cannot be read: {error}; name a readable file with --config"),
            );
            String::new()
        }
    };
    resolve(&text, overrides, report)
}

/// The same for the text of a file.
///
/// # Errors
///
/// As [`load`].
pub fn parse(text: &str, overrides: &Overrides) -> Result<Settings, ConfigError> {
    resolve(text, overrides, ProblemReport::new(None))
}

fn resolve(text: &str, overrides: &Overrides, mut report: ProblemReport) -> Result<Settings, ConfigError> {
    let draft = raw::read_document(text, &mut report, keys::file).map(|(draft, _)| draft);
    let settings =
        draft.filter(|_| report.is_clean()).map(|draft| merge::complete(draft, overrides, &mut report));
    report.finish(settings)
}
