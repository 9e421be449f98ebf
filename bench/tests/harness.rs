//! The harness itself, as a program: what it measures it reports, and what is wrong it notices.

// A test fails by a panic.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_steadfast-bench");

/// An echo server of the harness, ended when dropped.
struct Backend {
    child: Child,
    address: SocketAddr,
}

impl Backend {
    fn start(name: &str) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["backend", "--name", name])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the backend starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("its output is piped");
        BufReader::new(output).read_line(&mut line).expect("it says where it listens");
        let address = line.trim_end().strip_prefix("listening on ").expect("in these words");
        Self { address: address.parse().expect("an address"), child }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A relay that changes one byte of what the backend says, `at` so many bytes. Its threads end with
/// their connections, or with the test.
fn corrupting_relay(backend: SocketAddr, at: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(backend) else { continue };
            let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || {
                let _ = std::io::copy(&mut from_client, &mut to_server);
                let _ = to_server.shutdown(Shutdown::Both);
            });
            thread::spawn(move || relay_down(server, client, at));
        }
    });
    address
}

/// A relay that changes nothing, and ends the first connection when there are so many.
fn relay_that_ends_the_first_of(backend: SocketAddr, count: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let inner = corrupting_relay(backend, usize::MAX);
    thread::spawn(move || {
        let mut clients: Vec<TcpStream> = Vec::new();
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(inner) else { continue };
            let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || {
                let _ = std::io::copy(&mut from_client, &mut to_server);
                let _ = to_server.shutdown(Shutdown::Both);
            });
            clients.push(client.try_clone().unwrap());
            thread::spawn(move || relay_down(server, client, usize::MAX));
            if clients.len() == count {
                clients[0].shutdown(Shutdown::Both).unwrap();
            }
        }
    });
    address
}

fn relay_down(mut server: TcpStream, mut client: TcpStream, at: usize) {
    let (mut buffer, mut passed) = ([0; 4_096], 0);
    while let Ok(length @ 1..) = server.read(&mut buffer) {
        if (passed..passed + length).contains(&at) {
            buffer[at - passed] ^= 1;
        }
        passed += length;
        if client.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
}

fn bench(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).output().expect("the harness runs")
}

fn json(file: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(file).expect("the report is there")).expect("it is JSON")
}

#[test]
fn the_direct_connection_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    let file_name = file.to_str().unwrap();
    let rows = ["64x1", "64x16", "4k", "256k", "upgrades"];
    let output = bench(&[
        "relay",
        "--quick",
        "--seconds=0.2",
        "--peers=direct",
        "--rows",
        &rows.join(","),
        "--json",
        file_name,
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = json(&file);
    for (row, name) in report["rows"].as_array().unwrap().iter().zip(rows) {
        assert_eq!(row["row"], name);
        let median = &row["peers"][0]["median"];
        let rate = if name == "upgrades" { "upgrades_per_second" } else { "messages_per_second" };
        assert!(median[rate].as_f64().unwrap() > 0.0, "{name}: {median}");
        assert!(median.get("cpu_us_per_message").is_none(), "there is no broker");
    }
    assert_eq!(report["rows"].as_array().unwrap().len(), rows.len());
}

#[test]
fn the_same_is_measured_with_tls_beside_plain_relaying() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    let rows = ["64x1", "upgrades", "handshakes", "resumptions"];
    let output = bench(&[
        "relay",
        "--quick",
        "--seconds=0.2",
        "--peers=steadfast,direct",
        "--tls=off,client,both",
        "--rows",
        &rows.join(","),
        "--json",
        file.to_str().unwrap(),
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = json(&file);
    let said = |peer: &str| report["peers"][peer].as_str().unwrap().to_owned();
    assert!(!said("steadfast").contains("TLS"));
    assert!(said("steadfast-client").contains("TLS with clients: TLS 1.3 AES_"));
    assert!(!said("steadfast-client").contains("backend: "), "that side is plain");
    assert!(said("steadfast-both").contains(", backend: TLS 1.3 AES_"));
    let names = ["steadfast", "direct", "steadfast-client", "direct-client", "steadfast-both"];
    for (row, key) in report["rows"].as_array().unwrap().iter().zip([
        "messages_per_second",
        "upgrades_per_second",
        "handshakes_per_second",
        "handshakes_per_second",
    ]) {
        for (peer, name) in row["peers"].as_array().unwrap().iter().zip(names) {
            assert_eq!(peer["peer"], name);
            // A session begins with a handshake of TLS, or without one.
            let measured = match key {
                "upgrades_per_second" => !name.contains('-'),
                "handshakes_per_second" => name.contains('-'),
                _ => true,
            };
            assert_eq!(peer["median"][key].is_f64(), measured, "{row} {name}");
        }
    }
}

#[test]
fn a_relay_that_changes_a_byte_has_no_figures() {
    let backend = Backend::start("");
    let address = corrupting_relay(backend.address, 300);
    let peer = format!("--peer=wrong={address},{}", backend.child.id());
    let output = bench(&["relay", "--quick", "--seconds=0.2", "--peers=direct", &peer, "--rows=64x1"]);
    assert_eq!(output.status.code(), Some(1));
    let table = String::from_utf8_lossy(&output.stdout);
    let failure = table.lines().find(|line| line.contains("wrong FAILED in 1 of 1")).expect("it is reported");
    assert!(failure.contains("a wrong answer"), "{failure}");
}

#[test]
fn a_relay_that_changes_nothing_is_measured_with_its_cost() {
    let backend = Backend::start("");
    let address = corrupting_relay(backend.address, usize::MAX);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    let peer = format!("--peer=honest={address},{}", backend.child.id());
    let output = bench(&[
        "relay",
        "--quick",
        "--seconds=0.2",
        "--peers=direct",
        &peer,
        "--rows=64x1,idle",
        "--sessions=50",
        "--json",
        file.to_str().unwrap(),
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = json(&file);
    let honest = |row: usize| report["rows"][row]["peers"][1]["median"].clone();
    assert!(honest(0)["cpu_us_per_message"].as_f64().unwrap() > 0.0);
    assert!(honest(1)["kb_per_session"].as_f64().is_some(), "{}", honest(1));
}

#[test]
fn requests_are_measured_through_each_peer() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    let arguments = ["http", "--quick", "--seconds=0.2", "--peers=haproxy,haproxy-always,nginx,direct"];
    let output = bench(&[&arguments[..], &["--sessions=50", "--json", file.to_str().unwrap()]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = json(&file);
    let rows = report["rows"].as_array().unwrap();
    let names: Vec<&Value> = rows.iter().map(|row| &row["row"]).collect();
    assert_eq!(names, ["get1", "get16", "close", "get-100k", "post-100k", "kept"]);
    assert_eq!(rows[4]["work"]["requests"]["upload"], 100 * 1_024);
    assert_eq!(rows[5]["work"]["kept"]["connections"], 50);
    for (row, name) in rows.iter().zip(names) {
        for peer in row["peers"].as_array().unwrap() {
            let median = &peer["median"];
            if name == "kept" {
                assert_eq!(median["kb_per_connection"].is_f64(), peer["peer"] != "direct", "{peer}");
                continue;
            }
            assert!(median["requests_per_second"].as_f64().unwrap() > 0.0, "{name} {peer}");
            assert_eq!(median["cpu_us_per_request"].is_f64(), peer["peer"] != "direct", "{name} {peer}");
        }
    }
    for name in ["haproxy", "nginx"] {
        if report["peers"].get(name).is_none() {
            skipped(&format!("{name} is missing: requests through it"));
        }
    }
}

/// Measures a row of requests through a relay, which is a peer; what the table says of its failure.
fn failed_request(address: SocketAddr, row: &str) -> String {
    let peer = format!("--peer=other={address},{}", std::process::id());
    let output = bench(&["http", "--quick", "--seconds=0.2", "--peers=direct", &peer, "--rows", row]);
    assert_eq!(output.status.code(), Some(1));
    let table = String::from_utf8_lossy(&output.stdout);
    let failure = table.lines().find(|line| line.contains("other FAILED in 1 of 1")).expect("it is reported");
    failure.to_owned()
}

#[test]
fn a_request_through_a_relay_that_changes_a_byte_has_no_figures() {
    let backend = Backend::start("");
    let failure = failed_request(corrupting_relay(backend.address, 300), "get1");
    assert!(failure.contains("a wrong body: it differs from what was sent"), "{failure}");
}

#[test]
fn a_peer_that_answers_requests_with_something_else_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut request = String::new();
            let _ = BufReader::new(client.try_clone().unwrap()).read_line(&mut request);
            let _ = client.write_all(b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n");
        }
    });
    for row in ["get16", "kept"] {
        let failure = failed_request(address, row);
        let said = "the request was answered with `426 Upgrade Required` and not with 200";
        assert!(failure.contains(said), "{failure}");
    }
}

#[test]
fn rows_of_requests_and_of_sessions_are_not_mixed() {
    for (command, row) in [("relay", "get1"), ("http", "64x1")] {
        let output = bench(&[command, "--quick", "--peers=direct", "--rows", row]);
        assert_eq!(output.status.code(), Some(1));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains(&format!("nothing here to measure for the row {row}")), "{errors}");
    }
}

#[test]
fn the_shim_is_measured_beside_plain_relaying() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    let (rows, variants) = (["64x16", "256k", "idle", "upgrades"], ["plain", "service", "client", "both"]);
    let output = bench(&[
        "shim",
        "--quick",
        "--seconds=0.2",
        "--sessions=50",
        "--rows",
        &rows.join(","),
        "--json",
        file.to_str().unwrap(),
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = json(&file);
    let keys =
        ["cpu_us_per_message", "cpu_us_per_message", "kb_per_session", "cpu_us_per_upgrade"].into_iter();
    for ((row, name), key) in report["rows"].as_array().unwrap().iter().zip(rows).zip(keys) {
        assert_eq!(row["row"], name);
        for (entrant, variant) in row["variants"].as_array().unwrap().iter().zip(variants) {
            assert_eq!(entrant["variant"], variant);
            assert!(entrant["median"][key].is_f64(), "{name} {entrant}");
            let compared = key.starts_with("cpu");
            assert!(!compared || entrant["to_plain"][key].as_f64().unwrap() > 0.0, "{name} {entrant}");
        }
    }
    assert_eq!(report["variants"].as_object().unwrap().len(), variants.len());
}

#[test]
fn a_service_may_commit_each_message() {
    let output =
        bench(&["shim", "--quick", "--seconds=0.2", "--rows=64x16", "--variants=both", "--commit-each"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(
        table.contains("both: ack = shim, clients of steadfast.v1, a commit for each message"),
        "{table}"
    );
}

#[test]
fn instructions_are_counted_and_compared_or_valgrind_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (file, baseline) = (folder.path().join("report.json"), folder.path().join("baseline.json"));
    let (file_name, baseline_name) = (file.to_str().unwrap(), baseline.to_str().unwrap());
    let count = |more: &[&str]| bench(&[&["instructions", "--rounds=1"], more].concat());
    let written = ["--messages=200", "--rows=64x1", "--json", file_name, "--write-baseline", baseline_name];
    let output = count(&written);
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("valgrind, which is not in the search path") {
        assert_eq!(output.status.code(), Some(1));
        return skipped("valgrind is missing: instructions");
    }
    assert!(output.status.success(), "{errors}");
    let report = json(&file);
    let each = report["rows"][0]["median"][0].as_f64().unwrap();
    assert!(each > 1_000.0 && report["rows"][0]["variant"] == "plain", "{report}");

    let written = json(&baseline);
    assert_eq!(written["rows"]["64x1"]["instructions_each"], each.round());
    let compared_with = |change: &dyn Fn(&mut Value)| {
        let mut changed = written.clone();
        change(&mut changed);
        std::fs::write(&baseline, changed.to_string()).unwrap();
        count(&["--baseline", baseline_name])
    };
    let half = (each / 2.0).round();
    let worse = compared_with(&|old| old["rows"]["64x1"]["instructions_each"] = half.into());
    assert_eq!(worse.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&worse.stderr);
    let said =
        format!("of the baseline's {half:.0} (at most 1.05). If it has to be, write a new baseline: `");
    assert!(
        errors.contains("64x1: ") && errors.contains(&said) && errors.contains(baseline_name),
        "{errors}"
    );
    let other = compared_with(&|old| old["conditions"]["rustc"] = "1.2.3".into());
    assert!(other.status.success(), "{}", String::from_utf8_lossy(&other.stderr));
    let said = String::from_utf8_lossy(&other.stdout);
    assert!(said.starts_with("not compared: the baseline is of rustc 1.2.3, "), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn instructions_are_counted_with_the_shim_at_either_end() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    let arguments = ["instructions", "--rounds=1", "--rows=64x16", "--variants=service,client,both"];
    let output = bench(
        &[&arguments[..], &["--commit-each", "--messages=300", "--json", file.to_str().unwrap()]].concat(),
    );
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("valgrind, which is not in the search path") {
        return skipped("valgrind is missing: instructions");
    }
    assert!(output.status.success(), "{errors}");
    let report = json(&file);
    for (row, variant) in ["service", "client", "both"].into_iter().enumerate() {
        let row = &report["rows"][row];
        assert_eq!((&row["row"], &row["variant"]), (&"64x16".into(), &variant.into()), "{report}");
        assert!(row["median"][0].as_f64().unwrap() > 100.0, "{report}");
    }
}

/// Tells `./test` of a test that found a tool missing and passed.
fn skipped(what: &str) {
    eprintln!("SKIPPED: {what}");
    if let Some(path) = std::env::var_os("STEADFAST_SKIPPED") {
        let mut file = std::fs::File::options().append(true).create(true).open(path).unwrap();
        writeln!(file, "{what}").unwrap();
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "with CI=true nothing may be left out: {what}");
}

#[test]
fn without_valgrind_nothing_is_counted() {
    let output = Command::new(PROGRAM).arg("instructions").env("PATH", "/nowhere").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("valgrind") && errors.contains("apt-get install valgrind"), "{errors}");
}

/// The figures and the pictures that the pages show.
fn plots() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/plots")
}

#[test]
fn the_pictures_of_the_pages_are_those_of_their_figures() {
    let folder = tempfile::tempdir().unwrap();
    let (from, into) = (plots(), folder.path().to_str().unwrap());
    let output = bench(&["plots", "--from", from.to_str().unwrap(), "--into", into]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = |folder: &Path, end: &str| -> BTreeSet<OsString> {
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let files = files.filter(|file| file.extension().is_some_and(|extension| extension == end));
        files.map(|file| file.file_stem().unwrap().to_owned()).collect()
    };
    let drawn = names(folder.path(), "svg");
    assert!(drawn.len() >= 3, "{drawn:?}");
    assert_eq!(drawn, names(&from, "svg"));
    assert_eq!(drawn, names(&from, "json"));
    for name in drawn {
        let file = Path::new(&name).with_extension("svg");
        let same =
            std::fs::read(folder.path().join(&file)).unwrap() == std::fs::read(from.join(&file)).unwrap();
        assert!(
            same,
            "docs/plots/{} is not what `steadfast-bench plots` makes of its figures",
            file.display()
        );
    }
}

/// Kills a backend, which the report calls by this name, under six sessions at `target`, and measures bare dials to `floor`.
fn kill_under_six(
    target: &Backend,
    (victim, name): (&Backend, &str),
    floor: &Backend,
    more: &[&str],
    file: &Path,
) {
    let target = format!("--target={}", target.address);
    let (kill, name) = (format!("--kill={}", victim.child.id()), format!("--kill-name={name}"));
    let floor = format!("--floor={}", floor.address);
    let times = ["--rate=50", "--warm-up=0.5", "--after=1", "--wait=5", "--json", file.to_str().unwrap()];
    let six = ["failover", "--sessions=6", &target, &kill, &name, &floor];
    let output = bench(&[&six, more, &times].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_report_becomes_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let (into, file) = (folder.path().to_str().unwrap(), folder.path().join("failover.json"));
    let (victim, survivor) = (Backend::start("a"), Backend::start("b"));
    kill_under_six(&survivor, (&victim, "b"), &survivor, &[], &file);
    let output = bench(&["plots", "--from", into, file.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let figures = json(&folder.path().join("pauses.json"));
    let names: Vec<&str> =
        figures["series"].as_array().unwrap().iter().map(|series| series["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["6 sessions, failover", "6 sessions, bare dials"]);
    assert_eq!(figures["series"][0]["points"].as_array().unwrap().len(), 101);
    let picture = std::fs::read_to_string(folder.path().join("pauses.svg")).unwrap();
    assert!(picture.contains("6 sessions, bare dials"));
    assert!(!folder.path().join("cpu.svg").exists(), "there are no figures for it");

    std::fs::write(&file, "{}").unwrap();
    let output = bench(&["plots", "--from", into, file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("failover.json: this is no report of relay, failover or drain"), "{errors}");
}

/// Measures rows through a relay, which is a peer.
fn relayed(address: SocketAddr, backend: &Backend, rows: &str, file: &Path) -> Output {
    let peer = format!("--peer=other={address},{}", backend.child.id());
    let file = file.to_str().unwrap();
    bench(&["relay", "--quick", "--seconds=0.2", "--peers=direct", &peer, "--rows", rows, "--json", file])
}

#[test]
fn rows_by_size_and_crowds_are_measured() {
    let (backend, folder) = (Backend::start(""), tempfile::tempdir().unwrap());
    let file = folder.path().join("report.json");
    let relay = corrupting_relay(backend.address, usize::MAX);
    let output = relayed(relay, &backend, "16x1,1k,16k,64k,idle-100,crowd-100", &file);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = json(&file);
    let work = |row: usize| &report["rows"][row]["work"];
    let sizes: Vec<u64> = (0..4).map(|row| work(row)["load"]["payload"].as_u64().unwrap()).collect();
    assert_eq!(sizes, [16, 1_024, 16_384, 65_536]);
    assert_eq!((&work(4)["idle"]["sessions"], &work(5)["crowd"]["sessions"]), (&100.into(), &100.into()));
    let crowd = &report["rows"][5]["peers"][1]["median"];
    assert!(crowd["cpu_us_per_message"].as_f64().unwrap() > 0.0, "{crowd}");
}

#[test]
fn a_silent_session_that_ends_while_others_talk_is_a_failure() {
    let (backend, folder) = (Backend::start(""), tempfile::tempdir().unwrap());
    // The hundredth is the one that talks.
    let relay = relay_that_ends_the_first_of(backend.address, 100);
    let output = relayed(relay, &backend, "crowd-100", &folder.path().join("report.json"));
    assert_eq!(output.status.code(), Some(1));
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(table.contains("1 of 99 silent sessions ended while others talked"), "{table}");
}

#[test]
fn a_path_is_measured_with_a_broker_and_without() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    let file_name = file.to_str().unwrap();
    let output = bench(&["paths", "--delays=5", "--megabytes=0.3", "--rounds=2", "--json", file_name]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let line = &json(&file)["lines"][0];
    assert_eq!((&line["delay_ms"], &line["bytes"]), (&5.into(), &(37 * 8_192).into()));
    assert!(line["ratio"].is_null(), "there is nothing beside");
    let entrants = line["entrants"].as_array().unwrap();
    let names: Vec<&Value> = entrants.iter().map(|entrant| &entrant["through"]).collect();
    assert_eq!(names, ["no broker", "steadfast"]);
    for entrant in entrants {
        let rounds = entrant["rounds"].as_array().unwrap();
        // There and back: whatever the machine does, it cannot be faster.
        assert!(rounds.iter().all(|seconds| seconds.as_f64().unwrap() >= 0.010), "{entrant}");
        assert_eq!(rounds.len(), 2);
        assert!(entrant["megabytes_per_second"].as_f64().unwrap() > 0.0, "{entrant}");
    }
}

#[test]
fn a_path_that_takes_too_long_is_named() {
    let output = bench(&["paths", "--delays=5000", "--megabytes=0.1", "--time-limit=1"]);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("no broker, 5000 ms each way: client is not done after 1 s"), "{errors}");
}

#[test]
fn sessions_that_a_kill_closes_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    let (victim, survivor) = (Backend::start("a"), Backend::start("b"));
    kill_under_six(&victim, (&victim, "a"), &survivor, &["--processes=2"], &file);
    let round = &json(&file)["rounds"][0];
    assert_eq!(round["clients_closed"], 6);
    assert_eq!((&round["moved"]["sessions"], &round["moved"]["closed"]), (&6.into(), &6.into()));
    assert_eq!(
        (&round["answered_twice"], &round["reordered"], &round["wrong"]),
        (&0.into(), &0.into(), &0.into())
    );
    assert!(round["sent"].as_u64().unwrap() > 0, "{round}");
    assert_eq!(round["floor"]["connections"], 6);
}

/// An admin listener that says of every drain that it runs, and of every operation that it is over. Its
/// thread ends with the test.
fn admin_stub() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut request).unwrap();
            let state = match request.trim_end() {
                "POST /api/v1/pools/chat/backends/chat-1/drain HTTP/1.1" => "running",
                "GET /api/v1/operations/drain-7 HTTP/1.1" => "expired",
                other => panic!("nobody asks for {other}"),
            };
            let body = format!(
                r#"{{"operation": {{"id": "drain-7", "state": "{state}", "message": "2 sessions are left",
                "sessions": {{"total": 4, "moved": 1, "forced": 0, "failed": 0, "gone": 1, "remaining": 2,
                "staying": {{"busy": 2, "no_target": 0, "target_lost": 0, "pinned": 0}}}}}}}}"#
            );
            let length = body.len();
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}");
            let _ = stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes());
        }
    });
    address
}

#[test]
fn a_drain_that_does_not_end_is_reported_with_what_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    let backend = Backend::start("a");
    let output = bench(&[
        "drain",
        &format!("--target={}", backend.address),
        &format!("--admin={}", admin_stub()),
        "--pool=chat",
        "--backend=chat-1",
        "--answers-as=a",
        "--sessions=4",
        "--rate=50",
        "--warm-up=0.5",
        "--after=0.5",
        "--wait=5",
        "--json",
        file.to_str().unwrap(),
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(table.contains("drain expired after"), "{table}");
    assert!(table.contains("2 sessions are left"), "{table}");
    let round = &json(&file)["rounds"][0];
    assert_eq!(round["operation"]["sessions"]["staying"]["busy"], 2);
    assert_eq!((&round["moved"]["sessions"], &round["clients_closed"]), (&4.into(), &0.into()));
    assert_eq!((&round["lost"], &round["answered_twice"]), (&0.into(), &0.into()));
    assert!(round["moved"]["p50_ms"].as_f64().unwrap() > 0.0, "{round}");
    assert_eq!(bench(&["drain", "--target=127.0.0.1:9"]).status.code(), Some(2), "--admin is missing");
}

#[test]
fn a_broker_that_is_not_there_is_a_failure_of_the_run() {
    let mut bystander = Backend::start("");
    let kill = format!("--kill={}", bystander.child.id());
    let output = bench(&["failover", "--target=127.0.0.1:9", &kill, "--sessions=1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("127.0.0.1:9"));
    assert!(bystander.child.try_wait().unwrap().is_none(), "nothing is killed before the sessions are open");
    assert_eq!(bench(&["failover", "--target=127.0.0.1:9"]).status.code(), Some(2), "--kill is missing");
}
