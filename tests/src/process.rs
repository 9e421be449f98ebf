//! A child process that never outlives the value that stands for it.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait::eventually_some;

/// Lines kept of each output. The oldest go first.
const LINES_MAX: usize = 20_000;
/// Lines printed of each output when a test has failed.
const LINES_SHOWN: usize = 200;

/// Raises this process's soft limit of descriptors to at least `wanted`. Panics when the hard limit is lower.
pub fn raise_descriptor_limit(wanted: u64) {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit can be read");
    assert!(hard >= wanted, "{wanted} descriptors are needed and {hard} allowed: raise `ulimit -Hn`");
    if soft < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).expect("a soft limit can be raised to the hard one");
    }
}

/// A running program, its output in memory. Killed by its id when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdout: Lines,
    stderr: Lines,
}

impl Process {
    /// Starts `command`; `name` is what messages call it.
    pub fn spawn(name: &str, command: &mut Command) -> Self {
        Self::spawn_with(name, command, Lines::drain)
    }

    /// As [`Process::spawn`], with an error output that nobody reads: once the pipe is full, who writes to it
    /// waits.
    pub fn spawn_unread(name: &str, command: &mut Command) -> Self {
        Self::spawn_with(name, command, Lines::leave)
    }

    fn spawn_with(
        name: &str,
        command: &mut Command,
        stderr: impl FnOnce(Option<ChildStderr>) -> Lines,
    ) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let stdout = Lines::drain(child.stdout.take());
        let stderr = stderr(child.stderr.take());
        Self { name: name.to_owned(), child, stdout, stderr }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal. A process that has ended already is left alone.
    pub fn signal(&mut self, signal: Signal) {
        if self.exited().is_none() {
            kill(Pid::from_raw(self.child.id().cast_signed()), signal)
                .expect("a child of ours can be signalled");
        }
    }

    /// Kills it and waits until it is gone.
    pub fn kill(&mut self) {
        if self.exited().is_none() {
            self.child.kill().expect("a child of ours can be killed");
            self.child.wait().expect("a child of ours can be waited for");
        }
    }

    /// Kills it unless it has ended, and returns all that it has printed.
    pub fn last_words(&mut self) -> Vec<String> {
        self.kill();
        self.stdout.finish();
        self.stdout.all()
    }

    /// How it ended, if it has.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child of ours can be waited for")
    }

    /// Waits until it has ended.
    pub async fn wait_exit(&mut self) -> ExitStatus {
        let what = format!("the end of {} (process {})", self.name, self.id());
        eventually_some(&what, || self.exited()).await
    }

    /// Writes a line to its standard input.
    pub fn write_line(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("stdin is a pipe");
        // At once: who ends at the first letter is not there for the rest.
        let written = stdin.write_all(format!("{line}\n").as_bytes());
        written.unwrap_or_else(|error| panic!("cannot write to {}: {error}", self.name));
    }

    /// What it has printed so far.
    pub fn stdout(&self) -> Vec<String> {
        self.stdout.all()
    }

    /// What it has logged so far.
    pub fn stderr(&self) -> Vec<String> {
        self.stderr.all()
    }

    /// The rest of the first printed line that starts with `prefix`, after the `skip` first such lines. Panics
    /// when the process ends without it.
    pub async fn printed(&mut self, prefix: &str, skip: usize) -> String {
        let what = format!("a line \"{prefix}...\" from {}", self.name);
        eventually_some(&what, || {
            let ended = self.exited();
            let found = self
                .stdout
                .all()
                .iter()
                .filter_map(|line| line.strip_prefix(prefix))
                .nth(skip)
                .map(str::to_owned);
            assert!(found.is_some() || ended.is_none(), "{} ended ({ended:?}) before {what}", self.name);
            found
        })
        .await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Errors have no reader any more: the process is gone, or the machine has worse troubles.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            self.stdout.print(&format!("{} stdout", self.name));
            self.stderr.print(&format!("{} stderr", self.name));
        }
    }
}

/// The last lines of an output, filled by a thread until the output ends; or an output that is not read.
#[derive(Debug)]
struct Lines {
    lines: Arc<Mutex<VecDeque<String>>>,
    reader: Option<JoinHandle<()>>,
    /// Open, and not read.
    _unread: Option<ChildStderr>,
}

impl Lines {
    fn drain(output: Option<impl Read + Send + 'static>) -> Self {
        let lines = Arc::new(Mutex::new(VecDeque::new()));
        let writer = lines.clone();
        let output = output.expect("the output is a pipe");
        let reader = std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut line = Vec::new();
            while matches!(output.read_until(b'\n', &mut line), Ok(1..)) {
                push(&writer, String::from_utf8_lossy(&line).trim_end().to_owned());
                line.clear();
            }
        });
        Self { lines, reader: Some(reader), _unread: None }
    }

    fn leave(output: Option<ChildStderr>) -> Self {
        Self { lines: Arc::default(), reader: None, _unread: output }
    }

    fn all(&self) -> Vec<String> {
        lock(&self.lines).iter().cloned().collect()
    }

    /// Waits until the output of a process that has ended is read.
    fn finish(&mut self) {
        // If its reader panicked, what that has read is still worth showing.
        let _ = self.reader.take().map(JoinHandle::join);
    }

    /// Prints the last lines of a process that has ended.
    fn print(&mut self, title: &str) {
        self.finish();
        let lines = lock(&self.lines);
        let hidden = lines.len().saturating_sub(LINES_SHOWN);
        eprintln!("--- {title} ({} lines, the first {hidden} not shown)", lines.len());
        for line in lines.iter().skip(hidden) {
            eprintln!("{line}");
        }
    }
}

fn push(lines: &Mutex<VecDeque<String>>, line: String) {
    let mut lines = lock(lines);
    if lines.len() == LINES_MAX {
        lines.pop_front();
    }
    lines.push_back(line);
}

fn lock(lines: &Mutex<VecDeque<String>>) -> MutexGuard<'_, VecDeque<String>> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}
