//! What a proxy in front says, right and wrong, and who the client is then.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::Value;
use socket2::SockRef;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::upgrade::{Upgrade, complete};
use steadfast_tests::wait::{bounded, eventually_async, eventually_some};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{BEHIND_PROXY, PROXY, STRANGER, bare_block, behind, block, introduced, line, of_client};

const HEADERS: &str = "steadfast_proxy_headers_total";
const ERRORS: &str = "steadfast_handshake_errors_total";
const CHECKS: &str = "steadfast_balancer_checks_total";

/// As a balancer sends them: authority, unique id, one of AWS's and one of TLS.
const TLVS: &[u8] = b"\x02\0\x0cchat.example\x05\0\x02id\xea\0\x05\x01vpce\x20\0\x05\x01\0\0\0\0";

/// Waits for the end of a connection to which nothing is said.
async fn closed(mut stream: TcpStream) {
    let mut heard = Vec::new();
    // With something unread it is reset.
    let _ = bounded("the connection's end", stream.read_to_end(&mut heard)).await;
    assert_eq!(heard, b"", "nobody answers");
}

async fn opened(broker: &Broker, bytes: &[u8]) -> TcpStream {
    let mut stream = Upgrade::to(broker.address()).from(PROXY).dial().await.expect("it listens");
    stream.set_nodelay(true).expect("TCP_NODELAY");
    stream.write_all(bytes).await.expect("it can be written");
    stream
}

#[tokio::test]
async fn each_version_says_who_the_client_is() {
    let backend = Backend::start("a", "").await;
    let broker = behind(&[&backend]).start().await;
    for (header, client, address) in [
        (line("203.0.113.9:5678", "192.0.2.1:443"), "203.0.113.9:5678", "203.0.113.9"),
        (line("[2001:db8::9]:5678", "[2001:db8::1]:443"), "[2001:db8::9]:5678", "2001:db8::9"),
        (block("203.0.113.9:5678", "192.0.2.1:443", b""), "203.0.113.9:5678", "203.0.113.9"),
        (block("203.0.113.9:5678", "192.0.2.1:443", TLVS), "203.0.113.9:5678", "203.0.113.9"),
        (block("[2001:db8::9]:5678", "[2001:db8::1]:443", TLVS), "[2001:db8::9]:5678", "2001:db8::9"),
        (block("[::ffff:203.0.113.9]:5678", "[::1]:443", b""), "203.0.113.9:5678", "203.0.113.9"),
    ] {
        let mut session = introduced(&broker, &header).connect().await;
        session.ask("m", "a:m").await;
        broker.wait_only_session(client, |session| session["client"] == client).await;
        let seen = backend.journal().connections().pop().expect("a connection");
        assert_eq!(seen.header_values("x-forwarded-for"), [address]);
        session.close(1000, "").await;
        broker.wait_sessions(0).await;
        assert_eq!(broker.ended().await.pop().expect("a line")["client"], client);
    }
    assert_eq!(broker.metric(HEADERS, &[("outcome", "client")]).await, 6.0);
    assert_eq!(broker.metric(ERRORS, &[]).await, 0.0);
}

#[tokio::test]
async fn a_header_may_come_in_any_pieces() {
    let backend = Backend::start("a", "").await;
    let broker = behind(&[&backend]).start().await;
    for header in
        [line("203.0.113.9:5678", "192.0.2.1:443"), block("203.0.113.9:5678", "192.0.2.1:443", TLVS)]
    {
        let whole = introduced(&broker, &header).encode();
        let mut byte_by_byte = opened(&broker, b"").await;
        for byte in &whole {
            byte_by_byte.write_all(&[*byte]).await.expect("it can be written");
            tokio::task::yield_now().await;
        }
        complete(byte_by_byte).await.expect("an upgrade").ask("m", "a:m").await;
        // In the middle of the header, at its end, and in the middle of the request.
        for cut in [3, 20, header.len(), header.len() + 9] {
            let before = broker.metric(HEADERS, &[("outcome", "client")]).await;
            let mut stream = opened(&broker, &whole[..cut]).await;
            if cut >= header.len() {
                broker.wait_metric(HEADERS, &[("outcome", "client")], |count| count > before).await;
            }
            stream.write_all(&whole[cut..]).await.expect("it can be written");
            complete(stream).await.expect("an upgrade").ask("m", "a:m").await;
        }
    }
}

#[tokio::test]
async fn whatever_is_no_header_is_closed_counted_and_told() {
    let backend = Backend::start("a", "").await;
    let broker = behind(&[&backend]).start().await;
    let request = Upgrade::to(broker.address()).encode();
    let wrong_sum = block("203.0.113.9:5678", "192.0.2.1:443", b"\x03\0\x04abcd");
    let too_long = bare_block(0x21, 0x11, &[0; 5000]);
    let cases: [(&[u8], &str); 8] = [
        (&request, "malformed"),
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", "malformed"),
        (b"PROXY TCP4 203.0.113.9 192.0.2.1 5678 443\n\n", "malformed"),
        (b"PROXY TCP4 203.0.113.9 192.0.2.1 5678 443 and so on, for longer than any line of version 1 may be long\r\n", "malformed"),
        (&bare_block(0x31, 0x11, &[0; 12]), "malformed"),
        (&bare_block(0x21, 0x11, &[0; 11]), "malformed"),
        (&too_long, "malformed"),
        (&wrong_sum, "checksum"),
    ];
    let mut expected = 0.0;
    for (number, (bytes, outcome)) in cases.into_iter().enumerate() {
        // What would be a good request behind it is not read.
        let mut stream = opened(&broker, bytes).await;
        let _ = stream.write_all(&request).await;
        closed(stream).await;
        expected += 1.0;
        broker.wait_metric(ERRORS, &[], |count| count == expected).await;
        let counted = broker.metric(HEADERS, &[("outcome", outcome)]).await;
        let of_this = if outcome == "checksum" { 1.0 } else { number as f64 + 1.0 };
        assert_eq!(counted, of_this, "{}", bytes.escape_ascii());
    }
    for cut in [&b"PROXY TCP4"[..], b"\r\n\r\n\0\r\nQUIT"] {
        let stream = opened(&broker, cut).await;
        SockRef::from(&stream).shutdown(std::net::Shutdown::Write).expect("it stands");
        closed(stream).await;
    }
    broker.wait_metric(HEADERS, &[("outcome", "cut")], |count| count == 2.0).await;
    let told = |record: &Value| record["message"].as_str().is_some_and(|text| text.contains("PROXY header"));
    let first = eventually_some("a line of it", || broker.records(told).into_iter().next()).await;
    assert_eq!(first["level"], "WARN");
    assert!(first["proxy"].as_str().is_some_and(|proxy| proxy.starts_with("127.0.0.2:")), "{first}");
    assert!(broker.records(told).len() < 10, "a flood is no flood of lines");
    assert_eq!(backend.journal().connections().len(), 0, "no backend has heard of any");
    // The same proxy, as it should be.
    of_client(&broker, "203.0.113.9:5678").connect().await.ask("m", "a:m").await;
}

#[tokio::test]
async fn who_is_not_trusted_introduces_nobody() {
    let backend = Backend::start("a", "").await;
    let broker = behind(&[&backend]).start().await;
    let header = line("203.0.113.9:5678", "192.0.2.1:443");
    for request in [introduced(&broker, &header).from(STRANGER), Upgrade::to(broker.address()).from(STRANGER)]
    {
        closed(request.open().await).await;
    }
    broker.wait_metric(HEADERS, &[("outcome", "untrusted")], |count| count == 2.0).await;
    assert_eq!(broker.metric(ERRORS, &[]).await, 2.0);
    let told =
        |record: &Value| record["message"].as_str().is_some_and(|text| text.contains("listener.trusted"));
    let line = eventually_some("a line of it", || broker.records(told).into_iter().next()).await;
    assert!(line["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.3:")), "{line}");
    assert_eq!(backend.journal().connections().len(), 0);
}

#[tokio::test]
async fn a_header_counts_against_the_time_for_the_handshake() {
    let backend = Backend::start("a", "").await;
    let broker = behind(&[&backend]).setting("timeouts", "handshake = \"300ms\"").start().await;
    closed(opened(&broker, b"").await).await;
    closed(opened(&broker, b"PROXY TCP4 203").await).await;
    broker.wait_metric(HEADERS, &[("outcome", "cut")], |count| count == 2.0).await;
    // With a header and without a request.
    closed(opened(&broker, &line("203.0.113.9:5678", "192.0.2.1:443")).await).await;
    assert_eq!(broker.metric(HEADERS, &[("outcome", "cut")]).await, 2.0);
    broker.wait_metric(ERRORS, &[], |count| count == 3.0).await;
}

#[tokio::test]
async fn a_header_is_never_guessed() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&[&backend]).listener_setting("trusted = \"127.0.0.2\"").start().await;
    assert_eq!(of_client(&broker, "203.0.113.9:5678").refused().await.status, 400);
    let block = block("203.0.113.9:5678", "192.0.2.1:443", b"");
    assert_eq!(introduced(&broker, &block).refused().await.status, 400);
    assert_eq!(broker.metric(HEADERS, &[]).await, 0.0);
}

#[tokio::test]
async fn a_proxys_own_connections_are_its_own_and_its_checks_no_errors() {
    let backend = Backend::start("a", "").await;
    let broker = behind(&[&backend]).start().await;
    let unix = bare_block(0x21, 0x31, &[b'/'; 216]);
    let own =
        [b"PROXY UNKNOWN\r\n".to_vec(), bare_block(0x20, 0, b""), bare_block(0x20, 0x11, &[7; 12]), unix];
    for header in &own {
        // Its request is served, and what it says of clients in headers is believed.
        let mut session = introduced(&broker, header).connect().await;
        session.ask("m", "a:m").await;
        let of_proxy = |session: &Value| {
            session["client"].as_str().is_some_and(|client| client.starts_with("127.0.0.2:"))
        };
        broker.wait_only_session("the proxy's", of_proxy).await;
        session.close(1000, "").await;
        broker.wait_sessions(0).await;
        let claiming = introduced(&broker, header).header("X-Forwarded-For", "203.0.113.9").connect().await;
        broker.wait_only_session("a client's", |session| session["client"] == "203.0.113.9:0").await;
        claiming.close(1000, "").await;
        broker.wait_sessions(0).await;
    }
    for (number, header) in own.iter().enumerate() {
        drop(opened(&broker, header).await);
        let reset = opened(&broker, header).await;
        broker
            .wait_metric(HEADERS, &[("outcome", "own")], |count| count == (8 + 2 * number + 2) as f64)
            .await;
        SockRef::from(&reset).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
        drop(reset);
    }
    broker.wait_metric(CHECKS, &[("by", "connection")], |count| count == 8.0).await;
    // HAProxy's checks in version 1 name HAProxy itself.
    let mut check = opened(&broker, b"").await;
    let itself = line(&check.local_addr().expect("it is connected").to_string(), "127.0.0.1:80");
    check.write_all(&itself).await.expect("it stands");
    broker.wait_metric(HEADERS, &[("outcome", "own")], |count| count == 17.0).await;
    SockRef::from(&check).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
    drop(check);
    broker.wait_metric(CHECKS, &[("by", "connection")], |count| count == 9.0).await;
    // Who connects and says nothing at all is no error either.
    drop(opened(&broker, b"").await);
    assert_eq!(broker.metric(ERRORS, &[]).await, 0.0);
    // A client that is cut off is one, though.
    let reset = opened(&broker, &line("203.0.113.9:5678", "192.0.2.1:443")).await;
    broker.wait_metric(HEADERS, &[("outcome", "client")], |count| count == 1.0).await;
    SockRef::from(&reset).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
    drop(reset);
    broker.wait_metric(ERRORS, &[], |count| count == 1.0).await;
    assert_eq!(broker.metric(CHECKS, &[]).await, 9.0);
}

#[tokio::test]
async fn headers_of_the_request_are_judged_by_the_address_that_was_introduced() {
    let backend = Backend::start("a", "").await;
    let broker = behind(&[&backend]).start().await;
    let last = || backend.journal().connections().pop().expect("a connection");
    // A client says of itself what it likes, though its proxy is trusted.
    let request = of_client(&broker, "203.0.113.9:5678").header("X-Forwarded-For", "198.51.100.7");
    let session = request.header("X-Forwarded-Proto", "https").connect().await;
    broker.wait_only_session("the client's", |session| session["client"] == "203.0.113.9:5678").await;
    assert_eq!(last().header_values("x-forwarded-for"), ["203.0.113.9"]);
    assert_eq!(last().header_values("x-forwarded-proto"), ["http"]);
    session.close(1000, "").await;
    broker.wait_sessions(0).await;
    // Behind the first proxy stands another one that is trusted.
    let request = of_client(&broker, "10.1.2.3:5678").header("X-Forwarded-For", "198.51.100.7");
    let _session = request.header("X-Forwarded-Proto", "https").connect().await;
    broker.wait_only_session("the client's", |session| session["client"] == "198.51.100.7:0").await;
    assert_eq!(last().header_values("x-forwarded-for"), ["198.51.100.7, 10.1.2.3"]);
    assert_eq!(last().header_values("x-forwarded-proto"), ["https"]);
}

#[tokio::test]
async fn access_rules_limits_and_rates_mean_the_client() {
    let backend = Backend::start("a", "").await;
    let lines = "deny = [\"198.51.100.0/24\"]\nsessions_per_address = 1";
    let broker = behind(&[&backend]).setting("access", lines).start().await;
    assert_eq!(of_client(&broker, "198.51.100.7:1").refused().await.status, 403);
    let mut clients = Vec::new();
    for client in ["203.0.113.1:1", "203.0.113.2:1", "[2001:db8:0:1::1]:1", "[2001:db8:0:2::1]:1"] {
        clients.push(of_client(&broker, client).connect().await);
    }
    for again in ["203.0.113.1:2", "[2001:db8:0:1:ffff::9]:1"] {
        assert_eq!(of_client(&broker, again).refused().await.status, 429, "{again}");
    }
    for client in &mut clients {
        client.ask("m", "a:m").await;
    }
    let lines = "upgrades_per_second = 1\nupgrades_burst = 3";
    let broker = behind(&[&backend]).setting("access", lines).start().await;
    let refused = eventually_async("one client to be refused", async || {
        of_client(&broker, "203.0.113.1:1").attempt().await.err()
    })
    .await;
    assert_eq!(refused.status, 429);
    for number in 2..20 {
        of_client(&broker, &format!("203.0.113.{number}:1")).connect().await;
    }
}

#[tokio::test]
async fn source_places_by_the_client() {
    let (a, b) = (Backend::start("a", "").await, Backend::start("b", "").await);
    let broker = behind(&[&a, &b]).pool_setting("balance = \"source\"").start().await;
    let mut homes = HashSet::new();
    for number in 0..20 {
        let mut places = HashSet::new();
        for port in [1, 2] {
            let mut session = of_client(&broker, &format!("203.0.113.{number}:{port}")).connect().await;
            session.send("m").await;
            places.insert(session.text().await);
        }
        assert_eq!(places.len(), 1, "client {number} comes to the same one");
        homes.extend(places);
    }
    assert_eq!(homes.len(), 2, "the proxy's clients are not one client");
}

#[tokio::test]
async fn a_reload_changes_whether_there_is_a_header() {
    let backend = Backend::start("a", "").await;
    let setup = Broker::over(&[&backend]);
    let broker = setup.clone().start().await;
    let mut before = Upgrade::to(broker.address()).from(PROXY).connect().await;
    for (file, with_header) in [(setup.clone().listener_setting(BEHIND_PROXY), true), (setup, false)] {
        broker.replace_file(&file.to_toml());
        let reloaded = broker.post("/api/v1/reload").await;
        assert!(reloaded.status < 300, "{}", reloaded.text());
        assert_eq!(of_client(&broker, "203.0.113.9:1").attempt().await.is_ok(), with_header);
        assert_eq!(Upgrade::to(broker.address()).from(PROXY).attempt().await.is_ok(), !with_header);
        before.ask("m", "a:m").await;
    }
}
