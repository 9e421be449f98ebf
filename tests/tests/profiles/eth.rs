//! JSON-RPC with Ethereum's subscriptions, whose ids each node makes up.

use crate::controls::{Fate, without_a_profile};
use crate::pair::Pair;
use crate::peers::tools::Tool;
use crate::scenes::scenes;

const PAIR: Pair = Pair {
    server: "eth-server.js",
    client: "eth-client.js",
    tools: &[Tool::Ethers],
    profile: "json-rpc",
    tables: "",
    upgrade_is_login: true,
    at_once: usize::MAX,
    records: 1,
    ticks: false,
    feeds: true,
    unfeeds: true,
};

scenes!(both_js, PAIR, []);

#[tokio::test]
async fn it_without_a_profile() {
    let fate = without_a_profile(PAIR).await;
    assert!(matches!(fate, None | Some(Fate::Deaf)), "{fate:?}");
}
