//! A browser, which believes an authority that its user has put into the system's store, and no other.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use steadfast_tests::broker::Broker;
use steadfast_tests::pki::shown;
use steadfast_tests::sequence::{check_answers, check_arrivals, home_and_other, number, session_connections};
use steadfast_tests::wait::{eventually, eventually_some};

use crate::peers::browser::Browser;
use crate::peers::tools::{Tool, left_out};
use crate::scene::World;

/// Has a browser open the page for this broker, as a user who trusts the authority or knows nothing of it.
fn open(world: &World, broker: &Broker, trusts: bool) -> Browser {
    let home = tempfile::tempdir().expect("a folder");
    // Where browsers look for what their user trusts.
    let store = home.path().join(".pki/nssdb");
    std::fs::create_dir_all(&store).expect("a folder");
    let store = format!("sql:{}", shown(&store));
    certutil(&["-N", "-d", &store, "--empty-password"]);
    if trusts {
        let authority = world.authority.ca();
        certutil(&["-A", "-d", &store, "-n", "the tests'", "-t", "C,,", "-i", shown(&authority)]);
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("third_party/browser.html");
    Browser::open(home, &format!("file://{}?wss://{}", shown(&page), broker.address()))
}

fn certutil(arguments: &[&str]) {
    let done = Command::new("certutil").args(arguments).output().expect("it runs");
    assert!(done.status.success(), "certutil {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test]
async fn a_session_in_a_browser_outlives_its_backend() {
    let test = "a_session_in_a_browser_outlives_its_backend";
    if left_out(test, &[Tool::Chromium, Tool::Certutil]) {
        return;
    }
    let world = World::new();
    let (a, b) = (world.backend("a", "").await, world.backend("b", "").await);
    let broker = world.over(&[&a, &b]).start().await;
    let _browser = open(&world, &broker, true);
    let (home, other) = home_and_other([&a, &b]).await;
    eventually("a hundred messages", || home.journal().texts().len() >= 100).await;
    home.kill();
    // Whatever is said behind all answers.
    let mut report = eventually_some("what the page has seen", || {
        let said = other.journal().asked("GET /report").pop()?.texts();
        said.last().is_some_and(|last| last.starts_with('{')).then_some(said)
    })
    .await;
    let seen: Value = serde_json::from_str(&report.pop().expect("it is there")).expect("JSON");
    assert_eq!(seen, json!({ "opened": 1, "closed": 0, "failed": 0 }));
    let session = other.journal().asked("GET /session").pop().expect("it went on there");
    let connections = session_connections(session.session(), &[&a, &b]);
    let last = number(report.last().expect("answers"));
    check_arrivals("m", last, &connections);
    check_answers("m", last, &report, &connections);
    assert!(last > 200 && connections.len() == 2, "{last} messages on {} connections", connections.len());
    assert_eq!(broker.metric("steadfast_failovers_total", &[]).await, 1.0);
}

#[tokio::test]
async fn a_browser_whose_user_does_not_trust_the_authority_does_not_come_in() {
    let test = "a_browser_whose_user_does_not_trust_the_authority_does_not_come_in";
    if left_out(test, &[Tool::Chromium, Tool::Certutil]) {
        return;
    }
    let world = World::new();
    let backend = world.backend("a", "").await;
    let broker = world.over(&[&backend]).start().await;
    let _browser = open(&world, &broker, false);
    let failed = [("outcome", "failed")];
    broker.wait_metric("steadfast_tls_handshakes_total", &failed, |count| count >= 1.0).await;
    assert_eq!(backend.journal().connections().len(), 0);
}
