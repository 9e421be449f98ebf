//! Networks that are worse than loopback: one of a test's own, with as few ports as the test likes; a connection
//! that swallows what is sent; and how much of what was sent nobody has read.
//!
//! A network of its own belongs to one thread and the processes that this thread starts, and is gone with the
//! last of them.

use std::fs;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::panic::resume_unwind;
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use socket2::{Domain, SockFilter, Socket, Type};

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
    fs::write("/proc/sys/net/ipv4/ip_local_port_range", text).expect("a network of our own can be set up");
}

/// Whatever arrives for this socket is dropped from now on as if it had been lost on the way: nothing is
/// acknowledged, and nothing is reset. On a listening socket, connections are not even refused.
pub fn swallow(socket: &Socket) {
    /// `BPF_RET | BPF_K`: the packet is cut to the constant's length, and one of none is dropped.
    const RETURN_CONSTANT: u16 = 0x06;
    socket.attach_filter(&[SockFilter::new(RETURN_CONSTANT, 0, 0, 0)]).expect("SO_ATTACH_FILTER");
}

/// How many bytes of connections to `server` have been written and not been read: those in the kernel's buffers
/// on both sides (`/proc/net/tcp`, IPv4 alone).
pub fn unread(server: SocketAddr) -> usize {
    let table = fs::read_to_string("/proc/thread-self/net/tcp").expect("the kernel's table of connections");
    table.lines().skip(1).filter_map(|line| unread_in(line, server.port())).sum()
}

/// What waits in one line of the table, if it is of an established connection: to the port `server` what is not
/// acknowledged, from it what is not read.
fn unread_in(line: &str, server: u16) -> Option<usize> {
    const ESTABLISHED: &str = "01";
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [_, local, remote, state, queues, ..] = fields[..] else { return None };
    let port = |address: &str| u16::from_str_radix(address.split_once(':')?.1, 16).ok();
    let (sent, received) = queues.split_once(':').filter(|_| state == ESTABLISHED)?;
    let waiting = match (port(local)?, port(remote)?) {
        (_, remote) if remote == server => sent,
        (local, _) if local == server => received,
        _ => return None,
    };
    usize::from_str_radix(waiting, 16).ok()
}

/// From now on, `name` has these addresses for this thread and the processes that it starts. `false`: that takes
/// more rights than there are.
pub fn name_addresses(name: &str, addresses: &[SocketAddr]) -> bool {
    let lines: String = addresses.iter().map(|address| format!("{} {name}\n", address.ip())).collect();
    let hosts = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(hosts.path(), format!("127.0.0.1 localhost\n{lines}")).expect("it can be written");
    let path = hosts.path().to_str().expect("a path of ours is text");
    let mount = |arguments: &[&str]| {
        Command::new("mount").args(arguments).status().is_ok_and(|status| status.success())
    };
    // The file goes with its last user: as long as it is mounted, its name is not needed.
    unshare(CloneFlags::CLONE_NEWNS).is_ok()
        && mount(&["--make-rprivate", "/"])
        && mount(&["--bind", path, "/etc/hosts"])
}

/// Gives this network an address from which one can dial, and to which nothing comes back.
pub fn add_deaf_address(address: Ipv4Addr) {
    let ip = |arguments: String| {
        let status = Command::new("ip").args(arguments.split(' ')).status();
        assert!(status.is_ok_and(|status| status.success()), "`ip {arguments}` failed");
    };
    ip(format!("address add {address}/32 dev lo"));
    // The kernel asks for its own addresses first unless that rule makes room.
    ip("rule add pref 10 lookup local".to_owned());
    ip(format!("rule add pref 5 to {address} blackhole"));
    ip("rule del pref 0".to_owned());
}

/// A listener that the kernel lets nobody reach: its queue is full, so it drops each SYN.
#[derive(Debug)]
pub struct BlackHole {
    _listener: Socket,
    _fills: Socket,
}

impl BlackHole {
    /// Opens one on `address`.
    pub fn open(address: SocketAddr) -> BlackHole {
        let socket = || Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
        let (listener, fills) = (socket(), socket());
        listener.bind(&address.into()).expect("a free port");
        listener.listen(0).expect("it is bound");
        fills.connect(&address.into()).expect("one fits");
        BlackHole { _listener: listener, _fills: fills }
    }
}

#[cfg(test)]
mod tests {
    use super::unread_in;

    #[test]
    fn what_waits_counts_on_the_side_where_it_waits() {
        let line = |local: &str, remote: &str, state: &str| {
            format!(
                "   7: 0100007F:{local} 0100007F:{remote} {state} 0000000A:00000003 00:00000000 00000000 0 0 1"
            )
        };
        assert_eq!(unread_in(&line("C350", "1F90", "01"), 8080), Some(10));
        assert_eq!(unread_in(&line("1F90", "C350", "01"), 8080), Some(3));
        assert_eq!(unread_in(&line("1F90", "0000", "0A"), 8080), None, "one that listens");
        assert_eq!(unread_in(&line("1F91", "C350", "01"), 8080), None, "another server");
    }
}
