//! The same ends without profiles, which clients do notice.

use serde_json::Value;
use steadfast_tests::wait::eventually_some;

use crate::lines::is;
use crate::pair::Pair;
use crate::world::{Unusual, World};

/// What a client without a profile comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Its connection ended.
    Gone,
    /// Its requests are refused.
    Refused,
    /// It believes to be connected, and hears nothing: others are answered, and it is not.
    Deaf,
}

/// The end of a server of clients that are told to reconnect, as all of known protocols are without a profile.
pub(crate) async fn told_to_reconnect(pair: Pair) {
    let unusual = Unusual { unprofiled: true, ..Unusual::default() };
    let Some(mut world) = World::open(pair, 1, unusual).await else { return };
    world.settle().await;
    world.servers[1].start(&[]).await;
    world.servers[0].kill();
    world.crew.wait_count("ends", 1, |event| is(event, "gone") && event["code"] == 1012).await;
    world.crew.wait_count("logins", 2, |event| is(event, "ready")).await;
    world.is_heard_at(1).await;
}

/// A client's answer to a dead server is taken by the next for one to its own question.
pub(crate) async fn late_answers_mistaken(pair: Pair) {
    let unusual = Unusual { pool: "on_failure = \"failover\"", unprofiled: true, ..Unusual::default() };
    let Some(mut world) = World::open(pair, 1, unusual).await else { return };
    world.settle().await;
    world.crew.tell("mute");
    world.servers[0].tell("inquire 1").await;
    world.crew.wait_count("questions", 1, |event| is(event, "asked")).await;
    world.servers[1].start(&[]).await;
    world.servers[0].kill();
    world.crew.tell("speak");
    world.servers[1].wait_count("complaints", 1, |event| is(event, "bad")).await;
}

/// A request is open, and a feed, when the server is killed.
pub(crate) async fn without_a_profile(pair: Pair) -> Option<Fate> {
    let unusual = Unusual { unprofiled: true, pool: "on_failure = \"failover\"", ..Unusual::default() };
    let mut world = World::open(pair, 1, unusual).await?;
    world.settle().await;
    world.servers[0].tell("hold").await;
    world.ask(1, 1, 0);
    world.servers[0].wait_count("requests", 3, |event| is(event, "ran")).await;
    world.wait_at_rest().await;
    world.servers[1].start(&[]).await;
    world.servers[0].kill();
    // The witness has come later.
    world.crew.tell(&format!("connect ws://{} 1 2", world.relay.address));
    let of = |client: &'static str, kind: &'static str| {
        move |event: &Value| event["client"] == client && is(event, kind)
    };
    world.crew.wait_count("logins of the witness", 1, of("c1", "ready")).await;
    world.ask(1, 1, 0);
    world.crew.wait_count("answers to the witness", 1, of("c1", "answer")).await;
    world.servers[1].wait_count("feeds", 1, |event| is(event, "begun")).await;
    world.servers[1].tell("push 1").await;
    let fate = eventually_some("a client's fate", || {
        let seen = world.crew.count(of("c1", "push"));
        let [gone, failed] = ["gone", "failed"].map(|kind| world.crew.count(of("c0", kind)));
        match (gone, failed) {
            (0, 0) => (seen > 0).then_some(Fate::Deaf),
            (0, _) => Some(Fate::Refused),
            _ => Some(Fate::Gone),
        }
    })
    .await;
    let open = world.crew.count(of("c0", "sent")) - world.crew.count(of("c0", "answer"));
    assert!(fate != Fate::Deaf || open > 0, "a request without a profile is lost: {:?}", world.crew.events());
    Some(fate)
}
