//! OCPP 1.6: charge points of two languages, and a central system that checks every message.

use crate::controls::{Fate, late_answers_mistaken, without_a_profile};
use crate::pair::Pair;
use crate::peers::tools::Tool;
use crate::scenes::scenes;

const BOTH_JS: Pair = Pair {
    server: "ocpp-server.js",
    client: "ocpp-client.js",
    tools: &[Tool::Ocpp],
    profile: "auto",
    tables: "",
    upgrade_is_login: true,
    at_once: 1,
    records: 0,
    ticks: false,
    feeds: false,
    unfeeds: false,
};

const PYTHON_CLIENT: Pair =
    Pair { client: "ocpp-client.py", tools: &[Tool::Ocpp, Tool::PythonOcpp], ..BOTH_JS };

scenes!(both_js, BOTH_JS, [expired, late_answers]);
scenes!(python_client, PYTHON_CLIENT, [expired, late_answers]);

#[tokio::test]
async fn both_js_without_a_profile() {
    let fate = without_a_profile(BOTH_JS).await;
    assert!(matches!(fate, None | Some(Fate::Deaf)), "{fate:?}");
}

#[tokio::test]
async fn python_client_without_a_profile() {
    let fate = without_a_profile(PYTHON_CLIENT).await;
    assert!(matches!(fate, None | Some(Fate::Deaf)), "{fate:?}");
}

#[tokio::test]
async fn both_js_answers_the_wrong_server_without_a_profile() {
    late_answers_mistaken(BOTH_JS).await;
}

#[tokio::test]
async fn python_client_answers_the_wrong_server_without_a_profile() {
    late_answers_mistaken(PYTHON_CLIENT).await;
}
