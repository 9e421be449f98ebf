//! GraphQL over WebSocket: the present protocol, and the one before it.

use crate::controls::{Fate, told_to_reconnect, without_a_profile};
use crate::pair::Pair;
use crate::peers::tools::Tool;
use crate::scenes::scenes;

const PRESENT: Pair = Pair {
    server: "graphql-server.js",
    client: "graphql-client.js",
    tools: &[Tool::GraphQl],
    profile: "auto",
    tables: "",
    upgrade_is_login: false,
    at_once: usize::MAX,
    records: 2,
    ticks: false,
    feeds: true,
    unfeeds: true,
};

const BEFORE: Pair = Pair {
    server: "graphql-old-server.js",
    client: "graphql-old-client.js",
    tools: &[Tool::OldGraphQl],
    ticks: true,
    ..PRESENT
};

scenes!(present, PRESENT, [expired]);
scenes!(before, BEFORE, [expired]);

#[tokio::test]
async fn present_without_a_profile() {
    let fate = without_a_profile(PRESENT).await;
    assert!(matches!(fate, None | Some(Fate::Gone)), "{fate:?}");
}

#[tokio::test]
async fn before_without_a_profile() {
    let fate = without_a_profile(BEFORE).await;
    assert!(matches!(fate, None | Some(Fate::Deaf)), "{fate:?}");
}

#[tokio::test]
async fn present_is_told_to_reconnect_without_a_profile() {
    told_to_reconnect(PRESENT).await;
}

#[tokio::test]
async fn before_is_told_to_reconnect_without_a_profile() {
    told_to_reconnect(BEFORE).await;
}
