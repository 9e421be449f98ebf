//! The commands for a running broker, against an admin listener that answers by a script.

mod program;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex};
use std::thread;

use clap::CommandFactory;
use nix::sys::signal::Signal;
use program::{PATIENCE, Running, code, run, steadfast, text};
use serde_json::{Value, json};
use steadfast::cli::args::Cli;
use steadfast::cli::exit::Exit;

const TOKEN: &str = "0123456789abcdef-token";

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    /// `GET /path`
    what: String,
    /// The value of `Authorization`.
    authorization: Option<String>,
    body: String,
}

/// What a script answers; `None` ends the connection without a word.
type Answer = Option<(u16, Value)>;

/// An admin listener.
struct Api {
    address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Api {
    /// `script`: the answer to a request, and how many with the same line came before.
    fn new(script: impl Fn(&str, usize) -> Answer + Send + 'static) -> Api {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it has an address").to_string();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let seen = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                serve(stream, &script, &seen);
            }
        });
        Api { address, asked }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = steadfast();
        command.args(arguments).args(["--admin", &self.address]).env("STEADFAST_TOKEN", TOKEN);
        command
    }

    /// Runs it to its end. Whatever it says, it does not tell the token.
    fn run(&self, arguments: &[&str]) -> Output {
        let output = run(&mut self.command(arguments));
        for stream in [&output.stdout, &output.stderr] {
            assert!(!text(stream).contains(TOKEN), "{output:?}");
        }
        output
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("nobody panics with it").clone()
    }

    fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.what).collect()
    }
}

fn serve(stream: TcpStream, script: &impl Fn(&str, usize) -> Answer, seen: &Mutex<Vec<Asked>>) {
    let Some(asked) = read(&stream) else { return };
    let before = {
        let mut seen = seen.lock().expect("nobody panics with it");
        seen.push(asked.clone());
        seen.iter().filter(|one| one.what == asked.what).count() - 1
    };
    if let Some((status, body)) = script(&asked.what, before) {
        let body = if let Value::String(text) = body { text } else { body.to_string() };
        let length = body.len();
        let answer = format!("HTTP/1.1 {status} Word\r\nContent-Length: {length}\r\n\r\n{body}");
        let _ = (&stream).write_all(answer.as_bytes());
    }
    let _ = stream.shutdown(Shutdown::Both);
}

fn read(stream: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let header = |name: &str| {
        let found = head.iter().filter_map(|line| line.split_once(": "));
        found.filter(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
    };
    let length = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = String::from_utf8(body).expect("JSON is UTF-8");
    let what = head.first()?.strip_suffix(" HTTP/1.1")?.to_owned();
    Some(Asked { what, authorization: header("authorization"), body })
}

fn backend(pool: &str, name: &str, state: &str, sessions: u64) -> Value {
    json!({
        "pool": pool, "name": name, "address": "127.0.0.1:9001", "origin": "file", "state": state,
        "state_for_ms": 4321, "why": "as configured", "penalised": false, "health": "up", "circuit": "closed",
        "ejected_for_ms": null, "backup": false, "weight": 1, "effective_weight": 1.0, "max_sessions": null,
        "sessions": sessions, "requests": 0, "reserved": 0, "dials": 7, "failures": 0, "drain": null,
    })
}

fn backends(state: &str, sessions: u64) -> Answer {
    let all = [
        backend("chat", "b1", state, sessions),
        backend("chat", "b2", "up", 5),
        backend("news", "b2", "up", 0),
        backend("dns", "x.internal/10.0.0.1:9", "up", 0),
    ];
    Some((200, json!({ "backends": all })))
}

fn session(state: &str) -> Value {
    let counts = json!({
        "forwarded": 3, "acknowledged": 3, "replayed": 0, "repeated": 0, "suppressed": 0, "lost": 0, "in_doubt": 0,
    });
    json!({
        "id": "00", "pool": "chat", "route": null, "listener": "127.0.0.1:8080", "client": "10.0.0.9:5",
        "backend": "b1", "placed": "least sessions", "state": state, "age_ms": 61000, "failovers": 1, "moves": 2,
        "slowest_answer_ms": 3, "buffered_bytes": 0, "ledger": { "upstream": counts, "downstream": counts },
    })
}

fn operation(state: &str, moved: u64) -> Value {
    json!({ "operation": {
        "id": "drain-3", "kind": "drain", "pool": "chat", "backend": "b1", "cause": "operator",
        "why": "by an operator", "state": state, "message": "", "started_at": "2026-11-21T12:00:00Z",
        "elapsed_ms": 2500,
        "sessions": { "total": 5, "moved": moved, "forced": 0, "reconnected": 0, "failed": 0, "gone": 1,
                      "remaining": 4 - moved, "moving": 0,
                      "staying": { "busy": 0, "no_target": 0, "target_lost": 0, "pinned": 0 } },
        "rate": 200, "concurrency": 32, "errors_max": 10, "time_limit_ms": null, "force": false,
    }})
}

fn refusal(status: u16, code: &str, message: &str) -> Answer {
    Some((status, json!({ "error": { "code": code, "message": message } })))
}

const DRAIN: &str = "POST /api/v1/pools/chat/backends/b1/drain";
const LOOK: &str = "GET /api/v1/operations/drain-3";
const BACKENDS: &str = "GET /api/v1/backends";

#[test]
fn lists_are_aligned_columns() {
    let api = Api::new(|what, _| match what {
        BACKENDS => backends("draining", 12),
        "GET /api/v1/listeners" => Some((
            200,
            json!({ "listeners": [{ "address": "127.0.0.1:8080", "pool": null, "paused": true, "sessions": 3 }] }),
        )),
        "GET /api/v1/operations" => {
            Some((200, json!({ "operations": [operation("running", 2)["operation"]] })))
        }
        what if what.starts_with("GET /api/v1/sessions?") => {
            Some((200, json!({ "total": 9, "next": "1f-00", "sessions": [session("relaying")] })))
        }
        _ => None,
    });
    let listed = |arguments: &[&str]| {
        let output = api.run(arguments);
        assert_eq!((code(output.status), text(&output.stderr)), (Some(0), ""), "{arguments:?}");
        text(&output.stdout).to_owned()
    };
    assert_eq!(
        listed(&["backends"]).lines().take(2).collect::<Vec<_>>(),
        [
            "POOL  BACKEND                ADDRESS         STATE     SINCE  WEIGHT  SESSIONS  OPERATION  WHY",
            "chat  b1                     127.0.0.1:9001  draining     4s       1        12  -          as configured",
        ]
    );
    assert_eq!(
        listed(&["listeners"]),
        "LISTENER        POOL  STATE   SESSIONS\n127.0.0.1:8080  -     paused         3\n"
    );
    assert!(
        listed(&["operations"]).ends_with(" 2       0     1          2\n"),
        "{}",
        listed(&["operations"])
    );
    let sessions = listed(&["sessions", "--pool", "chat", "--client", "10.0.0.9", "--limit", "1"]);
    assert!(
        sessions
            .contains("\n00       chat  b1       10.0.0.9:5  relaying  1m 1s          1      2         0\n"),
        "{sessions}"
    );
    assert!(sessions.ends_with("1 of 9 sessions; the next: --after 1f-00\n"), "{sessions}");
    let asked = api.lines();
    assert_eq!(
        asked.last().map(String::as_str),
        Some("GET /api/v1/sessions?limit=1&pool=chat&client=10.0.0.9")
    );
}

#[test]
fn json_is_what_the_api_says() {
    let api = Api::new(|what, _| (what == BACKENDS).then(|| (200, json!("{\"backends\":  [] }"))));
    let output = api.run(&["backends", "--json"]);
    assert_eq!((code(output.status), text(&output.stdout)), (Some(0), "{\"backends\":  [] }\n"));
}

#[test]
fn the_token_is_sent_and_nothing_else_of_the_environment() {
    let api = Api::new(|_, _| backends("up", 0));
    api.run(&["backends"]);
    run(api.command(&["backends"]).env_remove("STEADFAST_TOKEN"));
    let shown: Vec<_> = api.asked().into_iter().map(|asked| asked.authorization).collect();
    assert_eq!(shown, [Some(format!("Bearer {TOKEN}")), None]);
    let output = run(api.command(&["backends"]).env("STEADFAST_TOKEN", "secret"));
    assert_eq!(code(output.status), Some(2));
    let said = text(&output.stderr);
    assert!(said.starts_with("steadfast: STEADFAST_TOKEN: ") && !said.contains("secret"), "{said}");
    assert_eq!(api.asked().len(), 2, "nobody was asked with it");
}

#[test]
fn the_environment_names_the_broker() {
    let api = Api::new(|_, _| backends("up", 0));
    let mut command = steadfast();
    let output = run(command.arg("backends").env("STEADFAST_ADMIN", &api.address));
    assert_eq!(code(output.status), Some(0), "{output:?}");
}

#[test]
fn each_refusal_has_its_exit_code_and_one_line() {
    let cases: [(&[&str], Answer, Exit, &str); 15] = [
        (&["backends"], refusal(401, "unauthorized", "show it"), Exit::Refused, "STEADFAST_TOKEN"),
        (&["backends"], refusal(403, "forbidden", "set a token"), Exit::Refused, "set a token"),
        (&["drain", "b9"], backends("up", 0), Exit::NotFound, "did you mean chat/b1"),
        (&["drain", "b2"], backends("up", 0), Exit::Usage, "chat/b2 or news/b2"),
        (&["abort", "00"], refusal(404, "not_found", "no session"), Exit::NotFound, "no session"),
        (
            &["failover", "--session", "0"],
            refusal(404, "not_found", "no session"),
            Exit::NotFound,
            "no session",
        ),
        (
            &["failover", "--session", "0"],
            refusal(409, "conflict", "no backend"),
            Exit::Conflict,
            "no backend",
        ),
        (&["rebalance", "chat"], refusal(409, "conflict", "drain-3 runs"), Exit::Conflict, "drain-3 runs"),
        (&["sessions", "--limit", "0"], refusal(400, "invalid", "limit: no"), Exit::Usage, "limit: no"),
        (&["abort", "00"], refusal(413, "invalid", "too long"), Exit::Usage, "too long"),
        (&["pause"], refusal(500, "x", "first\nsecond"), Exit::Failure, "first second"),
        (&["resume"], Some((502, json!("<html>"))), Exit::Failure, "502"),
        (&["listeners"], Some((200, json!("<html>"))), Exit::Failure, "not understood"),
        (&["operations"], Some((200, json!({ "listeners": [] }))), Exit::Failure, "operations"),
        (&["backends"], None, Exit::Unreachable, "--admin"),
    ];
    for (arguments, answer, exit, part) in cases {
        let api = Api::new(move |_, _| answer.clone());
        let output = api.run(arguments);
        let said = text(&output.stderr);
        assert_eq!(code(output.status), Some(i32::from(exit as u8)), "{arguments:?}: {said}");
        assert!(said.starts_with("steadfast: ") && said.contains(part), "{arguments:?}: {said}");
        assert_eq!((said.lines().count(), text(&output.stdout)), (1, ""), "{arguments:?}: {said}");
    }
}

#[test]
fn a_broker_that_is_not_there_is_named_with_what_to_do() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("it has an address").to_string()
    };
    for command in [&["backends"][..], &["drain", "b1", "--wait"]] {
        let output = run(steadfast().args(command).args(["--admin", &address]));
        let said = text(&output.stderr);
        assert_eq!(code(output.status), Some(6), "{said}");
        assert!(said.contains(&format!("at {address}: connection refused; ")), "{said}");
        assert!(said.contains("STEADFAST_ADMIN") && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn what_makes_no_sense_is_a_usage_error() {
    let wrong: [&[&str]; 15] = [
        &["drain"],
        &["drain", "b1", "--rate", "many"],
        &["drain", "b1", "--time-limit", "soon"],
        &["backends", "--admin", "9000"],
        &["backends", "--token", TOKEN],
        &["operations", "--cancel"],
        &["operations", "drain-3", "--cancel", "--resume"],
        &["abort", "00", "--code", "70000"],
        &["failover"],
        &["failover", "b1", "--session", "00"],
        &["failover", "--session", "00", "--rate", "5"],
        &["failover", "--session", "00", "--concurrency", "5"],
        &["failover", "--session", "00", "--errors-max", "5"],
        &["failover", "--session", "00", "--time-limit", "5m"],
        &["completions", "tcsh"],
    ];
    for arguments in wrong {
        let output = run(steadfast().args(arguments));
        assert_eq!(code(output.status), Some(2), "{arguments:?}: {output:?}");
    }
}

#[test]
fn each_command_asks_for_what_it_says() {
    let shown = |what: &str| (200, json!({ "backend": backend("chat", what, "up", 3) }));
    let api = Api::new(move |what, _| match what {
        BACKENDS => backends("up", 3),
        what if what.contains("/operations/") || what.ends_with("/rebalance") => {
            Some((200, operation("running", 0)))
        }
        what if what.contains("/sessions/") => {
            let state = if what.ends_with("/abort") { "closing" } else { "waiting" };
            Some((200, json!({ "session": session(state) })))
        }
        what if what.ends_with("/drain") || what.ends_with("/failover") => {
            Some((202, operation("running", 0)))
        }
        what if what.ends_with("/pause") || what.ends_with("/resume") => {
            Some((200, json!({ "listeners": [] })))
        }
        _ => Some(shown("b1")),
    });
    let begun = "drain-3 has begun, with 5 sessions; steadfast operations drain-3 shows how far it is\n";
    let cases: [(&[&str], &str, &str, &str); 15] = [
        (&["drain", "b1"], DRAIN, "{}", begun),
        (
            &["drain", "chat/b1", "--rate", "5", "--concurrency", "2", "--errors-max", "1", "--force"],
            DRAIN,
            r#"{"rate":5,"concurrency":2,"errors_max":1,"force":true}"#,
            begun,
        ),
        (&["drain", "b1", "--time-limit", "5m"], DRAIN, r#"{"time_limit_ms":300000}"#, begun),
        (
            &["failover", "x.internal/10.0.0.1:9", "--rate", "7"],
            "POST /api/v1/pools/dns/backends/x.internal%2F10.0.0.1%3A9/failover",
            r#"{"rate":7}"#,
            begun,
        ),
        (&["failover", "--session", "a/b"], "POST /api/v1/sessions/a%2Fb/failover", "", "00 is waiting\n"),
        (
            &["rebalance", "chat", "--tolerance", "5"],
            "POST /api/v1/pools/chat/rebalance",
            r#"{"tolerance":5}"#,
            begun,
        ),
        (
            &["undrain", "b1"],
            "POST /api/v1/pools/chat/backends/b1/undrain",
            "",
            "chat/b1 is up with 3 sessions\n",
        ),
        (
            &["disable", "b1"],
            "POST /api/v1/pools/chat/backends/b1/disable",
            "",
            "chat/b1 is up with 3 sessions\n",
        ),
        (
            &["enable", "b1"],
            "POST /api/v1/pools/chat/backends/b1/enable",
            "",
            "chat/b1 is up with 3 sessions\n",
        ),
        (&["abort", "00"], "POST /api/v1/sessions/00/abort", "{}", "00 is closing\n"),
        (
            &["abort", "00", "--code", "4001", "--reason", "bye"],
            "POST /api/v1/sessions/00/abort",
            r#"{"code":4001,"reason":"bye"}"#,
            "00 is closing\n",
        ),
        (&["operations", "drain-3", "--cancel"], "POST /api/v1/operations/drain-3/cancel", "", ""),
        (&["operations", "drain-3", "--resume"], "POST /api/v1/operations/drain-3/resume", "", ""),
        (&["pause"], "POST /api/v1/pause", "{}", ""),
        (&["resume", "127.0.0.1:8080"], "POST /api/v1/resume", r#"{"listener":"127.0.0.1:8080"}"#, ""),
    ];
    for (arguments, what, body, printed) in cases {
        let output = api.run(arguments);
        assert_eq!((code(output.status), text(&output.stderr)), (Some(0), ""), "{arguments:?}");
        let last = api.asked().pop().expect("it asked");
        assert_eq!((last.what.as_str(), last.body.as_str()), (what, body), "{arguments:?}");
        assert!(text(&output.stdout).contains(printed), "{arguments:?}: {output:?}");
    }
}

#[test]
fn a_drain_is_waited_for_over_lost_connections() {
    let api = Api::new(|what, before| match (what, before) {
        (BACKENDS, 0) => backends("up", 5),
        (DRAIN, _) => Some((202, operation("running", 0))),
        // The broker is out of reach for a moment.
        (LOOK, 1..=3) => None,
        (LOOK, 0) => Some((200, operation("running", 1))),
        (LOOK, 4) => Some((200, operation("waiting", 2))),
        (LOOK, _) => Some((200, operation("done", 4))),
        // The last session gives its place back a moment later.
        (BACKENDS, 1) => backends("draining", 1),
        (BACKENDS, _) => backends("draining", 0),
        _ => None,
    });
    let output = api.run(&["drain", "b1", "--wait"]);
    assert_eq!((code(output.status), text(&output.stderr)), (Some(0), ""));
    let printed: Vec<_> = text(&output.stdout).lines().collect();
    assert_eq!(printed.first(), Some(&"drain-3 running: 1 of 5 moved, 3 left, 1 gone"));
    let end = "drain-3: chat/b1 holds no session; 4 moved (0 forced), 0 failed, 1 gone, in 2s";
    assert_eq!(printed.last(), Some(&end));
    assert!(api.lines().iter().filter(|line| *line == DRAIN).count() == 1);
    assert!(api.asked().iter().all(|asked| asked.authorization == Some(format!("Bearer {TOKEN}"))));
}

#[test]
fn a_drain_whose_beginning_was_not_heard_is_found() {
    let conflict = || {
        let error = json!({ "code": "conflict", "message": "drain-3 drains b1", "operation": "drain-3" });
        Some((409, json!({ "error": error })))
    };
    let api = Api::new(move |what, before| match (what, before) {
        (BACKENDS, 0) => backends("up", 5),
        (DRAIN, 0) => None,
        (DRAIN, _) => conflict(),
        (LOOK, _) => Some((200, operation("done", 4))),
        (BACKENDS, _) => backends("draining", 0),
        _ => None,
    });
    let output = api.run(&["drain", "b1", "--wait", "--json"]);
    assert_eq!((code(output.status), text(&output.stderr)), (Some(0), ""));
    let printed: Value = serde_json::from_slice(&output.stdout).expect("JSON and nothing else");
    assert_eq!(printed, operation("done", 4));
}

#[test]
fn what_stands_in_the_way_is_not_waited_for() {
    let api = Api::new(|what, _| match what {
        BACKENDS => backends("up", 5),
        DRAIN => {
            let error =
                json!({ "code": "conflict", "message": "rebalance-1 runs", "operation": "rebalance-1" });
            Some((409, json!({ "error": error })))
        }
        "GET /api/v1/operations/rebalance-1" => {
            let mut other = operation("running", 0);
            other["operation"]["kind"] = "rebalance".into();
            Some((200, other))
        }
        _ => None,
    });
    for arguments in [&["drain", "b1", "--wait"][..], &["drain", "b1"]] {
        let output = api.run(arguments);
        assert_eq!((code(output.status), text(&output.stderr)), (Some(9), "steadfast: rebalance-1 runs\n"));
    }
}

#[test]
fn a_drain_that_ends_without_having_emptied_the_backend_is_told_apart() {
    for (state, word, sessions, exit) in [
        ("cancelled", "up", 3, 10),
        ("stopped", "draining", 3, 10),
        ("expired", "draining", 1, 10),
        ("expired", "draining", 0, 0),
        ("done", "up", 0, 10),
    ] {
        let api = Api::new(move |what, before| match (what, before) {
            (BACKENDS, 0) => backends("up", 5),
            (BACKENDS, _) => backends(word, sessions),
            (DRAIN, _) => Some((202, operation("running", 0))),
            _ => Some((200, operation(state, 1))),
        });
        let output = api.run(&["drain", "b1", "--wait"]);
        assert_eq!(code(output.status), Some(exit), "{state} {word} {sessions}: {output:?}");
        if exit != 0 {
            let said = text(&output.stderr);
            assert!(said.contains(&format!("drain-3 is {state}")) && said.lines().count() == 1, "{said}");
            assert!(said.contains(&format!("{word} with {sessions} sessions")), "{said}");
        }
    }
}

#[test]
fn a_restarted_broker_has_forgotten_the_drain() {
    let api = Api::new(|what, before| match (what, before) {
        (BACKENDS, _) => backends("up", 5),
        (DRAIN, _) => Some((202, operation("running", 0))),
        (LOOK, 0) => Some((200, operation("running", 1))),
        _ => refusal(404, "not_found", "no such operation"),
    });
    let output = api.run(&["drain", "b1", "--wait"]);
    assert_eq!(code(output.status), Some(8));
    assert!(text(&output.stderr).contains("drain-3 any more"), "{output:?}");
}

#[test]
fn a_backend_that_no_list_has_is_empty_when_it_has_no_session() {
    const LEFT: &str = "GET /api/v1/sessions?pool=chat&backend=b1&limit=1";
    for (left, exit) in [(3, 10), (0, 0)] {
        let api = Api::new(move |what, before| match (what, before) {
            (BACKENDS, 0) => backends("up", 5),
            // A reload has taken its pool away.
            (BACKENDS, _) => Some((200, json!({ "backends": [] }))),
            (LEFT, _) => {
                Some((200, json!({ "sessions": [session("relaying")], "total": left, "next": null })))
            }
            (DRAIN, _) => Some((202, operation("running", 0))),
            _ => Some((200, operation("expired", 1))),
        });
        let output = api.run(&["drain", "b1", "--wait"]);
        assert_eq!(code(output.status), Some(exit), "{output:?}");
        assert!(exit == 0 || text(&output.stderr).contains("removed with 3 sessions"), "{output:?}");
    }
}

#[test]
fn a_restarted_broker_may_have_given_the_id_to_another_drain() {
    let api = Api::new(|what, before| match (what, before) {
        (BACKENDS, _) => backends("up", 5),
        (DRAIN, _) => Some((202, operation("running", 0))),
        (LOOK, 0) => Some((200, operation("running", 1))),
        _ => {
            let mut other = operation("running", 2);
            other["operation"]["backend"] = "b2".into();
            Some((200, other))
        }
    });
    let output = api.run(&["drain", "b1", "--wait"]);
    assert_eq!(code(output.status), Some(8));
    assert!(text(&output.stderr).contains("drain-3 any more"), "{output:?}");
}

#[test]
fn ctrl_c_leaves_the_drain_alone_and_says_how_to_end_it() {
    let api = Api::new(|what, _| match what {
        BACKENDS => backends("up", 5),
        DRAIN => Some((202, operation("running", 0))),
        _ => Some((200, operation("running", 1))),
    });
    let mut command = api.command(&["drain", "b1", "--wait"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running(command.spawn().expect("it starts"));
    let (lines, errors) = (running.lines(), running.log());
    // It waits when it shows how far the drain is.
    let line = lines.recv_timeout(PATIENCE).expect("a line");
    assert!(line.starts_with("drain-3 running: "), "{line}");
    running.signal(Signal::SIGINT);
    let said = errors.recv_timeout(PATIENCE).expect("a line");
    assert_eq!(
        said,
        "steadfast: drain-3 goes on without being waited for; steadfast operations drain-3 --cancel ends it"
    );
    assert_eq!(errors.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
    assert_eq!(code(running.wait()), Some(1));
    assert!(!api.lines().iter().any(|line| line.contains("cancel")), "nothing was cancelled");
}

#[test]
fn completions_are_there_for_each_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(steadfast().args(["completions", shell]));
        assert_eq!(code(output.status), Some(0), "{shell}");
        let script = text(&output.stdout);
        assert!(script.contains("rebalance") && script.contains("concurrency"), "{shell}");
    }
}

fn documentation() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/command-line.md");
    fs::read_to_string(path).expect("the page")
}

/// The chapter of each command: its name, and the text up to the next heading.
fn chapters() -> Vec<(String, String)> {
    let text = documentation();
    let chapters = text.split("\n### `steadfast ").skip(1);
    let chapter = |rest: &str| {
        let (heading, text) = rest.split_once("`\n").expect("a heading");
        let text = text.split("\n## ").next().unwrap_or_default();
        (heading.split(' ').next().unwrap_or_default().to_owned(), text.to_owned())
    };
    chapters.map(chapter).collect()
}

#[test]
fn the_page_has_every_command_and_flag() {
    let cli = Cli::command();
    let of_the_process = ["serve", "check", "demo"];
    let commands = cli.get_subcommands().filter(|command| !command.is_hide_set());
    let commands: Vec<_> = commands.filter(|command| !of_the_process.contains(&command.get_name())).collect();
    let names: BTreeSet<&str> = commands.iter().map(|command| command.get_name()).collect();
    let chapters = chapters();
    assert_eq!(chapters.iter().map(|(name, _)| name.as_str()).collect::<BTreeSet<_>>(), names);
    let whole = documentation();
    for command in commands {
        let (name, text) = chapters.iter().find(|(name, _)| name == command.get_name()).expect("its chapter");
        for flag in command.get_arguments().filter_map(|argument| argument.get_long()) {
            let flag = format!("`--{flag}");
            let of_all = ["`--admin", "`--json", "`--help"].contains(&flag.as_str());
            assert!(of_all && whole.contains(&flag) || text.contains(&flag), "{name}: {flag}");
        }
    }
}

#[test]
fn the_page_has_every_exit_code_of_these_commands() {
    let text = documentation();
    let (_, chapter) = text.split_once("## Exit codes\n").expect("the chapter");
    let documented: Vec<u8> =
        chapter.lines().filter_map(|line| line.split(' ').nth(1)?.parse().ok()).collect();
    let all = [
        Exit::Success,
        Exit::Failure,
        Exit::Usage,
        Exit::Unreachable,
        Exit::Refused,
        Exit::NotFound,
        Exit::Conflict,
        Exit::Unfinished,
    ];
    assert_eq!(documented, all.map(|exit| exit as u8));
}
