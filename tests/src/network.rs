//! A network of a test's own: nothing but a loopback interface, with as many ports as the test likes.
//!
//! It belongs to one thread and the processes that this thread starts, and is gone with the last of them.

use std::future::Future;
use std::ops::RangeInclusive;
use std::panic::resume_unwind;
use std::process::Command;

use nix::sched::{CloneFlags, unshare};

use crate::skipped::leave_out;

/// Runs `test` in a network of its own, or leaves it out where that takes more rights than there are.
pub fn in_own_network<F: Future<Output = ()>>(name: &str, test: impl FnOnce() -> F + Send + 'static) {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let thread = std::thread::spawn(move || enter().map(|()| runtime().block_on(test())));
    match thread.join() {
        Ok(Ok(())) => {}
        Ok(Err(why)) => {
            leave_out(&format!("{name}: {why}; it runs as root, or with CAP_SYS_ADMIN, and iproute2"))
        }
        Err(panic) => resume_unwind(panic),
    }
}

/// Takes this thread to a new network.
fn enter() -> Result<(), String> {
    unshare(CloneFlags::CLONE_NEWNET)
        .map_err(|error| format!("no network namespace can be made: {error}"))?;
    let status = Command::new("ip").args(["link", "set", "lo", "up"]).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        other => Err(format!("`ip link set lo up` failed: {other:?}")),
    }
}

/// From now on, the kernel chooses ports of connections from these only. Those that listen already keep theirs.
pub fn limit_ports(range: RangeInclusive<u16>) {
    let text = format!("{} {}", range.start(), range.end());
    std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", text)
        .expect("a network of our own can be set up");
}
