//! The broker's clock: the only place that reads it for the session machine.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime};

use steadfast_protocol::time::Time;

static ORIGIN: OnceLock<Instant> = OnceLock::new();

/// Now, counted from the first time that anyone asked.
pub(crate) fn now() -> Time {
    Time::after_origin(ORIGIN.get_or_init(Instant::now).elapsed())
}

/// The same moment as tokio's timers understand it.
pub(crate) fn instant(at: Time) -> tokio::time::Instant {
    let origin = *ORIGIN.get_or_init(Instant::now);
    (origin + at.since_origin()).into()
}

/// Now as people write it.
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}
