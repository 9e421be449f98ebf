//! Flags, environment, file; what a wrong one gets; exit codes.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Output};

use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::client::Client;
use steadfast_tests::process::Process;
use tempfile::TempDir;

/// Runs `steadfast` with these arguments to its end. Only for calls that end by themselves.
fn run(arguments: &[&str]) -> Output {
    Command::new(Broker::binary()).args(arguments).output().expect("steadfast can be started")
}

/// The one line on stderr of a run that must have ended with `code`.
fn complaint(output: &Output, code: i32) -> String {
    let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    assert_eq!(output.status.code(), Some(code), "stderr: {text}");
    assert_eq!(text.lines().count(), 1, "one line says what to do: {text}");
    text
}

fn file(toml: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("steadfast.toml");
    std::fs::write(&path, toml).expect("the file can be written");
    (directory, path)
}

fn check(toml: &str) -> Output {
    let (_directory, path) = file(toml);
    run(&["check", "--config", path.to_str().expect("UTF-8")])
}

/// A configuration that is right, but for what is put behind it.
fn valid(more: &str) -> String {
    format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n\n[[pool]]\nname = \"default\"\n\n[[pool.backend]]\n\
         url = \"ws://127.0.0.1:9\"\n\n{more}"
    )
}

struct Started {
    process: Process,
}

impl Started {
    fn with(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(Broker::binary());
        command.args(arguments).envs(environment.iter().copied());
        Self { process: Process::spawn("steadfast", &mut command) }
    }

    async fn address(&mut self, index: usize) -> SocketAddr {
        self.process.printed("listening on ", index).await.parse().expect("an address")
    }
}

#[tokio::test]
async fn flags_alone_are_enough() {
    let (a, b) = (Backend::start("a", "").await, Backend::start("b", "").await);
    let arguments =
        ["serve", "--listen", "127.0.0.1:0", "--backend", &a.url(), "--backend", &b.url(), "--workers", "1"];
    let mut broker = Started::with(&arguments, &[]);
    let address = broker.address(0).await;
    let mut clients = [Client::connect(address).await, Client::connect(address).await];
    for client in &mut clients {
        client.send("hello").await;
        client.text().await;
    }
    assert_eq!((a.journal().texts().len(), b.journal().texts().len()), (1, 1));
    let admin = broker.process.stdout().iter().any(|line| line.starts_with("admin on"));
    assert!(!admin, "the admin listener is off unless asked for");
}

#[tokio::test]
async fn several_listeners_are_printed_in_order() {
    let backend = Backend::start("a", "").await;
    let fixed =
        TcpListener::bind("127.0.0.1:0").and_then(|own| own.local_addr()).expect("a free port").to_string();
    let url = backend.url();
    let arguments =
        ["serve", "--listen", &fixed, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--backend", &url];
    let mut broker = Started::with(&arguments, &[]);
    let addresses = [broker.address(0).await, broker.address(1).await];
    assert_eq!(addresses[0].to_string(), fixed);
    assert_ne!(addresses[1].port(), 0);
    for address in addresses {
        Client::connect(address).await.ask("hello", "a:hello").await;
    }
    broker.process.printed("admin on 127.0.0.1:", 0).await;
}

#[tokio::test]
async fn the_environment_is_enough() {
    let (a, b) = (Backend::start("a", "").await, Backend::start("b", "").await);
    let urls = format!("{},{}", a.url(), b.url());
    let environment = [("STEADFAST_LISTEN", "127.0.0.1:0,127.0.0.1:0"), ("STEADFAST_BACKEND", urls.as_str())];
    let mut broker = Started::with(&["serve"], &environment);
    let addresses = [broker.address(0).await, broker.address(1).await];
    let mut clients = Vec::new();
    for address in addresses {
        let mut client = Client::connect(address).await;
        client.send("hello").await;
        client.text().await;
        clients.push(client);
    }
    assert_eq!((a.journal().texts().len(), b.journal().texts().len()), (1, 1));
}

#[tokio::test]
async fn flags_win_over_the_environment_and_that_over_the_file() {
    let backends =
        [Backend::start("file", "").await, Backend::start("env", "").await, Backend::start("flag", "").await];
    let toml = valid("").replace("ws://127.0.0.1:9", &backends[0].url());
    let (_directory, path) = file(&toml);
    let path = path.to_str().expect("UTF-8");
    let (env, flag) = (backends[1].url(), backends[2].url());
    let file = vec!["serve", "--config", path];
    let with_flag = [&file[..], &["--backend", &flag]].concat();
    let set = vec![("STEADFAST_BACKEND", env.as_str())];
    for (arguments, environment, winner) in
        [(file.clone(), vec![], "file"), (file, set.clone(), "env"), (with_flag, set, "flag")]
    {
        let mut broker = Started::with(&arguments, &environment);
        let address = broker.address(0).await;
        Client::connect(address).await.ask("who?", &format!("{winner}:who?")).await;
    }
}

#[tokio::test]
async fn on_failure_and_ack_can_be_flags() {
    let backend = Backend::start("a", "").await;
    let url = backend.url();
    let flags = ["--ack", "none", "--on-failure", "close", "--log-level", "warn"];
    let arguments = [&["serve", "--listen", "127.0.0.1:0", "--backend", &url][..], &flags].concat();
    let mut broker = Started::with(&arguments, &[]);
    let mut client = Client::connect(broker.address(0).await).await;
    client.ask("hello", "a:hello").await;
    backend.kill();
    assert_eq!(client.closed().await.0, Some(1012));
    assert_eq!(backend.journal().connections()[0].pings(), [""; 0]);
}

#[tokio::test]
async fn ipv6_is_served() {
    if TcpListener::bind("[::1]:0").is_err() {
        eprintln!("skipped: this machine has no IPv6 loopback");
        return;
    }
    let backend = Backend::start("a", "").await;
    let mut broker = Started::with(&["serve", "--listen", "[::1]:0", "--backend", &backend.url()], &[]);
    Client::connect(broker.address(0).await).await.ask("hello", "a:hello").await;
}

#[test]
fn a_right_file_is_found_right() {
    let output =
        check(&valid("[limits]\nmessage = \"1MiB\"\nring = 2097152\n\n[timeouts]\nclient_stall = \"5s\"\n"));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn unknown_keys_are_named_with_file_and_line() {
    let toml = valid("[failover]\ndeadline = \"30s\"\ndedline = \"30s\"\n");
    let line = toml.lines().position(|line| line.starts_with("dedline")).expect("the line") + 1;
    let text = complaint(&check(&toml), 3);
    assert!(text.contains("steadfast.toml"), "the file: {text}");
    assert!(text.contains("dedline"), "the key: {text}");
    assert!(text.contains(&line.to_string()), "line {line}: {text}");
}

#[test]
fn wrong_values_are_refused() {
    let cases = [
        ("[limits]\nmessage = \"2MiB\"\nring = \"1MiB\"\n", "ring"),
        ("[failover]\ndeadline = \"soon\"\n", "deadline"),
        ("[failover]\ndeadline = 5\n", "deadline"),
        ("[limits]\nmessage = \"much\"\n", "message"),
        ("[close_codes]\ndeadline = 999\n", "deadline"),
        ("[close_codes]\nrefused = 1006\n", "refused"),
        ("[log]\nformat = \"xml\"\n", "format"),
        ("[limitz]\nmessage = 5\n", "limitz"),
        ("[[pool]]\nname = \"default\"\n[[pool.backend]]\nurl = \"ws://127.0.0.1:9\"\n", "default"),
        ("[[pool]]\nname = \"empty\"\n", "empty"),
        (
            "[[pool]]\nname = \"p\"\nack = \"perhaps\"\n[[pool.backend]]\nurl = \"ws://127.0.0.1:9\"\n",
            "perhaps",
        ),
        ("[[pool]]\nname = \"p\"\n[[pool.backend]]\nurl = \"http//nowhere\"\n", "nowhere"),
        ("[[pool]]\nname = \"p\"\n[[pool.backend]]\nurl = \"ftp://127.0.0.1:9\"\n", "ftp"),
        ("[[listener]]\naddress = \"here\"\n", "here"),
        ("[[listener]]\naddress = \"127.0.0.1:0\"\npool = \"missing\"\n", "missing"),
        ("[admin]\naddress = \"127.0.0.1\"\n", "127.0.0.1"),
        ("this is not TOML", "steadfast.toml"),
    ];
    for (more, named) in cases {
        let text = complaint(&check(&valid(more)), 3);
        assert!(text.contains(named), "{more:?} should be named by {named:?}: {text}");
    }
}

#[test]
fn serve_refuses_what_check_refuses() {
    let (_directory, path) = file(&valid("[limits]\nunknown = 1\n"));
    let output = run(&["serve", "--config", path.to_str().expect("UTF-8")]);
    assert!(complaint(&output, 3).contains("unknown"));
    let output = run(&["serve", "--config", "/nowhere/steadfast.toml"]);
    assert!(complaint(&output, 3).contains("/nowhere/steadfast.toml"));
    let output = run(&["serve", "--listen", "127.0.0.1:0", "--backend", "not a url"]);
    assert_eq!(output.status.code(), Some(2), "a flag's wrong value is wrong usage");
    assert!(String::from_utf8_lossy(&output.stderr).contains("not a url"));
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for arguments in [&["serve", "--no-such-flag"][..], &["fly"], &["check"], &["serve", "--ack", "perhaps"]]
    {
        let output = run(arguments);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn an_address_in_use_is_exit_code_4() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    let text = complaint(&run(&["serve", "--listen", &address, "--backend", "ws://127.0.0.1:9"]), 4);
    assert!(text.contains(&address), "{text}");
    let arguments =
        ["serve", "--listen", "127.0.0.1:0", "--admin", &address, "--backend", "ws://127.0.0.1:9"];
    assert!(complaint(&run(&arguments), 4).contains(&address));
}

#[test]
fn too_few_descriptors_are_exit_code_5() {
    let (_directory, path) = file(&valid("[limits]\nmax_sessions = 100000\n"));
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -n 200 && exec \"$0\" serve --config \"$1\""])
        .arg(Broker::binary())
        .arg(path);
    let text = complaint(&command.output().expect("sh can be started"), 5);
    assert!(text.contains("ulimit") || text.contains("descriptors"), "{text}");
}

#[test]
fn version_and_help_are_there() {
    let version = run(&["--version"]);
    assert!(String::from_utf8_lossy(&version.stdout).contains(env!("CARGO_PKG_VERSION")));
    let help = String::from_utf8_lossy(&run(&["serve", "--help"]).stdout).into_owned();
    for flag in [
        "--listen",
        "--backend",
        "--admin",
        "--ack",
        "--on-failure",
        "--workers",
        "--config",
        "STEADFAST_LISTEN",
    ] {
        assert!(help.contains(flag), "{flag} is not in the help:\n{help}");
    }
}
