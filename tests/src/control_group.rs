//! A control group of a test's own, for a process that must do with little memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Where control groups of version 1, and of version 2 alone or beside them, are mounted by custom.
const MOUNTS: [(&str, &str); 3] = [
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
    ("/sys/fs/cgroup", "memory.max"),
    ("/sys/fs/cgroup/unified", "memory.max"),
];

/// A group with a limit of memory; taken away when dropped, once its processes have ended.
#[derive(Debug)]
pub struct ControlGroup {
    folder: PathBuf,
}

impl ControlGroup {
    /// Makes a group whose processes get so many bytes. `None`: this machine does not let us.
    pub fn with_memory(bytes: u64) -> Option<ControlGroup> {
        MOUNTS.iter().find_map(|(mount, limit)| ControlGroup::make(Path::new(mount), limit, bytes))
    }

    fn make(mount: &Path, limit: &str, bytes: u64) -> Option<ControlGroup> {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        // Beside or in the group of this process, whose limit counts as well.
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let paths = own.lines().filter_map(|line| line.splitn(3, ':').nth(2));
        let parents = paths.map(|path| mount.join(path.trim_start_matches('/'))).chain([mount.to_owned()]);
        for parent in parents.filter(|parent| parent.is_dir()) {
            let group = ControlGroup {
                folder: parent.join(format!("steadfast-test-{}-{number}", std::process::id())),
            };
            if fs::create_dir(&group.folder).is_err() {
                continue;
            }
            let limited = group.folder.join(limit);
            if limited.exists() && fs::write(limited, bytes.to_string()).is_ok() {
                return Some(group);
            }
        }
        None
    }

    /// The file in which a process enters itself.
    pub fn entrance(&self) -> PathBuf {
        self.folder.join("cgroup.procs")
    }

    /// How many of its processes the kernel has ended for want of memory.
    pub fn kills(&self) -> u64 {
        let read = |file: &str| fs::read_to_string(self.folder.join(file)).unwrap_or_default();
        let text = read("memory.events") + &read("memory.oom_control");
        let count = |line: &str| line.strip_prefix("oom_kill ")?.trim().parse().ok();
        text.lines().find_map(count).unwrap_or(0)
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // One that is not empty stays; the process in it has ended by now, but in a test that has failed.
        let _ = fs::remove_dir(&self.folder);
    }
}
