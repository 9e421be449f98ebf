//! Keys that hold for every session: limits, timeouts, and what becomes of it when its backend fails.

use steadfast_protocol::websocket::close_code::CloseCode;

use super::{DAY, GIB, KIB, MIB, MS, Section, ZERO, ms, secs};
use crate::config::settings::{
    CloseCodes, DrainSettings, FailoverSettings, Herd, LimitSettings, Poison, PoolCloseCodes, Timeouts,
};
use crate::config::values;

/// hyper takes no smaller buffer, and the header limit is one.
const HEADER_MIN: usize = 8 * KIB;

/// A backend's Closes that are its failure, as long as nothing else is written.
const FAILURES: [CloseCode; 5] = [
    CloseCode::GOING_AWAY,
    CloseCode::INTERNAL_ERROR,
    CloseCode::SERVICE_RESTART,
    CloseCode::TRY_AGAIN_LATER,
    CloseCode::BAD_GATEWAY,
];

pub(super) fn limits(section: &mut Section<'_>) -> LimitSettings {
    let limits = LimitSettings {
        max_sessions: section.optional_count("max_sessions", "auto", 1..=100_000_000),
        max_handshakes: section.optional_count("max_handshakes", "auto", 1..=1_000_000),
        message: section.size("message", 16 * MIB, 1..=GIB),
        ring: section.size("ring", 16 * MIB, 1..=GIB),
        buffers: section.optional_size("buffers", "auto", 2..=1024 * GIB),
        header: section.size("header", 16 * KIB, HEADER_MIN..=MIB),
        // As many as fit into the bytes with a good length each; the parser takes room for all of them.
        header_lines: section.count("header_lines", 100, 16..=4096),
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

pub(super) fn timeouts(section: &mut Section<'_>) -> Timeouts {
    Timeouts {
        handshake: section.duration("handshake", secs(10), MS..=DAY),
        connect: section.duration("connect", secs(2), MS..=DAY),
        upgrade: section.duration("upgrade", secs(5), MS..=DAY),
        close: section.duration("close", secs(5), MS..=DAY),
        client_stall: section.duration("client_stall", secs(60), MS..=DAY),
        message: section.duration("message", secs(120), MS..=DAY),
        keepalive: section.duration("keepalive", secs(25), ZERO..=DAY),
        client_pong: section.duration("client_pong", secs(20), MS..=DAY),
        http_idle: section.duration("http_idle", secs(60), MS..=DAY),
    }
}

pub(super) fn failover(section: &mut Section<'_>) -> FailoverSettings {
    let failover = FailoverSettings {
        deadline: section.duration("deadline", secs(30), MS..=DAY),
        longest: section.duration("longest", secs(120), MS..=DAY),
        stable: section.duration("stable", secs(5), ZERO..=DAY),
        backoff_min: section.duration("backoff_min", ms(50), MS..=DAY),
        backoff_max: section.duration("backoff_max", secs(2), MS..=DAY),
        close_codes: section.close_codes("close_codes", &FAILURES),
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

pub(super) fn herd(section: &mut Section<'_>) -> Herd {
    Herd {
        dials_per_backend: section.count("dials_per_backend", 64, 1..=65_535),
        dials: section.count("dials", 256, 1..=1_000_000),
        jitter: section.duration("jitter", ms(10), ZERO..=secs(60)),
        moves: section.count("moves", 256, 1..=1_000_000),
    }
}

pub(super) fn poison(section: &mut Section<'_>) -> Poison {
    Poison {
        window: section.duration("window", secs(60), MS..=DAY),
        deaths: section.count("deaths", 2, 1..=1000),
        convictions: section.count("convictions", 3, 1..=1000),
    }
}

pub(super) fn close_codes(section: &mut Section<'_>) -> CloseCodes {
    CloseCodes {
        deadline: section.close_code("deadline", CloseCode::TRY_AGAIN_LATER),
        longest: section.close_code("longest", CloseCode::SERVICE_RESTART),
        slow_client: section.close_code("slow_client", CloseCode::TRY_AGAIN_LATER),
        refused: section.close_code("refused", CloseCode::SERVICE_RESTART),
        poison: section.close_code("poison", CloseCode::INTERNAL_ERROR),
        on_failure: section.close_code("on_failure", CloseCode::SERVICE_RESTART),
        reconnect: section.close_code("reconnect", CloseCode::SERVICE_RESTART),
        shutdown: section.close_code("shutdown", CloseCode::GOING_AWAY),
        slow_message: section.close_code("slow_message", CloseCode::POLICY_VIOLATION),
    }
}

/// A pool's own, by the same names.
pub(super) fn pool_close_codes(section: &mut Section<'_>) -> PoolCloseCodes {
    let mut code = |name| section.optional_close_code(name, "as in [close_codes]");
    PoolCloseCodes {
        deadline: code("deadline"),
        longest: code("longest"),
        slow_client: code("slow_client"),
        refused: code("refused"),
        poison: code("poison"),
        on_failure: code("on_failure"),
        reconnect: code("reconnect"),
        shutdown: code("shutdown"),
        slow_message: code("slow_message"),
    }
}

pub(super) fn drain(section: &mut Section<'_>) -> DrainSettings {
    let drain = DrainSettings {
        quiet: section.duration("quiet", ms(100), ZERO..=DAY),
        quiet_max: section.duration("quiet_max", secs(2), ZERO..=DAY),
        patience: section.duration("patience", secs(2), ZERO..=DAY),
        hold: section.duration("hold", secs(3), MS..=DAY),
        deadline: section.duration("deadline", secs(30), MS..=DAY),
        rate: section.count("rate", 200, DrainSettings::RATE),
        concurrency: section.count("concurrency", 100, DrainSettings::CONCURRENCY),
        errors: section.count("errors", 10, DrainSettings::ERRORS),
        time_limit: section.duration("time_limit", secs(900), DrainSettings::TIME_LIMIT),
        ask_timeout: section.duration("ask_timeout", secs(10), ZERO..=DAY),
        requests: section.duration("requests", secs(30), ZERO..=DAY),
    };
    section.check(&["quiet", "quiet_max"], drain.quiet <= drain.quiet_max, || {
        "quiet_max must not be shorter than quiet".to_owned()
    });
    section.check(&["quiet_max", "hold"], drain.quiet_max < drain.hold, || {
        "quiet_max must be shorter than hold, or no session is found quiet while its messages are held"
            .to_owned()
    });
    section.check(&["patience", "hold", "deadline"], drain.patience + drain.hold <= drain.deadline, || {
        "deadline must not come before patience and hold are over".to_owned()
    });
    drain
}
