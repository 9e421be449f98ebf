//! Every key of the file: its table, its default and its bounds.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use steadfast_protocol::session::AckMode;

use super::problem::Origin;
use super::raw::Section;
use super::settings::{
    Access, Backend, Balance, CloseCodes, Dns, Drain, Failover, Herd, Limits, Log, LogFormat, OnFailure,
    Outlier, Poison, Pool, Queue, Reload, Settings, Shutdown, Timeouts,
};
use super::values;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;

const ZERO: Duration = Duration::ZERO;
const MS: Duration = Duration::from_millis(1);
/// No duration is longer. It keeps sums of deadlines far from the clock's end.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// hyper takes no smaller buffer, and the header limit is one.
const HEADER_MIN: usize = 8 * KIB;
/// More threads than this are a slip of the hand.
pub(super) const WORKERS_MAX: usize = 1024;

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// What the file says, before the flags.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) listeners: Vec<DraftListener>,
    pub(super) pools: Vec<DraftPool>,
    /// Complete but for its listeners and pools, which are empty.
    pub(super) rest: Settings,
}

/// A listener whose pool may not be named.
#[derive(Debug)]
pub(super) struct DraftListener {
    pub(super) origin: Origin,
    pub(super) address: SocketAddr,
    pub(super) pool: Option<String>,
}

/// A pool that may lack backends, which flags may bring.
#[derive(Debug)]
pub(super) struct DraftPool {
    pub(super) origin: Origin,
    pub(super) pool: Pool,
}

/// Reads the whole file.
pub(super) fn file(root: &mut Section<'_>) -> Draft {
    Draft {
        // Wrong ones are in the report already.
        listeners: root.tables("listener", listener).into_iter().flatten().collect(),
        pools: pools(root),
        rest: Settings {
            listeners: Vec::new(),
            routes: Vec::new(),
            access: Access::default(),
            pools: Vec::new(),
            workers: root.optional_count("workers", "cores", 1..=WORKERS_MAX).unwrap_or_else(cores),
            admin: root
                .section("admin", |section| section.text("address", "off", "IP:PORT", values::address)),
            log: root.section("log", log),
            limits: root.section("limits", limits),
            timeouts: root.section("timeouts", timeouts),
            failover: root.section("failover", failover),
            herd: root.section("herd", herd),
            poison: root.section("poison", poison),
            close_codes: root.section("close_codes", close_codes),
            shutdown: root.section("shutdown", shutdown),
            drain: Drain { quiet: ms(500), deadline: secs(30) },
            dns: Dns {
                servers: Vec::new(),
                timeout: secs(5),
                ttl_min: secs(1),
                ttl_max: secs(300),
                hold: secs(30),
            },
            reload: Reload { watch: secs(1) },
        },
    }
}

fn pools(root: &mut Section<'_>) -> Vec<DraftPool> {
    let mut names = HashSet::new();
    root.tables("pool", |section| {
        let pool = pool(section);
        section.check(&["name"], names.insert(pool.name.clone()), || {
            format!("{:?} is taken by an earlier pool; choose another", pool.name)
        });
        DraftPool { origin: Origin::Line(section.line()), pool }
    })
}

/// A pool without a written table: its defaults, no name, no backends.
pub(super) fn default_pool() -> Pool {
    pool(&mut Section::absent("pool"))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(WORKERS_MAX))
}

fn listener(section: &mut Section<'_>) -> Option<DraftListener> {
    let address = section.required("address", "IP:PORT", values::address);
    let pool = section.text("pool", "the only pool, else default", "a pool's name", values::name);
    Some(DraftListener { origin: Origin::Line(section.line()), address: address?, pool })
}

fn pool(section: &mut Section<'_>) -> Pool {
    Pool {
        name: section.required("name", "a name", values::name).unwrap_or_default(),
        ack: section.choice("ack", AckMode::Pong, &values::ACK),
        ack_hold: section.duration("ack_hold", ZERO, ZERO..=DAY),
        ack_timeout: section.duration("ack_timeout", secs(10), ms(10)..=DAY),
        on_failure: section.choice("on_failure", OnFailure::Failover, &values::ON_FAILURE),
        balance: Balance::LeastSessions,
        queue: Queue { max: 1024, timeout: secs(5) },
        slow_start: ZERO,
        sources: Vec::new(),
        health: None,
        agent: None,
        outlier: Outlier {
            failures: 5,
            early_death: secs(10),
            ejection_min: secs(10),
            ejection_max: secs(300),
            max_ejected: 50,
        },
        discoveries: Vec::new(),
        backends: backends(section),
    }
}

fn backends(section: &mut Section<'_>) -> Vec<Backend> {
    let mut names = HashSet::new();
    let read = |section: &mut Section<'_>| {
        let backend = backend(section)?;
        section.check(&["name", "url"], names.insert(backend.name.clone()), || {
            format!("the pool has a backend named {:?} already; remove one or give it a name", backend.name)
        });
        Some(backend)
    };
    section.tables("backend", read).into_iter().flatten().collect()
}

fn backend(section: &mut Section<'_>) -> Option<Backend> {
    let backend = section.required("url", "ws://HOST:PORT", values::backend);
    let name = section.text("name", "host:port", "a name", values::name);
    let backend = backend?;
    Some(Backend { name: name.unwrap_or(backend.name), ..backend })
}

fn log(section: &mut Section<'_>) -> Log {
    Log {
        format: section.choice("format", LogFormat::Text, &values::LOG_FORMAT),
        level: section
            .text("level", "info", values::LOG_LEVELS, values::log_level_text)
            .unwrap_or_else(|| "info".to_owned()),
    }
}

fn limits(section: &mut Section<'_>) -> Limits {
    let limits = Limits {
        max_sessions: section.optional_count("max_sessions", "auto", 1..=100_000_000),
        max_handshakes: section.count("max_handshakes", 1024, 1..=1_000_000),
        message: section.size("message", 16 * MIB, 1..=GIB),
        ring: section.size("ring", 16 * MIB, 1..=GIB),
        buffers: section.optional_size("buffers", "auto", 2..=1024 * GIB),
        header: section.size("header", 16 * KIB, HEADER_MIN..=MIB),
    };
    let message = values::show_size(limits.message);
    section.check(&["ring", "message"], limits.ring >= limits.message, || {
        let ring = values::show_size(limits.ring);
        format!("a ring of {ring} cannot hold a message of {message}; raise ring or lower message")
    });
    section.check(&["buffers"], limits.buffers.is_none_or(|buffers| buffers >= 2 * limits.message), || {
        format!("must be at least twice message, which is {message}")
    });
    limits
}

fn timeouts(section: &mut Section<'_>) -> Timeouts {
    Timeouts {
        handshake: section.duration("handshake", secs(10), MS..=DAY),
        connect: section.duration("connect", secs(2), MS..=DAY),
        upgrade: section.duration("upgrade", secs(5), MS..=DAY),
        close: section.duration("close", secs(5), MS..=DAY),
        client_stall: section.duration("client_stall", secs(60), MS..=DAY),
        message: section.duration("message", secs(120), MS..=DAY),
        keepalive: section.duration("keepalive", secs(25), ZERO..=DAY),
        client_pong: section.duration("client_pong", secs(20), MS..=DAY),
    }
}

fn failover(section: &mut Section<'_>) -> Failover {
    let failover = Failover {
        deadline: section.duration("deadline", secs(30), MS..=DAY),
        stable: section.duration("stable", secs(5), ZERO..=DAY),
        backoff_min: section.duration("backoff_min", ms(50), MS..=DAY),
        backoff_max: section.duration("backoff_max", secs(2), MS..=DAY),
        close_codes: section.close_codes("close_codes", &[1001, 1011, 1012, 1013, 1014]),
        penalty_min: section.duration("penalty_min", secs(1), ZERO..=DAY),
        penalty_max: section.duration("penalty_max", secs(30), ZERO..=DAY),
    };
    section.check(&["stable", "deadline"], failover.stable < failover.deadline, || {
        "stable must be shorter than deadline, or no failover ever ends well".to_owned()
    });
    section.check(&["backoff_min", "backoff_max"], failover.backoff_min <= failover.backoff_max, || {
        "backoff_min must not be longer than backoff_max".to_owned()
    });
    section.check(&["penalty_min", "penalty_max"], failover.penalty_min <= failover.penalty_max, || {
        "penalty_min must not be longer than penalty_max".to_owned()
    });
    failover
}

fn herd(section: &mut Section<'_>) -> Herd {
    Herd {
        dials_per_backend: section.count("dials_per_backend", 64, 1..=65_535),
        dials: section.count("dials", 256, 1..=1_000_000),
        jitter: section.duration("jitter", ms(10), ZERO..=secs(60)),
    }
}

fn poison(section: &mut Section<'_>) -> Poison {
    Poison {
        window: section.duration("window", secs(60), MS..=DAY),
        deaths: section.count("deaths", 2, 1..=1000),
        convictions: section.count("convictions", 3, 1..=1000),
    }
}

fn close_codes(section: &mut Section<'_>) -> CloseCodes {
    CloseCodes {
        deadline: section.close_code("deadline", 1013),
        refused: section.close_code("refused", 1008),
        poison: section.close_code("poison", 1011),
        on_failure: section.close_code("on_failure", 1012),
        shutdown: section.close_code("shutdown", 1001),
        slow_message: section.close_code("slow_message", 1008),
    }
}

fn shutdown(section: &mut Section<'_>) -> Shutdown {
    Shutdown {
        delay: section.duration("delay", ZERO, ZERO..=DAY),
        grace: section.duration("grace", secs(20), ZERO..=DAY),
    }
}
