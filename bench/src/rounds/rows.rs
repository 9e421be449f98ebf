//! The rows of the report: what is done, and which figures it gives.

use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use crate::table;
use crate::tls::Sides;
use crate::wire::http::Shape;

/// Connections of the rows with small messages.
const CONNECTIONS: usize = 64;
/// Connections of those with large ones.
const CONNECTIONS_LARGE: usize = 8;
/// Messages of the rows by size go over fewer connections from this size on, so that what is in flight stays in caches.
const LARGE: usize = 64 * 1_024;
/// One in so many sessions of a crowd talks.
const CROWD_PER_TALKER: usize = 100;
/// Sessions that are opened and closed at once.
const UPGRADES_AT_ONCE: usize = 32;

/// Bytes of a small page.
const PAGE: usize = 200;
/// What a small page is asked for by.
const SMALL: Shape = Shape { upload: 0, answer: PAGE, close: false };
/// Bytes of a large answer or request.
const PAGE_LARGE: usize = 100 * 1_024;
/// Connections of the rows with small pages, but for one.
const ASKERS: usize = 16;

/// How much is done.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Scale {
    /// Every row is done so often.
    pub(crate) rounds: usize,
    /// Load before anything is counted.
    pub(crate) warm_up: Duration,
    /// What each measurement counts.
    pub(crate) measure: Duration,
    /// Sessions of the row `idle`, and connections of the row `kept`.
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
    /// The same with TLS, by clients that have never been there.
    #[value(name = "handshakes")]
    Handshakes,
    /// The same with TLS, by clients that come back with a ticket.
    #[value(name = "resumptions")]
    Resumptions,
    /// 16 B, one in flight.
    #[value(name = "16x1")]
    Tiny,
    /// 1 KiB, one in flight.
    #[value(name = "1k")]
    Kibi,
    /// 1 KiB, sixteen in flight.
    #[value(name = "1kx16")]
    KibiSixteen,
    /// 16 KiB, one in flight.
    #[value(name = "16k")]
    Kibi16,
    /// 64 KiB, one in flight.
    #[value(name = "64k")]
    Kibi64,
    /// Memory of 100 idle sessions.
    #[value(name = "idle-100")]
    Idle100,
    /// Memory of 1,000 idle sessions.
    #[value(name = "idle-1000")]
    Idle1000,
    /// 100 sessions, of which one talks.
    #[value(name = "crowd-100")]
    Crowd100,
    /// 1,000 sessions, of which ten talk.
    #[value(name = "crowd-1000")]
    Crowd1000,
    /// 9,000 sessions, of which 90 talk.
    #[value(name = "crowd-9000")]
    Crowd9000,
    /// A small page, one in flight, its connection kept.
    #[value(name = "get1")]
    GetOne,
    /// The same on sixteen connections.
    #[value(name = "get16")]
    GetSixteen,
    /// The same, each on a connection of its own.
    #[value(name = "close")]
    GetClose,
    /// Answers of 100 KiB.
    #[value(name = "get-100k")]
    GetLarge,
    /// Requests of 100 KiB.
    #[value(name = "post-100k")]
    PostLarge,
    /// Memory of connections that are kept.
    #[value(name = "kept")]
    Kept,
}

/// What is done for a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
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
    /// The same with TLS.
    Handshakes {
        /// How many at a time.
        at_once: usize,
        /// Each by a ticket, and not in full.
        resumed: bool,
    },
    /// Many sessions, of which a few have a message in flight.
    Crowd {
        /// How many in all.
        sessions: usize,
        /// What the few do.
        talk: Load,
    },
    /// Requests are answered.
    Requests(Requests),
    /// Connections do nothing behind their first request.
    Kept {
        /// How many.
        connections: usize,
    },
}

/// The shape of a load of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Requests {
    /// Connections, each with one request in flight.
    pub(crate) connections: usize,
    /// What each asks for.
    #[serde(flatten)]
    pub(crate) shape: Shape,
}

/// The shape of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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

/// The same with handshakes of TLS.
const HANDSHAKES: [Metric; 2] = [
    metric("handshakes_per_second", "handshakes/s", 0, Some("handshakes/s")),
    metric("cpu_us_per_handshake", "CPU µs/handshake", 1, Some("CPU")),
];

/// Requests, how long they take, and processor time.
const REQUESTS: [Metric; 7] = [
    metric("requests_per_second", "requests/s", 0, Some("requests/s")),
    metric("p50_us", "p50 µs", 0, None),
    metric("p99_us", "p99 µs", 0, Some("p99")),
    metric("cpu_us_per_request", "CPU µs/request", 2, Some("CPU")),
    metric("backend_cpu_us_per_request", "backend µs", 2, None),
    metric("client_cpu_us_per_request", "client µs", 2, None),
    metric("system_calls_per_request", "calls/request", 2, Some("calls")),
];
/// Memory of connections.
const KEPT: [Metric; 1] = [metric("kb_per_connection", "KB/connection", 2, Some("KB"))];

impl Row {
    /// The rows of requests, in the order in which they are measured where nobody asks for others.
    pub(crate) const REQUESTS: [Row; 6] =
        [Row::GetOne, Row::GetSixteen, Row::GetClose, Row::GetLarge, Row::PostLarge, Row::Kept];

    /// The rows of sessions whose protocol is known, in the order in which they are measured where nobody asks for others.
    pub(crate) const PROTOCOLS: [Row; 5] =
        [Row::SmallOne, Row::SmallSixteen, Row::Kibi, Row::KibiSixteen, Row::Idle];

    /// As on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Whether it is a row of requests, and not of sessions.
    pub(crate) fn is_of_requests(self) -> bool {
        matches!(self.work(0), Work::Requests(_) | Work::Kept { .. })
    }

    /// The rows of sessions that are measured where nobody asks for others, if they are for one of these.
    pub(crate) fn usual(sides: &[Sides]) -> Vec<Self> {
        const USUAL: [Row; 8] = [
            Row::SmallOne,
            Row::SmallSixteen,
            Row::Medium,
            Row::Large,
            Row::Idle,
            Row::Upgrades,
            Row::Handshakes,
            Row::Resumptions,
        ];
        USUAL.into_iter().filter(|row| sides.iter().any(|sides| row.is_for(*sides))).collect()
    }

    /// Whether there is something to measure where connections have TLS on these sides: a session begins with a
    /// handshake of TLS or without one.
    pub(crate) fn is_for(self, sides: Sides) -> bool {
        match self.work(0) {
            Work::Upgrades { .. } => sides == Sides::Off,
            Work::Handshakes { .. } => sides != Sides::Off,
            Work::Load(_)
            | Work::Idle { .. }
            | Work::Crowd { .. }
            | Work::Requests(_)
            | Work::Kept { .. } => true,
        }
    }

    /// What to do. The rows `idle` and `kept` take the number of their sessions or connections from their caller.
    pub(crate) fn work(self, idle_sessions: usize) -> Work {
        match self {
            Self::Tiny => one_in_flight(16),
            Self::SmallOne => one_in_flight(64),
            Self::SmallSixteen => Work::Load(Load { connections: CONNECTIONS, depth: 16, payload: 64 }),
            Self::Kibi => one_in_flight(1_024),
            Self::KibiSixteen => Work::Load(Load { connections: CONNECTIONS, depth: 16, payload: 1_024 }),
            Self::Medium => one_in_flight(4 * 1_024),
            Self::Kibi16 => one_in_flight(16 * 1_024),
            Self::Kibi64 => one_in_flight(64 * 1_024),
            Self::Large => one_in_flight(256 * 1_024),
            Self::Idle => Work::Idle { sessions: idle_sessions },
            Self::Idle100 => Work::Idle { sessions: 100 },
            Self::Idle1000 => Work::Idle { sessions: 1_000 },
            Self::Upgrades => Work::Upgrades { at_once: UPGRADES_AT_ONCE },
            Self::Handshakes => Work::Handshakes { at_once: UPGRADES_AT_ONCE, resumed: false },
            Self::Resumptions => Work::Handshakes { at_once: UPGRADES_AT_ONCE, resumed: true },
            Self::Crowd100 => crowd(100),
            Self::Crowd1000 => crowd(1_000),
            Self::Crowd9000 => crowd(9_000),
            Self::GetOne => requests(1, SMALL),
            Self::GetSixteen => requests(ASKERS, SMALL),
            Self::GetClose => requests(ASKERS, Shape { close: true, ..SMALL }),
            Self::GetLarge => requests(CONNECTIONS_LARGE, Shape { answer: PAGE_LARGE, ..SMALL }),
            Self::PostLarge => requests(CONNECTIONS_LARGE, Shape { upload: PAGE_LARGE, ..SMALL }),
            Self::Kept => Work::Kept { connections: idle_sessions },
        }
    }

    /// Which figures it gives.
    pub(crate) fn metrics(self) -> &'static [Metric] {
        match self.work(0) {
            Work::Load(_) | Work::Crowd { .. } => &LOAD,
            Work::Idle { .. } => &IDLE,
            Work::Upgrades { .. } => &UPGRADES,
            Work::Handshakes { .. } => &HANDSHAKES,
            Work::Requests(_) => &REQUESTS,
            Work::Kept { .. } => &KEPT,
        }
    }

    /// Its headline.
    pub(crate) fn title(self, idle_sessions: usize) -> String {
        match self.work(idle_sessions) {
            Work::Load(load) => load.title(),
            Work::Idle { sessions } => format!("{} idle sessions", table::number(sessions as f64, 0)),
            Work::Upgrades { at_once } => format!("sessions opened and closed, {at_once} at a time"),
            Work::Handshakes { at_once, resumed } => {
                let how = if resumed { "resumed by a ticket" } else { "with a full handshake" };
                format!("sessions opened {how} and closed, {at_once} at a time")
            }
            Work::Crowd { sessions, talk } => {
                let all = table::number(sessions as f64, 0);
                format!("{all} sessions, of which {} talk: {}", talk.connections, talk.title())
            }
            Work::Requests(requests) => requests.title(),
            Work::Kept { connections } => {
                let all = table::number(connections as f64, 0);
                format!("{all} connections that are kept behind a request")
            }
        }
    }
}

impl Load {
    fn title(self) -> String {
        let Self { connections, depth, payload } = self;
        format!("{}, {depth} in flight on each of {connections} connections", size(payload))
    }
}

impl Requests {
    fn title(self) -> String {
        let Shape { upload, answer, close } = self.shape;
        let request = if upload == 0 { "GET".to_owned() } else { format!("POST of {}", size(upload)) };
        let where_to = match (self.connections, close) {
            (1, false) => "one in flight on a kept connection".to_owned(),
            (connections, false) => format!("one in flight on each of {connections} kept connections"),
            (connections, true) => format!("{connections} in flight, each on a connection of its own"),
        };
        format!("{request} answered with {}, {where_to}", size(answer))
    }
}

fn size(bytes: usize) -> String {
    if bytes < 1_024 { format!("{bytes} B") } else { format!("{} KiB", bytes / 1_024) }
}

fn requests(connections: usize, shape: Shape) -> Work {
    Work::Requests(Requests { connections, shape })
}

fn one_in_flight(payload: usize) -> Work {
    let connections = if payload < LARGE { CONNECTIONS } else { CONNECTIONS_LARGE };
    Work::Load(Load { connections, depth: 1, payload })
}

fn crowd(sessions: usize) -> Work {
    let talk = Load { connections: sessions / CROWD_PER_TALKER, depth: 1, payload: 64 };
    Work::Crowd { sessions, talk }
}
