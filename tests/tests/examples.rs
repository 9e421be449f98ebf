//! The configurations that users copy are sound, and each of them runs.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use steadfast_tests::broker::Broker;
use steadfast_tests::pki::{Authority, Pair};
use steadfast_tests::process::Process;
use steadfast_tests::upgrade::Upgrade;

use nix::sys::signal::Signal;
use tempfile::TempDir;

/// Every configuration of the folder.
fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples");
    let entries = std::fs::read_dir(&folder).expect("the examples are there");
    let files = entries.map(|entry| entry.expect("a readable folder").path());
    let files: BTreeSet<PathBuf> =
        files.filter(|file| file.extension().is_some_and(|end| end == "toml")).collect();
    assert!(files.len() >= 6, "there are at least six examples: {files:?}");
    files.into_iter().collect()
}

/// A folder with the files that examples name.
fn files() -> TempDir {
    let (folder, authority) = (tempfile::tempdir().expect("a folder"), Authority::new("Example"));
    let tls = folder.path().join("tls");
    fs::create_dir(&tls).expect("a folder");
    for (name, hosts) in [
        ("example.com", ["example.com", "www.example.com"]),
        ("chat.example.com", ["chat.example.com", "*.chat.example.com"]),
        ("broker", ["broker.internal", "broker"]),
    ] {
        let Pair { cert, key } = authority.server(name, &hosts);
        fs::copy(cert, tls.join(format!("{name}.pem"))).expect("a file");
        fs::copy(key, tls.join(format!("{name}.key"))).expect("a file");
    }
    fs::copy(authority.ca(), tls.join("internal-ca.pem")).expect("a file");
    let keys = ["A", "B", "C"].map(|key| key.repeat(64));
    fs::write(tls.join("tickets.key"), keys.join("\n")).expect("a file");
    folder
}

fn steadfast(command: &str, file: &Path, folder: &TempDir) -> Command {
    let mut steadfast = Command::new(Broker::binary());
    steadfast.current_dir(folder.path()).arg(command).arg("--config").arg(file);
    steadfast
}

/// What a request without anything special gets while no backend is there.
fn refusal(example: &str) -> u16 {
    match example {
        // Other hosts and paths have no route.
        "chat-rooms" => 404,
        // It has no Origin.
        "public-edge" => 403,
        // It is sent to the listener with TLS.
        "tls-edge" => 301,
        _ => 503,
    }
}

#[test]
fn each_is_found_right() {
    let folder = files();
    for file in examples() {
        let output = steadfast("check", &file, &folder).output().expect("steadfast can be started");
        let (said, complaint) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{}: {complaint}", file.display());
        assert!(said.contains(": ok: "), "{said}");
    }
}

#[tokio::test]
async fn each_serves_and_ends() {
    let (folder, mut seen) = (files(), Vec::new());
    for file in examples() {
        let name = file.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
        let mut process = Process::spawn(&name, &mut steadfast("serve", &file, &folder));
        let address: SocketAddr = process.printed("listening on ", 0).await.parse().expect("an address");
        let response = Upgrade::to(address).refused().await;
        assert_eq!(response.status, refusal(&name), "{name}: {response:?}");
        process.signal(Signal::SIGTERM);
        assert_eq!(process.wait_exit().await.code(), Some(0), "{name}");
        seen.push(name);
    }
    assert!(seen.contains(&"minimal".to_owned()), "{seen:?}");
}
