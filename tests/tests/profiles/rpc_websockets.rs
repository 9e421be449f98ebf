//! rpc-websockets, whose users choose its profile: nothing in a request tells.

use crate::controls::{Fate, without_a_profile};
use crate::pair::Pair;
use crate::peers::tools::Tool;
use crate::scenes::scenes;

const PAIR: Pair = Pair {
    server: "rpc-websockets-server.js",
    client: "rpc-websockets-client.js",
    tools: &[Tool::RpcWebSockets],
    profile: "rpc-websockets",
    tables: "",
    upgrade_is_login: false,
    at_once: usize::MAX,
    records: 2,
    ticks: false,
    feeds: true,
    unfeeds: true,
};

scenes!(both_js, PAIR, [expired]);

#[tokio::test]
async fn it_without_a_profile() {
    let fate = without_a_profile(PAIR).await;
    assert!(matches!(fate, None | Some(Fate::Refused)), "{fate:?}");
}
