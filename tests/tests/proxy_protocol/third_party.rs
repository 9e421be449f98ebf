//! HAProxy and nginx at the other end.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};

use socket2::{Domain, Socket, Type};
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::process::Process;
use steadfast_tests::skipped::leave_out;
use steadfast_tests::upgrade::Upgrade;
use steadfast_tests::wait::eventually_async;
use tempfile::TempDir;
use tokio::net::TcpStream;

/// Where the client of the proxy is; that one connects from 127.0.0.1.
const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

/// nginx's module, where Debian and others have it.
const STREAM: [&str; 2] =
    ["/usr/lib/nginx/modules/ngx_stream_module.so", "/usr/lib64/nginx/modules/ngx_stream_module.so"];

const BEHIND_PROXY: &str = "proxy_protocol = \"required\"\ntrusted = \"127.0.0.1\"\nhealth = \"/balancer\"";

/// A proxy that listens on a port of its own.
struct Proxy {
    address: SocketAddr,
    _process: Process,
    _folder: TempDir,
    /// Nobody else gets it meanwhile.
    _port: Socket,
}

impl Proxy {
    async fn start(
        name: &str,
        configuration: impl Fn(SocketAddr, &Path) -> String,
        arguments: &[&str],
    ) -> Proxy {
        let port = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        port.set_reuse_address(true).expect("SO_REUSEADDR");
        port.set_reuse_port(true).expect("SO_REUSEPORT");
        port.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
        let address = port.local_addr().ok().and_then(|address| address.as_socket()).expect("it is bound");
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("proxy.conf");
        fs::write(&file, configuration(address, folder.path())).expect("a file can be written");
        let mut command = Command::new(name);
        command.env("PATH", path()).args(arguments).arg(&file);
        let process = Process::spawn(name, &mut command);
        eventually_async(&format!("{name} to listen"), async || TcpStream::connect(address).await.ok()).await;
        Proxy { address, _process: process, _folder: folder, _port: port }
    }

    async fn haproxy(sections: impl Fn(SocketAddr) -> String) -> Proxy {
        let configuration = |address, _: &Path| {
            format!(
                "global\n    nbthread 1\n    maxconn 100\ndefaults\n    mode http\n    timeout connect 5s\n    timeout check 10s\n    timeout client 1m\n    \
                 timeout server 1m\n    timeout tunnel 1m\n{}",
                sections(address)
            )
        };
        Proxy::start("haproxy", configuration, &["-db", "-f"]).await
    }

    /// HAProxy in front of the broker, with a check, and whether that is a request.
    async fn haproxy_before(broker: SocketAddr, sends: &str, check: &str) -> Proxy {
        Proxy::haproxy(|address| {
            format!(
                "frontend clients\n    bind {address}\n    default_backend broker\nbackend broker\n{check}\n    \
                 server broker {broker} {sends} check inter 50ms\n"
            )
        })
        .await
    }
}

/// Users other than root have no path to programs of the system.
fn path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

/// Whether a test must be left out, and is, because a program is missing.
fn left_out(test: &str, program: &str, is_there: bool) -> bool {
    let mut command = Command::new(program);
    command.arg("-v").env("PATH", path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let missing = !is_there || !command.status().is_ok_and(|status| status.success());
    if missing {
        leave_out(&format!(
            "{test}: {program} is missing, or its stream module; ./test installs it where it can"
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
    if left_out("haproxy_says_who_the_client_is_in_both_versions", "haproxy", true) {
        return;
    }
    let backend = Backend::start("a", "").await;
    let (by_page, by_connection) = (("    option httpchk GET /balancer", "path"), ("", "connection"));
    for sends in ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"] {
        for (check, by) in [by_page, by_connection] {
            let broker = Broker::over(&[&backend]).listener_setting(BEHIND_PROXY).start().await;
            let proxy = Proxy::haproxy_before(broker.address(), sends, check).await;
            sees_the_client(&broker, &backend, proxy.address).await;
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
async fn haproxy_is_told_who_the_client_is_in_both_versions() {
    if left_out("haproxy_is_told_who_the_client_is_in_both_versions", "haproxy", true) {
        return;
    }
    let backend = Backend::start("a", "--page /health:200").await;
    let service = Proxy::haproxy(|address| {
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
        let listed = format!("[[pool.backend]]\nname = \"a\"\nurl = \"ws://{}\"", service.address);
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
    if left_out("nginx_says_who_the_client_is", "nginx", module.is_some()) {
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
    let proxy = Proxy::start("nginx", configuration, &["-e", "stderr", "-c"]).await;
    sees_the_client(&broker, &backend, proxy.address).await;
    assert_eq!(broker.metric("steadfast_proxy_headers_total", &[("outcome", "malformed")]).await, 0.0);
}
