//! HAProxy and nginx in front of the broker, which they reach by TLS, and behind it, as backends with TLS.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::frame::Frame;
use steadfast_tests::installed_proxy::{InstalledProxy, Program};
use steadfast_tests::payload::noise;
use steadfast_tests::pki::shown;
use steadfast_tests::skipped::leave_out;
use steadfast_tests::upgrade::Upgrade;
use steadfast_tests::wait::eventually_async;

use crate::scene::{World, outcome};

/// Where a proxy speaks TLS.
#[derive(Debug, Clone, Copy)]
enum Side<'a> {
    Clients,
    /// With further words for HAProxy's servers.
    Servers(&'a str),
}

const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

/// Whether a test must be left out, and is, because it is missing.
fn left_out(program: Program, test: &str) -> bool {
    let missing = !program.is_installed();
    if missing {
        leave_out(&format!("{test}: {} is missing; ./test installs it where it can", program.name()));
    }
    missing
}

/// Starts it in front of `servers`.
async fn start(program: Program, world: &World, side: Side<'_>, servers: &[SocketAddr]) -> InstalledProxy {
    let configuration = match program {
        Program::HaProxy => haproxy,
        Program::Nginx => nginx,
    };
    InstalledProxy::start(program, |address, folder| configuration(world, side, address, servers, folder))
        .await
}

fn haproxy(
    world: &World,
    side: Side<'_>,
    address: SocketAddr,
    servers: &[SocketAddr],
    folder: &Path,
) -> String {
    // Certificate and key in one file.
    let both = folder.join("both.pem");
    let read = |path: &Path| fs::read_to_string(path).expect("a file");
    fs::write(&both, read(&world.pair.cert) + &read(&world.pair.key)).expect("a file");
    let (bind, server) = match side {
        Side::Clients => (format!("ssl crt {} alpn http/1.1", shown(&both)), String::new()),
        Side::Servers(more) => {
            let ca = shown(&world.authority.ca()).to_owned();
            (String::new(), format!("ssl verify required ca-file {ca} verifyhost localhost {more}"))
        }
    };
    let mut text = format!(
        "global\n    nbthread 1\n    maxconn 100\ndefaults\n    mode http\n    timeout connect 5s\n    timeout client 1m\n    \
         timeout server 1m\n    timeout tunnel 1m\nfrontend clients\n    bind {address} {bind}\n    default_backend servers\n\
         backend servers\n"
    );
    for (n, own) in servers.iter().enumerate() {
        text += &format!("    server s{n} {own} {server}\n");
    }
    text
}

fn nginx(
    world: &World,
    side: Side<'_>,
    address: SocketAddr,
    servers: &[SocketAddr],
    folder: &Path,
) -> String {
    let home = folder.display();
    let (listen, scheme, more) = match side {
        Side::Clients => {
            let keys = format!(
                "ssl_certificate {}; ssl_certificate_key {};",
                shown(&world.pair.cert),
                shown(&world.pair.key)
            );
            ("ssl", "http", keys)
        }
        Side::Servers(_) => {
            let ca = shown(&world.authority.ca()).to_owned();
            let verify = format!(
                "proxy_ssl_verify on; proxy_ssl_trusted_certificate {ca}; proxy_ssl_name localhost; proxy_ssl_protocols TLSv1.2 TLSv1.3;"
            );
            ("", "https", verify)
        }
    };
    let servers: String = servers.iter().map(|own| format!("server {own}; ")).collect();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {home}/{kind}; "))
        .collect();
    format!(
        "daemon off;\nmaster_process off;\npid {home}/nginx.pid;\nerror_log stderr crit;\nevents {{ worker_connections 64; }}\n\
         http {{\n    access_log off;\n    {temporary}\n    upstream servers {{ {servers} }}\n    server {{\n        \
         listen {address} {listen};\n        {more}\n        location / {{\n            proxy_pass {scheme}://servers;\n            \
         proxy_http_version 1.1;\n            proxy_set_header Upgrade $http_upgrade;\n            \
         proxy_set_header Connection upgrade;\n            proxy_set_header Host $host;\n            \
         proxy_read_timeout 1m;\n        }}\n    }}\n}}\n"
    )
}

/// The proxy is a client that speaks TLS with the broker.
async fn in_front(program: Program) {
    let world = World::new();
    let backend = world.backend("a", "").await;
    let broker = world.over(&[&backend]).start().await;
    let proxy = start(program, &world, Side::Servers("check inter 200ms"), &[broker.address()]).await;
    let mut client = eventually_async("the proxy to take clients", async || {
        Upgrade::to(proxy.address()).attempt().await.ok()
    })
    .await;
    client.ask("m", "a:m").await;
    for size in [125, 65_536, 3 << 20] {
        let payload = noise(size, 1);
        client.send_frame(Frame::new(2, payload.clone())).await;
        assert!(client.message().await.bytes == [b"a:", &payload[..]].concat(), "{size} bytes");
    }
    let seen = backend.journal().sessions().pop().expect("a session");
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    assert_eq!(client.close(1000, "").await.0, Some(1000));
    broker.wait_sessions(0).await;
    // Nor are its checks, which end with the handshake.
    assert_eq!(outcome(&broker, "failed").await, 0.0);
}

/// Two proxies are backends that speak TLS with the broker; one of them is killed.
async fn behind(program: Program) {
    let world = World::new();
    let (a, b) = (Backend::start("a", "").await, Backend::start("b", "").await);
    let first = start(program, &world, Side::Clients, &[a.address()]).await;
    let second = start(program, &world, Side::Clients, &[b.address()]).await;
    let listed = |name: &str, proxy: &InstalledProxy, more: &str| {
        format!("[[pool.backend]]\nname = \"{name}\"\nurl = \"wss://{}\"\n{more}", proxy.address())
    };
    let checks = "[pool.health]\ntype = \"websocket\"\ninterval = \"50ms\"\nrise = 1";
    let builder = world.over(&[]).pool_table(checks).pool_table(&listed("a", &first, ""));
    let broker = builder.pool_table(&listed("b", &second, "backup = true")).start().await;
    for name in ["a", "b"] {
        broker.wait_backend(name, "checked", |own| own["health"] == "up").await;
    }
    let mut client = world.upgrade(&broker).connect().await;
    client.ask("m-1", "a:m-1").await;
    let payload = noise(3 << 20, 1);
    client.send_frame(Frame::new(2, payload.clone())).await;
    assert!(client.message().await.bytes == [b"a:", &payload[..]].concat());
    broker.wait_at_rest().await;
    drop(first);
    client.ask("m-2", "b:m-2").await;
    assert_eq!(client.close(1000, "").await.0, Some(1000));
    assert_eq!(broker.metric("steadfast_messages_lost_total", &[]).await, 0.0);
}

#[tokio::test]
async fn haproxy_in_front() {
    if !left_out(Program::HaProxy, "haproxy_in_front") {
        in_front(Program::HaProxy).await;
    }
}

#[tokio::test]
async fn nginx_in_front() {
    if !left_out(Program::Nginx, "nginx_in_front") {
        in_front(Program::Nginx).await;
    }
}

#[tokio::test]
async fn haproxy_behind() {
    if !left_out(Program::HaProxy, "haproxy_behind") {
        behind(Program::HaProxy).await;
    }
}

#[tokio::test]
async fn nginx_behind() {
    if !left_out(Program::Nginx, "nginx_behind") {
        behind(Program::Nginx).await;
    }
}

#[tokio::test]
async fn haproxy_that_introduces_clients_looks_without_an_error() {
    if left_out(Program::HaProxy, "haproxy_that_introduces_clients_looks_without_an_error") {
        return;
    }
    let world = World::new();
    let backend = world.backend("a", "").await;
    let introduced = "proxy_protocol = \"required\"\ntrusted = \"127.0.0.1\"";
    let broker = Broker::over(&[&backend]).listener_setting(introduced);
    let broker = world.served(world.trusting(broker), "").start().await;
    let looks = [("by", "connection")];
    // By a connection with nothing behind the header, and by a handshake.
    for check in ["no-check-ssl", "check-ssl"] {
        let before = broker.metric("steadfast_balancer_checks_total", &looks).await;
        let server = format!("send-proxy-v2 check inter 200ms {check}");
        let proxy = start(Program::HaProxy, &world, Side::Servers(&server), &[broker.address()]).await;
        broker.wait_metric("steadfast_balancer_checks_total", &looks, |count| count >= before + 3.0).await;
        let mut client = Upgrade::to(proxy.address()).from(CLIENT).connect().await;
        client.ask(check, &format!("a:{check}")).await;
        let seen = backend.journal().sessions().pop().expect("a session");
        assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.9"));
    }
    assert_eq!(broker.metric("steadfast_handshake_errors_total", &[]).await, 0.0);
    assert_eq!(outcome(&broker, "failed").await, 0.0);
}
