//! What is really dead is left, soon.

use nix::sys::signal::Signal;
use serde_json::Value;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::client::Client;
use steadfast_tests::proxy::Proxy;
use steadfast_tests::sequence::{home_and_other, range, send_range};
use steadfast_tests::wait::eventually;

use crate::{NO_PROBE, SHORT, all_at_rest, at_home, dials, over, pair, times};

/// The kernel of a stopped process acknowledges what comes, and accepts connections.
#[tokio::test]
async fn the_sessions_of_a_stopped_process_move() {
    for more in [&[][..], &[NO_PROBE]] {
        let (a, b) = pair("").await;
        let broker = over(&[&a, &b], &[&[SHORT], more].concat()).start().await;
        let mut clients = Vec::new();
        for _ in 0..4 {
            let mut client = Client::connect(broker.address()).await;
            client.send("who?").await;
            let home = client.text().await.split(':').next().unwrap_or_default().to_owned();
            clients.push((client, home));
        }
        assert_eq!(clients.iter().filter(|(_, home)| home == "a").count(), 2, "half of them");
        all_at_rest(&broker).await;
        a.signal(Signal::SIGSTOP);
        for (client, _) in &mut clients {
            client.ask("m-2", "b:m-2").await;
        }
        a.signal(Signal::SIGCONT);
        assert_eq!(broker.ends().await, 0.0);
    }
}

/// The proxies go on acknowledging and accepting whatever happens behind them.
#[tokio::test]
async fn a_session_behind_a_proxy_to_a_stopped_application_moves() {
    let (a, b) = pair("").await;
    let proxies = [Proxy::start(a.address()).await, Proxy::start(b.address()).await];
    let listed =
        proxies.iter().map(|proxy| format!("[[pool.backend]]\nurl = \"ws://{}\"\n", proxy.address()));
    let broker = over(&[], &[SHORT]).pool_table(&listed.collect::<String>()).start().await;
    let mut client = Client::connect(broker.address()).await;
    let (home, other) = home_and_other([&a, &b]).await;
    client.ask("m-1", &format!("{}:m-1", home.name())).await;
    broker.wait_at_rest().await;
    home.signal(Signal::SIGSTOP);
    client.ask("m-2", &format!("{}:m-2", other.name())).await;
    home.signal(Signal::SIGCONT);
}

/// Neither connections nor new ones get through to it, and nothing comes back.
#[tokio::test]
async fn the_sessions_of_a_host_that_is_gone_move() {
    let (a, b) = pair("").await;
    let broker = over(&[&a, &b], &[SHORT]).setting("timeouts", "connect = \"200ms\"").start().await;
    let (mut client, home, other) = at_home(&broker, [&a, &b]).await;
    home.vanish().await;
    send_range(&client, "m", 2, 5).await;
    assert_eq!(client.texts(4).await, range(&format!("{}:m", other.name()), 2, 5));
    assert_eq!(home.journal().texts(), ["m-1"], "nothing got through");
}

/// Another session of the same backend.
async fn witness(broker: &Broker, backend: &Backend) -> Client {
    let mut client = Client::connect(broker.address()).await;
    client.ask("witness-1", &format!("{}:witness-1", backend.name())).await;
    client
}

/// A firewall has forgotten one connection; the backend serves the others.
#[tokio::test]
async fn the_backend_of_a_connection_that_is_swallowed_is_dialled_again_without_blame() {
    let backend = Backend::start("a", "").await;
    let broker = over(&[&backend], &[SHORT]);
    // A penalty would be seen for long.
    let broker = broker.setting("failover", "penalty_min = \"1m\"\npenalty_max = \"1m\"").start().await;
    let mut client = Client::connect(broker.address()).await;
    client.ask("m-1", "a:m-1").await;
    broker.wait_at_rest().await;
    backend.swallow(1).await;
    let mut other = witness(&broker, &backend).await;
    send_range(&client, "m", 2, 4).await;
    let asking = async {
        assert_eq!(client.texts(3).await, range("a:m", 2, 4));
    };
    let lively = async {
        for n in 2.. {
            other.ask(&format!("witness-{n}"), &format!("a:witness-{n}")).await;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = asking => {}
        () = lively => {}
    }
    assert_eq!(times(&[&backend], "m-2"), 1, "nothing had got through before");
    assert_eq!(dials(&backend), 3, "the witness has stayed");
    let state = broker.backend("a").await.expect("listed");
    assert_eq!((&state["state"], &state["penalised"]), (&"up".into(), &false.into()), "{state}");
}

/// The peer's kernel has acknowledged all, so nothing is on its way that could miss an answer.
#[tokio::test]
async fn a_connection_that_is_swallowed_while_only_a_pong_is_owed_is_dialled_again() {
    let backend = Backend::start("a", "").await;
    let broker = over(&[&backend], &[SHORT, NO_PROBE]).start().await;
    let mut client = Client::connect(broker.address()).await;
    client.ask("m-1", "a:m-1").await;
    broker.wait_at_rest().await;
    client.send("!stop-reading").await;
    backend.wait_messages(2).await;
    backend.swallow(1).await;
    let mut other = witness(&broker, &backend).await;
    let lively = async {
        for n in 2.. {
            other.ask(&format!("witness-{n}"), &format!("a:witness-{n}")).await;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = backend.wait_upgrades(3) => {}
        () = lively => {}
    }
    let again = || times(&[&backend], "!stop-reading") == 2;
    eventually("the message has come again", again).await;
}

#[tokio::test]
async fn a_session_on_a_swallowed_connection_leaves_though_others_of_its_backend_live() {
    let (a, b) = pair("").await;
    let broker = BrokerBuilder::default().pool("default", &[&a, &b]).pool_setting(SHORT);
    let broker = broker.backend_setting("b", "backup = true").start().await;
    let mut client = Client::connect(broker.address()).await;
    client.ask("m-1", "a:m-1").await;
    broker.wait_only_session("at rest", |session: &Value| session["buffered_bytes"] == 0).await;
    a.swallow(1).await;
    let mut other = witness(&broker, &a).await;
    client.send("m-2").await;
    let moved = || times(&[&a, &b], "m-2") == 1;
    eventually("the message has arrived on another connection", moved).await;
    assert!(client.text().await.ends_with(":m-2"));
    other.ask("witness-2", "a:witness-2").await;
}
