//! The client's handshake reaches the backend, and the backend's answer the client.

use steadfast_tests::admin::exchange;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::client::Client;
use steadfast_tests::frame::Frame;
use steadfast_tests::journal::Connection;
use steadfast_tests::upgrade::{KEY, Upgrade};
use steadfast_tests::wait::bounded;
use tokio::io::AsyncReadExt;

/// The only request that `backend` got.
fn request_of(backend: &Backend) -> Connection {
    let mut connections = backend.journal().connections();
    assert_eq!(connections.len(), 1, "requests at backend {}", backend.name());
    connections.remove(0)
}

#[tokio::test]
async fn path_query_and_headers_reach_the_backend_as_sent() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::start(&[&backend]).await;
    let mut client = Upgrade::to(broker.address())
        .path("/chat/room%201?user=ann&empty=&x=%2F")
        .replace("Host", "chat.example:8080")
        .header("Origin", "https://chat.example")
        .header("Cookie", "session=abc; theme=dark")
        .header("Authorization", "Bearer token")
        .header("User-Agent", "test/1.0")
        .header("X-Multi", "first")
        .header("X-Multi", "second")
        .connect()
        .await;
    client.ask("hello", "a:hello").await;
    let request = request_of(&backend);
    assert_eq!(request.line, "GET /chat/room%201?user=ann&empty=&x=%2F HTTP/1.1");
    assert_eq!(request.header_values("host"), ["chat.example:8080"]);
    assert_eq!(request.header_values("origin"), ["https://chat.example"]);
    assert_eq!(request.header_values("cookie"), ["session=abc; theme=dark"]);
    assert_eq!(request.header_values("authorization"), ["Bearer token"]);
    assert_eq!(request.header_values("user-agent"), ["test/1.0"]);
    assert_eq!(request.header_values("x-multi"), ["first", "second"]);
    assert_eq!(request.header_values("sec-websocket-version"), ["13"]);
    assert_eq!(request.header_values("sec-websocket-key").len(), 1);
    assert_eq!(request.header_values("sec-websocket-extensions"), [""; 0]);
    assert_eq!(request.header_values("sec-websocket-protocol"), [""; 0]);
}

#[tokio::test]
async fn forwarding_headers_are_added() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&[&backend]).listener_setting("trusted = \"127.0.0.1\"").start().await;
    let request = Upgrade::to(broker.address()).replace("Host", "chat.example");
    let _client = request.header("X-Forwarded-For", "192.0.2.7").connect().await;
    let seen = request_of(&backend);
    let forwarded_for = seen.header_values("x-forwarded-for").join(", ");
    assert_eq!(forwarded_for, "192.0.2.7, 127.0.0.1", "the list is continued");
    assert_eq!(seen.header_values("x-forwarded-proto"), ["http"]);
    assert_eq!(seen.header_values("x-forwarded-host"), ["chat.example"]);
}

#[tokio::test]
async fn the_brokers_own_headers_cannot_be_forged() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::start(&[&backend]).await;
    let request = Upgrade::to(broker.address()).header("Steadfast-Session", "forged");
    let _client = request.header("steadfast-attempt", "77").header("Steadfast-Other", "x").connect().await;
    let seen = request_of(&backend);
    assert_eq!(seen.header_values("steadfast-attempt"), ["1"]);
    assert_eq!(seen.header_values("steadfast-other"), [""; 0]);
    let ids = seen.header_values("steadfast-session");
    let is_id = |id: &str| id.len() == 32 && id.chars().all(|digit| digit.is_ascii_hexdigit());
    assert!(ids.len() == 1 && is_id(ids[0]), "one session id of 32 hex digits: {ids:?}");
    let session = broker.wait_only_session("the client's", |_| true).await;
    assert_eq!(session["id"], ids[0]);
}

#[tokio::test]
async fn hop_by_hop_headers_stay_on_their_hop() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::start(&[&backend]).await;
    let request = Upgrade::to(broker.address()).replace("Connection", "keep-alive, Upgrade, X-Hop");
    let request = request.header("X-Hop", "mine").header("Keep-Alive", "timeout=5");
    let request = request.header("Proxy-Connection", "keep-alive").header("TE", "trailers");
    let _client = request.header("X-End", "yours").connect().await;
    let seen = request_of(&backend);
    for name in ["x-hop", "keep-alive", "proxy-connection", "te"] {
        assert_eq!(seen.header_values(name), [""; 0], "{name} is hop-by-hop");
    }
    assert_eq!(seen.header("x-end"), Some("yours"));
    let connection = seen.header_values("connection").join(",").to_ascii_lowercase();
    assert_eq!(connection, "upgrade");
    assert_eq!(seen.header("upgrade").map(str::to_ascii_lowercase).as_deref(), Some("websocket"));
}

#[tokio::test]
async fn the_answers_headers_reach_the_client() {
    let flags =
        "--answer-header Set-Cookie:a=1 --answer-header Set-Cookie:b=2 --answer-header X-Served-By:me";
    let backend = Backend::start("a", flags).await;
    let broker = Broker::start(&[&backend]).await;
    let client = Client::connect(broker.address()).await;
    let response = client.response();
    assert_eq!(response.header_values("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(response.header_values("x-served-by"), ["me"]);
    assert_eq!(response.header_values("sec-websocket-accept").len(), 1);
    assert_eq!(response.header_values("sec-websocket-protocol"), [""; 0]);
    assert_eq!(response.header_values("sec-websocket-extensions"), [""; 0]);
}

#[tokio::test]
async fn the_subprotocol_is_the_backends_choice() {
    let backend = Backend::start("a", "--subprotocol superchat").await;
    let broker = Broker::start(&[&backend]).await;
    let request = Upgrade::to(broker.address()).header("Sec-WebSocket-Protocol", "chat, superchat");
    let client = request.connect().await;
    assert_eq!(client.response().header_values("sec-websocket-protocol"), ["superchat"]);
    let offers = request_of(&backend).header_values("sec-websocket-protocol").join(", ");
    assert_eq!(offers, "chat, superchat");
}

#[tokio::test]
async fn a_subprotocol_that_is_no_text_hides_none_beside_it() {
    let backend = Backend::start("a", "--subprotocol chat").await;
    let broker = Broker::start(&[&backend]).await;
    let request = Upgrade::to(broker.address()).header("Sec-WebSocket-Protocol", "chat, ch?t").encode();
    let request: Vec<u8> = request.into_iter().map(|byte| if byte == b'?' { 0xe4 } else { byte }).collect();
    let response = exchange(broker.address(), &request).await.expect("an answer");
    assert_eq!((response.status, response.header("sec-websocket-protocol")), (101, Some("chat")));
}

#[tokio::test]
async fn a_backend_that_chooses_two_subprotocols_has_failed() {
    let flags = "--subprotocol chat --answer-header Sec-WebSocket-Protocol:superchat";
    let backend = Backend::start("a", flags).await;
    let broker = Broker::start(&[&backend]).await;
    let request = Upgrade::to(broker.address()).header("Sec-WebSocket-Protocol", "chat, superchat");
    assert_eq!(request.refused().await.status, 503);
    assert_eq!(broker.backend("a").await.expect("it is listed")["failures"], 1);
}

#[tokio::test]
async fn spaces_in_front_of_colons_are_taken_out_of_answers() {
    let backend = Backend::start("a", "--answer-header X-A+:1 --answer-header Set-Cookie++:b=2").await;
    let broker = Broker::start(&[&backend]).await;
    let client = Client::connect(broker.address()).await;
    assert_eq!(client.response().header_values("x-a"), ["1"]);
    assert_eq!(client.response().header_values("set-cookie"), ["b=2"]);
}

#[tokio::test]
async fn names_are_spelled_as_the_listener_has_it() {
    let backend = Backend::start("a", "--subprotocol chat --answer-header x-served-by:me").await;
    let title = "[[listener]]\naddress = \"127.0.0.1:0\"\nheader_case = \"title\"";
    let broker = Broker::over(&[&backend]).listener(title).start().await;
    let lower = ["sec-websocket-accept", "sec-websocket-protocol", "x-served-by", "upgrade", "connection"];
    let upper = ["Sec-WebSocket-Accept", "Sec-WebSocket-Protocol", "X-Served-By", "Upgrade", "Connection"];
    for (index, names) in [lower, upper].into_iter().enumerate() {
        let request = Upgrade::to(broker.address_of(index)).header("Sec-WebSocket-Protocol", "chat");
        let mut stream = request.open().await;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(bounded("the answer", stream.read_u8()).await.expect("a whole head"));
        }
        let head = String::from_utf8(head).expect("text");
        for name in names {
            assert!(head.contains(&format!("\r\n{name}: ")), "no {name} in {head}");
        }
        let refused =
            Upgrade::to(broker.address_of(index)).replace("Sec-WebSocket-Version", "8").open().await;
        let mut text = String::new();
        bounded("a refusal", { refused }.read_to_string(&mut text)).await.expect("an end");
        assert!(text.contains(&format!("\r\n{}: websocket\r\n", names[3])), "{text}");
    }
}

#[tokio::test]
async fn a_backend_may_choose_no_subprotocol() {
    let backend = Backend::start("a", "--subprotocol other").await;
    let broker = Broker::start(&[&backend]).await;
    let client = Upgrade::to(broker.address()).header("Sec-WebSocket-Protocol", "chat").connect().await;
    assert_eq!(client.response().header_values("sec-websocket-protocol"), [""; 0]);
}

#[tokio::test]
async fn messages_that_come_with_the_handshakes_are_kept() {
    let backend = Backend::start("a", "--greet welcome").await;
    let broker = Broker::start(&[&backend]).await;
    let early =
        [Frame::text("one"), Frame::text("two")].map(|frame| frame.masked([7, 7, 7, 7]).encode()).concat();
    let mut client = Upgrade::to(broker.address()).behind(early).connect().await;
    assert_eq!(client.texts(3).await, ["welcome", "a:one", "a:two"]);
}

#[tokio::test]
async fn a_third_party_client_is_served() {
    use futures::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;
    let backend = Backend::start("a", "").await;
    let broker = Broker::start(&[&backend]).await;
    let url = format!("ws://{}/", broker.address());
    let (mut socket, _) =
        bounded("the upgrade", tokio_tungstenite::connect_async(url)).await.expect("an upgrade");
    socket.send(Message::text("hello")).await.expect("the message is sent");
    let answer = bounded("the answer", socket.next()).await.expect("an answer").expect("a message");
    assert_eq!(answer, Message::text("a:hello"));
}

#[tokio::test]
async fn redirects_and_client_errors_are_relayed_with_headers_and_body() {
    for status in [301, 302, 307, 400, 401, 403, 404, 410] {
        let flags = format!(
            "--refuse {status} --refuse-body see+there --answer-header Location:/there \
             --answer-header WWW-Authenticate:Basic --answer-header Set-Cookie:c=1"
        );
        let (a, b) = (Backend::start("a", &flags).await, Backend::start("b", &flags).await);
        let broker = Broker::start(&[&a, &b]).await;
        let response = Upgrade::to(broker.address()).refused().await;
        assert_eq!((response.status, response.text().as_str()), (status, "see there"));
        assert_eq!(response.header_values("location"), ["/there"]);
        assert_eq!(response.header_values("www-authenticate"), ["Basic"]);
        assert_eq!(response.header_values("set-cookie"), ["c=1"]);
        let asked = a.journal().connections().len() + b.journal().connections().len();
        assert_eq!(asked, 1, "a {status} is the application's answer and is not asked for twice");
    }
}

#[tokio::test]
async fn a_relayed_426_says_what_to_upgrade_to() {
    let flags =
        "--refuse 426 --refuse-body newer --answer-header Upgrade:h2c --answer-header Connection:Upgrade";
    let backend = Backend::start("a", flags).await;
    let broker = Broker::start(&[&backend]).await;
    let response = Upgrade::to(broker.address()).refused().await;
    assert_eq!((response.status, response.text().as_str()), (426, "newer"));
    assert_eq!(response.header_values("upgrade"), ["websocket"], "RFC 9110 15.5.22, on this hop");
    assert_eq!(response.header_values("connection"), ["upgrade, close"]);
}

#[tokio::test]
async fn headers_of_forwarding_go_on_whatever_connection_names() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&[&backend]).listener_setting("trusted = \"127.0.0.1\"").start().await;
    let request =
        Upgrade::to(broker.address()).replace("Connection", "Upgrade, X-Forwarded-For, X-Real-IP, X-Hop");
    let request = request.header("X-Forwarded-For", "192.0.2.7").header("X-Forwarded-For", "");
    let _client = request.header("X-Real-IP", "192.0.2.7").header("X-Hop", "mine").connect().await;
    let seen = request_of(&backend);
    assert_eq!(seen.header_values("x-forwarded-for"), ["192.0.2.7, 127.0.0.1"]);
    assert_eq!((seen.header("x-real-ip"), seen.header("x-hop")), (Some("192.0.2.7"), None));
}

/// A broker over a backend with these flags and a good one serves every client, and both were asked.
async fn assert_first_dial_goes_on(flags: &str) {
    let (bad, good) = (Backend::start("bad", flags).await, Backend::start("good", "").await);
    let broker = Broker::start(&[&bad, &good]).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = Client::connect(broker.address()).await;
        client.ask("hello", "good:hello").await;
        clients.push(client);
    }
    assert!(!bad.journal().connections().is_empty(), "the bad backend ({flags}) was never asked");
    assert_eq!(good.journal().connections().len(), 4, "with a bad backend: {flags}");
}

#[tokio::test]
async fn a_failed_first_dial_goes_to_the_next_backend() {
    for status in [200, 204, 408, 425, 429, 500, 502, 503, 504] {
        assert_first_dial_goes_on(&format!("--refuse {status}")).await;
    }
}

#[tokio::test]
async fn a_spoilt_first_dial_goes_to_the_next_backend() {
    for spoil in ["close", "garbage", "bad-accept", "bad-subprotocol"] {
        assert_first_dial_goes_on(&format!("--spoil-upgrade {spoil}")).await;
    }
}

#[tokio::test]
async fn a_backend_that_does_not_answer_the_upgrade_is_left() {
    let (bad, good) = (Backend::start("bad", "--spoil-upgrade hang").await, Backend::start("good", "").await);
    let broker = Broker::over(&[&bad, &good]).setting("timeouts", "upgrade = \"300ms\"").start().await;
    let mut first = Client::connect(broker.address()).await;
    first.ask("hello", "good:hello").await;
    let mut second = Client::connect(broker.address()).await;
    second.ask("hello", "good:hello").await;
    assert!(!bad.journal().connections().is_empty(), "the silent backend was never asked");
}

#[tokio::test]
async fn a_dead_backend_is_passed_over() {
    let (dead, good) = (Backend::absent("dead", ""), Backend::start("good", "").await);
    let broker = Broker::start(&[&dead, &good]).await;
    for _ in 0..3 {
        Client::connect(broker.address()).await.ask("hello", "good:hello").await;
    }
    assert!(broker.metric("steadfast_dials_total", &[("backend", "good")]).await >= 3.0);
}

#[tokio::test]
async fn without_any_backend_the_client_is_told_when_to_come_back() {
    let (dead, failing) = (Backend::absent("dead", ""), Backend::start("failing", "--refuse 503").await);
    let broker = Broker::start(&[&dead, &failing]).await;
    let response = Upgrade::to(broker.address()).refused().await;
    assert_eq!(response.status, 503);
    let seconds = response.header("retry-after").and_then(|value| value.parse::<u32>().ok());
    assert!(seconds.is_some(), "Retry-After in seconds: {response:?}");
    dead.restart().await;
    Client::connect(broker.address()).await.ask("hello", "dead:hello").await;
}

#[tokio::test]
async fn each_dial_has_a_key_of_its_own() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::start(&[&backend]).await;
    let _clients = [Client::connect(broker.address()).await, Client::connect(broker.address()).await];
    let keys: Vec<String> = backend
        .journal()
        .connections()
        .iter()
        .filter_map(|connection| connection.header("sec-websocket-key").map(str::to_owned))
        .collect();
    // The backend's answer is checked against the key that the broker sent, so that key must be the broker's own
    // or the client's; either way it is the base64 of 16 bytes (RFC 6455 4.1).
    assert!(
        keys.len() == 2 && keys.iter().all(|key| key.len() == KEY.len() && key.ends_with("==")),
        "{keys:?}"
    );
}
