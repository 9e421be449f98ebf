//! Socket.IO 4, by the libraries of two languages.

use crate::controls::{Fate, told_to_reconnect, without_a_profile};
use crate::pair::Pair;
use crate::peers::tools::Tool;
use crate::scenes::scenes;

const BOTH_JS: Pair = Pair {
    server: "socketio-server.js",
    client: "socketio-client.js",
    tools: &[Tool::SocketIo],
    profile: "auto",
    tables: "",
    upgrade_is_login: false,
    at_once: usize::MAX,
    records: 1,
    ticks: false,
    feeds: true,
    unfeeds: true,
};

const PYTHON_SERVER: Pair =
    Pair { server: "socketio-server.py", tools: &[Tool::SocketIo, Tool::PythonSocketIo], ..BOTH_JS };

/// Its client says nothing anew when it is connected for the second time, so that the profile keeps what it has said.
const PYTHON_CLIENT: Pair = Pair {
    client: "socketio-client.py",
    tools: &[Tool::SocketIo, Tool::PythonSocketIo],
    profile: "fed",
    tables: "[[profile]]\nname = \"fed\"\nbase = \"socket.io\"\nsecond_connect = \"hide\"\nkeep_events = [\"feed\"]\n",
    records: 2,
    unfeeds: false,
    ..BOTH_JS
};

scenes!(both_js, BOTH_JS, [expired, late_answers, attachments]);
scenes!(python_server, PYTHON_SERVER, [expired, late_answers, attachments]);
scenes!(python_client, PYTHON_CLIENT, [expired, late_answers, attachments]);

#[tokio::test]
async fn both_js_without_a_profile() {
    let fate = without_a_profile(BOTH_JS).await;
    assert!(matches!(fate, None | Some(Fate::Gone)), "{fate:?}");
}

#[tokio::test]
async fn python_server_without_a_profile() {
    let fate = without_a_profile(PYTHON_SERVER).await;
    assert!(matches!(fate, None | Some(Fate::Deaf)), "{fate:?}");
}

#[tokio::test]
async fn python_client_without_a_profile() {
    let fate = without_a_profile(PYTHON_CLIENT).await;
    assert!(matches!(fate, None | Some(Fate::Gone)), "{fate:?}");
}

#[tokio::test]
async fn both_js_is_told_to_reconnect_without_a_profile() {
    told_to_reconnect(BOTH_JS).await;
}

#[tokio::test]
async fn python_server_is_told_to_reconnect_without_a_profile() {
    told_to_reconnect(PYTHON_SERVER).await;
}
