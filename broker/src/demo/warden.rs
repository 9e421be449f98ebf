//! `steadfast demo-warden`: sees to it that no process of the demo outlives it.
//!
//! All of them are one process group, led by the warden. Its standard input is a pipe that the demo
//! holds open: however the demo ends, SIGKILL included, the pipe ends too, and the warden then kills
//! the group, stopped processes and itself included.

use std::io;
use std::process::{ExitCode, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// The warden's process, as the demo holds it. Dropping it ends the group.
#[derive(Debug)]
pub(super) struct Warden {
    process: Child,
    group: i32,
}

impl Warden {
    /// Starts the group with the warden alone in it.
    pub(super) fn start() -> io::Result<Self> {
        let process = Command::new(std::env::current_exe()?)
            .arg("demo-warden")
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let group = process.id().and_then(|id| i32::try_from(id).ok());
        let group = group.ok_or_else(|| io::Error::other("the warden ended at once"))?;
        Ok(Self { process, group })
    }

    /// Starts a process in the group.
    pub(super) fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        command.process_group(self.group).stdin(Stdio::null()).kill_on_drop(true).spawn()
    }

    /// Ends every process that is left in the group, and waits for the warden's own end.
    pub(super) async fn dismiss(mut self) {
        drop(self.process.stdin.take());
        let _ended = self.process.wait().await;
    }
}

/// Waits for the end of standard input, then kills the process group that this process leads.
pub fn run() -> ExitCode {
    match keep_watch() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the demo's warden failed: {error}; look for steadfast processes that are left");
            ExitCode::FAILURE
        }
    }
}

fn keep_watch() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _entered = runtime.enter();
    // A group that loses its parent while one of its processes is stopped gets a SIGHUP.
    let _survives_hangup = signal(SignalKind::hangup())?;
    io::copy(&mut io::stdin(), &mut io::sink())?;
    // A process that leads no group finds none of this name, and kills nobody.
    killpg(Pid::this(), Signal::SIGKILL)?;
    Ok(())
}
