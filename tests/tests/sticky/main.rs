//! Clients come back to the backend that they were at: by the broker's cookie, or by what their backend has given them.

mod attributes;
mod cookies;
mod learned;
mod moves;
mod requests;
mod secrets;

use serde_json::Value;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::client::Client;
use steadfast_tests::http::Response;
use steadfast_tests::upgrade::Upgrade;
use steadfast_tests::wait::eventually_async;

/// Requests of sticky pools, by what became of them.
const STICKY: &str = "steadfast_sticky_total";

/// Backends with these names.
async fn backends<const N: usize>(names: [&str; N]) -> [Backend; N] {
    let mut backends = Vec::new();
    for name in names {
        backends.push(Backend::start(name, "").await);
    }
    backends.try_into().expect("one for each name")
}

/// A broker over them that takes each in turn, unless a client has a place. With these keys of `[pool.sticky]`.
fn sticky(backends: &[Backend], keys: &str) -> BrokerBuilder {
    plain(backends).pool_table(&format!("[pool.sticky]\n{keys}"))
}

/// The same of a pool that knows no client.
fn plain(backends: &[Backend]) -> BrokerBuilder {
    Broker::over(&backends.iter().collect::<Vec<_>>())
        .pool_setting("balance = \"round_robin\"")
        .setting("drain", "quiet = \"50ms\"")
        .setting("failover", "stable = \"50ms\"\npenalty_min = \"1ms\"\npenalty_max = \"1ms\"")
}

/// A client, the name of the backend that it talks to, and the cookie that it was given.
struct Placed {
    client: Client,
    home: String,
    cookie: Option<String>,
}

async fn placed(request: &Upgrade) -> Placed {
    let mut client = request.connect().await;
    let cookie = given(client.response());
    let home = home(&mut client).await;
    Placed { client, home, cookie }
}

/// A client that shows this in `Cookie`.
async fn showing(broker: &Broker, cookie: &str) -> Placed {
    placed(&Upgrade::to(broker.address()).header("Cookie", cookie)).await
}

/// A client that has no cookie yet, and gets one.
async fn newcomer(broker: &Broker) -> (Client, String, String) {
    let Placed { client, home, cookie } = placed(&Upgrade::to(broker.address())).await;
    (client, home, cookie.expect("a cookie"))
}

/// The broker's cookie as a client sends it.
fn given(response: &Response) -> Option<String> {
    let pairs = response.header_values("set-cookie").into_iter().filter_map(|line| line.split(';').next());
    let mut ours = pairs.filter(|pair| pair.starts_with("steadfast="));
    let cookie = ours.next().map(str::to_owned);
    assert_eq!(ours.next(), None, "it is set once");
    cookie
}

/// The name of the backend that this client talks to.
async fn home(client: &mut Client) -> String {
    client.send("where?").await;
    client.text().await.split(':').next().expect("a name").to_owned()
}

/// The backend with this name.
fn named<'a>(backends: &'a [Backend], name: &str) -> &'a Backend {
    backends.iter().find(|backend| backend.name() == name).expect("one of them")
}

/// How many of so many clients with this cookie are at `home`.
async fn come_to(broker: &Broker, cookie: &str, home: &str, clients: usize) -> usize {
    let mut there = 0;
    for _ in 0..clients {
        there += usize::from(showing(broker, cookie).await.home == home);
    }
    there
}

/// Waits until the operation with this id is done, and returns it.
async fn wait_done(broker: &Broker, operation: &str) -> Value {
    eventually_async("the operation to be done", async || {
        let shown = broker.get_json(&format!("/api/v1/operations/{operation}")).await;
        (shown["operation"]["state"] == "done" || shown["state"] == "done").then_some(shown)
    })
    .await
}
