//! The clock that all processes of the machine share.

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds of `CLOCK_MONOTONIC`: times taken in different processes can be compared.
pub(crate) fn monotonic_ns() -> u64 {
    // The call fails only for clocks that the kernel does not know, and this one it does.
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux has a monotonic clock");
    now.tv_sec().unsigned_abs() * 1_000_000_000 + now.tv_nsec().unsigned_abs()
}
