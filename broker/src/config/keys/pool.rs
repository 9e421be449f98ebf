//! Keys of `[[pool]]`: where sessions go, and how a backend is chosen for one.

use std::collections::HashSet;

use super::{
    DAY, DraftPool, KIB, MIB, MS, SESSIONS_MAX, Section, ZERO, ms, probe, requests, secs, session, sticky,
    tls,
};
use crate::config::place::ValueOrigin;
use crate::config::settings::{
    Ack, BackendSettings, Balance, Discovery, ForwardedForm, HeaderCase, OnFailure, Outlier, PoolSettings,
    ProfileChoice, QueueSettings, RebalanceSettings, SendProxy, StickyMode, WEIGHT_MAX,
};
use crate::config::values::{self, network, public_url, request};

/// Each session keeps one, and each further backend is given it.
const CAPSULE_MAX: usize = 16 * MIB;

/// Each session may keep so much.
const RECORDS_MAX: usize = 16 * MIB;

/// What may be chosen of profiles, in words.
const PROFILE: &str = r#""auto", "none", or a profile's name"#;

/// [`Balance`] as one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    LeastSessions,
    RoundRobin,
    PowerOfTwo,
    Random,
    Source,
    Hash,
}

const METHODS: [(&str, Method); 6] = [
    ("least_sessions", Method::LeastSessions),
    ("round_robin", Method::RoundRobin),
    ("power_of_two", Method::PowerOfTwo),
    ("random", Method::Random),
    ("source", Method::Source),
    ("hash", Method::Hash),
];

pub(super) fn pools(root: &mut Section<'_>) -> Vec<DraftPool> {
    let mut names = HashSet::new();
    root.tables("pool", |section| {
        let pool = pool(section);
        section.check(&["name"], names.insert(pool.name.clone()), || {
            format!("{:?} is taken by an earlier pool; choose another", pool.name)
        });
        DraftPool { origin: ValueOrigin::Line(section.line()), pool }
    })
}

/// A pool without a written table: its defaults, no name, no backends.
pub(in crate::config) fn default_pool() -> PoolSettings {
    PoolSettings { backends: Vec::new(), discoveries: Vec::new(), ..pool(&mut Section::absent("pool")) }
}

fn pool(section: &mut Section<'_>) -> PoolSettings {
    let pool = PoolSettings {
        name: section.required("name", "a name", values::name).unwrap_or_default(),
        ack: section.choice("ack", Ack::Pong, &values::ACK),
        ack_hold: section.duration("ack_hold", ZERO, ZERO..=DAY),
        ack_timeout: section.duration("ack_timeout", secs(10), ms(10)..=DAY),
        stall_timeout: section.duration("stall_timeout", secs(300), ZERO..=DAY),
        shared_address: section.flag("shared_address", false),
        probe: section.flag("probe", true),
        capsule: section.size("capsule", 64 * KIB, 0..=CAPSULE_MAX),
        on_failure: section.choice("on_failure", OnFailure::Auto, &values::ON_FAILURE),
        profile: section.text("profile", "auto", PROFILE, values::profile).unwrap_or(ProfileChoice::Auto),
        reply_timeout: section.duration("reply_timeout", secs(30), MS..=DAY),
        prologue_timeout: section.duration("prologue_timeout", secs(10), MS..=DAY),
        profile_records: section.size("profile_records", 64 * KIB, KIB..=RECORDS_MAX),
        close_codes: section.section("close_codes", session::pool_close_codes),
        auto_wait: section.duration("auto_wait", secs(5), ZERO..=DAY),
        resume_window: section.duration("resume_window", secs(120), ZERO..=DAY),
        plain_resume: section.flag("plain_resume", false),
        balance: balance(section),
        sticky: section.optional_section("sticky", sticky::sticky),
        queue: section.section("queue", queue),
        slow_start: section.duration("slow_start", ZERO, ZERO..=DAY),
        sources: section.texts("source", "an address of this machine", network::source),
        header_case: section.choice("header_case", HeaderCase::Lower, &values::HEADER_CASE),
        forwarded: section.choice("forwarded", ForwardedForm::X, &values::FORWARDED),
        send_proxy: section.choice("send_proxy", SendProxy::Off, &values::SEND_PROXY),
        http: section.section("http", requests::http),
        tls: section.optional_section("tls", tls::pool),
        health: section.optional_section("health", probe::health).flatten(),
        agent: section.optional_section("agent", probe::agent),
        outlier: section.section("outlier", outlier),
        dial_ahead: section.flag("dial_ahead", true),
        break_before_make: section.flag("break_before_make", false),
        rebalance: section.optional_section("rebalance", rebalance),
        discoveries: discoveries(section),
        backends: backends(section),
    };
    section.check(
        &["plain_resume", "resume_window"],
        !pool.plain_resume || !pool.resume_window.is_zero(),
        || r#"means nothing with resume_window = "0s"; give a window, or remove this"#.to_owned(),
    );
    let inserts = pool.sticky.as_ref().is_some_and(|sticky| matches!(sticky.mode, StickyMode::Insert(_)));
    section.check(&["rebalance"], !inserts || pool.rebalance.is_none(), || {
        r#"moves nobody where [pool.sticky] has mode = "insert": each session stays with its client's backend; remove one of them"#
            .to_owned()
    });
    pool
}

fn balance(section: &mut Section<'_>) -> Balance {
    let method = section.choice("balance", Method::LeastSessions, &METHODS);
    let key = section.text("hash_key", "none", request::HASH_KEY, request::hash_key);
    section.check(&["hash_key"], method == Method::Hash || key.is_none(), || {
        r#"means nothing without balance = "hash"; set that, or remove this"#.to_owned()
    });
    section.check(&["balance"], method != Method::Hash || key.is_some(), || {
        format!(r#""hash" needs a hash_key; give {}"#, request::HASH_KEY)
    });
    match (method, key) {
        (Method::RoundRobin, _) => Balance::RoundRobin,
        (Method::PowerOfTwo, _) => Balance::PowerOfTwo,
        (Method::Random, _) => Balance::Random,
        (Method::Source, _) => Balance::Source,
        (Method::Hash, Some(key)) => Balance::Hash(key),
        // A hash without its key is in the report.
        (Method::LeastSessions | Method::Hash, _) => Balance::LeastSessions,
    }
}

fn rebalance(section: &mut Section<'_>) -> RebalanceSettings {
    let rebalance = RebalanceSettings {
        start: section.count("start", 25, 1..=10_000),
        tolerance: section.count(
            "tolerance",
            RebalanceSettings::TOLERANCE_DEFAULT,
            RebalanceSettings::TOLERANCE,
        ),
        interval: section.duration("interval", secs(30), ms(100)..=DAY),
    };
    section.check(&["start", "tolerance"], rebalance.tolerance < rebalance.start, || {
        "tolerance must be less than start, or it never comes to rest".to_owned()
    });
    rebalance
}

fn queue(section: &mut Section<'_>) -> QueueSettings {
    QueueSettings {
        max: section.count("max", 1024, 0..=1_000_000),
        timeout: section.duration("timeout", secs(5), MS..=DAY),
    }
}

fn outlier(section: &mut Section<'_>) -> Outlier {
    let outlier = Outlier {
        failures: section.count("failures", 5, 0..=1_000_000),
        early_death: section.duration("early_death", secs(10), ZERO..=DAY),
        ejection_min: section.duration("ejection_min", secs(10), MS..=DAY),
        ejection_max: section.duration("ejection_max", secs(300), MS..=DAY),
        max_ejected: section.count("max_ejected", 50, 0..=100),
    };
    section.check(&["ejection_min", "ejection_max"], outlier.ejection_min <= outlier.ejection_max, || {
        "ejection_min must not be longer than ejection_max".to_owned()
    });
    outlier
}

fn discoveries(section: &mut Section<'_>) -> Vec<Discovery> {
    let mut queries = HashSet::new();
    let read = |section: &mut Section<'_>| {
        let discovery = discovery(section)?;
        section.check(&["address", "srv"], queries.insert(discovery.query.clone()), || {
            "the pool looks for that already; remove one".to_owned()
        });
        Some(discovery)
    };
    section.tables("discovery", read).into_iter().flatten().collect()
}

/// `None` when it does not say what to look for, which is in the report then.
fn discovery(section: &mut Section<'_>) -> Option<Discovery> {
    let address = section.text("address", "none", "HOST:PORT", network::lookup);
    let srv = section.text("srv", "none", "a name with SRV records", network::service);
    let tls = section.flag("tls", false);
    let (weight, max_sessions, backup) = share(section);
    section.check(&["srv"], address.is_none() || srv.is_none(), || {
        "only one of address and srv may be given; remove one".to_owned()
    });
    section.check(&["address", "srv"], address.is_some() || srv.is_some(), || {
        "missing; give HOST:PORT, or a name with SRV records as srv".to_owned()
    });
    Some(Discovery { query: address.or(srv)?, tls, weight, max_sessions, backup })
}

fn backends(section: &mut Section<'_>) -> Vec<BackendSettings> {
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

fn backend(section: &mut Section<'_>) -> Option<BackendSettings> {
    let backend = section.required("url", "ws://HOST:PORT or wss://HOST:PORT", network::backend);
    let name = section.text("name", "host:port", "a name", values::name);
    let (weight, max_sessions, backup) = share(section);
    let public = section.text("public_url", "none", public_url::PUBLIC_URL, public_url::public_url);
    let backend = backend?;
    let name = name.unwrap_or_else(|| backend.name.clone());
    Some(BackendSettings { name, weight, backup, max_sessions, public_url: public, ..backend })
}

/// How much a backend, or each that is found, gets.
fn share(section: &mut Section<'_>) -> (u32, Option<usize>, bool) {
    let weight = section.count("weight", 1, 0..=WEIGHT_MAX);
    let backup = section.flag("backup", false);
    let max_sessions = section.optional_count("max_sessions", "none", 1..=SESSIONS_MAX);
    (weight, max_sessions, backup)
}
