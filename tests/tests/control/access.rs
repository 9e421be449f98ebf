//! Who may use the API.

use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::wait::eventually_async;

use crate::{TOKEN, ask, sentence};

const PAGES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];
const LOOKS: [&str; 4] =
    ["/api/v1/pools", "/api/v1/backends", "/api/v1/sessions?limit=1", "/api/v1/listeners"];
const CHANGES: [(&str, &str); 5] = [
    ("POST", "/api/v1/reload"),
    ("POST", "/api/v1/pause"),
    ("POST", "/api/v1/sessions/00000000000000000000000000000000/abort"),
    ("DELETE", "/api/v1/pools/default/backends/a"),
    ("POST", "/api/v1/nowhere"),
];

async fn with_token(admin: &str) -> (Backend, Broker) {
    let backend = Backend::start("a", "").await;
    let builder = Broker::over(&[&backend]).setting("admin", &format!("token = \"{TOKEN}\""));
    let broker = builder.admin(admin).start().await;
    (backend, broker)
}

#[tokio::test]
async fn with_a_token_every_request_must_show_it() {
    for admin in ["127.0.0.1:0", "0.0.0.0:0"] {
        let (_backend, broker) = with_token(admin).await;
        let all = LOOKS.map(|path| ("GET", path)).into_iter().chain(CHANGES);
        for (method, path) in all {
            for shown in ["", "Bearer 0123456789abcdef-tokem", "Basic 0123456789abcdef-token"] {
                let headers = [("Host", "localhost"), ("Authorization", shown)];
                let answer = ask(&broker, method, path, &headers).await;
                assert!(sentence(&answer, 401, "unauthorized").contains("Authorization: Bearer"), "{path}");
                assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            }
        }
        let bearer = format!("Bearer {TOKEN}");
        for path in LOOKS {
            let headers = [("Host", "broker.example.com"), ("Authorization", bearer.as_str())];
            assert_eq!(ask(&broker, "GET", path, &headers).await.status, 200, "{path}");
        }
        for path in PAGES {
            assert_eq!(ask(&broker, "GET", path, &[("Host", "example.com")]).await.status, 200, "{path}");
        }
        assert!(broker.log().iter().all(|line| !line.contains(TOKEN)), "the token is in the log");
    }
}

#[tokio::test]
async fn without_a_token_only_this_machine_comes_in() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&[&backend]).start().await;
    let own = broker.admin_address().to_string();
    for host in ["localhost", "LOCALHOST:9000", "127.0.0.1", "[::1]:1", &own] {
        assert_eq!(ask(&broker, "GET", LOOKS[0], &[("Host", host)]).await.status, 200, "{host}");
    }
    for (method, path) in LOOKS.map(|path| ("GET", path)).into_iter().chain(CHANGES) {
        for headers in [&[("Host", "evil.example.com")][..], &[("Host", "127.0.0.1.example.com:9000")], &[]] {
            let answer = ask(&broker, method, path, headers).await;
            assert!(sentence(&answer, 403, "forbidden").contains("Host"), "{method} {path} {headers:?}");
        }
    }
    for (method, path) in CHANGES {
        let headers = [("Host", "localhost"), ("Origin", "http://localhost")];
        let answer = ask(&broker, method, path, &headers).await;
        assert!(sentence(&answer, 403, "forbidden").contains("Origin"), "{method} {path}");
    }
    assert_eq!(ask(&broker, "GET", "/readyz", &[("Host", "evil.example.com")]).await.text(), "ready\n");
    assert!(broker.backend("a").await.is_some_and(|backend| backend["state"] == "up"));
}

#[tokio::test]
async fn without_a_token_another_address_is_closed() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&[&backend]).admin("0.0.0.0:0").start().await;
    for (method, path) in LOOKS.map(|path| ("GET", path)).into_iter().chain(CHANGES) {
        let answer = ask(&broker, method, path, &[("Host", "localhost")]).await;
        assert!(sentence(&answer, 403, "forbidden").contains("admin.token"), "{method} {path}");
    }
    for path in PAGES {
        assert_eq!(ask(&broker, "GET", path, &[("Host", "example.com")]).await.status, 200, "{path}");
    }
    let warned = |line: &String| line.contains("\"WARN\"") && line.contains("nobody may use the API");
    assert!(broker.log().iter().any(warned), "{:?}", broker.log());
}

#[tokio::test]
async fn a_reload_takes_another_token_over() {
    let (backend, broker) = with_token("127.0.0.1:0").await;
    let file = std::fs::read_to_string(broker.file()).expect("the configuration");
    let status = async |token: &str| {
        let bearer = format!("Bearer {token}");
        ask(&broker, "GET", LOOKS[0], &[("Authorization", bearer.as_str())]).await.status
    };
    assert_eq!((status(TOKEN).await, status("another-token-0123").await), (200, 401));
    broker.replace_file(&file.replace(TOKEN, "another-token-0123"));
    eventually_async("the other token", async || (status("another-token-0123").await == 200).then_some(()))
        .await;
    assert_eq!(status(TOKEN).await, 401);
    broker.replace_file(&file.replace(TOKEN, "short"));
    eventually_async("the mistake in the log", async || {
        broker.log().iter().any(|line| line.contains("not reloaded")).then_some(())
    })
    .await;
    assert_eq!(status("another-token-0123").await, 200, "what was sound stays");
    let log = broker.log().concat();
    assert!(!log.contains("another-token") && !log.contains(TOKEN));
    drop(backend);
}
