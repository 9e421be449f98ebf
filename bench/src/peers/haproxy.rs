//! HAProxy, set up for long WebSocket tunnels, or for requests.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::{Placed, Plan, Reuse, Traffic, sessions_max};
use crate::process::Launch;
use crate::tls::NAME;

/// Writes the configuration, and says how to run it.
pub(super) fn launch<'a>(
    folder: &Path,
    instance: &'a str,
    program: &'a Path,
    plan: &Plan<'_>,
) -> io::Result<Launch<'a>> {
    let file = folder.join(format!("{instance}.cfg"));
    let own = configuration(plan, &stats_socket(folder, instance));
    fs::write(&file, own + &plan.annex.map(annexed).unwrap_or_default())?;
    Ok(Launch { name: instance, program, arguments: vec!["-db".into(), "-f".into(), file.into()] })
}

/// Where it takes commands.
pub(super) fn stats_socket(folder: &Path, instance: &str) -> PathBuf {
    folder.join(format!("{instance}.sock"))
}

fn configuration(plan: &Plan<'_>, stats_socket: &Path) -> String {
    let Plan { workers, address, backends, tls, traffic, .. } = plan;
    let secured = tls.client.map_or(String::new(), |papers| {
        format!(" ssl crt {} ssl-min-ver TLSv1.3 alpn http/1.1", papers.cert_and_key.display())
    });
    let verified = tls.backend.map_or(String::new(), |papers| {
        let ca = papers.ca.display();
        format!(" ssl verify required ca-file {ca} sni str({NAME}) verifyhost {NAME} ssl-min-ver TLSv1.3")
    });
    let server = |(at, backend)| format!("    server s{at} {backend}{verified}\n");
    let servers: String = backends.iter().enumerate().map(server).collect();
    let (kept, reuse) = match traffic {
        Traffic::Sessions => ("", ""),
        // Without it a connection is kept for no longer than a request may take.
        Traffic::Requests(Reuse::Safe) => ("    timeout http-keep-alive 1h\n", "    http-reuse safe\n"),
        Traffic::Requests(Reuse::Always) => ("    timeout http-keep-alive 1h\n", "    http-reuse always\n"),
    };
    format!(
        "global
    nbthread {workers}
    stats socket {stats_socket} level admin
    maxconn {maxconn}
defaults
    mode http
    maxconn {maxconn}
    option forwardfor
    timeout http-request 10s
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout tunnel 1h
{kept}frontend clients
    bind {address} backlog 4096{secured}
    default_backend servers
backend servers
    balance leastconn
{reuse}{servers}",
        stats_socket = stats_socket.display(),
        maxconn = sessions_max(),
    )
}

/// The listeners of an annex.
fn annexed(annex: &Placed<'_>) -> String {
    let pool = |(name, listener, backend): (String, SocketAddr, SocketAddr)| {
        format!(
            "frontend {name}-clients
    bind {listener} backlog 4096
    default_backend {name}
backend {name}
    server s {backend}
"
        )
    };
    let pools: String = annex.pools().map(pool).collect();
    let admin = annex.at.admin;
    format!(
        "{pools}frontend metrics
    bind {admin} backlog 4096
    stats enable
    stats uri /metrics
"
    )
}
