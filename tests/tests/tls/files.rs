//! Listeners and backends that are files of Unix domain sockets.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::frame::Frame;
use steadfast_tests::pki::shown;
use steadfast_tests::process::Process;
use steadfast_tests::sequence::{
    check_answers, check_arrivals, converse, home_and_other, session_connections,
};
use steadfast_tests::upgrade::Upgrade;
use steadfast_tests::wait::eventually;
use tempfile::TempDir;

use crate::openssl::output;
use crate::peers::tools::{Tool, left_out};
use crate::scene::{World, table, wait_outcome};

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// A broker that listens at this file too.
fn at(path: &Path, more: &str, backends: &[&Backend]) -> BrokerBuilder {
    let listener = format!("[[listener]]\naddress = \"unix:{}\"\npool = \"default\"\n{more}", shown(path));
    Broker::over(backends).listener(&listener)
}

/// Starts a broker with this configuration, which is to end at once; returns its exit code and what it says.
async fn refused(builder: &BrokerBuilder, folder: &TempDir) -> (Option<i32>, String) {
    let file = folder.path().join("refused.toml");
    fs::write(&file, builder.to_toml()).expect("a file");
    let mut command = Command::new("timeout");
    command.arg("20").arg(Broker::binary()).arg("serve").arg("--config").arg(&file);
    let ended = tokio::task::spawn_blocking(move || command.output());
    let ended = ended.await.expect("it does not panic").expect("it runs");
    (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned())
}

#[tokio::test]
async fn a_session_from_file_to_file_outlives_its_backend() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let a = Backend::start_file(&path("a.sock"), "a", "").await;
    let b = Backend::start_file(&path("b.sock"), "b", "").await;
    let front = path("front.sock");
    let broker = at(&front, "", &[&a, &b]).start().await;
    let mut client = Upgrade::to_file(&front).connect().await;
    let (home, _) = home_and_other([&a, &b]).await;
    let answers = converse(&mut client, "m", 300, 8, async |number, _: &str| {
        if number == 100 {
            home.kill();
        }
    })
    .await;
    let session = broker.wait_at_rest().await;
    let connections = session_connections(session["id"].as_str().expect("an id"), &[&a, &b]);
    check_arrivals("m", 300, &connections);
    check_answers("m", 300, &answers, &connections);
    for (_, connection) in &connections {
        assert_eq!(connection.header("x-forwarded-for"), Some("127.0.0.1"));
        assert_eq!(connection.header("x-forwarded-proto"), Some("http"));
    }
    assert!(session["client"].as_str().is_some_and(|client| client.starts_with("127.0.0.1")), "{session}");
    // And back, once the first one is there again.
    home.restart().await;
    let path =
        format!("/api/v1/pools/default/backends/{}/drain", session["backend"].as_str().expect("a name"));
    assert_eq!(broker.post(&path).await.status, 202);
    broker.wait_only_session("back", |session| session["backend"] == home.name()).await;
    client.ask("last", &format!("{}:last", home.name())).await;
    let large = vec![7; 5 << 20];
    client.send_frame(Frame::new(2, large.clone())).await;
    assert!(client.message().await.bytes == [home.name().as_bytes(), b":", &large[..]].concat());
    assert_eq!(broker.ends().await, 0.0);
}

#[tokio::test]
async fn files_and_tls_and_ports_can_stand_in_for_each_other() {
    let world = World::new();
    let folder = folder();
    let front = folder.path().join("front.sock");
    let file = Backend::start_file(&folder.path().join("a.sock"), "a", "").await;
    let encrypted = world.backend("b", "").await;
    let builder = at(&front, &table("", &[&world.pair]), &[&file, &encrypted]);
    let broker = world.trusting(builder).start().await;
    let mut client = Upgrade::to(broker.address()).connect().await;
    let (home, other) = home_and_other([&file, &encrypted]).await;
    client.ask("one", &format!("{}:one", home.name())).await;
    broker.wait_at_rest().await;
    home.kill();
    client.ask("two", &format!("{}:two", other.name())).await;
    // The listener of the file speaks TLS.
    let ca = world.authority.ca();
    let mut command = Command::new("timeout");
    command.args(["20", "openssl", "s_client", "-unix", shown(&front), "-CAfile", shown(&ca)]);
    let said = output(command, "Q\n").await;
    assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
    wait_outcome(&broker, "full", 1).await;
}

#[tokio::test]
async fn the_file_has_its_owner_and_permissions_and_goes_at_the_end() {
    let folder = folder();
    let front = folder.path().join("front.sock");
    let backend = Backend::start("a", "").await;
    let me = fs::metadata(folder.path()).expect("it is there");
    let access = format!("mode = \"0620\"\nowner = \"{}\"\ngroup = \"{}\"", me.uid(), me.gid());
    let mut broker = at(&front, &access, &[&backend]).start().await;
    let made = fs::metadata(&front).expect("it is there");
    assert_eq!((made.mode() & 0o777, made.uid(), made.gid()), (0o620, me.uid(), me.gid()));
    Upgrade::to_file(&front).connect().await.ask("m", "a:m").await;
    broker.signal(Signal::SIGTERM);
    assert!(broker.wait_exit().await.success());
    assert!(!front.exists(), "it goes with its broker");
}

#[tokio::test]
async fn a_stale_file_makes_room_and_one_that_is_used_does_not() {
    let folder = folder();
    let front = folder.path().join("front.sock");
    let backend = Backend::start("a", "").await;
    drop(UnixListener::bind(&front).expect("a file"));
    let builder = at(&front, "", &[&backend]);
    let mut broker = builder.clone().start().await;
    let mut client = Upgrade::to_file(&front).connect().await;
    client.ask("m", "a:m").await;

    let (code, said) = refused(&builder, &folder).await;
    assert_eq!(code, Some(4), "{said}");
    let begins = format!("cannot listen on unix:{}: ", shown(&front));
    assert!(said.contains(&begins) && said.contains("another"), "{said}");
    client.ask("the first one has it still", "a:the first one has it still").await;
    Upgrade::to_file(&front).connect().await.ask("m", "a:m").await;

    // SIGKILL leaves it, and the next one replaces it.
    broker.signal(Signal::SIGKILL);
    broker.wait_exit().await;
    assert!(fs::symlink_metadata(&front).expect("it is there").file_type().is_socket());
    let broker = builder.clone().start().await;
    Upgrade::to_file(&front).connect().await.ask("m", "a:m").await;
    drop(broker);

    fs::remove_file(&front).expect("it is there");
    fs::write(&front, "words").expect("a file");
    let (code, said) = refused(&builder, &folder).await;
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("something else than a socket"), "{said}");
    assert_eq!(fs::read_to_string(&front).expect("it is there"), "words");
}

#[tokio::test]
async fn a_backend_whose_file_is_not_there_is_left_until_it_is() {
    let folder = folder();
    let path = folder.path().join("a.sock");
    let a = Backend::start_file(&path, "a", "").await;
    a.kill();
    fs::remove_file(&path).expect("it was there");
    let b = Backend::start("b", "").await;
    let checks = "[pool.health]\ntype = \"websocket\"\ninterval = \"50ms\"\nrise = 1\nfall = 1";
    let broker = Broker::over(&[&a, &b]).pool_table(checks).start().await;
    broker.wait_backend("a", "down", |own| own["health"] == "down").await;
    Upgrade::to(broker.address()).connect().await.ask("m", "b:m").await;
    a.restart().await;
    broker.wait_backend("a", "up", |own| own["health"] == "up").await;
    b.kill();
    Upgrade::to(broker.address()).connect().await.ask("m", "a:m").await;
}

/// Python's `websockets` as a backend in a file.
async fn python_service(path: &Path) -> Process {
    let mut command = Tool::Websockets.command();
    command.args(["server.py", "websockets", shown(path)]);
    let mut process = Process::spawn("websockets server", &mut command);
    process.printed("listening on ", 0).await;
    process
}

#[tokio::test]
async fn curl_and_websockets_speak_through_files() {
    if left_out("curl_and_websockets_speak_through_files", &[Tool::Curl, Tool::Websockets]) {
        return;
    }
    let folder = folder();
    let [front, back]: [PathBuf; 2] = ["front.sock", "back.sock"].map(|name| folder.path().join(name));
    let service = python_service(&back).await;
    let listed = format!("[[pool.backend]]\nurl = \"unix:{}\"", shown(&back));
    let broker = at(&front, "", &[]).pool_table(&listed).start().await;
    let request = Upgrade::to_file(&front).header("Sec-WebSocket-Protocol", "chat.v2");
    let mut client = request.connect().await;
    client.ask("!who", "websockets").await;
    client.ask("grüße", "grüße").await;
    let mut command = Tool::Curl.command();
    command.args([
        "--silent",
        "--include",
        "--max-time",
        "20",
        "--unix-socket",
        shown(&front),
        "http://localhost/",
    ]);
    let said = output(command, "").await;
    assert!(said.starts_with("HTTP/1.1 426 "), "{said}");
    // Its name is its URL.
    let name = format!("unix:{}", shown(&back));
    assert!(broker.backend(&name).await.is_some());
    drop(service);
    let service = python_service(&back).await;
    client.ask("after", "after").await;
    eventually("one session at the second", || {
        service.stdout().iter().filter(|line| line.contains("\"open\"")).count() == 1
    })
    .await;
    assert_eq!(broker.ends().await, 0.0);
}
