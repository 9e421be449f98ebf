//! Keys of `[pool.health]` and `[pool.agent]`: how backends are asked how they are.

use std::time::Duration;

use super::{DAY, MS, Section, ZERO, ms, secs};
use crate::config::settings::{Agent, Check, Health};
use crate::config::values::{self, network, request};

/// Probes closer than this are a load of their own.
const INTERVAL_MIN: Duration = ms(10);
const IN_A_ROW_MAX: u32 = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ProbeKind {
    Tcp,
    Http,
    WebSocket,
}

const KINDS: [(&str, ProbeKind); 3] =
    [("tcp", ProbeKind::Tcp), ("http", ProbeKind::Http), ("websocket", ProbeKind::WebSocket)];
const METHODS: [(&str, &str); 3] = [("GET", "GET"), ("HEAD", "HEAD"), ("OPTIONS", "OPTIONS")];

/// `None` when its type is wrong, which is in the report then.
pub(super) fn health(section: &mut Section<'_>) -> Option<Health> {
    let check = check(section);
    let health = Health {
        check: Check::Tcp,
        port: port(section),
        interval: section.duration("interval", secs(2), INTERVAL_MIN..=DAY),
        jitter: section.duration("jitter", ms(200), ZERO..=DAY),
        timeout: section.duration("timeout", secs(1), MS..=DAY),
        rise: section.count("rise", 2, 1..=IN_A_ROW_MAX),
        fall: section.count("fall", 3, 1..=IN_A_ROW_MAX),
    };
    Some(Health { check: check?, ..health })
}

fn check(section: &mut Section<'_>) -> Option<Check> {
    let kinds = values::show_choices(&KINDS);
    let kind = section.required("type", &kinds, |text| values::choice(text, &KINDS));
    let path = section.text("path", "/", "/PATH?QUERY", request::target).unwrap_or_else(|| "/".to_owned());
    let method = section.choice("method", "GET", &METHODS).to_owned();
    let host = section.text("host", "host:port", "HOST or HOST:PORT", network::authority);
    let expect = section.statuses("expect", 200..=399);
    let kind = kind?;
    refuse_others(section, kind);
    Some(match kind {
        ProbeKind::Tcp => Check::Tcp,
        ProbeKind::Http => Check::Http { method, path, host, expect },
        ProbeKind::WebSocket => Check::WebSocket { path, host, shim: false },
    })
}

/// A key that another kind of check has would be without effect.
fn refuse_others(section: &mut Section<'_>, kind: ProbeKind) {
    let (keys, remedy): (&[&'static str], _) = match kind {
        ProbeKind::Tcp => (&["path", "host", "method", "expect"], r#"a "tcp" check only connects"#),
        ProbeKind::WebSocket => (&["method", "expect"], r#"a "websocket" check expects a 101 to its GET"#),
        ProbeKind::Http => return,
    };
    for key in keys {
        section.refuse(key, || format!(r#"{remedy}; remove {key}, or set type = "http""#));
    }
}

pub(super) fn agent(section: &mut Section<'_>) -> Agent {
    Agent {
        path: section
            .text("path", "/agent", "/PATH?QUERY", request::target)
            .unwrap_or_else(|| "/agent".to_owned()),
        port: port(section),
        interval: section.duration("interval", secs(5), INTERVAL_MIN..=DAY),
        timeout: section.duration("timeout", secs(1), MS..=DAY),
    }
}

fn port(section: &mut Section<'_>) -> Option<u16> {
    section.optional_count("port", "the backend's", 1..=u16::MAX)
}
