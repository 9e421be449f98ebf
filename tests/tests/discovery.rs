//! Backends found by name: answers that change, vanish and fail, of a real DNS server.

use std::net::{IpAddr, SocketAddr};

use serde_json::Value;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::client::Client;
use steadfast_tests::dns::{Dns, Zone};
use steadfast_tests::loopback::own_address;
use steadfast_tests::sequence::{check_answers, check_arrivals, converse, range, session_connections};
use steadfast_tests::skipped::leave_out;
use steadfast_tests::upgrade::Upgrade;
use steadfast_tests::wait::{eventually, eventually_async};

const LOOKUPS: &str = "steadfast_dns_lookups_total";

/// Whether the test cannot run here.
fn cannot(test: &str) -> bool {
    let there = Dns::is_there();
    if !there {
        leave_out(&format!("{test}: dnsmasq is missing; ./test installs it where it can"));
    }
    !there
}

/// Backends with these names, each on an address of its own, all on the same port.
async fn backends<const N: usize>(names: [&str; N]) -> [Backend; N] {
    let mut port = 0;
    let mut backends = Vec::new();
    for name in names {
        let backend = Backend::start_at(SocketAddr::new(own_address(), port), name, "").await;
        port = backend.address().port();
        backends.push(backend);
    }
    backends.try_into().expect("one for each name")
}

fn addresses(backends: &[&Backend]) -> Vec<IpAddr> {
    backends.iter().map(|backend| backend.address().ip()).collect()
}

/// `chat.test` with the addresses of these.
fn chat(backends: &[&Backend]) -> Zone {
    Zone::default().host("chat.test", &addresses(backends))
}

/// What the broker calls a backend.
fn name(backend: &Backend) -> String {
    format!("chat.test/{}", backend.address())
}

/// Follows `chat.test` on the port of `backend`.
fn following(backend: &Backend, dns: &Dns, hold: &str) -> BrokerBuilder {
    let port = backend.address().port();
    discovering(&format!("address = \"chat.test:{port}\""), dns, hold)
}

fn discovering(what: &str, dns: &Dns, hold: &str) -> BrokerBuilder {
    let dns = dns.address();
    Broker::over(&[])
        .pool_table(&format!("[[pool.discovery]]\n{what}"))
        .setting(
            "dns",
            &format!("servers = [\"{dns}\"]\nhold = \"{hold}\"\nttl_min = \"50ms\"\ntimeout = \"3s\""),
        )
        .setting("drain", "quiet = \"50ms\"")
        .setting("failover", "stable = \"50ms\"")
}

/// All backends of the broker, as `key` of each.
async fn listed(broker: &Broker, key: &str) -> Vec<String> {
    let body = broker.get_json("/api/v1/backends").await;
    let text = |own: &Value| own[key].as_str().expect("text").to_owned();
    let there = |own: &&Value| own["state"] != "removed";
    let backends = body["backends"].as_array().expect("a list").iter().filter(there);
    let mut all: Vec<_> = backends.map(text).collect();
    all.sort();
    all
}

/// Waits until exactly these are the broker's backends.
async fn wait_listed(broker: &Broker, names: &[String]) {
    let mut wanted = names.to_vec();
    wanted.sort();
    eventually_async(&format!("the backends {wanted:?}"), async || {
        (listed(broker, "name").await == wanted).then_some(())
    })
    .await;
}

/// Waits until `n` more lookups have come to this.
async fn wait_lookups(broker: &Broker, outcome: &str, n: f64) {
    let before = broker.metric(LOOKUPS, &[("outcome", outcome)]).await;
    broker.wait_metric(LOOKUPS, &[("outcome", outcome)], |count| count >= before + n).await;
}

fn troubles(broker: &Broker) -> Vec<String> {
    let records = broker.records(|record| record["message"] == "trouble with DNS");
    records.iter().map(|record| record["why"].as_str().expect("text").to_owned()).collect()
}

/// A session on each of the two, which `least_sessions` sees to.
async fn one_each(broker: &Broker) -> [Client; 2] {
    let clients = [Client::connect(broker.address()).await, Client::connect(broker.address()).await];
    broker.wait_sessions(2).await;
    clients
}

#[tokio::test]
async fn each_address_is_a_backend() {
    if cannot("each_address_is_a_backend") {
        return;
    }
    let [a, b] = backends(["a", "b"]).await;
    let dns = Dns::start(&chat(&[&a, &b])).await;
    let broker = following(&a, &dns, "30s").start().await;
    wait_listed(&broker, &[name(&a), name(&b)]).await;
    let own = broker.backend(&name(&a)).await.expect("listed");
    assert_eq!((&own["origin"], &own["state"], &own["weight"]), (&"dns".into(), &"up".into(), &1.into()));
    assert_eq!(own["address"], a.address().to_string());
    let _clients = one_each(&broker).await;
    assert_eq!((a.journal().sessions().len(), b.journal().sessions().len()), (1, 1));
    wait_lookups(&broker, "answered", 5.0).await;
    assert_eq!(broker.metric(LOOKUPS, &[("outcome", "failed")]).await, 0.0);
    assert_eq!(troubles(&broker), [""; 0]);
    let found = || broker.records(|record| record["message"] == "backend found by DNS").len();
    eventually("both in the log", || found() >= 2).await;
    assert_eq!(found(), 2, "the same answer again is no news");
}

#[tokio::test]
async fn sessions_of_an_address_that_is_gone_move() {
    if cannot("sessions_of_an_address_that_is_gone_move") {
        return;
    }
    let [a, b, c] = backends(["a", "b", "c"]).await;
    let mut dns = Dns::start(&chat(&[&a])).await;
    let broker = following(&a, &dns, "30s").start().await;
    wait_listed(&broker, &[name(&a)]).await;
    let mut client = Client::connect(broker.address()).await;
    let mut answers = converse(&mut client, "m", 40, 8, async |_, _| {}).await;
    dns.answer(&chat(&[&b, &c])).await;
    wait_listed(&broker, &[name(&b), name(&c)]).await;
    let old = a.wait_end(0).await;
    assert_eq!((old.close().map(|(code, _)| code), old.end()), (Some(Some(1001)), Some("Eof")));
    let moved = |own: &Value| own["backend"] == name(&b) || own["backend"] == name(&c);
    let session = broker.wait_only_session("moved", moved).await;
    for n in 41..=60 {
        client.send(&format!("m-{n}")).await;
        answers.push(client.text().await);
    }
    let connections = session_connections(session["id"].as_str().expect("an id"), &[&a, &b, &c]);
    assert_eq!(check_arrivals("m", 60, &connections), 0);
    assert_eq!(check_answers("m", 60, &answers, &connections), 0);
    assert_eq!(connections.iter().map(|(_, own)| own.texts().len()).collect::<Vec<_>>(), [40, 20]);
    let changes = broker.changes_of(&name(&a), "chat.test").await;
    assert_eq!(changes, [("removed".to_owned(), "DNS names it no more".to_owned())]);
    assert_eq!(broker.ends().await, 0.0);
}

#[tokio::test]
async fn a_busy_session_moves_along_with_the_answers() {
    if cannot("a_busy_session_moves_along_with_the_answers") {
        return;
    }
    let [a, b] = backends(["a", "b"]).await;
    let mut dns = Dns::start(&chat(&[&a])).await;
    let broker = following(&a, &dns, "30s").setting("drain", "patience = \"200ms\"").start().await;
    wait_listed(&broker, &[name(&a)]).await;
    let mut client = Client::connect(broker.address()).await;
    let answers = converse(&mut client, "m", 3000, 10, async |answered, home| {
        if answered % 1000 == 500 {
            let next = if home == "a" { &b } else { &a };
            dns.answer(&chat(&[next])).await;
            wait_listed(&broker, &[name(next)]).await;
        }
    })
    .await;
    let session = broker.wait_only_session("the same", |_| true).await;
    let connections = session_connections(session["id"].as_str().expect("an id"), &[&a, &b]);
    check_arrivals("m", 3000, &connections);
    check_answers("m", 3000, &answers, &connections);
    assert_eq!(broker.metric("steadfast_messages_lost_total", &[]).await, 0.0);
}

#[tokio::test]
async fn what_is_gone_is_gone_from_the_metrics() {
    if cannot("what_is_gone_is_gone_from_the_metrics") {
        return;
    }
    let [a, b] = backends(["a", "b"]).await;
    let mut dns = Dns::start(&chat(&[&a])).await;
    let broker = following(&a, &dns, "30s").start().await;
    wait_listed(&broker, &[name(&a)]).await;
    let mut client = Client::connect(broker.address()).await;
    let own_name = name(&a);
    let labels = [("backend", own_name.as_str())];
    assert_eq!(broker.metric("steadfast_backend_sessions", &labels).await, 1.0);
    dns.answer(&chat(&[&b])).await;
    a.wait_end(0).await;
    client.ask("m-1", "b:m-1").await;
    for gauge in ["steadfast_backend_sessions", "steadfast_backend_state", "steadfast_backend_weight"] {
        broker.wait_metric(gauge, &labels, |value| value == 0.0).await;
    }
}

#[tokio::test]
async fn a_name_that_vanished_keeps_its_backends_for_a_while() {
    if cannot("a_name_that_vanished_keeps_its_backends_for_a_while") {
        return;
    }
    let [a, b] = backends(["a", "b"]).await;
    let mut dns = Dns::start(&chat(&[&a, &b])).await;
    let broker = following(&a, &dns, "1h").start().await;
    wait_listed(&broker, &[name(&a), name(&b)]).await;
    let mut clients = one_each(&broker).await;
    dns.answer(&Zone::default()).await;
    eventually("the vanished name in the log", || {
        troubles(&broker).iter().any(|why| why.contains("does not exist; its 2 backends are kept for 3600s"))
    })
    .await;
    wait_lookups(&broker, "failed", 2.0).await;
    for client in &mut clients {
        client.send("still there?").await;
        assert!(client.text().await.ends_with(":still there?"));
    }
    Client::connect(broker.address()).await.close(1000, "").await;
    // A name with records of another kind only has vanished as well.
    dns.answer(&Zone::default().host("chat.test", &["fd00::1".parse().expect("an address")])).await;
    wait_listed(&broker, &[format!("chat.test/[fd00::1]:{}", a.address().port())]).await;
    dns.answer(&chat(&[&a, &b])).await;
    wait_listed(&broker, &[name(&a), name(&b)]).await;
    let well = || !broker.records(|record| record["message"] == "DNS is well again").is_empty();
    eventually("the end of the trouble in the log", well).await;
    broker.wait_causes(1).await;
    assert_eq!(broker.ends().await, 1.0, "only the one that has closed itself");
}

#[tokio::test]
async fn after_that_they_are_removed() {
    if cannot("after_that_they_are_removed") {
        return;
    }
    let [a, b] = backends(["a", "b"]).await;
    let mut dns = Dns::start(&chat(&[&a])).await;
    let broker = following(&a, &dns, "300ms").start().await;
    wait_listed(&broker, &[name(&a)]).await;
    let mut client = Client::connect(broker.address()).await;
    client.ask("m-1", "a:m-1").await;
    dns.answer(&Zone::default()).await;
    wait_listed(&broker, &[]).await;
    let stays = broker.wait_state(&name(&a), "removed").await;
    assert_eq!(stays["sessions"], 1);
    assert_eq!(Upgrade::to(broker.address()).refused().await.status, 503);
    client.ask("m-2", "a:m-2").await;
    let told = || troubles(&broker).iter().any(|why| why.contains("it has no backends"));
    eventually("the empty name in the log", told).await;
    dns.answer(&chat(&[&b])).await;
    let old = a.wait_end(0).await;
    client.ask("m-3", "b:m-3").await;
    assert_eq!((a.journal().texts(), b.journal().texts()), (range("m", 1, 2), range("m", 3, 3)));
    assert_eq!(old.close().map(|(code, _)| code), Some(Some(1001)));
}

#[tokio::test]
async fn a_reload_goes_on_with_what_was_found() {
    if cannot("a_reload_goes_on_with_what_was_found") {
        return;
    }
    let [a, b] = backends(["a", "b"]).await;
    let mut dns = Dns::start(&chat(&[&a, &b])).await;
    let broker = following(&a, &dns, "1h").start().await;
    wait_listed(&broker, &[name(&a), name(&b)]).await;
    let mut clients = one_each(&broker).await;
    broker.replace_file(&following(&a, &dns, "2h").to_toml());
    assert_eq!(broker.post("/api/v1/reload").await.status, 200);
    wait_lookups(&broker, "answered", 3.0).await;
    assert_eq!(listed(&broker, "state").await, ["up", "up"]);
    for client in &mut clients {
        client.send("still there?").await;
        assert!(client.text().await.ends_with(":still there?"));
    }
    assert_eq!(broker.metric("steadfast_failovers_total", &[]).await, 0.0);
    dns.answer(&Zone::default()).await;
    wait_lookups(&broker, "failed", 3.0).await;
    assert_eq!(listed(&broker, "state").await, ["up", "up"]);
    broker.replace_file(&following(&a, &dns, "100ms").to_toml());
    assert_eq!(broker.post("/api/v1/reload").await.status, 200);
    wait_listed(&broker, &[]).await;
}

#[tokio::test]
async fn a_server_that_is_gone_changes_nothing() {
    if cannot("a_server_that_is_gone_changes_nothing") {
        return;
    }
    let [a, b, c] = backends(["a", "b", "c"]).await;
    let mut dns = Dns::start(&chat(&[&a, &b])).await;
    // Without a hold, so that a failure taken for an absence would be seen.
    let broker = following(&a, &dns, "0s").start().await;
    wait_listed(&broker, &[name(&a), name(&b)]).await;
    let mut clients = one_each(&broker).await;
    dns.stop();
    wait_lookups(&broker, "failed", 3.0).await;
    assert_eq!(listed(&broker, "state").await, ["up", "up"]);
    for client in &mut clients {
        client.send("still there?").await;
        assert!(client.text().await.ends_with(":still there?"));
    }
    let _third = Client::connect(broker.address()).await;
    eventually("the trouble in the log", || !troubles(&broker).is_empty()).await;
    let troubles = troubles(&broker);
    assert_eq!(troubles.len(), 1, "it is said once: {troubles:?}");
    assert!(troubles[0].ends_with("; its 2 backends stay as they are"), "{troubles:?}");
    assert_eq!(broker.metric("steadfast_failovers_total", &[]).await, 0.0);
    dns.answer(&chat(&[&b, &c])).await;
    wait_listed(&broker, &[name(&b), name(&c)]).await;
}

#[tokio::test]
async fn a_pool_without_backends_waits_for_the_first() {
    if cannot("a_pool_without_backends_waits_for_the_first") {
        return;
    }
    let [a] = backends(["a"]).await;
    let mut dns = Dns::start(&Zone::default()).await;
    let broker = following(&a, &dns, "30s").start().await;
    wait_lookups(&broker, "failed", 1.0).await;
    assert_eq!(Upgrade::to(broker.address()).refused().await.status, 503);
    dns.answer(&chat(&[&a])).await;
    wait_listed(&broker, &[name(&a)]).await;
    Client::connect(broker.address()).await.ask("hello", "a:hello").await;
}

#[tokio::test]
async fn written_backends_stay_beside_those_that_are_found() {
    if cannot("written_backends_stay_beside_those_that_are_found") {
        return;
    }
    let [a, b] = backends(["a", "b"]).await;
    let written = Backend::start("written", "").await;
    let mut dns = Dns::start(&chat(&[&a])).await;
    let (port, server) = (a.address().port(), dns.address());
    let table = format!("[[pool.discovery]]\naddress = \"chat.test:{port}\"\nweight = 7\nmax_sessions = 9");
    let broker = Broker::over(&[&written]).pool_table(&table);
    let broker =
        broker.setting("dns", &format!("servers = [\"{server}\"]\nhold = \"0s\"\nttl_min = \"50ms\""));
    let broker = broker.start().await;
    wait_listed(&broker, &[name(&a), "written".to_owned()]).await;
    let own = broker.backend(&name(&a)).await.expect("listed");
    assert_eq!((&own["weight"], &own["max_sessions"], &own["backup"]), (&7.into(), &9.into(), &false.into()));
    dns.answer(&chat(&[&b])).await;
    wait_listed(&broker, &[name(&b), "written".to_owned()]).await;
    dns.answer(&Zone::default()).await;
    wait_listed(&broker, &["written".to_owned()]).await;
    Client::connect(broker.address()).await.ask("hello", "written:hello").await;
}

#[tokio::test]
async fn service_records_have_ports_weights_and_priorities() {
    if cannot("service_records_have_ports_weights_and_priorities") {
        return;
    }
    let (a, b, c) =
        (Backend::start("a", "").await, Backend::start("b", "").await, Backend::start("c", "").await);
    let local: IpAddr = [127, 0, 0, 1].into();
    let zone = |records: &[(&str, &Backend, (u16, u16))]| {
        let add = |zone: Zone, (target, backend, share): &(&str, &Backend, (u16, u16))| {
            zone.service("_ws._tcp.chat.test", target, backend.address().port(), *share)
        };
        let hosts = Zone::default().host("one.test", &[local]).host("two.test", &[local]);
        records.iter().fold(hosts, add)
    };
    let first = [("one.test", &a, (10, 30)), ("one.test", &b, (10, 10)), ("two.test", &c, (20, 5))];
    let mut dns = Dns::start(&zone(&first)).await;
    let broker = discovering("srv = \"_ws._tcp.chat.test\"\nweight = 99", &dns, "30s").start().await;
    let [one, two, three] = [("one.test", &a), ("one.test", &b), ("two.test", &c)]
        .map(|(host, own)| format!("{host}/{}", own.address()));
    wait_listed(&broker, &[one.clone(), two.clone(), three.clone()]).await;
    for (name, weight, backup) in [(&one, 30, false), (&two, 10, false), (&three, 5, true)] {
        let own = broker.backend(name).await.expect("listed");
        assert_eq!((&own["weight"], &own["backup"]), (&weight.into(), &backup.into()), "{name}");
    }
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(Client::connect(broker.address()).await);
    }
    let count = |backend: &Backend| backend.journal().sessions().len();
    assert_eq!((count(&a), count(&b), count(&c)), (6, 2, 0), "three to one, and no backup");
    // Another weight is taken over; those that stay keep their sessions.
    dns.answer(&zone(&[("one.test", &a, (10, 7)), ("two.test", &c, (20, 5))])).await;
    wait_listed(&broker, &[one.clone(), three.clone()]).await;
    broker.wait_backend(&one, "another weight", |own| own["weight"] == 7).await;
    broker.wait_backend(&one, "all sessions", |own| own["sessions"] == 8).await;
    // The primaries are gone, so what was a backup is none any more.
    dns.answer(&zone(&[("two.test", &c, (20, 5))])).await;
    wait_listed(&broker, std::slice::from_ref(&three)).await;
    broker.wait_backend(&three, "no backup", |own| own["backup"] == false && own["sessions"] == 8).await;
    for session in 0..8 {
        a.wait_end(session).await;
    }
    for client in &mut clients {
        client.ask("who?", "c:who?").await;
    }
    assert_eq!(broker.ends().await, 0.0);
}
