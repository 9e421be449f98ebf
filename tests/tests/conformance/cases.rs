//! Our own cases: each against a server directly and through the broker, with the same outcome.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::case::{Case, folder, load};
use crate::conversation::hold;
use crate::peers::relay::Relay;
use crate::peers::server::Server;
use crate::peers::tools::{Tool, left_out};
use crate::reference::Reference;

/// The files in which a client talks to a server that echoes; each has a test below.
const FILES: [&str; 9] = [
    "closing",
    "compression",
    "control",
    "fragmentation",
    "framing",
    "lengths",
    "opcodes",
    "reserved",
    "utf8",
];
/// The files in which the server speaks by itself; they have tests below too.
const SERVED: [&str; 2] = ["served", "misbehaved"];

/// Runs `cases` against `address`; what differed.
async fn differences(cases: &[Case], address: SocketAddr, way: &str) -> Vec<String> {
    let mut differences = Vec::new();
    for case in cases {
        // On a task of its own, so that a panic ends this case and not the others.
        let outcome = tokio::spawn(hold(case.clone(), address)).await;
        let outcome = outcome.unwrap_or_else(|panic| Err(panic.to_string()));
        if let Err(what) = outcome {
            differences.push(format!("{} {way}: {what}\n    ({})", case.id, case.what));
        }
    }
    differences
}

fn assert_none(differences: &[String]) {
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

async fn check(file: &str, arguments: &[&str]) {
    let cases = load(file);
    let server = Reference::start(&cases).await;
    let relay = Relay::start(&[format!("ws://{}", server.address)], arguments).await;
    let direct: Vec<Case> = cases.iter().filter(|case| case.only_through_broker.is_none()).cloned().collect();
    let mut all = differences(&direct, server.address, "directly").await;
    all.extend(differences(&cases, relay.address, "through the broker").await);
    assert_none(&all);
}

#[tokio::test]
async fn closing() {
    check("closing", &[]).await;
}

#[tokio::test]
async fn compression() {
    check("compression", &[]).await;
}

#[tokio::test]
async fn control() {
    check("control", &[]).await;
}

#[tokio::test]
async fn fragmentation() {
    check("fragmentation", &[]).await;
}

#[tokio::test]
async fn framing() {
    check("framing", &[]).await;
}

#[tokio::test]
async fn lengths() {
    check("lengths", &[]).await;
}

#[tokio::test]
async fn opcodes() {
    check("opcodes", &[]).await;
}

#[tokio::test]
async fn reserved() {
    check("reserved", &[]).await;
}

#[tokio::test]
async fn utf8() {
    check("utf8", &[]).await;
}

#[tokio::test]
async fn served() {
    check("served", &[]).await;
}

/// A server that breaks the protocol has failed; with `close` there is no second try, and the client is told.
#[tokio::test]
async fn misbehaved() {
    check("misbehaved", &["--on-failure", "close"]).await;
}

/// Somebody else's server agrees that the cases ask for the right things, and the broker changes nothing in that.
#[tokio::test]
async fn ws_agrees() {
    if left_out("ws_agrees", &[Tool::Ws]) {
        return;
    }
    let server = Server::start(Tool::Ws).await;
    let relay = Relay::start(&[server.url()], &[]).await;
    let cases: Vec<Case> = FILES.iter().flat_map(|file| load(file)).filter(suits_ws).collect();
    assert!(cases.len() > 100, "only {} cases", cases.len());
    let mut all = differences(&cases, server.address(), "directly with ws").await;
    all.extend(differences(&cases, relay.address, "through the broker with ws").await);
    assert_none(&all);
}

fn suits_ws(case: &Case) -> bool {
    case.agree.is_none() && case.only_through_broker.is_none() && case.not_with_ws.is_none()
}

#[test]
fn every_file_has_a_test_and_every_case_its_own_id() {
    let entries = std::fs::read_dir(folder()).expect("the folder of cases");
    let names: BTreeSet<String> = entries
        .map(|entry| entry.expect("a file of cases").file_name().to_string_lossy().replace(".toml", ""))
        .collect();
    let tested: BTreeSet<String> = FILES.iter().chain(&SERVED).map(|name| (*name).to_owned()).collect();
    assert_eq!(names, tested, "files and tests");
    let ids: Vec<String> = tested.iter().flat_map(|file| load(file)).map(|case| case.id).collect();
    let different: BTreeSet<&String> = ids.iter().collect();
    assert_eq!(different.len(), ids.len(), "ids are unique");
}
