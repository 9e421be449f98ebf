//! Addresses of this machine that no other test uses, also none that runs beside this one.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU8, Ordering};

/// Addresses that one process may have.
const OWN_MAX: u8 = 128;

/// A loopback address of this process' own: all of 127.0.0.0/8 is this machine's.
pub fn own_address() -> IpAddr {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    assert!(number < OWN_MAX, "a process has {OWN_MAX} addresses of its own");
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, number + 1, high, low).into()
}
