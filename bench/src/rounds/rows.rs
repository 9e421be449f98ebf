//! The rows of the report: what is done, and which figures it gives.

use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use crate::table;

/// Connections of the rows with small messages.
const CONNECTIONS: usize = 64;
/// Connections of the row with large ones.
const CONNECTIONS_LARGE: usize = 8;
/// Sessions that are opened and closed at once.
const UPGRADES_AT_ONCE: usize = 32;

/// How much is done.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Scale {
    /// Every row is done so often.
    pub(crate) rounds: usize,
    /// Load before anything is counted.
    pub(crate) warm_up: Duration,
    /// What each measurement counts.
    pub(crate) measure: Duration,
    /// Sessions of the row `idle`.
    pub(crate) idle_sessions: usize,
    /// Whether system calls are counted.
    pub(crate) strace: bool,
}

/// One row of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Row {
    /// 64 B, one in flight.
    #[value(name = "64x1")]
    SmallOne,
    /// 64 B, sixteen in flight.
    #[value(name = "64x16")]
    SmallSixteen,
    /// 4 KiB, one in flight.
    #[value(name = "4k")]
    Medium,
    /// 256 KiB, one in flight.
    #[value(name = "256k")]
    Large,
    /// Memory of idle sessions.
    #[value(name = "idle")]
    Idle,
    /// Sessions opened and closed per second.
    #[value(name = "upgrades")]
    Upgrades,
}

/// What is done for a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Messages are echoed.
    Load(Load),
    /// Sessions do nothing.
    Idle {
        /// How many.
        sessions: usize,
    },
    /// Sessions are opened and closed.
    Upgrades {
        /// How many at a time.
        at_once: usize,
    },
}

/// The shape of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    /// Connections.
    pub(crate) connections: usize,
    /// Messages in flight on each.
    pub(crate) depth: usize,
    /// Bytes of a message.
    pub(crate) payload: usize,
}

/// One figure of a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Metric {
    /// Its name in JSON, which ends with its unit.
    pub(crate) key: &'static str,
    /// Its heading in the table.
    pub(crate) heading: &'static str,
    /// Its decimals in the table.
    pub(crate) decimals: usize,
    /// The heading of the column that compares it, if one does.
    pub(crate) ratio: Option<&'static str>,
}

const fn metric(
    key: &'static str,
    heading: &'static str,
    decimals: usize,
    ratio: Option<&'static str>,
) -> Metric {
    Metric { key, heading, decimals, ratio }
}

/// Messages, round trips and processor time.
const LOAD: [Metric; 7] = [
    metric("messages_per_second", "msg/s", 0, Some("msg/s")),
    metric("p50_us", "p50 µs", 0, None),
    metric("p99_us", "p99 µs", 0, Some("p99")),
    metric("cpu_us_per_message", "CPU µs/msg", 2, Some("CPU")),
    metric("backend_cpu_us_per_message", "backend µs", 2, None),
    metric("client_cpu_us_per_message", "client µs", 2, None),
    metric("system_calls_per_message", "calls/msg", 2, Some("calls")),
];
/// Memory.
const IDLE: [Metric; 2] = [
    metric("kb_per_session", "KB/session", 2, Some("KB")),
    metric("kb_per_used_session", "after a message", 2, Some("KB after")),
];
/// Sessions opened and closed.
const UPGRADES: [Metric; 2] = [
    metric("upgrades_per_second", "upgrades/s", 0, Some("upgrades/s")),
    metric("cpu_us_per_upgrade", "CPU µs/upgrade", 1, Some("CPU")),
];

impl Row {
    /// As on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// What to do. The row `idle` takes the number of its sessions from its caller.
    pub(crate) fn work(self, idle_sessions: usize) -> Work {
        let load = |connections, depth, payload| Work::Load(Load { connections, depth, payload });
        match self {
            Self::SmallOne => load(CONNECTIONS, 1, 64),
            Self::SmallSixteen => load(CONNECTIONS, 16, 64),
            Self::Medium => load(CONNECTIONS, 1, 4 * 1_024),
            Self::Large => load(CONNECTIONS_LARGE, 1, 256 * 1_024),
            Self::Idle => Work::Idle { sessions: idle_sessions },
            Self::Upgrades => Work::Upgrades { at_once: UPGRADES_AT_ONCE },
        }
    }

    /// Which figures it gives.
    pub(crate) fn metrics(self) -> &'static [Metric] {
        match self {
            Self::SmallOne | Self::SmallSixteen | Self::Medium | Self::Large => &LOAD,
            Self::Idle => &IDLE,
            Self::Upgrades => &UPGRADES,
        }
    }

    /// Its headline.
    pub(crate) fn title(self, idle_sessions: usize) -> String {
        match self.work(idle_sessions) {
            Work::Load(Load { connections, depth, payload }) => {
                let size =
                    if payload < 1_024 { format!("{payload} B") } else { format!("{} KiB", payload / 1_024) };
                format!("{size}, {depth} in flight on each of {connections} connections")
            }
            Work::Idle { sessions } => format!("{} idle sessions", table::number(sessions as f64, 0)),
            Work::Upgrades { at_once } => format!("sessions opened and closed, {at_once} at a time"),
        }
    }
}
