//! What the configuration makes of the broker; a reload replaces it as a whole.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use http::Request;

use crate::config::settings::{
    HeaderRules, ListenerSettings, PoolSettings, ProxyProtocol, RedirectSettings, Route, Settings,
};
use crate::lock::OrderedRwLock;
use crate::lock::rank::SnapshotRank;
use crate::net::listener::ListenAddress;
use crate::routing::admission::Guard;
use crate::routing::binding::RouteBinding;
use crate::routing::route::{self, NoRoute, RouteRequest};
use crate::routing::trust::Trust;
use crate::tls::TlsSetup;
use crate::upstream::pool::Pool;

/// The configuration with what it has brought to life.
pub(crate) struct Snapshot {
    pub(crate) settings: Settings,
    pub(crate) tls: TlsSetup,
    pub(crate) pools: HashMap<String, Arc<Pool>>,
    /// What holds for all routes.
    pub(crate) guard: Guard,
    /// In the order of the routes.
    guards: Vec<Guard>,
    /// For each listener those of the routes, in their order, and its own.
    bindings: Vec<ListenerBindings>,
    /// For each listener, in their order.
    trusts: Vec<Trust>,
    /// Some backends are told in front of all else for whom a connection is.
    pub(crate) sends_proxy: bool,
    /// Some routes send clients to backends.
    pub(crate) redirects: bool,
}

struct ListenerBindings {
    routes: Vec<Arc<RouteBinding>>,
    own: Option<Arc<RouteBinding>>,
}

/// Where one request goes.
#[derive(Clone, Copy)]
pub(crate) struct RouteMatch<'a> {
    pub(crate) binding: &'a Arc<RouteBinding>,
    /// The route's own rules.
    route: Option<(&'a Guard, &'a Route)>,
}

/// The snapshot of the moment.
pub(crate) struct Current(OrderedRwLock<Arc<Snapshot>, SnapshotRank>);

impl Current {
    pub(crate) fn new(first: Snapshot) -> Current {
        Current(OrderedRwLock::new(Arc::new(first)))
    }

    /// What is configured now.
    pub(crate) fn get(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0.read())
    }

    pub(crate) fn replace(&self, next: Snapshot) {
        *self.0.write() = Arc::new(next);
    }
}

impl Snapshot {
    /// The first one. `addresses`: the bound ones of the listeners, in their order.
    pub(crate) fn new(settings: Settings, tls: TlsSetup, addresses: &[ListenAddress]) -> Snapshot {
        let pools = settings.pools.iter().map(|pool| Arc::new(Pool::new(pool, &settings, &tls))).collect();
        let guard = Guard::new(&settings.access);
        let guards = settings.routes.iter().map(|route| Guard::new(&route.access)).collect();
        let trusts = settings.listeners.iter().map(|listener| Trust::new(&listener.trusted)).collect();
        Snapshot::with((settings, tls), pools, (guard, guards), (addresses, trusts))
    }

    /// The next one. Pools, backends and counts go on, as far as they are in both.
    pub(crate) fn renewed(&self, settings: Settings, tls: TlsSetup, addresses: &[ListenAddress]) -> Snapshot {
        let pool = |pool: &_| self.renewed_pool(pool, &settings, &tls);
        let pools = settings.pools.iter().map(pool).collect();
        let guard = self.guard.renewed(&settings.access);
        let renewed_guard = |route: &Route| match self.guard_of(&route.name) {
            Some(guard) => guard.renewed(&route.access),
            None => Guard::new(&route.access),
        };
        let guards = settings.routes.iter().map(renewed_guard).collect();
        let wanted: HashSet<&str> = settings.pools.iter().map(|pool| pool.name.as_str()).collect();
        self.pools.values().filter(|pool| !wanted.contains(&*pool.name)).for_each(|pool| pool.retire());
        let renewed_trust = |(number, listener): (usize, &ListenerSettings)| match self.trust(number) {
            Some(trust) => trust.renewed(&listener.trusted),
            None => Trust::new(&listener.trusted),
        };
        let trusts = settings.listeners.iter().enumerate().map(renewed_trust).collect();
        Snapshot::with((settings, tls), pools, (guard, guards), (addresses, trusts))
    }

    /// Whom the listener of this number trusts.
    pub(crate) fn trust(&self, listener: usize) -> Option<&Trust> {
        self.trusts.get(listener)
    }

    /// Whether connections to the listener of this number begin with a PROXY header.
    pub(crate) fn expects_proxy_header(&self, listener: usize) -> bool {
        let listener = self.settings.listeners.get(listener);
        listener.is_some_and(|listener| listener.proxy_protocol == ProxyProtocol::Required)
    }

    /// What the listener of this number speaks TLS with; `None`: it speaks plainly.
    pub(crate) fn tls(&self, listener: usize) -> Option<Arc<rustls::ServerConfig>> {
        self.tls.listener(listener).cloned()
    }

    /// The way of a request that came to this listener.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub(crate) fn matched<B>(
        &self,
        listener: usize,
        request: &Request<B>,
    ) -> Result<RouteMatch<'_>, NoRoute> {
        let bindings = self.bindings.get(listener).ok_or(NoRoute::Nothing)?;
        if self.settings.routes.is_empty() {
            let binding = bindings.own.as_ref().ok_or(NoRoute::Nothing)?;
            return Ok(RouteMatch { binding, route: None });
        }
        match route::find(&self.settings.routes, &RouteRequest::of(request)) {
            Ok(n) => {
                let route = self.guards.get(n).zip(self.settings.routes.get(n));
                let binding = bindings.routes.get(n).ok_or(NoRoute::Nothing)?;
                Ok(RouteMatch { binding, route })
            }
            Err(none) => {
                let binding = bindings.own.as_ref().ok_or(none)?;
                Ok(RouteMatch { binding, route: None })
            }
        }
    }

    fn with(
        (settings, tls): (Settings, TlsSetup),
        pools: Vec<Arc<Pool>>,
        (guard, guards): (Guard, Vec<Guard>),
        (addresses, trusts): (&[ListenAddress], Vec<Trust>),
    ) -> Snapshot {
        let pools: HashMap<_, _> = pools.into_iter().map(|pool| (pool.name.to_string(), pool)).collect();
        let binding = |address: ListenAddress, route: Option<Arc<str>>, pool: &str| {
            // The configuration names no pool that is not there.
            pools.get(pool).map(|pool| Arc::new(RouteBinding { address, route, pool: Arc::clone(pool) }))
        };
        let names: Vec<Arc<str>> = settings.routes.iter().map(|route| route.name.as_str().into()).collect();
        let routes = || settings.routes.iter().zip(&names);
        let of_listener = |address: &ListenAddress, pool: Option<&str>| ListenerBindings {
            routes: routes()
                .filter_map(|(route, name)| binding(address.clone(), Some(Arc::clone(name)), &route.pool))
                .collect(),
            own: pool.and_then(|pool| binding(address.clone(), None, pool)),
        };
        let listeners = addresses.iter().zip(&settings.listeners);
        let bindings =
            listeners.map(|(address, listener)| of_listener(address, listener.pool.as_deref())).collect();
        let sends_proxy = settings.pools.iter().any(|pool| pool.send_proxy.is_on());
        let redirects = settings.routes.iter().any(|route| route.redirect.is_some());
        Snapshot { redirects, pools, guard, guards, bindings, trusts, sends_proxy, settings, tls }
    }

    fn renewed_pool(&self, pool: &PoolSettings, settings: &Settings, tls: &TlsSetup) -> Arc<Pool> {
        match self.pools.get(&pool.name) {
            Some(present) => {
                present.configure(pool, settings, tls);
                Arc::clone(present)
            }
            None => Arc::new(Pool::new(pool, settings, tls)),
        }
    }

    fn guard_of(&self, route: &str) -> Option<&Guard> {
        let n = self.settings.routes.iter().position(|present| present.name == route)?;
        self.guards.get(n)
    }
}

impl<'a> RouteMatch<'a> {
    pub(crate) fn guard(&self) -> Option<&'a Guard> {
        self.route.map(|(guard, _)| guard)
    }

    /// How its clients are sent to a backend; `None`: they are not.
    pub(crate) fn redirect(&self) -> Option<&'a RedirectSettings> {
        self.route.and_then(|(_, route)| route.redirect.as_ref())
    }

    /// For the client's headers on their way to backends.
    pub(crate) fn request_headers(&self) -> Option<&'a HeaderRules> {
        self.route.map(|(_, route)| &route.request_headers)
    }

    /// For the backend's headers on their way to the client.
    pub(crate) fn response_headers(&self) -> Option<&'a HeaderRules> {
        self.route.map(|(_, route)| &route.response_headers)
    }
}
