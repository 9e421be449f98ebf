//! Names with several addresses, of which some swallow what is sent to them.

use std::net::SocketAddr;

use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::network::{BlackHole, in_own_network, name_addresses};
use steadfast_tests::skipped::leave_out;
use steadfast_tests::upgrade::Upgrade;

/// A session, its redial, a check and an agent: whatever connects.
#[test]
fn the_address_that_answers_is_found_behind_those_that_swallow_syns() {
    let name = "addresses::the_address_that_answers_is_found_behind_those_that_swallow_syns";
    in_own_network(name, async move || {
        let start = |address: &str| address.parse::<SocketAddr>().expect("an address");
        let backend = Backend::start_at(start("127.0.0.2:0"), "a", "--page /agent:200:up").await;
        let good = backend.address();
        let holes = ["127.0.0.1:0", "127.0.0.3:0"].map(start).map(|mut hole| {
            hole.set_port(good.port());
            hole
        });
        let _open = holes.map(BlackHole::open);
        if !name_addresses("several.test", &[holes[0], holes[1], good]) {
            return leave_out(&format!("{name}: /etc/hosts cannot be covered; it runs as root"));
        }
        let url = format!("ws://several.test:{}", good.port());
        let backends = format!("[[pool.backend]]\nurl = \"{url}\"\nname = \"a\"");
        let health = "[pool.health]\ntype = \"tcp\"\ninterval = \"100ms\"";
        let agent = "[pool.agent]\npath = \"/agent\"\ninterval = \"100ms\"";
        let tables = [&*backends, health, agent];
        let broker = tables.into_iter().fold(Broker::over(&[]), BrokerBuilder::pool_table).start().await;

        let mut client = Upgrade::to(broker.address()).connect().await;
        client.ask("one", "a:one").await;
        broker.wait_backend("a", "its check to pass", |backend| backend["health"] == "up").await;
        broker.wait_metric("steadfast_agent_checks_total", &[("outcome", "answered")], |n| n >= 1.0).await;
        backend.command("!rst").await;
        client.ask("two", "a:two").await;
        backend.wait_upgrades(2).await;
        assert_eq!(broker.metric("steadfast_dials_total", &[("outcome", "failed")]).await, 0.0);
    });
}
