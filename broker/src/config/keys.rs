//! Every key of the file: its table, its default and its bounds. Here are the whole and what concerns the
//! process; the rest is in a file for each subject.

mod access;
mod pool;
mod probe;
mod profile;
mod requests;
mod route;
mod session;
mod sticky;
mod tls;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;

use super::place::ValueOrigin;
use super::raw::Section;
use super::settings::{
    AdminSettings, Dns, FileAccess, HeaderCase, ListenAddress, ListenerTls, Log, LogFormat, PoolSettings,
    ProxyProtocol, Reload, Route, Settings, Shutdown,
};
use super::token::{AdminToken, TOKEN};
use super::values::{self, network, request};

pub(super) use pool::default_pool;
pub(super) use profile::{built_in_names, profiles};
pub(super) use tls::default_pool_tls;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;

const ZERO: Duration = Duration::ZERO;
const MS: Duration = Duration::from_millis(1);
/// No duration is longer. It keeps sums of deadlines far from the clock's end.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// More threads than this are a slip of the hand.
pub(super) const WORKERS_MAX: usize = 1024;
/// No limit of sessions is higher.
const SESSIONS_MAX: usize = 100_000_000;

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// What the file says, before the flags.
#[derive(Debug)]
pub(super) struct ConfigDraft {
    pub(super) listeners: Vec<DraftListener>,
    pub(super) routes: Vec<DraftRoute>,
    pub(super) pools: Vec<DraftPool>,
    /// Complete but for its listeners, routes and pools, which are empty.
    pub(super) rest: Settings,
}

/// A listener whose pool may not be named.
#[derive(Debug)]
pub(super) struct DraftListener {
    pub(super) origin: ValueOrigin,
    pub(super) address: ListenAddress,
    pub(super) file: FileAccess,
    pub(super) pool: Option<String>,
    pub(super) header_case: HeaderCase,
    pub(super) trusted: Vec<IpNet>,
    pub(super) proxy_protocol: ProxyProtocol,
    pub(super) health: Option<String>,
    pub(super) tls: Option<ListenerTls>,
    pub(super) redirect_to_https: bool,
}

/// A route whose pool may not exist.
#[derive(Debug)]
pub(super) struct DraftRoute {
    pub(super) origin: ValueOrigin,
    pub(super) route: Route,
}

/// A pool that may lack backends, which flags may bring.
#[derive(Debug)]
pub(super) struct DraftPool {
    pub(super) origin: ValueOrigin,
    pub(super) pool: PoolSettings,
}

/// Reads the whole file.
pub(super) fn file(root: &mut Section<'_>) -> ConfigDraft {
    ConfigDraft {
        // Wrong ones are in the report already.
        listeners: root.tables("listener", listener).into_iter().flatten().collect(),
        routes: route::routes(root),
        pools: pool::pools(root),
        rest: Settings {
            listeners: Vec::new(),
            routes: Vec::new(),
            access: root.section("access", access::access),
            profiles: profile::profiles(root, &profile::built_in_names()),
            pools: Vec::new(),
            workers: root.optional_count("workers", "cores", 1..=WORKERS_MAX).unwrap_or_else(cores),
            admin: root.section("admin", admin),
            log: root.section("log", log),
            limits: root.section("limits", session::limits),
            timeouts: root.section("timeouts", session::timeouts),
            failover: root.section("failover", session::failover),
            herd: root.section("herd", session::herd),
            poison: root.section("poison", session::poison),
            close_codes: root.section("close_codes", session::close_codes),
            shutdown: root.section("shutdown", shutdown),
            drain: root.section("drain", session::drain),
            dns: root.section("dns", dns),
            reload: root.section("reload", reload),
        },
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(WORKERS_MAX))
}

fn listener(section: &mut Section<'_>) -> Option<DraftListener> {
    let address = section.required("address", "IP:PORT, or unix:/PATH", network::listen);
    let implied = "the only pool, else default; with routes none";
    let pool = section.text("pool", implied, "a pool's name", values::name);
    let header_case = section.choice("header_case", HeaderCase::Lower, &values::HEADER_CASE);
    let trusted = section.texts("trusted", "a network or an address", network::network);
    let proxy_protocol = section.choice("proxy_protocol", ProxyProtocol::Off, &values::PROXY_PROTOCOL);
    section.check(&["proxy_protocol"], proxy_protocol == ProxyProtocol::Off || !trusted.is_empty(), || {
        r#""required" needs trusted: name the networks whose proxies send the header, or nobody gets in"#
            .to_owned()
    });
    let health = section.text("health", "off", "/PATH", request::path);
    let file = FileAccess {
        mode: section.text(
            "mode",
            "as the process makes files",
            "octal permissions such as 0660",
            values::file::mode,
        ),
        user: section.text("owner", "the process's user", "a user's name or id", values::file::user),
        group: section.text("group", "the process's group", "a group's name or id", values::file::group),
    };
    let is_file = matches!(address, Some(ListenAddress::Unix(_)) | None);
    section.check(&["mode", "owner", "group"], is_file || file == FileAccess::default(), || {
        "only the file of a Unix domain socket has permissions: give the listener an address unix:/PATH"
            .to_owned()
    });
    let tls = section.optional_section("tls", tls::listener);
    let redirect_to_https = section.flag("redirect_to_https", false);
    section.check(&["redirect_to_https"], !redirect_to_https || tls.is_none(), || {
        "this listener speaks TLS itself; set it on the one that does not".to_owned()
    });
    let origin = ValueOrigin::Line(section.line());
    Some(DraftListener {
        origin,
        address: address?,
        file,
        pool,
        header_case,
        trusted,
        proxy_protocol,
        health,
        tls,
        redirect_to_https,
    })
}

fn admin(section: &mut Section<'_>) -> AdminSettings {
    let address = section.text("address", "off", "IP:PORT", network::address);
    let written = section.secret("token", "none", TOKEN, AdminToken::new);
    let in_file =
        section.text("token_file", "none", "a file's path", |path| AdminToken::read(Path::new(path)));
    section.check(&["token_file"], written.is_none() || in_file.is_none(), || {
        "token and token_file are both given; remove one".to_owned()
    });
    AdminSettings { address, token: written.or(in_file) }
}

fn log(section: &mut Section<'_>) -> Log {
    Log {
        format: section.choice("format", LogFormat::Text, &values::LOG_FORMAT),
        level: section
            .text("level", "info", values::LOG_LEVELS, values::log_level_text)
            .unwrap_or_else(|| "info".to_owned()),
    }
}

fn shutdown(section: &mut Section<'_>) -> Shutdown {
    Shutdown {
        delay: section.duration("delay", ZERO, ZERO..=DAY),
        grace: section.duration("grace", secs(20), ZERO..=DAY),
    }
}

fn dns(section: &mut Section<'_>) -> Dns {
    let dns = Dns {
        servers: section.texts("servers", "IP:PORT", network::server),
        timeout: section.duration("timeout", secs(5), MS..=DAY),
        // Records with a TTL of zero must not make a flood of queries.
        ttl_min: section.duration("ttl_min", secs(1), ms(10)..=DAY),
        ttl_max: section.duration("ttl_max", secs(300), ms(10)..=DAY),
        hold: section.duration("hold", secs(30), ZERO..=DAY),
    };
    section.check(&["ttl_min", "ttl_max"], dns.ttl_min <= dns.ttl_max, || {
        "ttl_min must not be longer than ttl_max".to_owned()
    });
    dns
}

fn reload(section: &mut Section<'_>) -> Reload {
    Reload { watch: section.duration("watch", secs(1), ZERO..=DAY) }
}
