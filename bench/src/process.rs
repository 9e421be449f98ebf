//! Processes that the harness starts: their output, and their end on every path.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::proc;

/// How long a process may take to end before it is killed.
const END_TIME_MAX: Duration = Duration::from_secs(2);
/// Bytes of a log shown when its process fails.
const LOG_TAIL: usize = 2_000;

/// What to start.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    /// How messages call it; also the name of its log.
    pub(crate) name: &'a str,
    /// The executable.
    pub(crate) program: &'a Path,
    /// Its arguments.
    pub(crate) arguments: Vec<OsString>,
}

/// A running process. Dropping it ends it and what it has started, by their ids.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    id: u32,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    log: PathBuf,
}

impl Process {
    /// Starts `launch`; what it writes to its standard error goes to a file in `folder`.
    pub(crate) fn start(folder: &Path, launch: Launch<'_>) -> io::Result<Self> {
        let log = folder.join(format!("{}.log", launch.name));
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["tether", "--parent", &std::process::id().to_string(), "--"])
            .arg(launch.program)
            .args(launch.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .kill_on_drop(true);
        // A broker under test is configured by its arguments alone.
        let settings = std::env::vars_os().map(|(key, _)| key);
        settings.filter(|key| key.as_encoded_bytes().starts_with(b"STEADFAST_")).for_each(|key| {
            command.env_remove(key);
        });
        let mut child = command.spawn()?;
        let gone = || io::Error::other(format!("{} ended at once", launch.name));
        let id = child.id().ok_or_else(gone)?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().ok_or_else(gone)?);
        Ok(Self { name: launch.name.to_owned(), child, id, input, output, log })
    }

    /// Starts one of this program's own subcommands.
    pub(crate) fn start_own(folder: &Path, name: &str, arguments: Vec<OsString>) -> io::Result<Self> {
        let program = std::env::current_exe()?;
        Self::start(folder, Launch { name, program: &program, arguments })
    }

    /// The process's id.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Whether it has not ended.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The next line of its standard output.
    pub(crate) async fn line(&mut self, time_max: Duration) -> io::Result<String> {
        let mut line = String::new();
        match timeout(time_max, self.output.read_line(&mut line)).await {
            Err(_) => Err(self.failure(&format!("has said nothing for {} s", time_max.as_secs()))),
            Ok(Err(error)) => Err(self.failure(&error.to_string())),
            Ok(Ok(0)) => Err(self.failure("ended")),
            Ok(Ok(_)) => Ok(line.trim_end().to_owned()),
        }
    }

    /// The address of its next line, which says `listening on ADDRESS`.
    pub(crate) async fn listening_line<A: FromStr>(&mut self, time_max: Duration) -> io::Result<A> {
        self.address_line("listening on ", time_max).await
    }

    /// The address of its next line, which says `words` and the address.
    pub(crate) async fn address_line<A: FromStr>(
        &mut self,
        words: &str,
        time_max: Duration,
    ) -> io::Result<A> {
        let line = self.line(time_max).await?;
        let address = line.strip_prefix(words).and_then(|address| address.parse().ok());
        address.ok_or_else(|| self.failure(&format!("said `{line}` and not `{words}` and an address")))
    }

    /// Writes a line to its standard input.
    pub(crate) async fn tell(&mut self, line: &str) -> io::Result<()> {
        let Some(input) = &mut self.input else {
            return Err(self.failure("takes no more input"));
        };
        match input.write_all(format!("{line}\n").as_bytes()).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.failure(&error.to_string())),
        }
    }

    /// The rest of its standard output, once it has ended by itself and well.
    pub(crate) async fn finish(mut self, time_max: Duration) -> io::Result<String> {
        self.input = None;
        let mut output = String::new();
        let ending = async {
            self.output.read_to_string(&mut output).await?;
            self.child.wait().await
        };
        match timeout(time_max, ending).await {
            Err(_) => Err(self.failure(&format!("is not done after {} s", time_max.as_secs()))),
            Ok(Err(error)) => Err(self.failure(&error.to_string())),
            Ok(Ok(status)) if status.success() => Ok(output),
            Ok(Ok(status)) => Err(self.failure(&format!("failed ({status})"))),
        }
    }

    /// Asks it to end, and waits until it has, well.
    pub(crate) async fn end(self, time_max: Duration) -> io::Result<String> {
        self.signal(Signal::SIGTERM)?;
        self.finish(time_max).await
    }

    /// Asks it to end, as `signal` does.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill(pid(self.id), signal)?)
    }

    /// An error that names the process, what happened, and what its log says last.
    pub(crate) fn failure(&self, what: &str) -> io::Error {
        let log = fs::read(&self.log).unwrap_or_default();
        let tail = String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_TAIL)..]).trim().to_owned();
        io::Error::other(if tail.is_empty() {
            format!("{} {what}", self.name)
        } else {
            format!("{} {what}: {tail}", self.name)
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.is_running() {
            return;
        }
        // An id can be given to another process; together with the time of its start it cannot.
        let family: Vec<_> = proc::tree(self.id).into_iter().map(|id| (id, proc::started_at(id))).collect();
        // Asked first: nginx's master then ends its workers, strace lets go of what it traces.
        let _ = self.signal(Signal::SIGTERM);
        let deadline = Instant::now() + END_TIME_MAX;
        while self.is_running() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(2));
        }
        for (id, started) in family {
            if started.is_some() && proc::started_at(id) == started {
                let _ = kill(pid(id), Signal::SIGKILL);
            }
        }
        let _ = self.child.try_wait();
    }
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(id.cast_signed())
}
