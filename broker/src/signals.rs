//! SIGTERM and SIGINT: the first asks for a graceful end, the second ends at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::shutdown::Stop;

/// Catches both signals from now on and says what they ask for.
///
/// # Errors
///
/// The signal handlers cannot be installed.
///
/// # Panics
///
/// Outside of a tokio runtime with I/O enabled.
pub fn watch() -> io::Result<watch::Receiver<Stop>> {
    let terminate = signal(SignalKind::terminate())?;
    let interrupt = signal(SignalKind::interrupt())?;
    let (sender, receiver) = watch::channel(Stop::Running);
    tokio::spawn(forward(terminate, interrupt, sender));
    Ok(receiver)
}

async fn forward(mut terminate: Signal, mut interrupt: Signal, sender: watch::Sender<Stop>) {
    for stop in [Stop::Graceful, Stop::Now] {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, ?stop, "asked to stop");
        sender.send_replace(stop);
    }
}
