//! The memory that is available to this process: the machine's, or less where a control group or the limit of its
//! address space says so.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// Bytes; `None` where the system does not say. `root` is `/`, but for tests.
pub(super) fn available(root: &Path) -> Option<u64> {
    let groups = control_groups(root).into_iter().filter_map(|group| group.room());
    groups.chain(machine(root)).chain(address_space(root)).min()
}

/// What is left of RLIMIT_AS (getrlimit(2)), beyond which nothing can be allocated. `None` where there is no limit.
fn address_space(root: &Path) -> Option<u64> {
    let limits = fs::read_to_string(root.join("proc/self/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    let limit: u64 = line.split_whitespace().next()?.parse().ok()?;
    let status = fs::read_to_string(root.join("proc/self/status")).ok()?;
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:"))?;
    let kibibytes: u64 = size.split_whitespace().next()?.parse().ok()?;
    Some(limit.saturating_sub(kibibytes.saturating_mul(1024)))
}

/// `MemAvailable` of proc(5): free memory and what the kernel can take back.
fn machine(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The names of the files that one version of control groups has.
#[derive(Debug, Clone, Copy)]
struct Files {
    limit: &'static str,
    /// Beyond this the kernel ends nobody, and lets everybody in the group wait.
    throttle: Option<&'static str>,
    usage: &'static str,
    inactive: &'static str,
}

const VERSION_1: Files = Files {
    limit: "memory.limit_in_bytes",
    throttle: None,
    usage: "memory.usage_in_bytes",
    inactive: "total_inactive_file",
};
const VERSION_2: Files = Files {
    limit: "memory.max",
    throttle: Some("memory.high"),
    usage: "memory.current",
    inactive: "inactive_file",
};

#[derive(Debug)]
struct ControlGroup {
    folder: PathBuf,
    files: Files,
}

impl ControlGroup {
    /// What is left of its limit. Cached file pages count as used there, but give way.
    fn room(&self) -> Option<u64> {
        let limits = [Some(self.files.limit), self.files.throttle].into_iter().flatten();
        let limit = limits.filter_map(|file| self.number(file)).min()?;
        let usage = self.number(self.files.usage)?;
        Some(limit.saturating_sub(usage.saturating_sub(self.inactive().unwrap_or(0))))
    }

    /// `None` also for the word `max`.
    fn number(&self, file: &str) -> Option<u64> {
        fs::read_to_string(self.folder.join(file)).ok()?.trim().parse().ok()
    }

    fn inactive(&self) -> Option<u64> {
        let text = fs::read_to_string(self.folder.join("memory.stat")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(self.files.inactive)?.strip_prefix(' '))?;
        line.trim().parse().ok()
    }
}

/// The groups this process is in: each of its own and those above, since any of them may have a limit.
fn control_groups(root: &Path) -> Vec<ControlGroup> {
    let text = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    text.lines().filter_map(|line| membership(root, line)).flatten().collect()
}

/// One line of `/proc/self/cgroup` (cgroups(7)): `id:controllers:/path`.
fn membership(root: &Path, line: &str) -> Option<Vec<ControlGroup>> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, Path::new(parts.next()?));
    let (mount, files) = match controllers {
        "" => ("sys/fs/cgroup", VERSION_2),
        list if list.split(',').any(|name| name == "memory") => ("sys/fs/cgroup/memory", VERSION_1),
        _ => return None,
    };
    // In a container the path may be the host's, or lead upwards out of our sight: what is not there counts
    // for nothing, and the mount itself is the container's group.
    let inside: PathBuf = path.components().filter(|part| matches!(part, Component::Normal(_))).collect();
    let folders = inside.ancestors().map(|group| root.join(mount).join(group));
    Some(folders.map(|folder| ControlGroup { folder, files }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        root
    }

    const MEMINFO: (&str, &str) =
        ("proc/meminfo", "MemTotal:       32000 kB\nMemFree:        10 kB\nMemAvailable:   16000 kB\n");

    #[test]
    fn the_machine_alone() {
        assert_eq!(available(system(&[MEMINFO]).path()), Some(16_000 << 10));
        assert_eq!(available(system(&[]).path()), None);
    }

    #[test]
    fn a_group_above_has_the_limit() {
        let root = system(&[
            MEMINFO,
            ("proc/self/cgroup", "0::/system.slice/steadfast.service\n"),
            ("sys/fs/cgroup/system.slice/steadfast.service/memory.max", "max\n"),
            ("sys/fs/cgroup/system.slice/steadfast.service/memory.current", "100\n"),
            ("sys/fs/cgroup/system.slice/memory.max", "1000000\n"),
            ("sys/fs/cgroup/system.slice/memory.current", "400000\n"),
            ("sys/fs/cgroup/system.slice/memory.stat", "anon 5\ninactive_file 300000\n"),
        ]);
        assert_eq!(available(root.path()), Some(900_000));
    }

    #[test]
    fn where_a_group_is_throttled_is_a_limit_too() {
        let with = |max: &str, high: &str| {
            let root = system(&[
                MEMINFO,
                ("proc/self/cgroup", "0::/a\n"),
                ("sys/fs/cgroup/a/memory.max", max),
                ("sys/fs/cgroup/a/memory.high", high),
                ("sys/fs/cgroup/a/memory.current", "400000\n"),
            ]);
            available(root.path())
        };
        assert_eq!(with("max\n", "1000000\n"), Some(600_000));
        assert_eq!(with("2000000\n", "1000000\n"), Some(600_000));
        assert_eq!(with("1000000\n", "max\n"), Some(600_000));
        assert_eq!(with("max\n", "max\n"), Some(16_000 << 10));
    }

    #[test]
    fn the_limit_of_the_address_space_counts() {
        let limits = |soft: &str| {
            format!("Limit  Soft Limit  Hard Limit  Units\nMax address space  {soft}  unlimited  bytes\n")
        };
        let status = ("proc/self/status", "Name:\tsteadfast\nVmSize:\t    1000 kB\n");
        let with = |soft: &str| {
            let limits = limits(soft);
            available(system(&[MEMINFO, status, ("proc/self/limits", &limits)]).path())
        };
        assert_eq!(with("3072000"), Some(2_048_000));
        assert_eq!(with("1000"), Some(0), "it is used up");
        assert_eq!(with("unlimited"), Some(16_000 << 10));
    }

    #[test]
    fn version_1_in_a_container() {
        let root = system(&[
            MEMINFO,
            ("proc/self/cgroup", "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "2000000\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "500000\n"),
        ]);
        assert_eq!(available(root.path()), Some(1_500_000));
    }

    #[test]
    fn a_limit_beyond_the_machine_counts_for_nothing() {
        let root = system(&[
            MEMINFO,
            ("proc/self/cgroup", "4:memory:/\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "500000\n"),
        ]);
        assert_eq!(available(root.path()), Some(16_000 << 10));
    }

    #[test]
    fn nonsense_is_passed_over() {
        let root = system(&[
            MEMINFO,
            ("proc/self/cgroup", "nonsense\n0:\n0::/../../x\n"),
            ("sys/fs/cgroup/x/memory.max", "-5\n"),
        ]);
        assert_eq!(available(root.path()), Some(16_000 << 10));
    }
}
