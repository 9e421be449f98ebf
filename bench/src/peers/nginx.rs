//! nginx, set up for long WebSocket tunnels, or for requests.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use super::{Placed, Plan, Traffic, sessions_max};
use crate::process::Launch;
use crate::tls::{NAME, Tls};

/// Connections to backends that are kept for requests, by each worker.
const KEPT: u32 = 64;
/// nginx closes a connection after a thousand requests, which neither of the others does.
const REQUESTS_MAX: u32 = 1_000_000_000;

/// Writes the configuration, and says how to run it.
pub(super) fn launch<'a>(
    folder: &Path,
    instance: &'a str,
    program: &'a Path,
    plan: &Plan<'_>,
) -> io::Result<Launch<'a>> {
    let home = folder.join(format!("{instance}.d"));
    fs::create_dir_all(&home)?;
    let file = home.join("nginx.conf");
    fs::write(&file, configuration(&home, plan))?;
    let arguments = vec!["-e".into(), "stderr".into(), "-p".into(), home.into(), "-c".into(), file.into()];
    Ok(Launch { name: instance, program, arguments })
}

fn configuration(home: &Path, plan: &Plan<'_>) -> String {
    let Plan { workers, address, backends, tls, traffic, annex } = *plan;
    let servers: String = backends.iter().map(|backend| format!("        server {backend};\n")).collect();
    let home = home.display();
    let (kept, reused) = match traffic {
        Traffic::Sessions => (String::new(), String::new()),
        // Bodies go on as they come, without files, as they do through the others.
        Traffic::Requests(_) => (
            format!(
                "    keepalive_requests {REQUESTS_MAX};
    proxy_request_buffering off;
    proxy_max_temp_file_size 0;
"
            ),
            format!("        keepalive {KEPT};\n        keepalive_requests {REQUESTS_MAX};\n"),
        ),
    };
    format!(
        "daemon off;
worker_processes {workers};
pid {home}/nginx.pid;
error_log stderr crit;
events {{
    worker_connections {connections};
    multi_accept on;
}}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    keepalive_timeout 1h;
    proxy_read_timeout 1h;
    proxy_send_timeout 1h;
{kept}    upstream servers {{
        least_conn;
{servers}{reused}    }}
{server}{annexed}}}
",
        // Both sides of a session count.
        connections = 2 * sessions_max(),
        server = server(address, "servers", tls, traffic),
        annexed = annex.map(annexed).unwrap_or_default(),
    )
}

/// A listener that passes upgrades on, or requests.
fn server(address: SocketAddr, upstream: &str, tls: Tls<'_>, traffic: Traffic) -> String {
    let (ssl, shown) = match tls.client {
        Some(papers) => (
            " ssl",
            format!(
                "        ssl_protocols TLSv1.3;
        ssl_session_tickets on;
        ssl_certificate {};
        ssl_certificate_key {};
",
                papers.cert.display(),
                papers.key.display(),
            ),
        ),
        None => ("", String::new()),
    };
    let (scheme, verified) = match tls.backend {
        Some(papers) => (
            "https",
            format!(
                "            proxy_ssl_protocols TLSv1.3;
            proxy_ssl_verify on;
            proxy_ssl_trusted_certificate {};
            proxy_ssl_name {NAME};
            proxy_ssl_server_name on;
            proxy_ssl_session_reuse on;
",
                papers.ca.display(),
            ),
        ),
        None => ("http", String::new()),
    };
    let connection = match traffic {
        Traffic::Sessions => {
            "            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
"
        }
        Traffic::Requests(_) => "            proxy_set_header Connection \"\";\n",
    };
    format!(
        "    server {{
        listen {address} backlog=4096{ssl};
{shown}        location / {{
            proxy_pass {scheme}://{upstream};
{verified}            proxy_http_version 1.1;
{connection}            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}
"
    )
}

/// The listeners of an annex.
fn annexed(annex: &Placed<'_>) -> String {
    let pool = |(name, listener, backend): (String, SocketAddr, SocketAddr)| {
        format!("    upstream {name} {{\n        server {backend};\n    }}\n")
            + &server(listener, &name, Tls::default(), Traffic::Sessions)
    };
    let pools: String = annex.pools().map(pool).collect();
    let admin = annex.at.admin;
    format!(
        "{pools}    server {{
        listen {admin} backlog=4096;
        location /metrics {{
            stub_status;
        }}
    }}
"
    )
}
