//! The log: on stderr, as text for people or JSON for machines. Who logs never waits for who reads: lines go
//! through a bounded queue to a thread of their own, and what does not fit is dropped and counted.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal};
use std::os::fd::AsFd;
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use crate::config::log_filter;
use crate::config::settings::{Log, LogFormat};

/// Lines that may wait for their reader. Each is a few hundred bytes.
const WAITING: usize = 8192;

/// How long the end of the process waits for the lines that are left.
const FLUSH: Duration = Duration::from_secs(1);

/// Lines that were dropped since the process began.
static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

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
        let filter = filter(level)?;
        self.0.reload(filter).map_err(|error| format!("the log's level cannot be changed: {error}"))
    }
}

/// The queue of the lines. When it is dropped, those that are left are written, for a second at the most.
#[derive(Debug)]
#[must_use = "lines are lost that stand in the queue when the process ends"]
pub struct Queue(Option<WorkerGuard>);

impl Drop for Queue {
    fn drop(&mut self) {
        let Some(guard) = self.0.take() else { return };
        let (written, all) = mpsc::sync_channel(1);
        // The guard waits too, but where nobody reads it complains on stdout, which may be the same pipe.
        let flush = move || {
            drop(guard);
            let _ = written.send(());
        };
        if thread::Builder::new().name("log-flush".to_owned()).spawn(flush).is_ok() {
            let _ = all.recv_timeout(FLUSH);
        }
    }
}

/// What is logged. The DNS library has a line for each datagram that is no answer, which anybody may send; what follows from
/// them the broker says itself. So that library is only heard when it is named.
fn filter(level: &str) -> Result<Targets, String> {
    const DNS: &str = "hickory";
    let filter = log_filter(level)?;
    let is_named = filter.iter().any(|(target, _)| target.starts_with(DNS));
    Ok(if is_named { filter } else { filter.with_target(DNS, LevelFilter::OFF) })
}

/// Returns how many lines were dropped since the process began.
pub(super) fn dropped_lines() -> u64 {
    DROPPED.get().map_or(0, |counter| counter.dropped_lines() as u64)
}

/// Begins to log. One line for each event, with its fields. Keep the queue until the process ends.
///
/// # Errors
///
/// The level is not one, stderr is closed, no thread can be started, or the process logs elsewhere already.
pub fn init(log: &Log) -> Result<(Levels, Queue), Box<dyn Error + Send + Sync>> {
    // The writer's own thread would panic.
    thread::Builder::new().spawn(|| ()).map_err(|error| {
        format!("cannot start a thread: {error}; raise the limit of them (ulimit -u, TasksMax= of systemd, --pids-limit of docker)")
    })?;
    let (filter, handle) = reload::Layer::new(filter(&log.level)?);
    // A handle of its own: who waits with it for a reader keeps nobody from the lock of stderr.
    let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(WAITING)
        .thread_name("log")
        .finish(BufWriter::new(stderr));
    let _ = DROPPED.set(writer.error_counter());
    // A stderr that nobody reads must not end the broker, so the layer does not complain there either.
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).log_internal_errors(false);
    let layer = match log.format {
        LogFormat::Text => layer.with_ansi(colours()).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_current_span(false).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(layer).try_init()?;
    Ok((Levels(handle), Queue(Some(guard))))
}

/// On a terminal, unless its user asks for none (<https://no-color.org>).
fn colours() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
