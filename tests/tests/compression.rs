//! permessage-deflate (RFC 7692) passes through without being inflated, also across failovers.

use std::collections::BTreeMap;

use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::client::Client;
use steadfast_tests::frame::{BINARY, CONTINUATION, Frame, RSV1, TEXT};
use steadfast_tests::journal::{Connection, Event};
use steadfast_tests::payload::Payload;
use steadfast_tests::sequence::home_and_other;
use steadfast_tests::upgrade::Upgrade;

/// What browsers send.
const BROWSER: &str = "permessage-deflate; client_max_window_bits";
/// The answer of a server that keeps no context either way.
const STATELESS: &str = "permessage-deflate;server_no_context_takeover;client_no_context_takeover";

/// An extension's name and parameters, from a header's values.
type Extension = (String, BTreeMap<String, Option<String>>);

fn extensions(values: &[&str]) -> Vec<Extension> {
    let parse = |text: &str| {
        let mut parts = text.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_owned();
        let parameter = |part: &str| match part.split_once('=') {
            Some((key, value)) => (key.trim().to_owned(), Some(value.trim().trim_matches('"').to_owned())),
            None => (part.to_owned(), None),
        };
        (name, parts.map(parameter).collect())
    };
    values.iter().flat_map(|value| value.split(',')).map(parse).collect()
}

fn deflate(parameters: &[(&str, Option<&str>)]) -> Extension {
    let own = |(key, value): &(&str, Option<&str>)| ((*key).to_owned(), value.map(str::to_owned));
    ("permessage-deflate".to_owned(), parameters.iter().map(own).collect())
}

fn offered(connection: &Connection) -> Vec<Extension> {
    extensions(&connection.header_values("sec-websocket-extensions"))
}

fn agreed(client: &Client) -> Vec<Extension> {
    extensions(&client.response().header_values("sec-websocket-extensions"))
}

/// `text` as permessage-deflate carries it: a stored block, the empty block behind it without its last four
/// bytes (RFC 7692 7.2.1, RFC 1951 3.2.4).
fn compressed(text: &str) -> Vec<u8> {
    let len = u16::try_from(text.len()).expect("a short text");
    [&[0x00][..], &len.to_le_bytes(), &(!len).to_le_bytes(), text.as_bytes(), &[0x00]].concat()
}

/// Sends `text` compressed, in two fragments, and expects it back byte for byte.
async fn assert_compressed_echo(client: &mut Client, text: &str) {
    let bytes = compressed(text);
    let (first, second) = bytes.split_at(3);
    client.send_frame(Frame::new(TEXT, first).reserved(RSV1).unfinished()).await;
    client.send_frame(Frame::new(CONTINUATION, second)).await;
    let answer = client.message().await;
    assert_eq!((answer.opcode, answer.rsv, answer.bytes), (TEXT, RSV1, bytes));
}

/// The compressed messages that a connection got.
fn compressed_payloads(connection: &Connection) -> Vec<Payload> {
    let payload = |event: &Event| match event {
        Event::Message { payload, rsv: RSV1, .. } => Some(payload.clone()),
        _ => None,
    };
    connection.events.iter().filter_map(payload).collect()
}

fn backend_flags(answer: &str) -> String {
    if answer.is_empty() { String::new() } else { format!("--extensions {answer}") }
}

async fn backend(name: &str, answer: &str) -> Backend {
    Backend::start(name, &backend_flags(answer)).await
}

async fn connect(broker: &Broker, offer: &str) -> Client {
    Upgrade::to(broker.address()).header("Sec-WebSocket-Extensions", offer).connect().await
}

#[tokio::test]
async fn the_offer_asks_for_messages_that_stand_alone() {
    let backend = backend("a", STATELESS).await;
    let broker = Broker::start(&[&backend]).await;
    let _clients = [
        connect(&broker, BROWSER).await,
        connect(&broker, "permessage-deflate").await,
        connect(&broker, "permessage-deflate; server_max_window_bits=10; client_max_window_bits=12").await,
    ];
    let (client, server) = (("client_no_context_takeover", None), ("server_no_context_takeover", None));
    let expected = [
        deflate(&[client, server, ("client_max_window_bits", None)]),
        deflate(&[client, server]),
        deflate(&[
            client,
            server,
            ("server_max_window_bits", Some("10")),
            ("client_max_window_bits", Some("12")),
        ]),
    ];
    for (connection, expected) in backend.journal().connections().iter().zip(expected) {
        assert_eq!(offered(connection), [expected]);
    }
}

#[tokio::test]
async fn other_extensions_are_not_offered() {
    let backend = backend("a", "").await;
    let broker = Broker::start(&[&backend]).await;
    let _client = connect(&broker, "x-webkit-deflate-frame, permessage-bzip2; level=9").await;
    assert_eq!(offered(&backend.journal().connections()[0]), []);
}

#[tokio::test]
async fn the_clients_answer_forbids_it_to_keep_a_context() {
    for answer in [STATELESS, "permessage-deflate;server_no_context_takeover"] {
        let backend = backend("a", answer).await;
        let broker = Broker::start(&[&backend]).await;
        let mut client = connect(&broker, BROWSER).await;
        let expected = deflate(&[("client_no_context_takeover", None), ("server_no_context_takeover", None)]);
        assert_eq!(agreed(&client), [expected], "the backend answered {answer}");
        assert_compressed_echo(&mut client, "hello").await;
    }
}

#[tokio::test]
async fn window_bits_that_the_backend_chose_reach_the_client() {
    let answer = format!("{STATELESS};server_max_window_bits=11;client_max_window_bits=13");
    let backend = backend("a", &answer).await;
    let broker = Broker::start(&[&backend]).await;
    let client = connect(&broker, BROWSER).await;
    let parameters = &agreed(&client)[0].1;
    assert_eq!(parameters["server_max_window_bits"].as_deref(), Some("11"));
    assert_eq!(parameters["client_max_window_bits"].as_deref(), Some("13"));
}

#[tokio::test]
async fn the_client_is_told_no_larger_window_than_it_offered() {
    let backend = backend("a", &format!("{STATELESS};client_max_window_bits=12")).await;
    let broker = Broker::start(&[&backend]).await;
    let client = connect(&broker, "permessage-deflate; client_max_window_bits=10").await;
    assert_eq!(agreed(&client)[0].1["client_max_window_bits"].as_deref(), Some("10"));
}

#[tokio::test]
async fn a_backend_that_keeps_a_context_is_used_without_compression() {
    let backend = backend("a", "permessage-deflate;client_no_context_takeover").await;
    let broker = Broker::start(&[&backend]).await;
    let mut client = connect(&broker, BROWSER).await;
    assert_eq!(agreed(&client), []);
    client.ask("plain", "a:plain").await;
    let connections = backend.journal().connections();
    assert_eq!(connections.len(), 2, "it is dialled again");
    assert_eq!(offered(&connections[1]), [], "without an offer");
    assert_eq!(connections[0].texts(), [""; 0]);
    let backends = broker.get_json("/api/v1/backends").await;
    assert_eq!(backends["backends"][0]["failures"], 0, "a setting is not a failure");
}

#[tokio::test]
async fn what_was_not_agreed_is_a_protocol_error() {
    let (plain, compressing) = (backend("a", "").await, backend("b", STATELESS).await);
    let broker = Broker::over(&[&plain]).pool("compressing", &[&compressing]).start().await;
    let mut client = connect(&broker, BROWSER).await;
    client.send_frame(Frame::new(BINARY, compressed("x")).reserved(RSV1)).await;
    assert_eq!(client.closed().await.0, Some(1002), "without an agreement");
    let request = Upgrade::to(broker.address_of(1)).header("Sec-WebSocket-Extensions", BROWSER);
    let mut client = request.connect().await;
    client.send_frame(Frame::new(BINARY, compressed("x")).reserved(RSV1).unfinished()).await;
    client.send_frame(Frame::new(CONTINUATION, "y").reserved(RSV1)).await;
    assert_eq!(client.closed().await.0, Some(1002), "RSV1 on a continuation (RFC 7692 6.1)");
}

/// A session at a backend that answers `first`, which dies; of the two others one answers `unfit` and one `fit`:
/// the session must end at the fit one, with its compressed messages untouched.
async fn assert_finds_the_fit_one(first: &str, unfit: &str, fit: &str) {
    let home = backend("home", first).await;
    let unfit_backend = Backend::absent("unfit", &backend_flags(unfit));
    let fit_backend = Backend::absent("fit", &backend_flags(fit));
    let broker = Broker::start(&[&home, &unfit_backend, &fit_backend]).await;
    let mut client = connect(&broker, BROWSER).await;
    let session = agreed(&client);
    assert_compressed_echo(&mut client, "one").await;
    broker.wait_at_rest().await;
    unfit_backend.restart().await;
    home.kill();
    unfit_backend.wait_upgrades(1).await;
    fit_backend.restart().await;
    assert_compressed_echo(&mut client, "two").await;
    let after = fit_backend.journal().connections().pop().expect("a connection to the fit backend");
    assert_eq!(compressed_payloads(&after), [Payload::of(&compressed("two"))]);
    let names: Vec<_> = offered(&after).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["permessage-deflate"], "the redial offers what was agreed: {session:?}");
    let at_unfit: Vec<_> =
        unfit_backend.journal().connections().iter().flat_map(|own| own.payloads()).collect();
    assert_eq!(at_unfit, [], "nothing is sent to a backend that does not fit");
}

#[tokio::test]
async fn a_failover_passes_by_a_backend_without_compression() {
    assert_finds_the_fit_one(STATELESS, "", STATELESS).await;
}

#[tokio::test]
async fn a_failover_passes_by_a_backend_that_keeps_a_context() {
    assert_finds_the_fit_one(STATELESS, "permessage-deflate;client_no_context_takeover", STATELESS).await;
}

#[tokio::test]
async fn a_failover_passes_by_a_backend_with_a_larger_window_of_its_own() {
    let bits = |n: u8| format!("{STATELESS};server_max_window_bits={n}");
    assert_finds_the_fit_one(&bits(11), &bits(12), &bits(10)).await;
}

#[tokio::test]
async fn a_failover_passes_by_a_backend_with_a_smaller_window_for_the_client() {
    let bits = |n: u8| format!("{STATELESS};client_max_window_bits={n}");
    assert_finds_the_fit_one(&bits(12), &bits(11), &bits(12)).await;
}

#[tokio::test]
async fn compressed_messages_in_the_ring_are_repeated_as_they_are() {
    let (a, b) = (backend("a", STATELESS).await, backend("b", STATELESS).await);
    let broker = Broker::start(&[&a, &b]).await;
    let mut client = connect(&broker, BROWSER).await;
    let (home, other) = home_and_other([&a, &b]).await;
    home.set(&format!("--silent --no-pong {}", backend_flags(STATELESS))).await;
    let texts = ["one", "two", "three"];
    for text in texts {
        client.send_frame(Frame::new(TEXT, compressed(text)).reserved(RSV1)).await;
    }
    client.send("not compressed").await;
    home.wait_messages(4).await;
    home.kill();
    for text in texts {
        let answer = client.message().await;
        assert_eq!((answer.rsv, answer.bytes), (RSV1, compressed(text)));
    }
    assert_eq!(client.text().await, format!("{}:not compressed", other.name()));
    let expected: Vec<_> = texts.iter().map(|text| Payload::of(&compressed(text))).collect();
    assert_eq!(compressed_payloads(&other.journal().connections()[0]), expected);
}

#[tokio::test]
async fn a_session_without_compression_offers_none_when_it_moves() {
    let (a, b) = (backend("a", "").await, backend("b", "").await);
    let broker = Broker::start(&[&a, &b]).await;
    let mut client = connect(&broker, BROWSER).await;
    let (home, other) = home_and_other([&a, &b]).await;
    client.ask("one", &format!("{}:one", home.name())).await;
    broker.wait_at_rest().await;
    other.set(&backend_flags(STATELESS)).await;
    home.kill();
    client.ask("two", &format!("{}:two", other.name())).await;
    assert_eq!(offered(&other.journal().connections()[0]), []);
}

#[tokio::test]
async fn a_failover_keeps_the_subprotocol() {
    let home = Backend::start("home", "--subprotocol chat.v2").await;
    let (unfit, fit) =
        (Backend::absent("unfit", "--subprotocol chat.v1"), Backend::absent("fit", "--subprotocol chat.v2"));
    let broker = Broker::start(&[&home, &unfit, &fit]).await;
    let request = Upgrade::to(broker.address()).header("Sec-WebSocket-Protocol", "chat.v1, chat.v2");
    let mut client = request.connect().await;
    assert_eq!(client.response().header("sec-websocket-protocol"), Some("chat.v2"));
    client.ask("one", "home:one").await;
    broker.wait_at_rest().await;
    unfit.restart().await;
    home.kill();
    unfit.wait_upgrades(1).await;
    fit.restart().await;
    client.ask("two", "fit:two").await;
    let after = fit.journal().connections().pop().expect("a connection");
    assert_eq!(after.header_values("sec-websocket-protocol"), ["chat.v2"], "only the agreed one is offered");
    assert_eq!(unfit.journal().texts(), [""; 0]);
}
