//! Files that the configuration names are read again with it, also when only they have changed.

use std::fs;

use nix::sys::signal::Signal;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::client::Client;
use steadfast_tests::pki::{Authority, Pair, shown};
use steadfast_tests::wait::{eventually_async, eventually_some};

use crate::{REFUSED, RELOADS, asked, complaint, pair, problems, wait_applied, wait_refused, watching};

const EXPIRES: &str = "steadfast_certificate_expires_seconds";

/// A listener with TLS beside the plain one.
fn with_tls(builder: BrokerBuilder, certificate: &Pair) -> BrokerBuilder {
    let keys = certificate.keys();
    builder.listener(&format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[listener.tls]\n[[listener.tls.certificate]]\n{keys}"
    ))
}

/// Waits until the broker has a certificate of this name.
async fn wait_certificate(broker: &Broker, name: &str) {
    broker.wait_metric(EXPIRES, &[("certificate", name)], |seconds| seconds > 0.0).await;
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_and_no_session_notices() {
    let (a, _b) = pair().await;
    let authority = Authority::new("one");
    let first = authority.server("first", &["first.test"]);
    let broker = with_tls(watching(&[&a], "50ms"), &first).start().await;
    wait_certificate(&broker, "first.test").await;
    let mut client = Client::connect(broker.address()).await;
    client.send("before").await;
    assert_eq!(client.text().await, "a:before");
    authority.server("next", &["second.test"]).replace(&first);
    wait_certificate(&broker, "second.test").await;
    client.send("after").await;
    assert_eq!(client.text().await, "a:after");
    // A gauge of what is gone goes with it.
    let gone = async || (broker.metric(EXPIRES, &[("certificate", "first.test")]).await == 0.0).then_some(());
    eventually_async("the old one is forgotten", gone).await;
    wait_applied(&broker, 1.0).await;
    assert_eq!(broker.metric(RELOADS, &REFUSED).await, 0.0);
}

#[tokio::test]
async fn a_key_that_does_not_fit_is_refused_until_one_does() {
    let (a, _b) = pair().await;
    let authority = Authority::new("one");
    let first = authority.server("first", &["first.test"]);
    let other = authority.server("other", &["other.test"]);
    let broker = with_tls(watching(&[&a], "50ms"), &first).start().await;
    fs::copy(&other.key, &first.key).expect("a file");
    wait_refused(&broker, 1.0).await;
    let told =
        eventually_some("a line of the log", || Some(problems(&broker)).filter(|all| !all.is_empty())).await;
    let fault = format!("{:?} does not fit the certificate in {:?}", shown(&first.key), shown(&first.cert));
    assert!(told[0].contains(&fault) && told[0].contains("[listener.tls.certificate] key: "), "{told:?}");
    assert!(
        told[0].starts_with(&format!("{}:", shown(&broker.file()))),
        "with the file and its line: {told:?}"
    );
    wait_certificate(&broker, "first.test").await;
    let again = complaint(&broker.post("/api/v1/reload").await);
    assert!(again.contains(&fault), "{again}");
    fs::copy(&other.cert, &first.cert).expect("a file");
    wait_applied(&broker, 1.0).await;
    wait_certificate(&broker, "other.test").await;
}

#[tokio::test]
async fn without_a_watch_only_the_asked_for_happens() {
    let (a, _b) = pair().await;
    let authority = Authority::new("one");
    let first = authority.server("first", &["first.test"]);
    let mut broker = with_tls(asked(&[&a]), &first).start().await;
    let watcher = with_tls(watching(&[&a], "50ms"), &first).start().await;
    authority.server("next", &["second.test"]).replace(&first);
    wait_certificate(&watcher, "second.test").await;
    assert_eq!(broker.metric(RELOADS, &[]).await, 0.0);
    assert!(broker.metric(EXPIRES, &[("certificate", "first.test")]).await > 0.0);
    broker.signal(Signal::SIGHUP);
    wait_certificate(&broker, "second.test").await;
}

#[tokio::test]
async fn files_that_a_reload_names_are_watched_from_then_on() {
    let (a, _b) = pair().await;
    let authority = Authority::new("one");
    let (first, second) =
        (authority.server("first", &["first.test"]), authority.server("second", &["second.test"]));
    let broker = with_tls(watching(&[&a], "50ms"), &first).start().await;
    broker.replace_file(&with_tls(watching(&[&a], "50ms"), &second).to_toml());
    wait_certificate(&broker, "second.test").await;
    authority.server("next", &["third.test"]).replace(&second);
    wait_certificate(&broker, "third.test").await;
    assert_eq!(broker.metric(RELOADS, &REFUSED).await, 0.0);
}

#[tokio::test]
async fn a_file_that_is_gone_is_waited_for() {
    let (a, _b) = pair().await;
    let authority = Authority::new("one");
    let first = authority.server("first", &["first.test"]);
    let broker = with_tls(watching(&[&a], "50ms"), &first).start().await;
    let aside = authority.path("aside");
    fs::rename(&first.cert, &aside).expect("a file");
    // Who asks for a reload is told; the watch alone says nothing of it.
    let refused = complaint(&broker.post("/api/v1/reload").await);
    assert!(refused.contains("cannot read") && refused.contains(shown(&first.cert)), "{refused}");
    authority.server("next", &["second.test"]).replace(&first);
    wait_certificate(&broker, "second.test").await;
    assert_eq!(broker.metric(RELOADS, &REFUSED).await, 1.0);
}

#[tokio::test]
async fn an_expired_certificate_is_taken_with_a_warning() {
    let (a, _b) = pair().await;
    let authority = Authority::new("one");
    let broker = with_tls(asked(&[&a]), &authority.expired("old", &["old.test"])).start().await;
    assert!(broker.metric(EXPIRES, &[("certificate", "old.test")]).await < 0.0);
    let warning = |record: &serde_json::Value| {
        let said = record["message"].as_str().unwrap_or_default();
        record["level"] == "WARN" && said.contains("\"old.test\" has expired")
    };
    eventually_some("a warning", || broker.records(warning).pop()).await;
}
