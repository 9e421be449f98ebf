//! What the sessions of a pool are told: its promises, and the limits of all.

use std::time::Duration;

use steadfast_protocol::session::{AckMode, Codes, Config};

use crate::config::settings::{self, OnFailure, Settings};

pub(super) fn of(pool: &settings::Pool, settings: &Settings) -> Config {
    let Settings { limits, timeouts, failover, poison, close_codes, herd, drain, .. } = settings;
    Config {
        ack: pool.ack,
        ack_hold: if pool.ack == AckMode::Pong { pool.ack_hold } else { Duration::ZERO },
        ack_timeout: pool.ack_timeout,
        stall_timeout: pool.stall_timeout,
        failover: pool.on_failure == OnFailure::Failover,
        capsule_limit: pool.capsule,
        resume_window: pool.resume_window,
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
        break_before_make: pool.break_before_make,
        deadline: failover.deadline,
        longest: failover.longest,
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
            slow_message: close_codes.slow_message,
        },
    }
}
