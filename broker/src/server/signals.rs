//! SIGTERM and SIGINT: the first asks for a graceful end, the second ends at once. SIGHUP asks for
//! the configuration to be read again.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::server::shutdown::Stop;

/// What signals ask for.
#[derive(Debug)]
pub struct Signals {
    /// How far the end has come.
    pub stop: watch::Receiver<Stop>,
    /// One item for each reload that is asked for; those that come during one are one.
    pub reload: mpsc::Receiver<()>,
}

/// Catches the signals from now on.
///
/// # Errors
///
/// The signal handlers cannot be installed.
///
/// # Panics
///
/// Outside of a tokio runtime with I/O enabled.
pub fn watch() -> io::Result<Signals> {
    let terminate = signal(SignalKind::terminate())?;
    let interrupt = signal(SignalKind::interrupt())?;
    let hangup = signal(SignalKind::hangup())?;
    let (stop, stopping) = watch::channel(Stop::Running);
    let (reload, reloading) = mpsc::channel(1);
    tokio::spawn(forward_ends(terminate, interrupt, stop));
    tokio::spawn(forward_hangups(hangup, reload));
    Ok(Signals { stop: stopping, reload: reloading })
}

async fn forward_ends(mut terminate: Signal, mut interrupt: Signal, sender: watch::Sender<Stop>) {
    for stop in [Stop::Graceful, Stop::Now] {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, ?stop, "asked to stop");
        sender.send_replace(stop);
    }
}

async fn forward_hangups(mut hangup: Signal, sender: mpsc::Sender<()>) {
    while hangup.recv().await.is_some() {
        // A full channel holds one that will see this change too.
        let _ = sender.try_send(());
    }
}
