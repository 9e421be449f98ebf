//! The log: on stderr, as text for people or JSON for machines.

use std::error::Error;
use std::io::{self, IsTerminal};

use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::log_filter;
use crate::config::settings::{Log, LogFormat};

/// Begins to log. One line for each event, with its fields.
///
/// # Errors
///
/// The level is not one, or the process logs elsewhere already.
pub fn init(log: &Log) -> Result<(), Box<dyn Error + Send + Sync>> {
    let filter = log_filter(&log.level)?;
    // A stderr that nobody reads must not end the broker, so the layer does not complain there either.
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr).log_internal_errors(false);
    let layer = match log.format {
        LogFormat::Text => layer.with_ansi(colours()).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_current_span(false).boxed(),
    };
    tracing_subscriber::registry().with(layer).with(filter).try_init()?;
    Ok(())
}

/// On a terminal, unless its user asks for none (<https://no-color.org>).
fn colours() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
