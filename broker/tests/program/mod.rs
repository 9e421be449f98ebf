//! Running the program as its user does.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Far beyond what any step takes; only a hang is longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The program, with nothing of our environment.
pub(crate) fn steadfast() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
    command.env_clear().stdin(Stdio::null());
    command
}

/// Runs a command that ends by itself.
pub(crate) fn run(command: &mut Command) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut running = Running(child);
    let mut stderr = running.0.stderr.take().expect("stderr is piped");
    let errors = thread::spawn(move || {
        let mut text = Vec::new();
        stderr.read_to_end(&mut text).map(|_| text)
    });
    let stdout =
        lines(&mut running).into_iter().flat_map(|line| line.into_bytes().into_iter().chain([b'\n']));
    let stdout = stdout.collect();
    let stderr = errors.join().expect("the reader ends").expect("stderr is readable");
    Output { status: running.wait(), stdout, stderr }
}

/// The exit code.
pub(crate) fn code(status: ExitStatus) -> Option<i32> {
    status.code()
}

/// What was printed.
pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

/// All lines of stdout, to its end.
fn lines(running: &mut Running) -> Vec<String> {
    let stdout = running.lines();
    let mut lines = Vec::new();
    loop {
        match stdout.recv_timeout(PATIENCE) {
            Ok(line) => lines.push(line),
            Err(mpsc::RecvTimeoutError::Disconnected) => return lines,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("the program hangs after {lines:?}"),
        }
    }
}

fn by_line(stream: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::sync_channel(1024);
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    thread::spawn(move || lines.try_for_each(|line| sender.send(line)));
    receiver
}

/// A process that does not outlive its test.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    /// What it prints, line by line.
    pub(crate) fn lines(&mut self) -> mpsc::Receiver<String> {
        by_line(self.0.stdout.take().expect("stdout is piped"))
    }

    /// What it logs, line by line.
    pub(crate) fn log(&mut self) -> mpsc::Receiver<String> {
        by_line(self.0.stderr.take().expect("stderr is piped"))
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.0.id().try_into().expect("a process id"));
        kill(pid, signal).expect("it runs");
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> ExitStatus {
        self.0.wait().expect("it ends")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
