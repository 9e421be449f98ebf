//! What is wrong with a configuration, one line for each problem.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::place::{ConfigPlace, ValueOrigin};

/// Problems shown of one configuration; the rest is counted.
const SHOWN_MAX: usize = 20;

/// One thing that is wrong: place, fault and remedy on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    file: Option<PathBuf>,
    origin: ValueOrigin,
    message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.origin, &self.file) {
            (ValueOrigin::Flag(flag), _) => write!(f, "{flag}: ")?,
            (ValueOrigin::Line(line), Some(file)) => write!(f, "{}:{line}: ", file.display())?,
            (ValueOrigin::Line(line), None) => write!(f, "line {line}: ")?,
            (ValueOrigin::Nowhere, Some(file)) => write!(f, "{}: ", file.display())?,
            (ValueOrigin::Nowhere, None) => {}
        }
        f.write_str(&self.message)
    }
}

/// A configuration that cannot be used. Holds at least one problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    /// One line for each problem, in the order of the file. After twenty the rest is counted in one line.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let hidden = self.problems.len().saturating_sub(SHOWN_MAX);
        let rest = (hidden > 0).then(|| format!("{hidden} more problems are not shown"));
        self.problems.iter().take(SHOWN_MAX).map(Problem::to_string).chain(rest)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().collect::<Vec<_>>().join("\n"))
    }
}

impl std::error::Error for ConfigError {}

/// Collects the problems of one configuration.
#[derive(Debug)]
pub(crate) struct ProblemReport {
    file: Option<PathBuf>,
    problems: Vec<Problem>,
}

impl ProblemReport {
    /// `file` is named in each problem that was found in it.
    pub(crate) fn new(file: Option<&Path>) -> Self {
        Self { file: file.map(Path::to_owned), problems: Vec::new() }
    }

    pub(super) fn add(&mut self, origin: ValueOrigin, message: String) {
        self.problems.push(Problem { file: self.file.clone(), origin, message });
    }

    /// What was named there cannot be used.
    pub(crate) fn add_at(&mut self, place: &ConfigPlace, message: &str) {
        self.add(place.origin, format!("{}: {message}", place.key));
    }

    /// The file cannot be read.
    pub(super) fn unreadable(mut self, error: &io::Error) -> ConfigError {
        self.add(ValueOrigin::Nowhere, format!("cannot be read: {error}; name a file that can"));
        ConfigError { problems: self.problems }
    }

    pub(super) fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// The value when nothing is wrong, else all that is. Without a value something is wrong.
    pub(crate) fn finish<T>(mut self, value: Option<T>) -> Result<T, ConfigError> {
        if let Some(value) = value
            && self.problems.is_empty()
        {
            return Ok(value);
        }
        self.problems.sort_by_key(|problem| match problem.origin {
            ValueOrigin::Line(line) => line,
            ValueOrigin::Flag(_) | ValueOrigin::Nowhere => usize::MAX,
        });
        Err(ConfigError { problems: self.problems })
    }
}
