//! The program as its user meets it: exit codes, what it prints, one line for each mistake.

mod program;

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;

use clap::CommandFactory;
use nix::sys::signal::Signal;
use program::{PATIENCE, Running, code, run, steadfast, text};
use steadfast::cli::args::Cli;
use steadfast::cli::exit::Exit;

const FLAGS: [&str; 4] = ["--listen", "127.0.0.1:0", "--backend", "ws://127.0.0.1:9"];

fn fixtures(kind: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(kind);
    let entries = fs::read_dir(&folder).expect("the fixtures");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

/// What a fixture's first lines say is to come.
fn expectations(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).expect("the fixture");
    let expected = text.lines().map_while(|line| line.strip_prefix("# expect: "));
    let expected: Vec<_> = expected.map(str::to_owned).collect();
    assert!(!expected.is_empty(), "{} says what to expect", file.display());
    expected
}

fn check(file: &Path) -> Output {
    run(steadfast().arg("check").arg("--config").arg(file))
}

#[test]
fn valid_files_pass() {
    let files = fixtures("valid");
    assert!(files.len() >= 7, "fixtures were found: {files:?}");
    for file in files {
        let output = check(&file);
        let expected = format!("{}: ok: {}", file.display(), expectations(&file).concat());
        assert_eq!(text(&output.stderr), "");
        let lines: Vec<_> = text(&output.stdout).lines().collect();
        assert_eq!(lines.last(), Some(&expected.as_str()));
        let of_pools = format!("{}: pool ", file.display());
        assert!(lines[..lines.len() - 1].iter().all(|line| line.starts_with(&of_pools)), "{lines:?}");
        assert_eq!(code(output.status), Some(0));
    }
}

#[test]
fn invalid_files_are_refused_with_a_line_for_each_mistake() {
    let files = fixtures("invalid");
    assert!(files.len() >= 50, "fixtures were found: {files:?}");
    for file in files {
        let output = check(&file);
        let expected = expectations(&file);
        let start = format!("steadfast: {}:", file.display());
        let lines: Vec<_> = text(&output.stderr).lines().collect();
        assert_eq!(lines.len(), expected.len(), "{lines:#?}\n{expected:#?}");
        for (line, expected) in lines.into_iter().zip(expected) {
            let said = line.strip_prefix(&start).expect("the file is named").trim_start();
            assert_eq!(said, expected, "{}", file.display());
        }
        assert_eq!(text(&output.stdout), "", "{}", file.display());
        assert_eq!(code(output.status), Some(3), "{}", file.display());
    }
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("s.toml");
    fs::write(&file, b"# \xff\xfe\n").expect("a file");
    for file in [file, folder.path().to_owned(), folder.path().join("absent.toml")] {
        let output = check(&file);
        let start = format!("steadfast: {}: cannot be read: ", file.display());
        assert!(text(&output.stderr).starts_with(&start), "{output:?}");
        assert_eq!(text(&output.stderr).lines().count(), 1, "{output:?}");
        assert_eq!(code(output.status), Some(3));
    }
}

#[test]
fn serve_without_anything_says_what_to_give() {
    let output = run(steadfast().arg("serve"));
    let said = text(&output.stderr);
    assert!(said.contains("--listen") && said.contains("[[listener]]"), "{said}");
    assert!(said.contains("--backend") && said.contains("[[pool]]"), "{said}");
    assert_eq!(said.lines().count(), 2, "{said}");
    assert_eq!(code(output.status), Some(3));
}

#[test]
fn a_command_line_that_cannot_be_understood_is_a_usage_error() {
    let wrong: [&[&str]; 8] = [
        &[],
        &["dance"],
        &["check"],
        &["serve", "--nonsense"],
        &["serve", "--listen", "localhost"],
        &["serve", "--backend", "ftp://127.0.0.1:9"],
        &["serve", "--workers", "0"],
        &["serve", "--ack", "maybe"],
    ];
    for arguments in wrong {
        let output = run(steadfast().args(arguments));
        assert_eq!(code(output.status), Some(2), "{arguments:?}: {output:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let file = fixtures("valid").into_iter().find(|file| file.ends_with("pools.toml")).expect("the fixture");
    let counted = |command: &mut Command| {
        let output = run(command.arg("check").arg("--config").arg(&file));
        text(&output.stdout).trim_end().rsplit_once(": ok: ").expect("it passes").1.to_owned()
    };
    assert_eq!(counted(&mut steadfast()), "3 listeners, 2 pools, 5 backends");
    let mut command = steadfast();
    command.env("STEADFAST_LISTEN", "127.0.0.1:0,127.0.0.1:0").env("STEADFAST_BACKEND", "ws://a:1");
    assert_eq!(counted(&mut command), "2 listeners, 2 pools, 4 backends");
    let mut command = steadfast();
    command.env("STEADFAST_LISTEN", "127.0.0.1:0,127.0.0.1:0").env("STEADFAST_BACKEND", "ws://a:1");
    let output = run(command
        .arg("check")
        .arg("--config")
        .arg(&file)
        .args(["--listen", "127.0.0.1:0", "[::1]:0"])
        .args([
            "--listen",
            "127.0.0.1:0",
            "--listen",
            "127.0.0.1:0,127.0.0.1:0",
            "--backend",
            "ws://a:1,ws://b:1",
        ]));
    assert!(text(&output.stdout).ends_with("5 listeners, 2 pools, 5 backends\n"), "{output:?}");
}

#[test]
fn an_address_that_cannot_be_bound_is_named() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = holder.local_addr().expect("it has an address");
    for (address, expected) in [(taken.to_string(), "in use"), ("192.0.2.1:0".to_owned(), "of this machine")]
    {
        let output =
            run(steadfast().arg("serve").args(["--backend", "ws://127.0.0.1:9", "--listen", &address]));
        let said = text(&output.stderr).lines().last().unwrap_or_default().to_owned();
        assert!(said.starts_with(&format!("steadfast: cannot listen on {address}: ")), "{output:?}");
        assert!(said.contains(expected), "{said}");
        assert_eq!(text(&output.stdout), "");
        assert_eq!(code(output.status), Some(4));
    }
}

#[test]
fn too_few_descriptors_are_named() {
    let mut command = Command::new("/bin/sh");
    command.env_clear().args([
        "-c",
        "ulimit -n 300 && exec \"$0\" serve \"$@\"",
        env!("CARGO_BIN_EXE_steadfast"),
    ]);
    let output = run(command.args(FLAGS).args(["--workers", "1"]));
    let said = text(&output.stderr);
    // Two for it, 16 handshakes, a check, dials and moves, and the broker's own with one worker and one listener.
    let needed = 2 + 16 + 1 + 2 * 256 + 196 + 6;
    assert!(said.contains(&format!("steadfast: too few descriptors: 1 session needs {needed} ")), "{said}");
    assert!(said.contains("hard limit is 300"), "{said}");
    assert_eq!(code(output.status), Some(5));
}

#[test]
fn serve_prints_its_addresses_and_ends_when_asked() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut command = steadfast();
        command.arg("serve").args(FLAGS).args(["--listen", "[::1]:0", "--admin", "127.0.0.1:0"]);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut running = Running(command.spawn().expect("it starts"));
        let lines = running.lines();
        for start in ["listening on 127.0.0.1:", "listening on [::1]:", "admin on 127.0.0.1:"] {
            let line = lines.recv_timeout(PATIENCE).expect("a line");
            let port: u16 = line.strip_prefix(start).expect("the address").parse().expect("a port");
            assert_ne!(port, 0);
        }
        running.signal(signal);
        let more = lines.recv_timeout(PATIENCE);
        assert_eq!(more, Err(mpsc::RecvTimeoutError::Disconnected), "it ends, and prints nothing else");
        assert_eq!(code(running.wait()), Some(0));
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("s.toml");
    fs::write(&file, "[shutdown]\ndelay = \"1h\"\n").expect("a file");
    let mut command = steadfast();
    command.arg("serve").args(FLAGS).arg("--config").arg(&file);
    let mut running =
        Running(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts"));
    let (lines, log) = (running.lines(), running.log());
    lines.recv_timeout(PATIENCE).expect("the address");
    running.signal(Signal::SIGTERM);
    // Two signals before the first is seen are one to the kernel.
    while !log.recv_timeout(PATIENCE).expect("the signal is logged").contains("asked to stop") {}
    running.signal(Signal::SIGTERM);
    assert_eq!(lines.recv_timeout(PATIENCE), Err(mpsc::RecvTimeoutError::Disconnected), "it ends");
    assert_eq!(code(running.wait()), Some(0));
}

#[test]
fn logs_are_json_when_asked() {
    let mut command = steadfast();
    command.arg("serve").args(FLAGS).args(["--log-format", "json"]);
    let mut running =
        Running(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts"));
    let mut stderr = running.0.stderr.take().expect("stderr is piped");
    let lines = running.lines();
    lines.recv_timeout(PATIENCE).expect("the address");
    running.signal(Signal::SIGTERM);
    assert_eq!(lines.recv_timeout(PATIENCE), Err(mpsc::RecvTimeoutError::Disconnected));
    assert_eq!(code(running.wait()), Some(0));
    let mut log = String::new();
    stderr.read_to_string(&mut log).expect("UTF-8");
    let events: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("one object a line")).collect();
    let capacity =
        events.iter().find(|event| event["message"] == "capacity").expect("the capacity is logged");
    for field in ["descriptors", "max_sessions", "buffers"] {
        assert!(capacity[field].as_u64().is_some_and(|figure| figure > 0), "{capacity}");
    }
}

fn documentation() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    fs::read_to_string(path).expect("the documentation")
}

#[test]
fn the_documentation_has_every_flag_and_variable() {
    let cli = Cli::command();
    let known: BTreeSet<(String, String)> = ["serve", "check"]
        .into_iter()
        .filter_map(|name| cli.find_subcommand(name))
        .flat_map(|command| command.get_arguments())
        .filter_map(|argument| {
            let variable = argument.get_env()?.to_str()?.to_owned();
            Some((format!("--{}", argument.get_long()?), variable))
        })
        .collect();
    assert!(known.len() >= 9, "flags were found: {known:?}");
    let documented: BTreeSet<(String, String)> = documentation()
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `--")?.split('|').map(|cell| cell.trim().trim_matches('`'));
            Some((format!("--{}", cells.next()?), cells.next()?.to_owned()))
        })
        .collect();
    assert_eq!(known, documented);
}

#[test]
fn the_documentation_has_every_exit_code() {
    let all = [
        Exit::Success,
        Exit::Failure,
        Exit::Usage,
        Exit::Config,
        Exit::Bind,
        Exit::Descriptors,
        Exit::Unreachable,
        Exit::Refused,
        Exit::NotFound,
        Exit::Conflict,
        Exit::Unfinished,
    ];
    let text = documentation();
    let (_, chapter) = text.split_once("## Exit codes\n").expect("the chapter");
    let (chapter, _) = chapter.split_once("\n#").expect("its end");
    let documented: Vec<u8> =
        chapter.lines().filter_map(|line| line.split(' ').nth(1)?.parse().ok()).collect();
    assert_eq!(documented, all.map(|exit| exit as u8));
}

#[test]
fn the_documentation_has_sound_examples() {
    let text = documentation();
    let examples: Vec<_> =
        text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!examples.is_empty(), "examples were found");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("steadfast.toml");
    for example in examples {
        fs::write(&file, example).expect("a file");
        let output = check(&file);
        assert_eq!(code(output.status), Some(0), "{output:?}\n{example}");
    }
}
