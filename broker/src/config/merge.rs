//! The file and the flags become one complete configuration.

use std::collections::HashSet;

use super::built_in::{built_ins, find_profile};
use super::keys::{ConfigDraft, DraftListener, DraftPool, DraftRoute, default_pool, default_pool_tls};
use super::overrides::Overrides;
use super::place::{ConfigPlace, ValueOrigin};
use super::problem::ProblemReport;
use super::settings::{
    Ack, BackendSettings, Check, FileAccess, HeaderCase, ListenAddress, ListenerSettings, OnFailure,
    PoolSettings, ProfileChoice, ProfileSettings, ProxyProtocol, Settings,
};
use super::values;

/// The pool that flags fill.
const DEFAULT_POOL: &str = "default";
/// Backends of all pools together: each page that shows them all is made in one go, and health pages wait for it.
const BACKENDS_MAX: usize = 16_384;
/// Pools that one problem names.
const NAMED_MAX: usize = 20;

const LISTEN: ValueOrigin = ValueOrigin::Flag("--listen (STEADFAST_LISTEN)");
const BACKEND: ValueOrigin = ValueOrigin::Flag("--backend (STEADFAST_BACKEND)");

/// Lets the flags win over the file, then checks what only the whole can tell.
pub(super) fn complete(
    mut draft: ConfigDraft,
    overrides: &Overrides,
    report: &mut ProblemReport,
) -> Settings {
    apply(&mut draft, overrides);
    check_pools(&draft.pools, report);
    check_profiles(&draft, report);
    check_backend_flags(&overrides.backend, report);
    check_addresses(&draft, report);
    let listeners = resolve_pools(&draft, report);
    check_routes(&draft, report);
    let routes = draft.routes.into_iter().map(|draft| draft.route).collect();
    let pools = draft.pools.into_iter().map(|draft| draft.pool).collect();
    Settings { listeners, routes, pools, ..draft.rest }
}

fn apply(draft: &mut ConfigDraft, overrides: &Overrides) {
    if !overrides.listen.is_empty() {
        let listeners = overrides.listen.iter();
        draft.listeners = listeners
            .map(|address| DraftListener {
                origin: LISTEN,
                address: address.clone(),
                file: FileAccess::default(),
                pool: None,
                header_case: HeaderCase::Lower,
                trusted: Vec::new(),
                proxy_protocol: ProxyProtocol::Off,
                health: None,
                tls: None,
                redirect_to_https: false,
            })
            .collect();
    }
    if !overrides.backend.is_empty() {
        apply_backends(&mut draft.pools, overrides);
    }
    for DraftPool { origin, pool } in &mut draft.pools {
        let found = pool.discoveries.iter().any(|discovery| discovery.tls);
        if pool.tls.is_none() && (found || pool.backends.iter().any(|backend| backend.tls)) {
            let place = ConfigPlace { origin: *origin, key: format!("[pool] {:?}", pool.name) };
            pool.tls = Some(default_pool_tls(place));
        }
        pool.ack = overrides.ack.unwrap_or(pool.ack);
        pool.on_failure = overrides.on_failure.unwrap_or(pool.on_failure);
        if let Some(profile) = &overrides.profile {
            pool.profile.clone_from(profile);
        }
        if let Some(Check::WebSocket { shim, .. }) = pool.health.as_mut().map(|health| &mut health.check) {
            *shim = pool.ack == Ack::Shim;
        }
    }
    let rest = &mut draft.rest;
    rest.admin.address = overrides.admin.or(rest.admin.address);
    if overrides.token.is_some() {
        rest.admin.token.clone_from(&overrides.token);
    }
    rest.workers = overrides.workers.unwrap_or(rest.workers);
    rest.log.format = overrides.log_format.unwrap_or(rest.log.format);
    if let Some(level) = &overrides.log_level {
        rest.log.level.clone_from(level);
    }
}

fn apply_backends(pools: &mut Vec<DraftPool>, overrides: &Overrides) {
    let backends = overrides.backend.clone();
    match pools.iter_mut().find(|draft| draft.pool.name == DEFAULT_POOL) {
        Some(draft) => {
            draft.pool.backends = backends;
            draft.pool.discoveries.clear();
            draft.origin = BACKEND;
        }
        None => {
            let pool = PoolSettings { name: DEFAULT_POOL.to_owned(), backends, ..default_pool() };
            pools.push(DraftPool { origin: BACKEND, pool });
        }
    }
}

fn check_pools(pools: &[DraftPool], report: &mut ProblemReport) {
    if pools.is_empty() {
        let remedy = "give --backend ws://HOST:PORT, or a [[pool]] with a [[pool.backend]] in the file";
        report.add(ValueOrigin::Nowhere, format!("no backend: {remedy}"));
    }
    let backends: usize = pools.iter().map(|draft| draft.pool.backends.len()).sum();
    if backends > BACKENDS_MAX {
        let message = format!("{backends} backends in all pools are too many; allowed are {BACKENDS_MAX}");
        report.add(ValueOrigin::Nowhere, message);
    }
    for DraftPool { origin, pool } in pools {
        if pool.backends.is_empty() && pool.discoveries.is_empty() {
            let remedy = "add a [[pool.backend]] with its url, or a [[pool.discovery]]";
            report.add(*origin, format!("[pool] {:?} has no backend: {remedy}", pool.name));
        }
        let named = pool.tls.as_ref().is_none_or(|tls| !tls.verify || tls.server_name.is_some());
        if !named && pool.discoveries.iter().any(|discovery| discovery.tls) {
            let remedy = "give a [pool.tls] with the server_name that their certificates are for";
            report.add(
                *origin,
                format!("[pool] {:?} finds addresses by DNS and speaks TLS to them: {remedy}", pool.name),
            );
        }
        if pool.ack == Ack::Shim && !pool.ack_hold.is_zero() {
            let remedy = "messages are kept until a commit; remove ack_hold";
            report.add(
                *origin,
                format!(r#"[pool] {:?} has an ack_hold with ack = "shim": {remedy}"#, pool.name),
            );
        }
    }
}

/// What a pool says of profiles beside what else it says.
fn check_profiles(draft: &ConfigDraft, report: &mut ProblemReport) {
    for DraftPool { origin, pool } in &draft.pools {
        let problem = match &pool.profile {
            ProfileChoice::Named(name) => named_profile(name, pool, &draft.rest.profiles),
            ProfileChoice::None if pool.ack == Ack::Reply => Some(
                r#"has ack = "reply" without a profile, and only that knows what is a reply: set profile = "auto" or a profile's name, or ack = "pong""#
                    .to_owned(),
            ),
            _ => None,
        };
        if let Some(problem) = problem {
            report.add(*origin, format!("[pool] {:?} {problem}", pool.name));
        }
    }
}

/// Why a pool cannot have this profile, and what to do.
fn named_profile(name: &str, pool: &PoolSettings, own: &[ProfileSettings]) -> Option<String> {
    if find_profile(own, name).is_none() {
        let built_in = built_ins().iter().map(|built_in| &built_in.settings);
        let names: Vec<&str> = own.iter().chain(built_in).map(|profile| profile.name.as_str()).collect();
        let hint = values::nearest(name, &names);
        let all = listing(&names);
        return Some(format!("has profile = {name:?}, which does not exist;{hint} the profiles are: {all}"));
    }
    let (with, why, remedy) = match pool {
        PoolSettings { ack: Ack::None, .. } => {
            (r#"ack = "none""#, "nobody knows what the next backend must hear again", r#"set ack = "pong""#)
        }
        PoolSettings { ack: Ack::Shim, .. } => (
            r#"ack = "shim""#,
            "such services are given what they have to know in their commits",
            r#"set profile = "auto", or ack = "pong""#,
        ),
        PoolSettings { on_failure: OnFailure::Close, .. } => {
            (r#"on_failure = "close""#, "nobody gets a next backend", r#"set on_failure = "failover""#)
        }
        PoolSettings { plain_resume: true, .. } => (
            "plain_resume = true",
            "clients that come back say again by themselves what a profile would repeat",
            "remove one of them",
        ),
        _ => return None,
    };
    Some(format!("has profile = {name:?} with {with}, and {why}: {remedy}"))
}

fn check_backend_flags(backends: &[BackendSettings], report: &mut ProblemReport) {
    let mut names = HashSet::new();
    for backend in backends.iter().filter(|backend| !names.insert(&backend.name)) {
        report.add(BACKEND, format!("{} is given twice; remove one", backend.name));
    }
}

/// Two sockets cannot have one address; port 0 is a new one each time.
fn check_addresses(draft: &ConfigDraft, report: &mut ProblemReport) {
    let mut taken: HashSet<_> = draft.rest.admin.address.map(ListenAddress::from).into_iter().collect();
    for DraftListener { origin, address, .. } in &draft.listeners {
        let is_chosen = matches!(address, ListenAddress::Tcp(address) if address.port() == 0);
        if !is_chosen && !taken.insert(address.clone()) {
            report
                .add(*origin, format!("{address} is given twice; each listener needs an address of its own"));
        }
    }
}

fn resolve_pools(draft: &ConfigDraft, report: &mut ProblemReport) -> Vec<ListenerSettings> {
    if draft.listeners.is_empty() {
        let remedy = "give --listen IP:PORT, or a [[listener]] with its address in the file";
        report.add(ValueOrigin::Nowhere, format!("no listener: {remedy}"));
    }
    let names = pool_names(draft);
    let implied = match names[..] {
        // What no route wants, nobody wants.
        _ if !draft.routes.is_empty() => None,
        [only] => Some(only),
        _ => Some(DEFAULT_POOL),
    };
    let mut listeners = Vec::with_capacity(draft.listeners.len());
    for listener in &draft.listeners {
        let DraftListener { origin, pool, .. } = listener;
        let name = pool.as_deref().or(implied);
        // Without any pool, that is the one problem to name.
        if let Some(name) = name.filter(|name| !names.is_empty() && !names.contains(name)) {
            let message = match pool {
                Some(_) => no_such_pool("listener", name, &names),
                None => no_implied_pool(&names),
            };
            report.add(*origin, message);
        }
        let pool = name.map(str::to_owned);
        listeners.push(ListenerSettings {
            address: listener.address.clone(),
            file: listener.file.clone(),
            pool,
            header_case: listener.header_case,
            trusted: listener.trusted.clone(),
            proxy_protocol: listener.proxy_protocol,
            health: listener.health.clone(),
            tls: listener.tls.clone(),
            redirect_to_https: listener.redirect_to_https,
        });
    }
    listeners
}

fn check_routes(draft: &ConfigDraft, report: &mut ProblemReport) {
    let names = pool_names(draft);
    let known: HashSet<&str> = names.iter().copied().collect();
    for DraftRoute { origin, route } in &draft.routes {
        if !known.is_empty() && !known.contains(route.pool.as_str()) {
            report.add(*origin, no_such_pool("route", &route.pool, &names));
        }
        let own = draft.pools.iter().map(|draft| &draft.pool).find(|pool| pool.name == route.pool);
        if route.redirect.is_some()
            && let Some(what) = own.and_then(unreachable)
        {
            let (name, pool) = (&route.name, &route.pool);
            let message = format!("[route] {name:?} sends clients to backends, and pool {pool:?} {what}");
            report.add(*origin, message);
        }
    }
}

/// Why clients cannot be sent to all of a pool's backends, and what to do.
fn unreachable(pool: &PoolSettings) -> Option<String> {
    if !pool.discoveries.is_empty() {
        let remedy = "write them as [[pool.backend]] with a public_url each, or remove answer";
        return Some(format!("finds some by DNS, which have no public_url: {remedy}"));
    }
    let without: Vec<&str> = pool
        .backends
        .iter()
        .filter(|backend| backend.public_url.is_none())
        .map(|backend| backend.name.as_str())
        .collect();
    let remedy = "give each [[pool.backend]] the URL at which clients reach it, or remove answer";
    (!without.is_empty())
        .then(|| format!("has backends without public_url ({}): {remedy}", listing(&without)))
}

fn pool_names(draft: &ConfigDraft) -> Vec<&str> {
    draft.pools.iter().map(|draft| draft.pool.name.as_str()).collect()
}

fn no_such_pool(table: &str, name: &str, names: &[&str]) -> String {
    let hint = values::nearest(name, names);
    format!("[{table}] pool: {name:?} does not exist;{hint} the pools are: {}", listing(names))
}

fn no_implied_pool(names: &[&str]) -> String {
    let pools = listing(names);
    format!("the listener names no pool and none is called {DEFAULT_POOL:?}; give it a pool, one of: {pools}")
}

fn listing(names: &[&str]) -> String {
    let shown = names.iter().take(NAMED_MAX).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
