//! The client processes of an event, told what to do all at once.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};

use super::Load;
use crate::client::sessions::{Figures, Outcome, READY};
use crate::door::Door;
use crate::process::Process;

/// How long opening all sessions may take.
const OPEN_TIME_MAX: Duration = Duration::from_secs(120);
/// What a client may take to sum up, beyond its wait for the last answers.
const SUM_UP_TIME_MAX: Duration = Duration::from_secs(60);
/// Descriptors that a client process needs beside its sessions.
const DESCRIPTORS_BESIDE: u64 = 64;

/// Processes with open sessions.
pub(super) struct Clients(Vec<Process>);

impl Clients {
    /// Starts the processes, and waits until every session is open.
    pub(super) async fn open(load: &Load, door: &Door, folder: &Path) -> io::Result<Self> {
        let shares = shares(load.sessions as usize, load.processes as usize);
        let largest = shares.iter().map(|(_, count)| *count).max().unwrap_or(0);
        let (descriptors, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
        if largest as u64 + DESCRIPTORS_BESIDE > descriptors {
            return Err(io::Error::other(format!(
                "{largest} sessions in one process are too many for {descriptors} descriptors; use more --processes"
            )));
        }
        let mut clients = Vec::new();
        for (first, count) in shares {
            let arguments = arguments(load, door, first, count);
            clients.push(Process::start_own(folder, &format!("client-{first}"), arguments)?);
        }
        for client in &mut clients {
            let line = client.line(OPEN_TIME_MAX).await?;
            if line != READY {
                return Err(client.failure(&format!("said `{line}` and not that it is ready")));
            }
        }
        Ok(Self(clients))
    }

    /// Tells every process the same.
    pub(super) async fn tell_all(&mut self, line: &str) -> io::Result<()> {
        for client in &mut self.0 {
            client.tell(line).await?;
        }
        Ok(())
    }

    /// What every session noticed, once the clients are done.
    pub(super) async fn finish(self, wait: Duration) -> io::Result<Vec<Outcome>> {
        let mut outcomes = Vec::new();
        for client in self.0 {
            let output = client.finish(wait + SUM_UP_TIME_MAX).await?;
            let figures: Figures = serde_json::from_str(&output)?;
            outcomes.extend(figures.sessions);
        }
        Ok(outcomes)
    }
}

fn arguments(load: &Load, door: &Door, first: usize, count: usize) -> Vec<OsString> {
    let arguments = [
        "client".to_owned(),
        "sessions".to_owned(),
        format!("--first={first}"),
        format!("--sessions={count}"),
        format!("--total={}", load.sessions),
        format!("--rate={}", load.rate),
        format!("--payload={}", load.payload),
        format!("--wait={}", (load.wait * 1_000.0).ceil()),
    ];
    arguments.into_iter().chain(door.arguments()).map(OsString::from).collect()
}

/// Each process's first session and how many it has.
fn shares(sessions: usize, processes: usize) -> Vec<(usize, usize)> {
    let bound = |process: usize| sessions * process / processes;
    let shares = (0..processes).map(|process| (bound(process), bound(process + 1) - bound(process)));
    shares.filter(|(_, count)| *count > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_session_has_one_process() {
        assert_eq!(shares(10, 3), [(0, 3), (3, 3), (6, 4)]);
        assert_eq!(shares(2, 4), [(1, 1), (2, 1)].map(|(at, n)| (at - 1, n)));
        assert_eq!(shares(5, 1), [(0, 5)]);
    }
}
