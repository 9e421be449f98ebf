//! Keys of `[access]` and `[route.access]`: who may come in.

use super::{SESSIONS_MAX, Section};
use crate::config::settings::AccessSettings;
use crate::config::values::{network, origin};

const RATE_MAX: u32 = 100_000;

pub(super) fn access(section: &mut Section<'_>) -> AccessSettings {
    let network = "a network or an address";
    let allow = section.texts("allow", network, network::network);
    let deny = section.texts("deny", network, network::network);
    let origins = section.texts("origins", origin::ORIGIN, origin::origin);
    let upgrades_per_second = section.optional_count("upgrades_per_second", "off", 1..=RATE_MAX);
    let burst = section.optional_count("upgrades_burst", "upgrades_per_second", 1..=RATE_MAX);
    section.check(&["upgrades_burst"], burst.is_none() || upgrades_per_second.is_some(), || {
        "means nothing without upgrades_per_second; give that too, or remove this".to_owned()
    });
    AccessSettings {
        allow,
        deny,
        origins,
        upgrades_per_second,
        upgrades_burst: burst.or(upgrades_per_second).unwrap_or(0),
        sessions_per_address: section.optional_count("sessions_per_address", "off", 1..=SESSIONS_MAX as u32),
    }
}
