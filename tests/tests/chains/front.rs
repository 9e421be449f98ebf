//! What stands between clients and servers.

use std::net::SocketAddr;
use std::path::Path;

use steadfast_tests::installed_proxy::{InstalledProxy, Program};
use steadfast_tests::skipped::leave_out;

use crate::documents::with;
use crate::peers::relay::Relay;

/// One of them, with a configuration of the documents.
#[derive(Debug)]
pub(crate) enum Front {
    Steadfast(Relay),
    Other(InstalledProxy),
}

/// Where the configurations of the page for migrating listen.
const ADDRESS: &str = "0.0.0.0:8080";

impl Front {
    /// Steadfast, with these places of its configuration replaced.
    pub(crate) async fn steadfast(configuration: &str, places: &[(&str, String)]) -> Self {
        Self::Steadfast(Relay::of(&with(configuration, places).replace(ADDRESS, "127.0.0.1:0")).await)
    }

    /// HAProxy, likewise.
    pub(crate) async fn haproxy(configuration: &str, places: &[(&str, String)]) -> Self {
        let sections = with(configuration, places);
        let own = |address: SocketAddr, _: &Path| {
            let sections = with(&sections, &[(ADDRESS, address.to_string())]);
            format!("global\n    nbthread 1\n    maxconn 400\n{sections}")
        };
        Self::Other(InstalledProxy::start(Program::HaProxy, own).await)
    }

    /// nginx, likewise.
    pub(crate) async fn nginx(configuration: &str, places: &[(&str, String)]) -> Self {
        let sections = with(configuration, places);
        let own = |address: SocketAddr, folder: &Path| {
            let (home, sections) =
                (folder.display(), with(&sections, &[("listen 8080", format!("listen {address}"))]));
            let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .iter()
                .map(|kind| format!("{kind}_temp_path {home}/{kind}; "))
                .collect();
            format!(
                "daemon off;\nmaster_process off;\npid {home}/nginx.pid;\nerror_log stderr crit;\n\
                 events {{ worker_connections 400; }}\nhttp {{\naccess_log off;\n{temporary}\n{sections}\n}}\n"
            )
        };
        Self::Other(InstalledProxy::start(Program::Nginx, own).await)
    }

    /// A balancer that passes on TCP to these in turn. `says`: what it tells them in front of that.
    pub(crate) async fn balancer(fronts: &[Front], says: &str) -> InstalledProxy {
        let servers: String = fronts
            .iter()
            .enumerate()
            .map(|(n, front)| format!("    server front-{n} {} {says}\n", front.address()))
            .collect();
        let own = |address: SocketAddr, _: &Path| {
            format!(
                "global\n    nbthread 1\n    maxconn 400\ndefaults\n    mode tcp\n    timeout connect 5s\n    \
                 timeout client 2m\n    timeout server 2m\nfrontend all\n    bind {address}\n    \
                 default_backend fronts\nbackend fronts\n    balance roundrobin\n{servers}"
            )
        };
        InstalledProxy::start(Program::HaProxy, own).await
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Self::Steadfast(relay) => relay.address,
            Self::Other(proxy) => proxy.address(),
        }
    }

    /// Whether it is Steadfast.
    pub(crate) fn is_steadfast(&self) -> bool {
        matches!(self, Self::Steadfast(_))
    }
}

/// Whether a test must be left out, and is, because another's proxy is missing.
pub(crate) fn misses(test: &str, program: Program) -> bool {
    let missing = !program.is_installed();
    if missing {
        leave_out(&format!("{test}: {} is missing; ./test installs it where it can", program.name()));
    }
    missing
}
