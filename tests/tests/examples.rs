//! The configurations that users copy are sound, and each of them runs.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use steadfast_tests::broker::Broker;
use steadfast_tests::process::Process;
use steadfast_tests::upgrade::Upgrade;

use nix::sys::signal::Signal;

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

fn steadfast(command: &str, file: &Path) -> Command {
    let mut steadfast = Command::new(Broker::binary());
    steadfast.arg(command).arg("--config").arg(file);
    steadfast
}

/// What a request without anything special gets while no backend is there.
fn refusal(example: &str) -> u16 {
    match example {
        // Other hosts and paths have no route.
        "chat-rooms" => 404,
        // It has no Origin.
        "public-edge" => 403,
        _ => 503,
    }
}

#[test]
fn each_is_found_right() {
    for file in examples() {
        let output = steadfast("check", &file).output().expect("steadfast can be started");
        let (said, complaint) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{}: {complaint}", file.display());
        assert!(said.contains(": ok: 1 listeners, "), "{said}");
    }
}

#[tokio::test]
async fn each_serves_and_ends() {
    let mut seen = Vec::new();
    for file in examples() {
        let name = file.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
        let mut process = Process::spawn(&name, &mut steadfast("serve", &file));
        let address: SocketAddr = process.printed("listening on ", 0).await.parse().expect("an address");
        let response = Upgrade::to(address).refused().await;
        assert_eq!(response.status, refusal(&name), "{name}: {response:?}");
        process.signal(Signal::SIGTERM);
        assert_eq!(process.wait_exit().await.code(), Some(0), "{name}");
        seen.push(name);
    }
    assert!(seen.contains(&"minimal".to_owned()), "{seen:?}");
}
