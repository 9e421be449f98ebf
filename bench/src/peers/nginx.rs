//! nginx, set up for long WebSocket tunnels.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use super::{Placed, sessions_max};
use crate::process::Launch;
use crate::tls::{NAME, Tls};

/// Writes the configuration, and says how to run it.
#[expect(clippy::too_many_arguments, reason = "all of it is in the file")]
pub(super) fn launch<'a>(
    folder: &Path,
    instance: &'a str,
    program: &'a Path,
    workers: u32,
    address: SocketAddr,
    backends: &[SocketAddr],
    tls: Tls<'_>,
    annex: Option<&Placed<'_>>,
) -> io::Result<Launch<'a>> {
    let home = folder.join(format!("{instance}.d"));
    fs::create_dir_all(&home)?;
    let file = home.join("nginx.conf");
    let annexed = annex.map(annexed).unwrap_or_default();
    fs::write(&file, configuration(&home, workers, address, backends, tls, &annexed))?;
    let arguments = vec!["-e".into(), "stderr".into(), "-p".into(), home.into(), "-c".into(), file.into()];
    Ok(Launch { name: instance, program, arguments })
}

fn configuration(
    home: &Path,
    workers: u32,
    address: SocketAddr,
    backends: &[SocketAddr],
    tls: Tls<'_>,
    annexed: &str,
) -> String {
    let servers: String = backends.iter().map(|backend| format!("        server {backend};\n")).collect();
    let home = home.display();
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
    upstream servers {{
        least_conn;
{servers}    }}
{server}{annexed}}}
",
        // Both sides of a session count.
        connections = 2 * sessions_max(),
        server = server(address, "servers", tls),
    )
}

/// A listener that passes upgrades on.
fn server(address: SocketAddr, upstream: &str, tls: Tls<'_>) -> String {
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
    format!(
        "    server {{
        listen {address} backlog=4096{ssl};
{shown}        location / {{
            proxy_pass {scheme}://{upstream};
{verified}            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
            proxy_set_header Host $http_host;
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
            + &server(listener, &name, Tls::default())
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
