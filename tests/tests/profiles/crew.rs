//! Clients of a library, in one process.

use serde_json::Value;
use steadfast_tests::process::Process;
use steadfast_tests::wait::eventually;

use crate::lines::{events, is};
use crate::pair::command;

/// The clients of a script.
#[derive(Debug)]
pub(crate) struct Crew {
    process: Process,
}

impl Crew {
    /// Starts the script.
    pub(crate) fn start(script: &str, pings: Option<u32>) -> Self {
        let mut command = command(script);
        command.envs(pings.map(|pings| ("PINGS", pings.to_string())));
        Self { process: Process::spawn(script, &mut command) }
    }

    /// Gives a command.
    pub(crate) fn tell(&mut self, line: &str) {
        self.process.write_line(line);
    }

    /// All that they have seen.
    pub(crate) fn events(&self) -> Vec<Value> {
        events(&self.process.stdout())
    }

    /// How much of it fits.
    pub(crate) fn count(&self, fits: impl Fn(&Value) -> bool) -> usize {
        self.events().iter().filter(|event| fits(event)).count()
    }

    /// How many events of this kind they have seen.
    pub(crate) fn kinds(&self, kind: &str) -> usize {
        self.count(|event| is(event, kind))
    }

    /// Waits until so much of what they have seen fits.
    pub(crate) async fn wait_count(&self, what: &str, count: usize, fits: impl Fn(&Value) -> bool) {
        eventually(&format!("{count} {what} seen by clients"), || self.count(&fits) >= count).await;
    }
}
