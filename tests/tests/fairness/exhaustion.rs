//! What runs out on this machine: descriptors, of a process or of all, and threads. Sessions go on, newcomers are told, no backend answers for it,
//! and when there is some again everything is as before.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value;
use steadfast_tests::admin;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::client::Client;
use steadfast_tests::process::Process;
use steadfast_tests::skipped::leave_out;
use steadfast_tests::upgrade::{Upgrade, complete};
use steadfast_tests::wait::{eventually, eventually_async};
use tempfile::TempDir;

/// Far more than the broker needs here.
const ENOUGH: usize = 10_000;

/// Lines that say the same are a second apart at the least.
const LINES_MAX: usize = 10;

/// `nobody`, whose threads are counted; those of root are not.
const NOBODY: &str = "65534";

/// Sets a limit of a running process, but for the one up to which it may be raised again.
fn limit(process: u32, what: &str, most: usize, user: Option<&str>) {
    let arguments = ["--pid".to_owned(), process.to_string(), format!("--{what}={most}:")];
    let mut command = as_user(user, "prlimit");
    assert!(command.args(arguments).status().expect("util-linux is there").success());
}

fn as_user(user: Option<&str>, program: &str) -> Command {
    let Some(user) = user else { return Command::new(program) };
    let mut command = Command::new("setpriv");
    command.args(["--reuid", user, "--regid", user, "--clear-groups", program]);
    command
}

fn descriptors(process: u32) -> BTreeSet<usize> {
    let all = fs::read_dir(format!("/proc/{process}/fd")).expect("it runs");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    all.filter_map(name).collect()
}

#[tokio::test]
async fn without_descriptors_sessions_go_on_and_newcomers_are_told() {
    let (a, b) = (Backend::start("a", "").await, Backend::start("b", "").await);
    let broker = Broker::start(&[&a, &b]).await;
    let mut clients = vec![Client::connect(broker.address()).await, Client::connect(broker.address()).await];
    broker.wait_sessions(2).await;
    let upgrade = Upgrade::to(broker.address());

    // Not one more.
    limit(broker.id(), "nofile", 3, None);
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(upgrade.open().await);
    }
    let said = |what: &str| broker.records(|record| record["message"] == what).len();
    let stays = "cannot accept a connection; it stays in the backlog";
    eventually("a line about it", || said(stays) > 0).await;
    for n in 0..200 {
        for client in &mut clients {
            client.send(&format!("m-{n}")).await;
            assert!(client.text().await.ends_with(&format!(":m-{n}")));
        }
    }

    // One more, so that a client comes in, and no connection to a backend can be made for it.
    let used = descriptors(broker.id());
    let free = (0..).find(|number| !used.contains(number)).expect("a number");
    limit(broker.id(), "nofile", free + 1, None);
    for stream in waiting {
        let refusal = complete(stream).await.expect_err("there is no way to a backend");
        assert_eq!(refusal.status, 503);
        assert!(refusal.header("retry-after").is_some());
    }
    let dials = "cannot dial for a reason of this machine's; raise its limits";
    eventually("a line about it", || said(dials) > 0).await;
    assert!(
        said(stays) <= LINES_MAX && said(dials) <= LINES_MAX,
        "{} and {} lines",
        said(stays),
        said(dials)
    );

    limit(broker.id(), "nofile", ENOUGH, None);
    let mut newcomer = upgrade.connect().await;
    newcomer.send("here").await;
    assert!(newcomer.text().await.ends_with(":here"));
    for backend in ["a", "b"] {
        let changes = broker.changes(backend).await;
        assert!(changes.is_empty(), "{backend}: {changes:?}");
    }
    assert_eq!(broker.metric("steadfast_failovers_total", &[]).await, 0.0);
    assert_eq!(broker.ends().await, 0.0);
}

/// What the kernel answers to a process when the whole machine can have no more open files; which does others no harm.
/// It is over when this is dropped.
struct NoMoreFiles(Process);

impl NoMoreFiles {
    /// For these system calls.
    async fn of(process: u32, calls: &str) -> NoMoreFiles {
        let mut command = Command::new("strace");
        command.args(["--follow-forks", "--output=/dev/null", "--attach", &process.to_string()]);
        command.arg(format!("--trace={calls}")).arg(format!("--inject={calls}:error=ENFILE"));
        let tracer = Process::spawn("strace", &mut command);
        let attached = || tracer.stderr().iter().any(|line| line.contains("attached"));
        eventually("the tracer at its place", attached).await;
        NoMoreFiles(tracer)
    }

    async fn end(mut self) {
        self.0.signal(Signal::SIGTERM);
        self.0.wait_exit().await;
    }
}

#[tokio::test]
async fn without_open_files_on_the_whole_machine_sessions_go_on_and_newcomers_are_told() {
    if Command::new("strace").arg("--version").output().is_err() {
        return leave_out(
            "without_open_files_...: it takes strace, which has the kernel say that there are no more",
        );
    }
    let (a, b) = (Backend::start("a", "").await, Backend::start("b", "").await);
    let broker = Broker::start(&[&a, &b]).await;
    let mut clients = vec![Client::connect(broker.address()).await, Client::connect(broker.address()).await];
    broker.wait_sessions(2).await;
    let upgrade = Upgrade::to(broker.address());
    let said = |what: &str| {
        let lines = broker.records(|record| record["message"] == what);
        assert!(lines.len() <= LINES_MAX, "{lines:?}");
        lines.iter().any(|line| line["error"].to_string().contains("in system") || line["error"].is_null())
    };

    // Nobody can be accepted.
    let none = NoMoreFiles::of(broker.id(), "accept,accept4").await;
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(upgrade.open().await);
    }
    let stays = "cannot accept a connection; it stays in the backlog";
    eventually("a line about it", || said(stays)).await;
    for n in 0..200 {
        for client in &mut clients {
            client.send(&format!("m-{n}")).await;
            assert!(client.text().await.ends_with(&format!(":m-{n}")));
        }
    }
    none.end().await;
    for stream in waiting {
        clients.push(complete(stream).await.expect("its turn has come"));
    }

    // Those who come in find no way to a backend, nor is the file read. A backend dies.
    let none = NoMoreFiles::of(broker.id(), "socket,openat").await;
    let refusal = upgrade.refused().await;
    assert_eq!(refusal.status, 503);
    assert!(refusal.header("retry-after").is_some());
    let dials = "cannot dial for a reason of this machine's; raise its limits";
    eventually("a line about it", || said(dials)).await;
    let reload = broker.post("/api/v1/reload").await;
    assert_eq!(reload.status, 409);
    assert!(reload.text().contains("in system"), "{}", reload.text());
    a.kill();
    for client in &mut clients {
        client.send("after all").await;
    }
    eventually_async("sessions that look for a backend", async || {
        let sessions = broker.sessions().await;
        let looks = |session: &Value| session["state"] == "waiting" || session["state"] == "dialing";
        sessions.iter().any(looks).then_some(())
    })
    .await;
    none.end().await;
    for client in &mut clients {
        assert!(client.text().await.ends_with(":after all"));
    }
    assert_eq!(broker.post("/api/v1/reload").await.status, 200);
    let mut newcomer = upgrade.connect().await;
    newcomer.ask("here", "b:here").await;
    let changes = broker.changes("b").await;
    assert!(changes.is_empty(), "{changes:?}");
    assert_eq!(broker.ends().await, 0.0);
}

/// The program and its configuration where `nobody` may read them.
fn for_nobody(toml: &str) -> (TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let all_may = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder.path(), all_may.clone()).expect("it is ours");
    let (program, file) = (folder.path().join("steadfast"), folder.path().join("steadfast.toml"));
    fs::copy(Broker::binary(), &program).expect("the program can be copied");
    fs::set_permissions(&program, all_may).expect("it is ours");
    fs::write(&file, toml).expect("a file can be written");
    (folder, program, file)
}

#[tokio::test]
async fn without_threads_sessions_go_on_and_newcomers_are_told() {
    if fs::metadata("/proc/self").map_or(true, |own| own.uid() != 0)
        || as_user(Some(NOBODY), "true").status().is_err()
    {
        return leave_out(
            "without_threads_...: it takes root and setpriv to run as somebody whose threads are counted",
        );
    }
    let a = Backend::start("a", "").await;
    // A name, which is looked up on a thread.
    let url = format!("ws://localhost:{}", a.address().port());
    let toml = format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n\
         [[pool]]\nname = \"p\"\n[[pool.backend]]\nname = \"a\"\nurl = \"{url}\"\n"
    );
    let (_folder, program, file) = for_nobody(&toml);
    let program = program.to_str().expect("text");
    let started = |command: &mut Command| {
        command.args(["serve", "--config"]).arg(&file);
        Process::spawn("steadfast", command)
    };

    let mut limited = as_user(Some(NOBODY), "prlimit");
    let mut none = started(limited.args(["--nproc=1", program]));
    assert_eq!(none.wait_exit().await.code(), Some(1));
    let why = none.stderr().join("\n");
    assert!(why.contains("cannot start a thread") && why.lines().count() == 1, "{why}");

    let mut broker = started(&mut as_user(Some(NOBODY), program));
    let address = broker.printed("listening on ", 0).await.parse().expect("an address");
    let admin_address = broker.printed("admin on ", 0).await.parse().expect("an address");
    let mut client = Client::connect(address).await;
    client.ask("m-1", "a:m-1").await;
    limit(broker.id(), "nproc", 1, Some(NOBODY));
    let upgrade = Upgrade::to(address);
    assert_eq!((upgrade.refused().await.status, upgrade.refused().await.status), (503, 503));
    let reload = admin::post(admin_address, "/api/v1/reload").await;
    assert_eq!(reload.status, 409);
    assert!(reload.text().contains("ulimit -u"), "{}", reload.text());
    assert_eq!(admin::get(admin_address, "/healthz").await.status, 200);
    client.ask("m-2", "a:m-2").await;

    limit(broker.id(), "nproc", ENOUGH, Some(NOBODY));
    assert_eq!(admin::post(admin_address, "/api/v1/reload").await.status, 200);
    Client::connect(address).await.ask("m-3", "a:m-3").await;
    let records: Vec<Value> =
        broker.stderr().iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert!(records.iter().all(|record| record["message"] != "backend changed"), "{records:?}");
    assert_eq!(records.len(), broker.stderr().len(), "nothing has panicked: {:?}", broker.stderr());
}
