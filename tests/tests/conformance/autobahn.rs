//! Autobahn's cases, directly and through the broker, with the same verdicts but for those that the baseline
//! explains.
//!
//! These tests need `autobahntestsuite`, which needs a Python 2.7. `./test` installs it and runs them where it
//! finds one; the cases of our own run everywhere.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::{Value, json};
use steadfast_tests::process::Process;
use steadfast_tests::wait::PATIENCE;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::{client_async, connect_async};

use crate::peers::relay::Relay;
use crate::peers::server::Server;
use crate::peers::tools::{Tool, root};

/// 9 is for large messages and speed, and takes minutes. It runs too with STEADFAST_AUTOBAHN=full.
const LARGE: &str = "9.*";
/// Compression in all variants, by the thousand messages: hours, in Python. `third_party` tests compression with the
/// libraries that do it.
const COMPRESSION: [&str; 2] = ["12.*", "13.*"];
/// Fewer cases than that and the suite has not run as it should.
const CASES_MIN: usize = 240;
/// For a whole run of the suite.
const RUN_MAX: Duration = Duration::from_secs(1800);
/// What the reports call the two ways.
const DIRECT: &str = "direct";
const BROKER: &str = "broker";

/// An entry of the baseline.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Difference {
    /// Which tests it is about: `ws`, `websockets`, `tungstenite`.
    runs: Vec<String>,
    /// Autobahn's numbers of the cases.
    cases: Vec<String>,
    /// The verdicts that may come out through the broker: behaviour and closing behaviour.
    broker: Vec<String>,
    /// Why that is right.
    #[serde(rename = "reason")]
    _reason: String,
}

/// Case by case, the verdicts on behaviour and closing behaviour, with a slash between.
type Verdicts = BTreeMap<String, String>;

fn packages() -> PathBuf {
    root().join(".tools/autobahn")
}

fn left_out() -> Vec<&'static str> {
    let is_full = std::env::var("STEADFAST_AUTOBAHN").as_deref() == Ok("full");
    if is_full { COMPRESSION.to_vec() } else { [&COMPRESSION[..], &[LARGE]].concat() }
}

fn conformance() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance")
}

/// Starts `wstest` in `mode`, with its specification in `folder`.
fn wstest(mode: &str, specification: &Value, folder: &TempDir) -> Process {
    let python = packages().join("python2.7");
    assert!(python.exists(), "{} is missing: run ./test, which installs it", python.display());
    let file = folder.path().join("specification.json");
    std::fs::write(&file, specification.to_string()).expect("a specification can be written");
    let mut command = Command::new(python);
    command
        .arg(conformance().join("wstest.py"))
        .arg(packages())
        .args(["-m", mode, "-w", "0", "-s"])
        .arg(file);
    Process::spawn("wstest", command.current_dir(folder.path()))
}

/// The verdicts of the report in `folder`, by agent.
fn verdicts(folder: &TempDir) -> BTreeMap<String, Verdicts> {
    let path = folder.path().join("reports/index.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let report: BTreeMap<String, BTreeMap<String, Value>> = serde_json::from_str(&text).expect("a report");
    let verdict = |result: &Value| {
        let word = |key: &str| result[key].as_str().expect("a verdict is a word").to_owned();
        format!("{}/{}", word("behavior"), word("behaviorClose"))
    };
    let of_agent = |cases: BTreeMap<String, Value>| {
        cases.into_iter().map(|(case, result)| (case, verdict(&result))).collect()
    };
    report.into_iter().map(|(agent, cases)| (agent, of_agent(cases))).collect()
}

/// The baseline's entries for `run`.
fn baseline(run: &str) -> Vec<Difference> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        #[serde(default)]
        difference: Vec<Difference>,
    }
    let path = conformance().join("autobahn-baseline.toml");
    let text = std::fs::read_to_string(&path).expect("the baseline can be read");
    let file: File = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    file.difference.into_iter().filter(|entry| entry.runs.iter().any(|own| own == run)).collect()
}

fn assert_same(run: &str, folder: &TempDir) {
    let mut verdicts = verdicts(folder);
    let mut of = |agent: &str| verdicts.remove(agent).unwrap_or_default();
    let (direct, broker) = (of(DIRECT), of(BROKER));
    assert!(direct.len() >= CASES_MIN, "only {} cases ran", direct.len());
    let baseline = baseline(run);
    let explained = |case: &str, verdict: &String| {
        baseline
            .iter()
            .any(|entry| entry.cases.iter().any(|own| own == case) && entry.broker.contains(verdict))
    };
    let differences: Vec<String> = direct
        .iter()
        .map(|(case, direct)| (case, direct, broker.get(case).cloned().unwrap_or("not run".to_owned())))
        .filter(|(case, direct, broker)| *direct != broker && !explained(case, broker))
        .map(|(case, direct, broker)| format!("{case}: {direct} directly, {broker} through the broker"))
        .collect();
    assert!(differences.is_empty(), "{run}:\n{}", differences.join("\n"));
    let mut unknown =
        baseline.iter().flat_map(|entry| &entry.cases).filter(|case| !direct.contains_key(*case));
    assert_eq!(unknown.next(), None, "a case in the baseline that did not run");
}

/// Autobahn as the client of a server on `library`.
async fn as_client_of(library: Tool, run: &str) {
    let server = Server::start(library).await;
    let relay = Relay::start(&[server.url()], &[]).await;
    let folder = tempfile::tempdir().expect("a temporary directory");
    let specification = json!({
        // By itself it gives a peer one second for its Close and for the end of the connection. On a busy machine that
        // is little for any process, and what is judged here is order.
        "options": { "closeHandshakeTimeout": 5, "serverConnectionDropTimeout": 5 },
        "outdir": "reports", "cases": ["*"], "exclude-cases": left_out(), "exclude-agent-cases": {},
        "servers": [
            { "agent": DIRECT, "url": server.url() },
            { "agent": BROKER, "url": format!("ws://{}", relay.address) },
        ],
    });
    let mut process = wstest("fuzzingclient", &specification, &folder);
    let ended = timeout(RUN_MAX, async {
        while process.exited().is_none() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    ended.await.expect("wstest ends in time");
    assert_same(run, &folder);
}

#[tokio::test]
#[ignore = "needs Autobahn; ./test runs it where there is a Python 2.7"]
async fn autobahn_as_client_of_ws() {
    as_client_of(Tool::Ws, "ws").await;
}

#[tokio::test]
#[ignore = "needs Autobahn; ./test runs it where there is a Python 2.7"]
async fn autobahn_as_client_of_websockets() {
    as_client_of(Tool::Websockets, "websockets").await;
}

/// A server that breaks the rules has failed, and would be left for another: here it is the only one, so the
/// pool closes on failure.
#[tokio::test]
#[ignore = "needs Autobahn; ./test runs it where there is a Python 2.7"]
async fn autobahn_as_server_of_tungstenite() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let server: SocketAddr = free_address();
    let specification = json!({
        "url": format!("ws://{server}"), "outdir": "reports",
        "cases": ["*"], "exclude-cases": left_out(), "exclude-agent-cases": {},
    });
    let _process = wstest("fuzzingserver", &specification, &folder);
    let count = count_cases(server).await;
    let relay = Relay::start(&[format!("ws://{server}")], &["--on-failure", "close"]).await;
    let run = async {
        for case in 1..=count {
            echo(server, server, &format!("runCase?case={case}&agent={DIRECT}")).await;
            echo(relay.address, server, &format!("runCase?case={case}&agent={BROKER}")).await;
        }
        // The broker may still be closing the last connection, and a case counts when its connection is closed.
        let mut reported = 0;
        while reported < count {
            echo(server, server, &format!("updateReports?agent={DIRECT}")).await;
            reported = verdicts(&folder).get(BROKER).map_or(0, BTreeMap::len);
        }
    };
    timeout(RUN_MAX, run).await.expect("all cases run in time");
    assert_same("tungstenite", &folder);
}

/// wstest cannot choose a port by itself.
fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port on loopback");
    listener.local_addr().expect("a bound socket")
}

async fn count_cases(server: SocketAddr) -> usize {
    let counted = timeout(PATIENCE, async {
        loop {
            if let Ok((mut socket, _)) = connect_async(format!("ws://{server}/getCaseCount")).await {
                let message = socket.next().await.expect("the count").expect("a message");
                return message.to_text().ok().and_then(|text| text.parse().ok()).expect("a number");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    counted.await.expect("wstest listens in time")
}

/// Sends all messages back until the connection ends, however it does. The request names `host`, because
/// Autobahn's server refuses one that names another port than its own.
async fn echo(address: SocketAddr, host: SocketAddr, path: &str) {
    let stream = TcpStream::connect(address).await.expect("the listener accepts");
    let (mut socket, _) = client_async(format!("ws://{host}/{path}"), stream).await.expect("an upgrade");
    while let Some(Ok(message)) = socket.next().await {
        if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
            return;
        }
    }
}
