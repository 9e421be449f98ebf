//! What makes the broker read its file again.

use std::process::Command;

use nix::sys::signal::Signal;
use steadfast_tests::admin;
use steadfast_tests::broker::Broker;
use steadfast_tests::process::Process;
use steadfast_tests::wait::{bounded, eventually_async, eventually_some};

use crate::{APPLIED, REFUSED, RELOADS, asked, pair, take, wait_applied, watching, weighed, weights};

#[tokio::test]
async fn each_way_reads_the_file_again() {
    let (a, b) = pair().await;
    let mut broker = watching(&[&a], "50ms").start().await;
    let stamp = "steadfast_reload_last_success_timestamp_seconds";
    assert_eq!(broker.metric(stamp, &[]).await, 0.0, "nothing was reloaded yet");
    let listing =
        |weight: u32| watching(&[&a, &b], "50ms").backend_setting("b", &format!("weight = {weight}"));
    broker.replace_file(&listing(2).to_toml());
    broker.wait_backend("b", "by a rename", |own| own["weight"] == 2).await;
    broker.overwrite_file(&listing(3).to_toml());
    broker.wait_backend("b", "in place", |own| own["weight"] == 3).await;
    assert_eq!(broker.metric(RELOADS, &APPLIED).await, 2.0);
    // These read it also when it has not changed.
    broker.signal(Signal::SIGHUP);
    wait_applied(&broker, 3.0).await;
    assert_eq!(broker.post("/api/v1/reload").await.status, 200);
    assert_eq!(broker.metric(RELOADS, &APPLIED).await, 4.0);
    assert_eq!(broker.metric(RELOADS, &REFUSED).await, 0.0);
    assert!(broker.metric(stamp, &[]).await > 1e9, "seconds since 1970");
    let told = || broker.records(|record| record["message"] == "configuration reloaded");
    let told = eventually_some("four lines of the log", || Some(told()).filter(|all| all.len() >= 4)).await;
    let causes: Vec<_> = told.iter().map(|record| record["cause"].as_str().expect("text")).collect();
    assert_eq!(causes, ["a change of the file", "a change of the file", "SIGHUP", "the API"]);
    assert_eq!(broker.get("/api/v1/reload").await.status, 405, "to read is not to ask for it");
}

#[tokio::test]
async fn a_file_behind_a_link_is_watched_too() {
    let (a, b) = pair().await;
    let broker = watching(&[&a], "50ms").start().await;
    let folder = tempfile::tempdir().expect("a temporary directory");
    let (first, second) = (folder.path().join("first.toml"), folder.path().join("second.toml"));
    std::fs::write(&first, watching(&[&b], "50ms").to_toml()).expect("a file");
    std::fs::write(&second, watching(&[&a, &b], "50ms").to_toml()).expect("a file");
    // As a mounted configuration of a cluster is changed.
    for (target, expected) in [(&first, weighed(&[("b", 1)])), (&second, weighed(&[("a", 1), ("b", 1)]))] {
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(target, &link).expect("a link");
        std::fs::rename(&link, broker.file()).expect("the link takes the file's place");
        eventually_async("the other file", async || (weights(&broker).await == expected).then_some(())).await;
    }
}

#[tokio::test]
async fn without_a_watch_only_the_asked_for_happens() {
    let (a, b) = pair().await;
    let mut broker = asked(&[&a]).start().await;
    let watcher = watching(&[&a], "50ms").start().await;
    broker.replace_file(&asked(&[&a, &b]).to_toml());
    for n in 1..=3 {
        watcher.replace_file(&watching(&[&a, &b], "50ms").to_toml());
        wait_applied(&watcher, f64::from(n)).await;
    }
    assert_eq!(broker.metric(RELOADS, &[]).await, 0.0);
    assert_eq!(weights(&broker).await, weighed(&[("a", 1)]));
    broker.signal(Signal::SIGHUP);
    broker.wait_state("b", "up").await;
    // The file itself says that it is watched from now on.
    take(&broker, &watching(&[&a, &b], "50ms")).await;
    broker.replace_file(&watching(&[&b], "50ms").to_toml());
    wait_applied(&broker, 3.0).await;
    assert_eq!(weights(&broker).await, weighed(&[("b", 1)]));
}

/// What the broker has read at its start may be old before it begins to watch.
#[tokio::test]
async fn a_change_while_it_starts_is_not_missed() {
    let (a, b) = pair().await;
    for _ in 0..10 {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let (file, next) = (folder.path().join("steadfast.toml"), folder.path().join("next.toml"));
        std::fs::write(&file, watching(&[&a], "50ms").to_toml()).expect("a file");
        std::fs::write(&next, watching(&[&b], "50ms").to_toml()).expect("a file");
        let mut command = Command::new(Broker::binary());
        command.arg("serve").arg("--config").arg(&file).args(["--admin", "127.0.0.1:0"]);
        let mut process = Process::spawn("steadfast", &mut command);
        // At the very moment at which its addresses are there.
        bounded("its addresses", async {
            while process.stdout().len() < 2 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        std::fs::rename(&next, &file).expect("a file can be renamed");
        let admin = process.printed("admin on ", 0).await.parse().expect("an address");
        eventually_async("the other file", async || {
            admin::get(admin, "/api/v1/backends")
                .await
                .text()
                .contains(&b.address().to_string())
                .then_some(())
        })
        .await;
    }
}
