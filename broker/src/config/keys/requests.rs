//! Keys of `[pool.http]`: how requests that are no WebSocket upgrades are passed on.

use super::{DAY, GIB, MS, Section, secs};
use crate::config::settings::{HttpSettings, Reuse};
use crate::config::values;

/// Each worker may keep as many to each backend.
const IDLE_MAX: usize = 1024;

pub(super) fn http(section: &mut Section<'_>) -> HttpSettings {
    HttpSettings {
        reuse: section.choice("reuse", Reuse::Safe, &values::REUSE),
        idle: section.count("idle", 64, 0..=IDLE_MAX),
        // Many servers end connections after 5 s, and whoever sends a request in that moment loses it.
        idle_timeout: section.duration("idle_timeout", secs(4), MS..=DAY),
        answer_timeout: section.duration("answer_timeout", secs(60), MS..=DAY),
        body_timeout: section.duration("body_timeout", secs(60), MS..=DAY),
        body_max: section.optional_size("body_max", "none", 0..=1024 * GIB),
    }
}
