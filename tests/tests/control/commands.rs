//! The program's own commands, against a whole broker.

use std::process::Output;

use serde_json::Value;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::client::Client;
use steadfast_tests::wait::{bounded, eventually_some};

use crate::TOKEN;

/// Runs a command against the broker, with its token.
async fn steadfast(broker: &Broker, arguments: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(Broker::binary());
    command.args(arguments).env_clear().kill_on_drop(true);
    command.env("STEADFAST_ADMIN", broker.admin_address().to_string()).env("STEADFAST_TOKEN", TOKEN);
    let what = format!("the end of steadfast {}", arguments.join(" "));
    bounded(&what, command.output()).await.expect("it starts")
}

/// What a command that succeeds has printed.
async fn printed(broker: &Broker, arguments: &[&str]) -> String {
    let output = steadfast(broker, arguments).await;
    assert_eq!(
        (output.status.code(), output.stderr.as_slice()),
        (Some(0), &b""[..]),
        "{arguments:?}: {output:?}"
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

async fn json(broker: &Broker, arguments: &[&str]) -> Value {
    let text = printed(broker, &[arguments, &["--json"]].concat()).await;
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

async fn pair_with_token() -> ([Backend; 2], Broker) {
    let (a, b) = (Backend::start("a", "").await, Backend::start("b", "").await);
    let broker = Broker::over(&[&a, &b]).setting("admin", &format!("token = \"{TOKEN}\"")).start().await;
    ([a, b], broker)
}

/// The backend that answers.
async fn home(client: &mut Client) -> &'static str {
    client.send("where?").await;
    if client.text().await == "a:where?" { "a" } else { "b" }
}

#[tokio::test]
async fn a_drain_that_is_waited_for_leaves_the_backend_empty() {
    let ([a, b], broker) = pair_with_token().await;
    let mut client = Client::connect(broker.address()).await;
    let home = home(&mut client).await;
    let other = if home == "a" { "b" } else { "a" };

    let said = printed(&broker, &["drain", home, "--wait", "--time-limit", "1m"]).await;
    let end = format!("drain-1: default/{home} holds no session; 1 moved (0 forced), 0 failed, 0 gone, in ");
    assert!(said.lines().last().is_some_and(|line| line.starts_with(&end)), "{said}");
    client.ask("still here", &format!("{other}:still here")).await;

    let backends = json(&broker, &["backends"]).await;
    let backends = backends["backends"].as_array().expect("a list");
    let drained = backends.iter().find(|backend| backend["name"] == home).expect("listed");
    assert_eq!((&drained["state"], &drained["sessions"]), (&"draining".into(), &0.into()));
    let operation = json(&broker, &["operations", "drain-1"]).await;
    assert_eq!(
        (&operation["operation"]["state"], &operation["operation"]["sessions"]["moved"]),
        (&"done".into(), &1.into())
    );
    assert!(printed(&broker, &["operations"]).await.contains("drain-1"));

    let named = eventually_some("the operation in the audit", || {
        let of_drain = |line: &Value| line["path"].as_str().is_some_and(|path| path.ends_with("/drain"));
        broker.records(|line| line["target"] == "audit" && of_drain(line)).pop()
    });
    let named = named.await;
    assert_eq!((&named["operation"], &named["status"]), (&"drain-1".into(), &202.into()), "{named}");

    let said = printed(&broker, &["undrain", &format!("default/{home}")]).await;
    assert_eq!(said, format!("default/{home} is up with 0 sessions\n"));
    drop((a, b));
}

#[tokio::test]
async fn switches_and_lists_do_what_they_say() {
    let (_backends, broker) = pair_with_token().await;
    let mut client = Client::connect(broker.address()).await;
    assert_eq!(
        printed(&broker, &["disable", "a"]).await.split(" with ").next(),
        Some("default/a is disabled")
    );
    assert_eq!(printed(&broker, &["enable", "a"]).await.split(" with ").next(), Some("default/a is up"));
    let listed = printed(&broker, &["pause", &broker.address().to_string()]).await;
    assert!(listed.lines().nth(1).is_some_and(|line| line.contains(" paused ")), "{listed}");
    let listed = printed(&broker, &["resume"]).await;
    assert!(listed.lines().nth(1).is_some_and(|line| line.contains(" open ")), "{listed}");
    assert_eq!(printed(&broker, &["listeners"]).await, listed);

    let sessions = json(&broker, &["sessions", "--state", "relaying", "--client", "127.0.0.1"]).await;
    assert_eq!(sessions["total"], 1);
    let id = sessions["sessions"][0]["id"].as_str().expect("an id").to_owned();
    assert!(printed(&broker, &["sessions"]).await.contains(&id));
    let said = printed(&broker, &["abort", &id, "--code", "4001", "--reason", "bye"]).await;
    assert_eq!(said, format!("{id} is closing\n"));
    assert_eq!(client.closed().await, (Some(4001), "bye".to_owned()));
}

#[tokio::test]
async fn one_session_leaves_its_backend_and_the_others_stay() {
    let (_backends, broker) = pair_with_token().await;
    let mut clients = [Client::connect(broker.address()).await, Client::connect(broker.address()).await];
    let mut homes = Vec::new();
    for client in &mut clients {
        homes.push(home(client).await);
    }
    assert_ne!(homes[0], homes[1], "least sessions");
    let at_a = json(&broker, &["sessions", "--backend", "a"]).await;
    let id = at_a["sessions"][0]["id"].as_str().expect("an id").to_owned();
    let said = printed(&broker, &["failover", "--session", &id]).await;
    assert!(said.starts_with(&format!("{id} is ")), "{said}");
    for client in &mut clients {
        assert_eq!(home(client).await, "b");
    }
    let sessions = json(&broker, &["sessions"]).await;
    let sessions = sessions["sessions"].as_array().expect("a list");
    for session in sessions {
        assert_eq!(session["failovers"] == 1, session["id"] == id.as_str(), "{sessions:?}");
    }
    assert_eq!(sessions.len(), 2);
}

#[tokio::test]
async fn a_session_that_ends_with_its_backend_is_not_failed_over() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&[&backend]).pool_setting("on_failure = \"close\"");
    let broker = broker.setting("admin", &format!("token = \"{TOKEN}\"")).start().await;
    let mut client = Client::connect(broker.address()).await;
    client.ask("hello", "a:hello").await;
    let listed = json(&broker, &["sessions"]).await;
    let id = listed["sessions"][0]["id"].as_str().expect("an id");
    let output = steadfast(&broker, &["failover", "--session", id]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(9), "{said}");
    assert!(said.starts_with("steadfast: the session has no backend to leave"), "{said}");
    client.ask("still here", "a:still here").await;
}

#[tokio::test]
async fn what_a_broker_refuses_has_its_exit_code() {
    let (_backends, broker) = pair_with_token().await;
    for (arguments, code, part) in [
        (&["drain", "nobody"][..], 8, "no pool has a backend named \"nobody\""),
        (&["operations", "drain-9"], 8, "drain-9"),
        (&["rebalance", "nowhere"], 8, "nowhere"),
        (&["abort", "0"], 8, "session"),
        (&["failover", "--session", "0"], 8, "session"),
        (&["pause", "127.0.0.1:1"], 8, "127.0.0.1:1"),
        (&["sessions", "--client", "nobody"], 2, "nobody"),
        (&["drain", "a", "--rate", "0"], 2, "rate"),
    ] {
        let output = steadfast(&broker, arguments).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(
            said.starts_with("steadfast: ") && said.contains(part) && said.lines().count() == 1,
            "{said}"
        );
    }
    let mut command = tokio::process::Command::new(Broker::binary());
    command.args(["backends", "--admin", &broker.admin_address().to_string()]).env_clear();
    let output = bounded("the end of steadfast backends", command.output()).await.expect("it starts");
    assert_eq!(output.status.code(), Some(7), "{output:?}");
}
