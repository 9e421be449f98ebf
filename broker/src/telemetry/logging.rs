//! The log: on stderr, as text for people or JSON for machines.

use std::error::Error;
use std::io::{self, IsTerminal};

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use crate::config::log_filter;
use crate::config::settings::{Log, LogFormat};

/// What is logged at present, to be changed while the process runs.
#[derive(Debug, Clone)]
pub struct Levels(Handle<Targets, Registry>);

impl Levels {
    /// Changes what is logged.
    ///
    /// # Errors
    ///
    /// The level is not one.
    pub fn set(&self, level: &str) -> Result<(), String> {
        let filter = log_filter(level)?;
        self.0.reload(filter).map_err(|error| format!("the log's level cannot be changed: {error}"))
    }
}

/// Begins to log. One line for each event, with its fields.
///
/// # Errors
///
/// The level is not one, or the process logs elsewhere already.
pub fn init(log: &Log) -> Result<Levels, Box<dyn Error + Send + Sync>> {
    let (filter, handle) = reload::Layer::new(log_filter(&log.level)?);
    // A stderr that nobody reads must not end the broker, so the layer does not complain there either.
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr).log_internal_errors(false);
    let layer = match log.format {
        LogFormat::Text => layer.with_ansi(colours()).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_current_span(false).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(layer).try_init()?;
    Ok(Levels(handle))
}

/// On a terminal, unless its user asks for none (<https://no-color.org>).
fn colours() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
