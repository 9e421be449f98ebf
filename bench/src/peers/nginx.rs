//! nginx, set up for long WebSocket tunnels.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use super::{Placed, sessions_max};
use crate::process::Launch;

/// Writes the configuration, and says how to run it.
pub(super) fn launch<'a>(
    folder: &Path,
    instance: &'a str,
    program: &'a Path,
    workers: u32,
    address: SocketAddr,
    backends: &[SocketAddr],
    annex: Option<&Placed<'_>>,
) -> io::Result<Launch<'a>> {
    let home = folder.join(format!("{instance}.d"));
    fs::create_dir_all(&home)?;
    let file = home.join("nginx.conf");
    let annexed = annex.map(annexed).unwrap_or_default();
    fs::write(&file, configuration(&home, workers, address, backends, &annexed))?;
    let arguments = vec!["-e".into(), "stderr".into(), "-p".into(), home.into(), "-c".into(), file.into()];
    Ok(Launch { name: instance, program, arguments })
}

fn configuration(
    home: &Path,
    workers: u32,
    address: SocketAddr,
    backends: &[SocketAddr],
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
        server = server(address, "servers"),
    )
}

/// A listener that passes upgrades on.
fn server(address: SocketAddr, upstream: &str) -> String {
    format!(
        "    server {{
        listen {address} backlog=4096;
        location / {{
            proxy_pass http://{upstream};
            proxy_http_version 1.1;
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
        format!("    upstream {name} {{\n        server {backend};\n    }}\n") + &server(listener, &name)
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
