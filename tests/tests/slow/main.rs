//! Slow is not dead: services and clients that take their time keep their sessions, what is dead is left, and
//! what was said is handled once.
//!
//! No test measures a time. Where something must *stay*, a [`clock::Clock`] in the same broker says that several
//! times the patience of the rule under test has passed.

#[path = "../peers/mod.rs"]
mod peers;

mod clients;
mod clock;
mod crashes;
mod dead;
mod handlers;
mod loops;
mod mute;
mod probes;
mod shared;
mod shim;
mod window;

use serde_json::Value;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::client::Client;
use steadfast_tests::sequence::home_and_other;
use steadfast_tests::wait::eventually_async;

/// How long a backend may owe a pong, for the tests of what follows then.
pub(crate) const SHORT: &str = "ack_timeout = \"400ms\"";
/// Nothing is asked of backends but by sessions.
pub(crate) const NO_PROBE: &str = "probe = false";

pub(crate) async fn pair(flags: &str) -> (Backend, Backend) {
    (Backend::start("a", flags).await, Backend::start("b", flags).await)
}

/// A pool with these settings over these backends.
pub(crate) fn pool(
    broker: BrokerBuilder,
    name: &str,
    backends: &[&Backend],
    settings: &[&str],
) -> BrokerBuilder {
    settings.iter().fold(broker.pool(name, backends), |broker, line| broker.pool_setting(line))
}

/// The pool `default` with these settings over these backends.
pub(crate) fn over(backends: &[&Backend], settings: &[&str]) -> BrokerBuilder {
    pool(BrokerBuilder::default(), "default", backends, settings)
}

/// A client whose only message so far is acknowledged, so that its backend is known to answer pings, and where it
/// is: (client, home, other).
pub(crate) async fn at_home<'a>(
    broker: &Broker,
    backends: [&'a Backend; 2],
) -> (Client, &'a Backend, &'a Backend) {
    let mut client = Client::connect(broker.address()).await;
    let (home, other) = home_and_other(backends).await;
    client.ask("m-1", &format!("{}:m-1", home.name())).await;
    let is_acknowledged = |session: &Value| {
        session["backend"] == home.name() && count(session, "upstream", "acknowledged") == 1
    };
    eventually_async("the first message is acknowledged", async || {
        broker.sessions().await.iter().any(is_acknowledged).then_some(())
    })
    .await;
    (client, home, other)
}

/// Waits until nothing of any session is unacknowledged, so that a failover repeats nothing.
pub(crate) async fn all_at_rest(broker: &Broker) {
    eventually_async("everything is acknowledged", async || {
        broker.sessions().await.iter().all(|session| session["buffered_bytes"] == 0).then_some(())
    })
    .await;
}

/// A count of a session's ledger.
pub(crate) fn count(session: &Value, direction: &str, what: &str) -> u64 {
    let count = session["ledger"][direction][what].as_u64();
    count.unwrap_or_else(|| panic!("no count of {what} {direction} in {session}"))
}

/// How many of the messages that these backends got have this text.
pub(crate) fn times(backends: &[&Backend], text: &str) -> usize {
    let of = |backend: &&Backend| backend.journal().texts().iter().filter(|own| *own == text).count();
    backends.iter().map(of).sum()
}

/// How many upgrades of sessions a backend has been asked for.
pub(crate) fn dials(backend: &Backend) -> usize {
    backend.journal().sessions().len()
}
