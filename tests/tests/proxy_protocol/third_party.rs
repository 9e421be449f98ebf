//! HAProxy and nginx at the other end.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::installed_proxy::{InstalledProxy, Program};
use steadfast_tests::pki::shown;
use steadfast_tests::skipped::leave_out;
use steadfast_tests::upgrade::Upgrade;
use steadfast_tests::wait::eventually_async;

/// Where the client of the proxy is; that one connects from 127.0.0.1.
const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

/// nginx's module, where Debian and others have it.
const STREAM: [&str; 2] =
    ["/usr/lib/nginx/modules/ngx_stream_module.so", "/usr/lib64/nginx/modules/ngx_stream_module.so"];

const BEHIND_PROXY: &str = "proxy_protocol = \"required\"\ntrusted = \"127.0.0.1\"\nhealth = \"/balancer\"";

/// HAProxy with these sections behind its defaults.
async fn haproxy(sections: impl FnOnce(SocketAddr) -> String) -> InstalledProxy {
    let configuration = |address, _: &Path| {
        format!(
            "global\n    nbthread 1\n    maxconn 100\ndefaults\n    mode http\n    timeout connect 5s\n    timeout check 10s\n    timeout client 1m\n    \
                 timeout server 1m\n    timeout tunnel 1m\n{}",
            sections(address)
        )
    };
    InstalledProxy::start(Program::HaProxy, configuration).await
}

/// HAProxy in front of the broker, with a check, and whether that is a request.
async fn haproxy_before(broker: &str, sends: &str, check: &str) -> InstalledProxy {
    haproxy(|address| {
        format!(
            "frontend clients\n    bind {address}\n    default_backend broker\nbackend broker\n{check}\n    \
                 server broker {broker} {sends} check inter 50ms\n"
        )
    })
    .await
}

/// Whether a test must be left out, and is, because a program is missing.
fn left_out(test: &str, program: Program, is_there: bool) -> bool {
    let missing = !is_there || !program.is_installed();
    if missing {
        leave_out(&format!(
            "{test}: {} is missing, or its stream module; ./test installs it where it can",
            program.name()
        ));
    }
    missing
}

/// The client's session through a proxy, as the broker has it.
async fn sees_the_client(broker: &Broker, backend: &Backend, proxy: SocketAddr) {
    let mut client = eventually_async("the proxy to take clients", async || {
        Upgrade::to(proxy).from(CLIENT).attempt().await.ok()
    })
    .await;
    client.ask("m", "a:m").await;
    let session = broker.wait_only_session("the client's", |_| true).await;
    assert!(session["client"].as_str().is_some_and(|own| own.starts_with("127.0.0.9:")), "{session}");
    let seen = backend.journal().sessions().pop().expect("a session");
    assert_eq!(seen.header_values("x-forwarded-for"), ["127.0.0.9"]);
    client.close(1000, "").await;
    broker.wait_sessions(0).await;
}

#[tokio::test]
async fn haproxy_says_who_the_client_is_in_both_versions() {
    if left_out("haproxy_says_who_the_client_is_in_both_versions", Program::HaProxy, true) {
        return;
    }
    let backend = Backend::start("a", "").await;
    let (by_page, by_connection) = (("    option httpchk GET /balancer", "path"), ("", "connection"));
    for sends in ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"] {
        for (check, by) in [by_page, by_connection] {
            let broker = Broker::over(&[&backend]).listener_setting(BEHIND_PROXY).start().await;
            let proxy = haproxy_before(&broker.address().to_string(), sends, check).await;
            sees_the_client(&broker, &backend, proxy.address()).await;
            broker.wait_metric("steadfast_balancer_checks_total", &[("by", by)], |count| count >= 3.0).await;
            let errors = broker.metric("steadfast_handshake_errors_total", &[]).await;
            assert_eq!(errors, 0.0, "{sends}: its checks by {by} are none");
            for outcome in ["untrusted", "malformed", "checksum", "cut"] {
                let refused = broker.metric("steadfast_proxy_headers_total", &[("outcome", outcome)]).await;
                assert_eq!(refused, 0.0, "{sends}: {outcome}");
            }
        }
    }
}

#[tokio::test]
async fn haproxy_says_who_the_client_is_to_a_listener_that_is_a_file() {
    if left_out("haproxy_says_who_the_client_is_to_a_listener_that_is_a_file", Program::HaProxy, true) {
        return;
    }
    let backend = Backend::start("a", "").await;
    let folder = tempfile::tempdir().expect("a folder");
    let front = folder.path().join("front.sock");
    let listener =
        format!("[[listener]]\naddress = \"unix:{}\"\npool = \"default\"\n{BEHIND_PROXY}", shown(&front));
    let broker = Broker::over(&[&backend]).listener(&listener).start().await;
    for sends in ["send-proxy", "send-proxy-v2"] {
        let check = "    option httpchk GET /balancer";
        let proxy = haproxy_before(&format!("unix@{}", shown(&front)), sends, check).await;
        sees_the_client(&broker, &backend, proxy.address()).await;
        let by_page = [("by", "path")];
        let before = broker.metric("steadfast_balancer_checks_total", &by_page).await;
        broker.wait_metric("steadfast_balancer_checks_total", &by_page, |count| count >= before + 3.0).await;
    }
    assert_eq!(broker.metric("steadfast_handshake_errors_total", &[]).await, 0.0);
    // Nor is it guessed there: a client that comes by itself has no session.
    assert!(Upgrade::to_file(&front).attempt().await.is_err());
    broker
        .wait_metric("steadfast_proxy_headers_total", &[("outcome", "malformed")], |count| count == 1.0)
        .await;
}

#[tokio::test]
async fn haproxy_is_told_who_the_client_is_in_both_versions() {
    if left_out("haproxy_is_told_who_the_client_is_in_both_versions", Program::HaProxy, true) {
        return;
    }
    let backend = Backend::start("a", "--page /health:200").await;
    let service = haproxy(|address| {
        format!(
            "frontend service\n    bind {address} accept-proxy\n    http-request set-header X-Src %[src]:%[src_port]\n    \
             http-request set-header X-Dst %[dst]:%[dst_port]\n    http-request set-header X-Authority %[fc_pp_authority]\n    \
             http-request set-header X-Unique-Id %[fc_pp_unique_id]\n    default_backend service\nbackend service\n    \
             server a {}\n",
            backend.address()
        )
    })
    .await;
    for version in ["v1", "v2"] {
        let listed = format!("[[pool.backend]]\nname = \"a\"\nurl = \"ws://{}\"", service.address());
        let check = "[pool.health]\ntype = \"http\"\npath = \"/health\"\ninterval = \"50ms\"";
        let broker = Broker::over(&[]).pool_setting(&format!("send_proxy = \"{version}\""));
        let broker = broker.pool_table(check).pool_table(&listed).start().await;
        broker.wait_backend("a", "checked", |own| own["health"] == "up").await;
        let request = Upgrade::to(broker.address()).from(CLIENT).replace("Host", "chat.example");
        let mut client = request.connect().await;
        client.ask("m", "a:m").await;
        let session = broker.wait_only_session("the client's", |_| true).await;
        let seen = backend.journal().sessions().pop().expect("a session");
        assert_eq!(seen.header("x-src"), session["client"].as_str());
        assert_eq!(seen.header("x-dst"), Some(&*broker.address().to_string()));
        let told =
            if version == "v2" { [Some("chat.example"), session["id"].as_str()] } else { [Some(""); 2] };
        assert_eq!([seen.header("x-authority"), seen.header("x-unique-id")], told);
        client.close(1000, "").await;
    }
}

#[tokio::test]
async fn nginx_says_who_the_client_is() {
    let module = STREAM.into_iter().find(|module| Path::new(module).exists());
    if left_out("nginx_says_who_the_client_is", Program::Nginx, module.is_some()) {
        return;
    }
    let module = module.expect("it is there");
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&[&backend]).listener_setting(BEHIND_PROXY).start().await;
    let configuration = |address: SocketAddr, folder: &Path| {
        format!(
            "load_module {module};\ndaemon off;\nmaster_process off;\npid {}/nginx.pid;\nerror_log stderr crit;\n\
             events {{ worker_connections 64; }}\nstream {{\n    server {{\n        listen {address};\n        \
             proxy_pass {};\n        proxy_protocol on;\n    }}\n}}\n",
            folder.display(),
            broker.address()
        )
    };
    let proxy = InstalledProxy::start(Program::Nginx, configuration).await;
    sees_the_client(&broker, &backend, proxy.address()).await;
    assert_eq!(broker.metric("steadfast_proxy_headers_total", &[("outcome", "malformed")]).await, 0.0);
}
