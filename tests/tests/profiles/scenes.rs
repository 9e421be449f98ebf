//! Ends of servers that no client notices.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use steadfast_tests::process::raise_descriptor_limit;
use tokio::time::sleep;

use crate::books::Books;
use crate::lines::is;
use crate::pair::Pair;
use crate::world::{Unusual, World};

/// Requests that are open at an end.
const OPEN: usize = 200;

/// The tests of a pair: its name, what it is, and its scenes besides those that each pair has. Each scene is a test of its
/// own, so that they run beside each other.
macro_rules! scenes {
    ($name:ident, $pair:expr, [$($scene:ident),* $(,)?]) => {
        mod $name {
            use super::*;

            $crate::scenes::scenes!(@each $pair, killed_idle killed_under_load killed_in_the_prologue);
            $crate::scenes::scenes!(@each $pair, stopped drained all_away many $($scene)*);
        }
    };
    (@each $pair:expr, $($scene:ident)*) => {
        $(
            #[tokio::test]
            async fn $scene() {
                $crate::scenes::$scene($pair).await;
            }
        )*
    };
}

pub(crate) use scenes;

/// Nothing is under way; there and back.
pub(crate) async fn killed_idle(pair: Pair) {
    let Some(mut world) = World::open(pair, 1, Unusual::default()).await else { return };
    world.settle().await;
    for (home, next) in [(0, 1), (1, 0)] {
        world.servers[next].start(&[]).await;
        world.servers[home].kill();
        world.goes_on_at(next).await;
        world.wait_at_rest().await;
    }
    assert_eq!(Books::of(&world).doubles, 0, "nothing was open");
}

/// First with all requests handled and none answered, then in the middle of a stream of answers.
pub(crate) async fn killed_under_load(pair: Pair) {
    let window = pair.at_once.min(OPEN);
    let clients = OPEN / window;
    let Some(mut world) = World::open(pair, clients, Unusual::default()).await else { return };
    world.servers[0].tell("hold").await;
    world.ask(window, window, 0);
    world.servers[0].wait_count("requests", OPEN, |event| is(event, "ran")).await;
    world.servers[1].start(&[]).await;
    world.servers[0].kill();
    world.wait_answers().await;
    assert_eq!(Books::of(&world), Books { requests: OPEN, doubles: OPEN });
    assert_eq!(world.ledger("in_doubt").await, OPEN);
    assert_eq!(world.ledger("repeated").await, OPEN + clients * pair.records, "as many as the ledger says");
    world.is_heard_at(1).await;

    world.servers[0].start(&[]).await;
    let already = world.servers[1].count(|event| is(event, "ran"));
    world.ask(6 * window, window, 0);
    world.servers[1].wait_count("requests", already + 2 * OPEN, |event| is(event, "ran")).await;
    world.servers[1].kill();
    world.wait_answers().await;
    world.goes_on_at(0).await;
    let doubles = Books::of(&world).doubles;
    let in_doubt = world.in_doubt().await;
    assert!(doubles <= in_doubt, "{doubles} were handled twice, and {in_doubt} in doubt");
}

/// Two servers in turn die of the login; requests are made meanwhile.
pub(crate) async fn killed_in_the_prologue(pair: Pair) {
    let Some(mut world) = World::open(pair, 1, Unusual::default()).await else { return };
    world.settle().await;
    world.servers[1].start(&["dies"]).await;
    world.servers[0].kill();
    world.servers[1].wait_exit().await;
    world.ask(2, 2, 0);
    world.servers[2].start(&["dies"]).await;
    world.servers[2].wait_exit().await;
    world.servers[0].start(&[]).await;
    world.goes_on_at(0).await;
    for dead in [1, 2] {
        let all = world.servers[dead].all();
        assert_eq!(all.iter().filter(|event| is(event, "login")).count(), 1, "{all:?}");
    }
    assert_eq!(Books::of(&world).doubles, 0, "no request was handled before the login");
}

/// The kernel goes on taking what is sent to a stopped process.
pub(crate) async fn stopped(pair: Pair) {
    let unusual = Unusual { pool: "ack_timeout = \"1s\"", ..Unusual::default() };
    let Some(mut world) = World::open(pair, 1, unusual).await else { return };
    world.settle().await;
    world.servers[1].start(&[]).await;
    world.servers[0].signal(Signal::SIGSTOP);
    world.goes_on_at(1).await;
    // It handles what it had been sent.
    world.servers[0].signal(Signal::SIGCONT);
    let left = usize::from(pair.unfeeds);
    world.servers[0].wait_count("feeds left", left + 1, |event| is(event, "ended")).await;
    let doubles = Books::of(&world).doubles;
    let in_doubt = world.in_doubt().await;
    assert!(doubles <= in_doubt, "{doubles} were handled twice, and {in_doubt} in doubt");
}

/// At rest, and back again while each client has always a request open, but for the moments between two.
pub(crate) async fn drained(pair: Pair) {
    const CLIENTS: usize = 5;
    const EACH: usize = 200;
    let Some(mut world) = World::open(pair, CLIENTS, Unusual::default()).await else { return };
    world.settle().await;
    world.servers[1].start(&[]).await;
    world.relay.drain(world.servers[0].address()).await;
    world.goes_on_at(1).await;

    world.servers[2].start(&[]).await;
    let already = world.servers[1].count(|event| is(event, "ran"));
    world.ask(EACH, 1, 0);
    world.servers[1].wait_count("requests", already + CLIENTS * 10, |event| is(event, "ran")).await;
    world.relay.drain(world.servers[1].address()).await;
    world.wait_answers().await;
    world.goes_on_at(2).await;
    assert_eq!(Books::of(&world).doubles, 0, "who is drained answers first");
    assert_eq!(world.ledger("in_doubt").await, 0);
}

/// Nobody is there for a while, and everybody expects signs of life once a second.
pub(crate) async fn all_away(pair: Pair) {
    let unusual = Unusual { pings: Some(1_000), ..Unusual::default() };
    let Some(mut world) = World::open(pair, 1, unusual).await else { return };
    world.settle().await;
    if pair.ticks {
        world.wait_ticks(3).await;
    }
    world.servers[0].kill();
    world.ask(3, 3, 0);
    // What is tested is that so long an outage is survived.
    sleep(Duration::from_secs(if is_long() { 10 } else { 3 })).await;
    world.servers[0].start(&[]).await;
    world.goes_on_at(0).await;
    assert_eq!(Books::of(&world).doubles, 0, "nobody was there to handle anything");
}

/// No other server takes the login any more: the client reconnects by itself, with another.
pub(crate) async fn expired(pair: Pair) {
    let Some(mut world) = World::open(pair, 1, Unusual::default()).await else { return };
    world.settle().await;
    world.crew.tell("token fresh");
    world.servers[1].start(&["wants fresh"]).await;
    world.servers[0].kill();
    if pair.upgrade_is_login {
        // Who has refused an upgrade may take it later. That all refuse it is an answer.
        for other in [0, 2] {
            world.servers[other].start(&["wants fresh"]).await;
        }
    }
    world.crew.wait_count("ends", 1, |event| is(event, "gone")).await;
    world.crew.wait_count("logins", 2, |event| is(event, "ready")).await;
    let seen = world.crew.events();
    let gone = seen.iter().find(|event| is(event, "gone")).expect("an end");
    // One library does not tell it.
    assert!(gone["code"] == 1012 || gone["code"] == Value::Null, "{gone}");
    assert_eq!(world.crew.kinds("gone"), 1, "it comes back once");
    assert_eq!(world.crew.kinds("refused"), 0, "what the server said of the login is not passed on");
    world.ask(1, 1, 0);
    world.wait_answers().await;
    assert_eq!(Books::of_all(&world).doubles, 0, "nothing was open");
}

/// A client's answer to a server that is dead is not taken for one to the next, which has asked something else.
pub(crate) async fn late_answers(pair: Pair) {
    let Some(mut world) = World::open(pair, 1, Unusual::default()).await else { return };
    world.settle().await;
    let asked = |n: u64| move |event: &Value| is(event, "asked") && event["n"] == n;
    let told = |event: &Value| is(event, "told") || is(event, "untold");
    world.crew.tell("mute");
    world.servers[0].tell("inquire 1").await;
    world.crew.wait_count("questions", 1, asked(1)).await;
    world.wait_at_rest().await;
    world.servers[1].start(&[]).await;
    world.servers[0].kill();
    world.servers[1].wait_count("feeds", 1, |event| is(event, "begun")).await;
    world.servers[1].tell("inquire 2").await;
    world.crew.tell("speak");
    world.servers[1].wait_count("answers", 1, told).await;
    world.servers[1].tell("inquire 3").await;
    world.servers[1].wait_count("answers", 2, told).await;
    world.goes_on_at(1).await;
    let answers: Vec<_> = world.servers[1].present().into_iter().filter(told).collect();
    for (answer, n) in answers.iter().zip([2, 3]) {
        assert!(answer["n"] == n && answer["of"] == n && answer["by"] == "b", "{answer}");
    }
    assert_eq!(answers.len(), 2);
    assert_eq!(Books::of(&world).doubles, 0, "nothing was open");
}

/// Messages of several parts, cut anywhere.
pub(crate) async fn attachments(pair: Pair) {
    const EACH: usize = 3;
    const BYTES: usize = 70_000;
    let Some(mut world) = World::open(pair, 1, Unusual::default()).await else { return };
    world.servers[0].tell("hold").await;
    world.ask(EACH, EACH, BYTES);
    world.servers[0].wait_count("requests", EACH, |event| is(event, "ran")).await;
    world.ask(EACH, EACH, BYTES);
    world.servers[0].kill();
    world.ask(EACH, EACH, BYTES);
    world.crew.wait_count("requests", 3 * EACH, |event| is(event, "sent")).await;
    world.servers[1].start(&[]).await;
    world.wait_answers().await;
    let Books { requests, doubles } = Books::of(&world);
    assert_eq!(requests, 3 * EACH);
    assert!((EACH..=2 * EACH).contains(&doubles), "{doubles} were handled twice");
    world.goes_on_at(1).await;
}

/// Many clients, half of whom lose their server while they ask.
pub(crate) async fn many(pair: Pair) {
    let clients = if is_long() { 1_000 } else { 100 };
    raise_descriptor_limit(8 * clients as u64 + 1_000);
    let Some(mut world) = World::open(pair, clients, Unusual { two: true, ..Unusual::default() }).await
    else {
        return;
    };
    let home = |server: usize| world.servers[server].count(|event| is(event, "begun"));
    assert_eq!((home(0), home(1)), (clients / 2, clients / 2), "they are spread");
    world.ask(4, 1, 0);
    world.servers[0].wait_count("requests", clients / 2, |event| is(event, "ran")).await;
    world.servers[0].kill();
    world.wait_answers().await;
    world.goes_on_at(1).await;
    let doubles = Books::of(&world).doubles;
    let in_doubt = world.in_doubt().await;
    assert!(doubles <= in_doubt, "{doubles} were handled twice, and {in_doubt} in doubt");
}

/// Whether scenes take as long as `./test long profiles` has them.
fn is_long() -> bool {
    std::env::var_os("STEADFAST_PROFILES_LONG").is_some()
}
