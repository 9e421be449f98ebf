//! What the sessions of a pool are told: its promises, and the limits of all.

use std::time::Duration;

use steadfast_protocol::session::{AckMode, Codes, Config};

use crate::config::settings::{self, OnFailure, Settings};
use crate::upstream::conversations::HOLD;

/// How long a session is kept whose client has never shown that it knows its token. It has been told nothing that it
/// would have to come back for; and whoever connects and goes again and again must not fill the broker.
const UNPROVEN_WINDOW: Duration = Duration::from_secs(5);

pub(super) fn of(pool: &settings::PoolSettings, settings: &Settings) -> Config {
    let Settings { limits, timeouts, failover, poison, herd, drain, .. } = settings;
    let close_codes = pool.close_codes.or(settings.close_codes);
    Config {
        ack: pool.ack.mode(),
        ack_hold: if pool.ack.mode() == AckMode::Pong { pool.ack_hold } else { Duration::ZERO },
        ack_timeout: pool.ack_timeout,
        stall_timeout: pool.stall_timeout,
        failover: pool.on_failure != OnFailure::Close,
        auto_wait: pool.auto_wait,
        reply_timeout: pool.reply_timeout,
        prologue_timeout: pool.prologue_timeout,
        profile_records: pool.profile_records,
        capsule_limit: pool.capsule,
        resume_window: pool.resume_window,
        unproven_window: UNPROVEN_WINDOW,
        message_limit: u32::try_from(limits.message).unwrap_or(u32::MAX),
        ring_limit: limits.ring,
        close_timeout: timeouts.close,
        client_stall: timeouts.client_stall,
        message_timeout: timeouts.message,
        keepalive: timeouts.keepalive,
        client_pong: timeouts.client_pong,
        quiet: drain.quiet,
        quiet_max: drain.quiet_max,
        patience: drain.patience,
        hold: drain.hold,
        dial_ahead: pool.dial_ahead,
        break_before_make: pool.break_before_make,
        deadline: failover.deadline,
        longest: failover.longest.max(failover.deadline),
        stable: failover.stable,
        backoff_min: failover.backoff_min,
        backoff_max: failover.backoff_max,
        jitter: herd.jitter,
        failure_codes: failover.close_codes.clone(),
        poison_window: poison.window,
        poison_deaths: poison.deaths,
        poison_convictions: poison.convictions,
        codes: Codes {
            deadline: close_codes.deadline,
            longest: close_codes.longest,
            slow_client: close_codes.slow_client,
            refused: close_codes.refused,
            poison: close_codes.poison,
            on_failure: close_codes.on_failure,
            reconnect: close_codes.reconnect,
            slow_message: close_codes.slow_message,
        },
    }
}

/// As [`of`], for clients that are kept with a hold.
pub(super) fn with_hold(pool: &settings::PoolSettings, settings: &Settings) -> Config {
    let config = of(pool, settings);
    let ack_hold = if pool.ack.mode() == AckMode::Pong { config.ack_hold.max(HOLD) } else { config.ack_hold };
    Config { ack_hold, ..config }
}
