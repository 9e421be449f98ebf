//! Clients that do not link the shim and come back with a token of their own making.

use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::client::Client;
use steadfast_tests::upgrade::Upgrade;

const TOKEN: &str = "c2VjcmV0LW9mLXRoZS1jbGllbnRz";

async fn broker(backend: &Backend) -> Broker {
    Broker::over(&[backend]).pool_setting("plain_resume = true").start().await
}

fn upgrade(broker: &Broker, origin: &str) -> Upgrade {
    let path = format!("/chat?room=7&steadfast-resume={TOKEN}&user=me");
    Upgrade::to(broker.address()).path(&path).header("Origin", origin)
}

async fn connect(broker: &Broker) -> Client {
    upgrade(broker, "https://a.test").connect().await
}

#[tokio::test]
async fn the_same_token_gets_the_same_session_back() {
    let backend = Backend::start("a", "").await;
    let broker = broker(&backend).await;
    let mut client = connect(&broker).await;
    client.ask("one", "a:one").await;
    let session = broker.wait_only_session("the client's", |_| true).await;
    client.reset().await;
    broker.wait_only_session("its client is away", |session| session["state"] == "detached").await;
    let mut client = connect(&broker).await;
    // What the client's WebSocket layer has not acknowledged comes again.
    client.send("two").await;
    let mut answer = client.text().await;
    if answer == "a:one" {
        answer = client.text().await;
    }
    assert_eq!(answer, "a:two");
    let same = broker.wait_only_session("the same", |_| true).await;
    assert_eq!(same["id"], session["id"]);
}

#[tokio::test]
async fn backends_do_not_see_the_token() {
    let backend = Backend::start("a", "").await;
    let broker = broker(&backend).await;
    let mut client = connect(&broker).await;
    client.ask("one", "a:one").await;
    let connections = backend.journal().connections();
    assert_eq!(connections[0].line, "GET /chat?room=7&user=me HTTP/1.1");
}

#[tokio::test]
async fn another_origin_gets_a_session_of_its_own() {
    let backend = Backend::start("a", "").await;
    let broker = broker(&backend).await;
    let mut client = connect(&broker).await;
    client.ask("one", "a:one").await;
    let mut other = upgrade(&broker, "https://b.test").connect().await;
    other.ask("two", "a:two").await;
    broker.wait_sessions(2).await;
    client.ask("three", "a:three").await;
}

#[tokio::test]
async fn a_token_that_is_none_is_refused() {
    let backend = Backend::start("a", "").await;
    let broker = broker(&backend).await;
    let refused = Upgrade::to(broker.address()).path("/?steadfast-resume=short").refused().await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("22 to 128 characters"), "{}", refused.text());
}

#[tokio::test]
async fn without_the_setting_the_parameter_is_the_backends() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::start(&[&backend]).await;
    let mut client = connect(&broker).await;
    client.ask("one", "a:one").await;
    let connections = backend.journal().connections();
    assert!(connections[0].line.contains(TOKEN));
    client.reset().await;
    assert_eq!(broker.wait_causes(1).await, ["client_gone"]);
}
