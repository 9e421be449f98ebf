//! What the tests of drains begin with: brokers, orders, and a session in the middle of its move.

use serde_json::{Value, json};
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::client::Client;
use steadfast_tests::frame::{CONTINUATION, Frame, TEXT};
use steadfast_tests::http::Response;
use steadfast_tests::journal::Connection;
use steadfast_tests::wait::{eventually, eventually_async};

/// The path of the only pool.
pub(crate) const POOL: &str = "/api/v1/pools/default";

/// Sessions fall quiet soon, and none is held before it has.
const UNHURRIED: &str = "quiet = \"20ms\"\nquiet_max = \"1s\"\npatience = \"1h\"\ndeadline = \"2h\"";

/// The content of an answer.
pub(crate) fn body(response: &Response) -> Value {
    serde_json::from_slice(&response.body).expect("JSON")
}

/// Begins or changes an operation; it as it is then.
pub(crate) async fn order(broker: &Broker, path: &str, order: Value) -> Value {
    let answer = broker.change("POST", path, &order.to_string()).await;
    assert!([200, 202].contains(&answer.status), "{path}: {}", answer.text());
    body(&answer)["operation"].clone()
}

/// Begins to drain the backend `name`; the operation's id.
pub(crate) async fn drain(broker: &Broker, name: &str) -> String {
    let begun = order(broker, &format!("{POOL}/backends/{name}/drain"), json!({})).await;
    begun["id"].as_str().expect("an id").to_owned()
}

/// Waits until the operation `id` is in `state`; it as it is then.
pub(crate) async fn wait_operation(broker: &Broker, id: &str, state: &str) -> Value {
    wait_progress(broker, id, state, |operation| operation["state"] == state).await
}

/// Waits until the operation `id` satisfies `holds`; it as it is then.
pub(crate) async fn wait_progress(
    broker: &Broker,
    id: &str,
    what: &str,
    holds: impl Fn(&Value) -> bool,
) -> Value {
    let path = format!("/api/v1/operations/{id}");
    eventually_async(&format!("{id}: {what}"), async || {
        let answer = broker.get(&path).await;
        (answer.status == 200).then(|| body(&answer)["operation"].clone()).filter(&holds)
    })
    .await
}

/// Waits until the drain `id` is done, and checks that it has moved so many sessions, each in order.
pub(crate) async fn wait_all_moved(broker: &Broker, id: &str, sessions: usize) {
    let done = wait_operation(broker, id, "done").await;
    let counts = |key: &str| done["sessions"][key].as_u64();
    let all = Some(sessions as u64);
    assert_eq!((counts("total"), counts("moved"), counts("forced")), (all, all, Some(0)), "{done}");
    assert_eq!((counts("failed"), counts("gone")), (Some(0), Some(0)), "{done}");
}

/// Waits until the drain `id` is done, and checks that its one session has not moved: it is counted as `what`.
pub(crate) async fn wait_none_moved(broker: &Broker, id: &str, what: &str) {
    let done = wait_operation(broker, id, "done").await;
    assert_eq!((&done["sessions"]["moved"], &done["sessions"][what]), (&json!(0), &json!(1)), "{done}");
}

/// Waits until a session of `backend` was told to go, with Close 1001.
pub(crate) async fn wait_goodbye(backend: &Backend) {
    let told = |own: Connection| own.close().is_some_and(|(code, _)| code == Some(1001));
    let what = format!("a Close 1001 at backend {}", backend.name());
    eventually(&what, || backend.journal().sessions().into_iter().any(told)).await;
}

/// Nothing is lost, in doubt or sent again so far, and no session has ended.
pub(crate) async fn nothing_has_gone_wrong(broker: &Broker) {
    for name in ["lost", "in_doubt", "replayed"] {
        let name = format!("steadfast_messages_{name}_total");
        assert_eq!(broker.metric(&name, &[]).await, 0.0, "{name}");
    }
    assert_eq!(broker.ended().await, Vec::<Value>::new(), "no session has ended");
}

/// Gives the broker the backend `backend`, by the API.
pub(crate) async fn add(broker: &Broker, backend: &Backend) {
    let added = json!({ "url": backend.url(), "name": backend.name() }).to_string();
    assert_eq!(broker.change("POST", &format!("{POOL}/backends"), &added).await.status, 201);
}

/// That many clients, connected one after the other.
pub(crate) async fn clients(broker: &Broker, count: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(Client::connect(broker.address()).await);
    }
    clients
}

/// A session of the backend `a` in the middle of its move to `b`: that is connected, and `a` cannot be left yet,
/// for a message of the client's is half said.
pub(crate) struct Midway {
    pub(crate) a: Backend,
    pub(crate) b: Backend,
    pub(crate) broker: Broker,
    pub(crate) client: Client,
    /// The operation's id.
    pub(crate) drain: String,
}

impl Midway {
    /// With this behaviour of the two backends.
    pub(crate) async fn between(a: &str, b: &str) -> Self {
        Self::with(a, b, |broker| broker).await
    }

    /// And with these settings.
    pub(crate) async fn with(
        a: &str,
        b: &str,
        settings: impl FnOnce(BrokerBuilder) -> BrokerBuilder,
    ) -> Self {
        let (a, b) = (Backend::start("a", a).await, Backend::start("b", b).await);
        let broker = settings(Broker::over(&[&a]).setting("drain", UNHURRIED)).start().await;
        let mut client = Client::connect(broker.address()).await;
        client.ask("m-1", "a:m-1").await;
        broker.wait_at_rest().await;
        add(&broker, &b).await;
        client.send_frame(Frame::new(TEXT, "half and ").unfinished()).await;
        let is_open = |session: &Value| session["buffered_bytes"] != 0;
        broker.wait_only_session("half a message", is_open).await;
        let drain = drain(&broker, "a").await;
        b.wait_upgrades(1).await;
        broker.wait_only_session("on its way", |session| session["state"] == "quiescing").await;
        Self { a, b, broker, client, drain }
    }

    /// The client says the rest of its message.
    pub(crate) async fn finish(&self) {
        self.client.send_frame(Frame::new(CONTINUATION, "half")).await;
    }

    /// The client says the rest, which is answered by `a`, and then the session moves.
    pub(crate) async fn arrive(&mut self) {
        self.finish().await;
        assert_eq!(self.client.text().await, "a:half and half");
        wait_all_moved(&self.broker, &self.drain, 1).await;
    }

    /// The session is at `a`, as if nothing had been.
    pub(crate) async fn goes_on_at_a(&mut self) {
        self.client.ask("m-2", "a:m-2").await;
        let at_home = |session: &Value| session["state"] == "relaying";
        let session = self.broker.wait_only_session("at home", at_home).await;
        assert_eq!((&session["backend"], &session["failovers"]), (&json!("a"), &json!(0)));
    }

    /// The session is at `b`, which has got nothing before `m-2`.
    pub(crate) async fn goes_on_at_b(&mut self) {
        self.client.ask("m-2", "b:m-2").await;
        assert_eq!(self.b.journal().texts(), ["m-2"]);
    }
}
