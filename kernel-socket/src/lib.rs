//! What the kernel knows of a TCP connection: how long ago its peer's kernel was heard, what is on its way,
//! and whether anything is. Only questions; options are set by `socket2`, which needs no `unsafe`.
//!
//! The kernel speaks for the peer's kernel and for nothing behind it: a stopped process acknowledges until its
//! receive buffer is full, and so does a proxy in front of a stopped application. One question is a system
//! call or two, so it is asked when a timer is due and not for each message.
//!
//! This is the only crate of the workspace in which `unsafe` may be written, each time with its reason.

use std::io::{self, Write};
use std::mem::{MaybeUninit, offset_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::thread;
use std::time::{Duration, Instant};

use libc::{c_int, socklen_t, tcp_info};

/// How long the self-test waits for an acknowledgement over loopback, and then for its age to grow.
const SELF_TEST_MAX: Duration = Duration::from_millis(200);
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// A TCP connection as the kernel sees it at one moment (`TCP_INFO`, tcp(7)). Kernels before the one that
/// introduced a field say nothing of it: it is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpState {
    /// Timeouts in a row in which the oldest segment was sent again without an answer (`tcpi_retransmits`).
    pub retransmits: u8,
    /// Probes in a row, of a closed window or of an idle connection (keepalive), without an answer
    /// (`tcpi_probes`).
    pub probes: u8,
    /// Segments that were sent and not acknowledged (`tcpi_unacked`).
    pub segments_unacknowledged: u32,
    /// The age of the last acknowledgement, which every segment of the peer carries, in milliseconds
    /// (`tcpi_last_ack_recv`).
    pub last_ack_age: Duration,
    /// The age of the last segment that carried data, in milliseconds (`tcpi_last_data_recv`).
    pub last_data_age: Duration,
    /// The smoothed round-trip time, in microseconds (`tcpi_rtt`; RFC 6298).
    pub round_trip: Duration,
    /// The shortest round trip of the last minutes, in microseconds (`tcpi_min_rtt`; Linux 4.6). `None` also
    /// before the first one.
    pub round_trip_min: Option<Duration>,
    /// Bytes that the peer has acknowledged in the connection's life (`tcpi_bytes_acked`; Linux 4.2). On the
    /// side that has connected, the handshake counts as one.
    pub bytes_acknowledged: Option<u64>,
    /// Bytes that were written and not sent yet (`tcpi_notsent_bytes`; Linux 4.6).
    pub bytes_unsent: Option<u64>,
}

/// Returns the state of the connection `socket`.
///
/// # Errors
///
/// `EOPNOTSUPP` for a socket that is no TCP socket, `ENOTSOCK`, or what a sandbox answers; `Unsupported` for
/// an answer that is too short to hold the ages.
pub fn tcp_state(socket: BorrowedFd<'_>) -> io::Result<TcpState> {
    let (info, length) = tcp_info(socket)?;
    if length < offset_of!(tcp_info, tcpi_rtt) + size_of::<u32>() {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "the kernel says too little of TCP connections",
        ));
    }
    let min_rtt = field(length, offset_of!(tcp_info, tcpi_min_rtt), info.tcpi_min_rtt);
    Ok(TcpState {
        retransmits: info.tcpi_retransmits,
        probes: info.tcpi_probes,
        segments_unacknowledged: info.tcpi_unacked,
        last_ack_age: Duration::from_millis(info.tcpi_last_ack_recv.into()),
        last_data_age: Duration::from_millis(info.tcpi_last_data_recv.into()),
        round_trip: Duration::from_micros(info.tcpi_rtt.into()),
        // All ones stand for "none yet".
        round_trip_min: min_rtt.filter(|us| *us != u32::MAX).map(|us| Duration::from_micros(us.into())),
        bytes_acknowledged: field(length, offset_of!(tcp_info, tcpi_bytes_acked), info.tcpi_bytes_acked),
        bytes_unsent: field(length, offset_of!(tcp_info, tcpi_notsent_bytes), info.tcpi_notsent_bytes)
            .map(u64::from),
    })
}

/// A field's value if the kernel's answer of `length` bytes reaches behind it.
fn field<T>(length: usize, offset: usize, value: T) -> Option<T> {
    (length >= offset + size_of::<T>()).then_some(value)
}

/// What the kernel fills in, and how many bytes of it. The rest is zero.
fn tcp_info(socket: BorrowedFd<'_>) -> io::Result<(tcp_info, usize)> {
    let mut info = MaybeUninit::<tcp_info>::zeroed();
    let mut length = size_of::<tcp_info>() as socklen_t;
    // SAFETY: the descriptor is borrowed, so it is open; `info` has room for `length` bytes, and the kernel
    // writes no more than that (getsockopt(2)); both outlive the call.
    #[allow(unsafe_code, reason = "no crate at hand asks for TCP_INFO")]
    let result = unsafe {
        let (level, option) = (libc::IPPROTO_TCP, libc::TCP_INFO);
        libc::getsockopt(socket.as_raw_fd(), level, option, info.as_mut_ptr().cast(), &raw mut length)
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a structure of integers, which was zeroed and then filled in part: every value is a valid one.
    #[allow(unsafe_code, reason = "the other half of the same call")]
    let info = unsafe { info.assume_init() };
    Ok((info, length as usize))
}

/// Returns the bytes that were written to the connection `socket` and that its peer's kernel has not
/// acknowledged, whether they were sent or not (`SIOCOUTQ`, tcp(7)).
///
/// # Errors
///
/// `EINVAL` for a listener, and for a socket that is no stream; what a sandbox answers. On sockets of the
/// family `AF_UNIX` it is the memory that unread bytes take, so ask only those of TCP.
pub fn bytes_unacknowledged(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut bytes: c_int = 0;
    // SAFETY: the descriptor is borrowed, so it is open; the request writes one `int` (tcp(7)), which outlives
    // the call. `SIOCOUTQ` has the number of `TIOCOUTQ`.
    #[allow(unsafe_code, reason = "no crate at hand asks for SIOCOUTQ")]
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(u64::try_from(bytes).unwrap_or(0))
}

/// What this kernel, or the sandbox in its place, can say of TCP connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Support {
    /// The ages of acknowledgements are kept, and with them the counts of retransmissions and probes: a dead
    /// connection can be told from a slow reader.
    pub ages: bool,
    /// The bytes that were acknowledged, and those that were not, are counted.
    pub progress: bool,
    /// The shortest round trip is measured.
    pub round_trips: bool,
}

impl Support {
    /// Returns what a connection of this process with itself has shown, within a second. Without
    /// loopback, nothing.
    #[must_use]
    pub fn test() -> Self {
        Self::shown().unwrap_or_default()
    }

    fn shown() -> io::Result<Self> {
        let (mut near, far) = loopback_pair()?;
        let before = tcp_state(near.as_fd())?;
        near.write_all(b"?")?;
        let acknowledged = |state: &TcpState| state.bytes_acknowledged > before.bytes_acknowledged;
        let after = watch(near.as_fd(), acknowledged)?;
        let progress = acknowledged(&after) && bytes_unacknowledged(near.as_fd())? == 0;
        // The other end has received a byte, so the age of data is kept there too.
        let aged = |state: &TcpState| !state.last_ack_age.is_zero() && !state.last_data_age.is_zero();
        let is_recent = |state: &TcpState| state.last_ack_age < Duration::from_secs(60);
        let old = watch(far.as_fd(), aged)?;
        let ages = aged(&old) && is_recent(&old) && is_recent(&after);
        Ok(Self { ages, progress, round_trips: after.round_trip_min.is_some_and(|time| !time.is_zero()) })
    }
}

/// Both ends of a connection over loopback, of IPv6 where there is no IPv4.
fn loopback_pair() -> io::Result<(TcpStream, TcpStream)> {
    let v4 = TcpListener::bind((IpAddr::from(Ipv4Addr::LOCALHOST), 0));
    let listener = v4.or_else(|_| TcpListener::bind((IpAddr::from(Ipv6Addr::LOCALHOST), 0)))?;
    let near = TcpStream::connect_timeout(&listener.local_addr()?, SELF_TEST_MAX)?;
    let ours = near.local_addr()?;
    // Anybody on this machine may connect meanwhile.
    loop {
        let (far, peer) = listener.accept()?;
        if peer == ours {
            near.set_nodelay(true)?;
            return Ok((near, far));
        }
    }
}

/// The state in which `done` holds, or the last one in the time for it.
fn watch(socket: BorrowedFd<'_>, done: impl Fn(&TcpState) -> bool) -> io::Result<TcpState> {
    let deadline = Instant::now() + SELF_TEST_MAX;
    loop {
        let state = tcp_state(socket)?;
        if done(&state) || Instant::now() >= deadline {
            return Ok(state);
        }
        thread::sleep(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    // A test fails by a panic.
    #![allow(clippy::unwrap_used)]

    use std::cell::Cell;
    use std::io::{ErrorKind, Read};
    use std::os::unix::net::UnixStream;

    use super::*;

    /// Waits until the connection is in a state, for as long as a busy machine may take.
    fn eventually(socket: &TcpStream, done: impl Fn(&TcpState) -> bool) -> TcpState {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let state = tcp_state(socket.as_fd()).unwrap();
            if done(&state) {
                return state;
            }
            assert!(Instant::now() < deadline, "{state:?}");
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Writes until the socket takes no more, and returns how much it took.
    fn fill(socket: &mut TcpStream) -> u64 {
        socket.set_nonblocking(true).unwrap();
        let (chunk, mut taken) = (vec![7; 64 * 1024], 0);
        loop {
            match socket.write(&chunk) {
                Ok(count) => taken += count as u64,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return taken,
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn what_was_read_by_the_other_kernel_is_acknowledged() {
        let (mut near, mut far) = loopback_pair().unwrap();
        let before = tcp_state(near.as_fd()).unwrap().bytes_acknowledged.unwrap();
        near.write_all(&[1; 1_000]).unwrap();
        let state = eventually(&near, |state| state.bytes_acknowledged == Some(before + 1_000));
        assert_eq!((state.segments_unacknowledged, state.bytes_unsent), (0, Some(0)));
        assert_eq!((state.retransmits, state.probes), (0, 0));
        assert_eq!(bytes_unacknowledged(near.as_fd()).unwrap(), 0);
        assert!(state.round_trip_min.is_some_and(|time| !time.is_zero() && time <= state.round_trip));
        // Nobody has read it yet: the kernel does not speak for the program.
        far.read_exact(&mut [0; 1_000]).unwrap();
    }

    #[test]
    fn a_window_that_is_closed_leaves_bytes_unacknowledged_until_somebody_reads() {
        let (mut near, mut far) = loopback_pair().unwrap();
        let start = tcp_state(near.as_fd()).unwrap().bytes_acknowledged.unwrap();
        let written = fill(&mut near);
        let state = eventually(&near, |state| state.bytes_unsent.is_some_and(|bytes| bytes > 0));
        let waiting = bytes_unacknowledged(near.as_fd()).unwrap();
        assert!(waiting >= state.bytes_unsent.unwrap(), "{waiting} {state:?}");
        assert!(waiting <= written);
        thread::spawn(move || io::copy(&mut far, &mut io::sink()));
        eventually(&near, |state| state.bytes_acknowledged == Some(start + written));
        assert_eq!(bytes_unacknowledged(near.as_fd()).unwrap(), 0);
    }

    #[test]
    fn ages_grow_while_nothing_comes_and_begin_anew_with_each_segment() {
        let (near, mut far) = loopback_pair().unwrap();
        let old = Duration::from_millis(30);
        let silent = |state: &TcpState| state.last_ack_age >= old && state.last_data_age >= old;
        eventually(&near, silent);
        far.write_all(b"!").unwrap();
        let fresh = eventually(&near, |state| !silent(state));
        assert!(fresh.last_ack_age < Duration::from_secs(20), "{fresh:?}");
    }

    /// What tells a slow reader from a dead host: its kernel answers the probes of the closed window.
    #[test]
    fn a_peer_whose_window_is_closed_goes_on_acknowledging() {
        let (mut near, _far) = loopback_pair().unwrap();
        fill(&mut near);
        let last = Cell::new(tcp_state(near.as_fd()).unwrap());
        // An acknowledgement that acknowledges nothing new answers a probe.
        let answered = eventually(&near, |state| {
            let before = last.replace(*state);
            state.last_ack_age < before.last_ack_age && state.bytes_acknowledged == before.bytes_acknowledged
        });
        assert_eq!(answered.retransmits, 0, "{answered:?}");
        assert!(bytes_unacknowledged(near.as_fd()).unwrap() > 0);
    }

    #[test]
    fn a_socket_of_another_family_is_an_error() {
        let (near, _far) = UnixStream::pair().unwrap();
        let error = tcp_state(near.as_fd()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP), "{error}");
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(tcp_state(file.as_fd()).unwrap_err().raw_os_error(), Some(libc::ENOTSOCK));
        assert!(bytes_unacknowledged(file.as_fd()).is_err());
    }

    #[test]
    fn fields_behind_the_end_of_an_answer_are_not_there() {
        assert_eq!(field(104, 96, 7_u64), Some(7));
        assert_eq!(field(103, 96, 7_u64), None);
        assert_eq!(field(8, 96, 7_u32), None);
    }

    #[test]
    fn this_kernel_says_all() {
        assert_eq!(Support::test(), Support { ages: true, progress: true, round_trips: true });
    }
}
