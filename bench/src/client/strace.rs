//! System calls of a peer under load, counted by strace. The peer is slower while it is traced, so
//! nothing else is measured at that time.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{ChildStderr, Command};
use tokio::time::{sleep, timeout};

/// How long is counted.
const COUNTED: Duration = Duration::from_secs(1);
/// How long strace may take to attach, and to write its summary.
const STEP_TIME_MAX: Duration = Duration::from_secs(5);

/// Names shown.
const SHOWN: usize = 6;

/// What a peer asked of the kernel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SystemCalls {
    /// Messages relayed meanwhile.
    pub(crate) messages: u64,
    /// Calls by name.
    pub(crate) calls: BTreeMap<String, u64>,
}

impl SystemCalls {
    /// All calls per message.
    pub(crate) fn per_message(&self) -> f64 {
        self.calls.values().sum::<u64>() as f64 / self.messages.max(1) as f64
    }
}

impl fmt::Display for SystemCalls {
    /// Calls by name for each message or request, the frequent ones first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut calls: Vec<_> = self.calls.iter().collect();
        calls.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        write!(f, "calls for each:")?;
        for (name, count) in calls.into_iter().take(SHOWN) {
            write!(f, " {name} {:.3}", *count as f64 / self.messages.max(1) as f64)?;
        }
        Ok(())
    }
}

/// Counts for a second. `messages` says how many there have been so far.
pub(crate) async fn count(processes: &[u32], messages: impl Fn() -> u64) -> io::Result<SystemCalls> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["tether", "--parent", &std::process::id().to_string(), "--", "strace", "-c", "-f"]);
    processes.iter().for_each(|pid| {
        command.arg("-p").arg(pid.to_string());
    });
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut strace = command.spawn()?;
    let missing = || io::Error::other("strace did not start");
    let mut report = BufReader::new(strace.stderr.take().ok_or_else(missing)?);
    attached(&mut report, processes.len()).await?;

    let before = messages();
    sleep(COUNTED).await;
    let messages = messages() - before;
    let id = strace.id().ok_or_else(missing)?;
    kill(Pid::from_raw(id.cast_signed()), Signal::SIGINT)?;
    let mut summary = String::new();
    timeout(STEP_TIME_MAX, report.read_to_string(&mut summary)).await??;
    timeout(STEP_TIME_MAX, strace.wait()).await??;
    Ok(SystemCalls { messages, calls: calls(&summary) })
}

/// Whether strace is in the search path.
pub(crate) fn is_installed() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| Path::new(&folder).join("strace").is_file())
}

async fn attached(report: &mut BufReader<ChildStderr>, processes: usize) -> io::Result<()> {
    let mut said = String::new();
    while said.matches(" attached").count() < processes {
        if timeout(STEP_TIME_MAX, report.read_line(&mut said)).await?? == 0 {
            return Err(io::Error::other(format!("strace cannot trace the peer: {}", said.trim())));
        }
    }
    Ok(())
}

/// Reads the table of `strace -c`: share, seconds, usecs/call, calls, errors (may be blank), name.
fn calls(summary: &str) -> BTreeMap<String, u64> {
    let rows = summary.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (name, calls) = (fields.last()?, fields.get(3)?.parse().ok()?);
        (*name != "total").then(|| ((*name).to_owned(), calls))
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_without_its_total() {
        let summary = "strace: Process 7 detached\n\
            % time     seconds  usecs/call     calls    errors syscall\n\
            ------ ----------- ----------- --------- --------- ----------------\n \
            60.00    0.000060           6        10           sendto\n \
            40.00    0.000040           2        20         3 recvfrom\n\
            ------ ----------- ----------- --------- --------- ----------------\n\
            100.00    0.000100           3        30         3 total\n";
        let calls = calls(summary);
        assert_eq!(calls, BTreeMap::from([("recvfrom".to_owned(), 20), ("sendto".to_owned(), 10)]));
        assert_eq!(SystemCalls { messages: 15, calls }.per_message(), 2.0);
    }
}
