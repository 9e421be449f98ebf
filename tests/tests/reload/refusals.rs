//! Files that are not taken.

use nix::sys::signal::Signal;
use steadfast_tests::backend::Backend;
use steadfast_tests::client::Client;
use steadfast_tests::wait::eventually;

use crate::{APPLIED, REFUSED, RELOADS, asked, pair, problems, refuse, take, wait_refused, weighed, weights};

#[tokio::test]
async fn a_broken_file_is_told_with_its_line_and_changes_nothing() {
    let (a, b) = pair().await;
    let mut broker = asked(&[&a]).start().await;
    let mut client = Client::connect(broker.address()).await;
    let sound = asked(&[&a, &b]).to_toml();
    let file = broker.file().display().to_string();
    let mut refused = 0.0;
    for (mistake, key) in [
        ("[limits]\nmesage = \"1MiB\"", "mesage"),
        ("[drain]\nquiet = \"soon\"", "quiet"),
        ("[access]\nallow = [\"10.0.0.0/99\"]", "allow"),
        ("[[pool]]\nname = \"empty\"", "empty"),
        ("[[route]]\npool = \"missing\"", "missing"),
        ("this is not TOML", ""),
    ] {
        let toml = if mistake.starts_with("[drain]") {
            sound.replace("quiet = \"100ms\"", "quiet = \"soon\"")
        } else {
            format!("{sound}\n{mistake}\n")
        };
        let wrong = mistake.lines().last().expect("a line");
        let line = toml.lines().position(|line| line == wrong).expect("the line is there") + 1;
        let told = refuse(&broker, &toml).await;
        assert!(told.starts_with(&format!("{file}:")), "the file: {told}");
        assert!(told.contains(key), "the key {key:?}: {told}");
        assert_eq!(told.lines().count(), 1, "{told}");
        let at = |line: usize| told.starts_with(&format!("{file}:{line}:"));
        // A table is named by the line of its header, or by that of the key.
        assert!(at(line) || at(line - 1), "line {line}: {told}");
        refused += 1.0;
        assert_eq!(broker.metric(RELOADS, &REFUSED).await, refused);
        eventually("the same in the log", || problems(&broker).last() == Some(&told)).await;
        assert_eq!(weights(&broker).await, weighed(&[("a", 1)]));
    }
    std::fs::remove_file(broker.file()).expect("the file is there");
    broker.signal(Signal::SIGHUP);
    wait_refused(&broker, refused + 1.0).await;
    let told = || problems(&broker).len() == refused as usize + 1;
    eventually("the missing file in the log", told).await;
    assert!(problems(&broker).last().is_some_and(|told| told.contains(&file)), "{:?}", problems(&broker));
    client.ask("hello", "a:hello").await;
    Client::connect(broker.address()).await.ask("hello", "a:hello").await;
    assert_eq!(broker.get("/readyz").await.status, 200);
    assert_eq!(broker.metric(RELOADS, &APPLIED).await, 0.0);
    take(&broker, &asked(&[&a, &b])).await;
    assert_eq!(weights(&broker).await, weighed(&[("a", 1), ("b", 1)]));
}

#[tokio::test]
async fn several_mistakes_are_all_told() {
    let a = Backend::start("a", "").await;
    let broker = asked(&[&a]).start().await;
    let toml = asked(&[&a]).setting("timeouts", "clsoe = \"1s\"").setting("herd", "jitter = 5").to_toml();
    let told = refuse(&broker, &toml).await;
    assert_eq!(told.lines().count(), 2, "{told}");
    assert!(told.contains("clsoe") && told.contains("jitter"), "{told}");
    let lines: Vec<&str> = told.lines().collect();
    eventually("both as lines of the log", || problems(&broker) == lines).await;
    assert_eq!(broker.metric(RELOADS, &REFUSED).await, 1.0);
}

#[tokio::test]
async fn what_needs_a_restart_refuses_the_whole_file() {
    let (a, b) = pair().await;
    let broker = asked(&[&a]).start().await;
    let next = || asked(&[&a, &b]);
    let moved = next().to_toml().replacen("127.0.0.1:0", "127.0.0.2:0", 1);
    let second = format!("[[listener]]\naddress = \"127.0.0.1:0\"\n\n{}", next().to_toml());
    let with = |section: &str, line: &str| next().setting(section, line).to_toml();
    let mut refused = 0.0;
    for (toml, keys) in [
        (moved, "listener.address"),
        (second, "listener.address"),
        (format!("workers = 3\n{}", next().to_toml()), "workers"),
        (with("limits", "max_sessions = 5"), "limits.max_sessions"),
        (with("limits", "max_handshakes = 5"), "limits.max_handshakes"),
        (with("limits", "message = \"1MiB\""), "limits.message"),
        (with("limits", "buffers = \"1GiB\""), "limits.buffers"),
        (with("herd", "dials = 5"), "herd.dials"),
        (with("herd", "dials_per_backend = 5"), "herd.dials_per_backend"),
        (
            next().setting("herd", "dials = 5").setting("limits", "max_sessions = 5").to_toml(),
            "limits.max_sessions, herd.dials",
        ),
    ] {
        let told = refuse(&broker, &toml).await;
        assert_eq!(told, format!("nothing is changed: a restart is needed to change {keys}"));
        refused += 1.0;
        assert_eq!(broker.metric(RELOADS, &REFUSED).await, refused);
        eventually("the same in the log", || problems(&broker).last() == Some(&told)).await;
        assert_eq!(weights(&broker).await, weighed(&[("a", 1)]), "nothing of that file holds");
    }
    take(&broker, &next()).await;
    assert_eq!(weights(&broker).await, weighed(&[("a", 1), ("b", 1)]));
}
