//! The machine that the figures are from.

use std::fs;
use std::thread;

use serde::Serialize;

/// What a reader needs to know to compare figures.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    /// The processor's name.
    cpu: String,
    /// Processors that this process may use.
    cores: usize,
    /// Memory in MiB.
    memory_mib: u64,
    /// The kernel's release.
    kernel: String,
    /// Tasks that wanted to run when the measurement began, on average of the last minute: other
    /// people's work disturbs the figures.
    load_average: f64,
}

impl Machine {
    /// This machine, now.
    pub(crate) fn read() -> Self {
        let text = |path| fs::read_to_string(path).unwrap_or_default();
        let memory =
            value(&text("/proc/meminfo"), "MemTotal").and_then(|kb| kb.split(' ').next()?.parse().ok());
        Self {
            cpu: value(&text("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".to_owned()),
            cores: thread::available_parallelism().map_or(1, usize::from),
            memory_mib: memory.map_or(0, |kb: u64| kb / 1_024),
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_average: text("/proc/loadavg")
                .split(' ')
                .next()
                .and_then(|load| load.parse().ok())
                .unwrap_or(0.0),
        }
    }

    /// One line.
    pub(crate) fn line(&self) -> String {
        let Self { cpu, cores, memory_mib, kernel, load_average } = self;
        format!("{cpu}, {cores} cores, {memory_mib} MiB, Linux {kernel}, load {load_average} at the start")
    }
}

/// The value of the first line `name : value`.
fn value(text: &str, name: &str) -> Option<String> {
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs
        .map(|(key, value)| (key.trim(), value.trim()))
        .find(|(key, _)| *key == name)
        .map(|(_, v)| v.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_their_whole_name() {
        let text = "model\t\t: 85\nmodel name\t: Some CPU @ 2.50GHz\nmodel name\t: other\n";
        assert_eq!(value(text, "model name").as_deref(), Some("Some CPU @ 2.50GHz"));
        assert_eq!(value(text, "cache size"), None);
    }
}
