//! Valgrind's callgrind, which counts the instructions of a program that runs under it.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::door::Door;
use crate::peers::{find_program, steadfast};
use crate::process::{Launch, Process};
use crate::tls::Tls;

/// How long a broker may take to listen, and to end: it is some fifty times slower than by itself.
const PATIENCE: Duration = Duration::from_secs(60);
/// How profiles are called; a thread's number comes behind it.
const PROFILE: &str = "callgrind.out";

/// The installed valgrind.
pub(super) fn locate() -> io::Result<PathBuf> {
    let missing = "instructions are counted by valgrind, which is not in the search path; install it \
        (apt-get install valgrind)";
    find_program("valgrind").ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, missing))
}

/// A Steadfast that is counted.
#[derive(Debug)]
pub(super) struct Counted {
    process: Process,
    door: Door,
    /// Where callgrind puts a file for each thread. Removed when dropped.
    profiles: TempDir,
}

impl Counted {
    /// Starts the executable `program`, with further arguments of `serve`, in front of `backend`.
    pub(super) async fn start(
        valgrind: &Path,
        folder: &Path,
        program: &Path,
        extra: &[String],
        backend: SocketAddr,
        tls: Tls<'_>,
    ) -> io::Result<Self> {
        let profiles = tempfile::Builder::new().prefix("profiles-").tempdir_in(folder)?;
        let out = profiles.path().join(PROFILE);
        let mut arguments =
            vec!["--tool=callgrind".into(), "--quiet".into(), "--separate-threads=yes".into()];
        arguments.push(format!("--callgrind-out-file={}", out.display()).into());
        arguments.push(program.into());
        arguments.extend(steadfast::arguments(folder, "steadfast", extra, &[backend], tls)?);
        let mut process = Process::start(folder, Launch { name: "steadfast", program: valgrind, arguments })?;
        let address = process.listening_line(PATIENCE).await?;
        Ok(Self { process, door: Door::new(address, tls), profiles })
    }

    /// Where clients connect.
    pub(super) fn door(&self) -> &Door {
        &self.door
    }

    /// Ends it, and returns the instructions that all its threads but the main one have taken in their
    /// whole life. The main thread relays nothing: it reads the configuration, finds out how fast the
    /// clock is for as long as that takes, and looks after backends by time.
    pub(super) async fn end(self) -> io::Result<u64> {
        self.process.end(PATIENCE).await?;
        let mut totals = Vec::new();
        for entry in fs::read_dir(self.profiles.path())? {
            let path = entry?.path();
            if is_of_another_thread(&path) {
                let unreadable = || io::Error::other(format!("{} has no totals", path.display()));
                totals.push(total(&fs::read_to_string(&path)?).ok_or_else(unreadable)?);
            }
        }
        if totals.is_empty() {
            return Err(io::Error::other("valgrind has left no counts of any worker thread behind"));
        }
        Ok(totals.iter().sum())
    }
}

/// Whether this is the profile of a thread other than the first: their names end with `-01`, `-02` and so
/// on, and there is an empty one without a number.
fn is_of_another_thread(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let number = name.strip_prefix(PROFILE).and_then(|rest| rest.strip_prefix('-')?.parse::<u32>().ok());
    number.is_some_and(|number| number > 1)
}

/// The instructions of a profile: the first number behind `totals:` (Callgrind Format
/// Specification, 3.1), whose only event is `Ir`.
fn total(profile: &str) -> Option<u64> {
    profile.lines().any(|line| line == "events: Ir").then_some(())?;
    profile.lines().find_map(|line| line.strip_prefix("totals:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_main_thread_and_the_empty_profile_do_not_count() {
        let counted = |name: &str| is_of_another_thread(&Path::new("/tmp/x").join(name));
        assert!(counted("callgrind.out-02") && counted("callgrind.out-11"));
        for name in ["callgrind.out", "callgrind.out-01", "callgrind.out-x", "other-02"] {
            assert!(!counted(name), "{name}");
        }
    }

    #[test]
    fn totals_are_read_if_they_are_instructions() {
        let profile =
            "version: 1\ncmd: steadfast serve\n\nevents: Ir\nsummary: 7\n\nfn=(1)\n0 7\n\ntotals: 7\n";
        assert_eq!(total(profile), Some(7));
        assert_eq!(total(&profile.replace("totals: 7\n", "")), None);
        assert_eq!(total(&profile.replace("events: Ir", "events: Ir Dr")), None);
    }
}
