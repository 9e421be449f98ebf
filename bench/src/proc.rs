//! What the kernel says about processes: `/proc/PID` (see proc(5)).

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Nanoseconds of one tick of `/proc/PID/stat`. `USER_HZ` is 100 on every architecture that Rust
/// runs on, whatever the kernel's own rate.
const TICK_NS: u64 = 10_000_000;

/// Processor time that `processes` have used so far, all threads, user and system, in nanoseconds.
pub(crate) fn cpu_ns(processes: &[u32]) -> io::Result<u64> {
    processes.iter().map(|pid| process_cpu_ns(*pid)).sum()
}

/// Resident memory of `processes`, in KB of 1,024 bytes, counted page by page (the counter in
/// `statm` is kept per processor and lags). Pages that processes share count once for each.
pub(crate) fn resident_kb(processes: &[u32]) -> io::Result<u64> {
    processes.iter().map(|pid| process_resident_kb(*pid)).sum()
}

/// `root` and everything it has started, as far as it still runs.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    let parents: HashMap<u32, u32> = all_processes().filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut tree = vec![root];
    let mut at = 0;
    while at < tree.len() {
        let mut children: Vec<u32> =
            parents.iter().filter(|(_, parent)| **parent == tree[at]).map(|(pid, _)| *pid).collect();
        children.sort_unstable();
        tree.extend(children);
        at += 1;
    }
    tree
}

/// When a process was started, in ticks since the machine was: with its id, this names it for good.
pub(crate) fn started_at(pid: u32) -> Option<u64> {
    stat_field(&fs::read_to_string(file(pid, "stat")).ok()?, 22)
}

fn all_processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn parent(pid: u32) -> Option<u32> {
    stat_field(&fs::read_to_string(file(pid, "stat")).ok()?, 4).and_then(|field| u32::try_from(field).ok())
}

fn process_cpu_ns(pid: u32) -> io::Result<u64> {
    match threads_run_ns(pid) {
        Some(run) if run > 0 => Ok(run),
        _ => ticks_ns(pid),
    }
}

/// `schedstat` counts in nanoseconds, where `stat` has ticks of 10 ms; each thread has its own.
/// `None` on kernels that keep none.
fn threads_run_ns(pid: u32) -> Option<u64> {
    let threads = fs::read_dir(file(pid, "task")).ok()?.flatten();
    // A thread may end between the listing and the reading.
    let texts = threads.filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok());
    texts.map(|text| text.split(' ').next()?.parse::<u64>().ok()).sum()
}

fn ticks_ns(pid: u32) -> io::Result<u64> {
    let text = read(&file(pid, "stat"))?;
    let ticks = stat_field(&text, 14).zip(stat_field(&text, 15)).map(|(user, system)| user + system);
    ticks.map(|ticks| ticks * TICK_NS).ok_or_else(|| unreadable(&file(pid, "stat")))
}

/// Field `number` of proc(5)'s list, counted from 1. The command's name, field 2, may itself hold
/// blanks and brackets, so counting starts behind its last bracket.
fn stat_field(stat: &str, number: usize) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_ascii_whitespace().nth(number - 3)?.parse().ok()
}

fn process_resident_kb(pid: u32) -> io::Result<u64> {
    let path = file(pid, "smaps_rollup");
    rollup_kb(&read(&path)?).ok_or_else(|| unreadable(&path))
}

fn rollup_kb(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

fn file(pid: u32, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{name}"))
}

fn read(path: &Path) -> io::Result<String> {
    fs::read_to_string(path).map_err(|error| {
        io::Error::new(error.kind(), format!("{}: {error}; has the process ended?", path.display()))
    })
}

fn unreadable(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{} is not as proc(5) says", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_behind_a_strange_name() {
        let stat = "12 (a ) b) S 7 12 12 0 -1 1 2 3 4 5 60 40 0 0 20 0 1 0 4242 9 9";
        assert_eq!(stat_field(stat, 4), Some(7));
        assert_eq!(stat_field(stat, 14), Some(60));
        assert_eq!(stat_field(stat, 15), Some(40));
        assert_eq!(stat_field(stat, 22), Some(4242));
        assert_eq!(stat_field(stat, 99), None);
    }

    #[test]
    fn the_rollup_is_read_in_kb() {
        let rollup = "00-ff ---p 00000000 00:00 0  [rollup]\nRss:                1508 kB\nPss:   80 kB\n";
        assert_eq!(rollup_kb(rollup), Some(1508));
    }

    #[test]
    fn this_process_has_memory_and_uses_time() {
        let me = [std::process::id()];
        let before = cpu_ns(&me).unwrap();
        let mut sum = 0_u64;
        let after = loop {
            sum = (0..1_000_000).fold(sum, |sum, i| sum.rotate_left(3) ^ i);
            let now = cpu_ns(&me).unwrap();
            if now > before {
                break now;
            }
        };
        assert!(after > before, "{sum}");
        assert!(resident_kb(&me).unwrap() > 100);
        assert!(tree(me[0]).contains(&me[0]));
        assert!(cpu_ns(&[u32::MAX]).is_err());
    }
}
