//! Versions, names, client certificates, protocols and tickets, as `openssl s_client` and curl see them.

use std::fs;
use std::path::Path;
use std::process::Command;

use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::pki::{Authority, Pair, shown};
use steadfast_tests::process::Process;
use steadfast_tests::skipped::leave_out;
use steadfast_tests::tls::ClientTls;
use steadfast_tests::wait::eventually;
use steadfast_tests::{Backend, Upgrade};

use crate::openssl::{asked, left_out, output, s_client};
use crate::peers::tools::{self, Tool};
use crate::scene::{World, table, wait_outcome};

/// A broker whose backend is plain.
async fn over(more: &str, certificates: &[&Pair]) -> (Broker, Backend) {
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&[&backend]).listener_setting(&table(more, certificates)).start().await;
    (broker, backend)
}

fn version(said: &str) -> Option<&str> {
    let line = said.lines().find_map(|line| line.strip_prefix("New, ").or(line.strip_prefix("Reused, ")));
    line.and_then(|line| line.split(',').next()).filter(|version| *version != "(NONE)")
}

#[tokio::test]
async fn versions_are_spoken_from_the_oldest_that_is_allowed() {
    if left_out("versions_are_spoken_from_the_oldest_that_is_allowed") {
        return;
    }
    let world = World::new();
    let weak = "DEFAULT@SECLEVEL=0";
    for (more, old) in [("", true), ("min_version = \"1.2\"", true), ("min_version = \"1.3\"", false)] {
        let (broker, _backend) = over(more, &[&world.pair]).await;
        let ask = async |arguments: &[&str]| asked(&world.authority, broker.address(), arguments).await;
        assert_eq!(version(&ask(&["-tls1_3"]).await), Some("TLSv1.3"));
        let said = ask(&["-tls1_2"]).await;
        assert_eq!(version(&said), old.then_some("TLSv1.2"), "{more}: {said}");
        for version_flag in ["-tls1", "-tls1_1"] {
            let said = ask(&[version_flag, "-cipher", weak]).await;
            assert_eq!(version(&said), None, "{said}");
            assert!(said.contains("SSL alert number"), "{said}");
        }
        // What is left of ciphers without forward secrecy, or with RC4, 3DES, CBC.
        let bad = "AES128-GCM-SHA256:AES256-SHA:ECDHE-ECDSA-AES128-SHA:DES-CBC3-SHA:NULL@SECLEVEL=0";
        assert_eq!(version(&ask(&["-tls1_2", "-cipher", bad]).await), None);
        wait_outcome(&broker, "failed", if old { 3 } else { 4 }).await;
    }
}

#[tokio::test]
async fn a_client_that_asks_for_another_handshake_gets_none() {
    if left_out("a_client_that_asks_for_another_handshake_gets_none") {
        return;
    }
    let world = World::new();
    let (broker, _backend) = over("", &[&world.pair]).await;
    let mut neighbour = world.upgrade(&broker).connect().await;
    let said = output(s_client(&world.authority, broker.address(), &["-tls1_2"]), "R\n").await;
    assert!(said.contains("RENEGOTIATING"), "{said}");
    assert!(said.contains("no renegotiation"), "{said}");
    broker.wait_metric("steadfast_tls_handshakes_total", &[("outcome", "full")], |count| count == 2.0).await;
    neighbour.ask("m", "a:m").await;
}

#[tokio::test]
async fn each_name_is_shown_its_certificate() {
    if left_out("each_name_is_shown_its_certificate") {
        return;
    }
    let authority = Authority::new("one");
    let first = authority.server("the first", &["first.test", "127.0.0.1"]);
    let exact = authority.server("the exact", &["chat.wild.test"]);
    let wild = authority.server("the wild", &["*.wild.test"]);
    let all = [&first, &exact, &wild];
    let fits = [
        ("first.test", "the first"),
        ("chat.wild.test", "the exact"),
        ("CHAT.wild.test", "the exact"),
        ("other.wild.test", "the wild"),
    ];
    let strange = ["deep.other.wild.test", "wild.test", "nobody.test"];
    for strict in [false, true] {
        let (broker, _backend) = over(&format!("strict_sni = {strict}"), &all).await;
        let ask = async |arguments: &[&str]| asked(&authority, broker.address(), arguments).await;
        let shown = |said: &str, name: &str| {
            said.lines().any(|line| line.starts_with("subject=") && line.ends_with(name))
        };
        for (name, certificate) in fits {
            let said = ask(&["-servername", name, "-verify_hostname", name]).await;
            assert!(
                shown(&said, certificate) && said.contains("Verify return code: 0 (ok)"),
                "{name}: {said}"
            );
        }
        let mut others: Vec<Vec<&str>> = strange.iter().map(|name| vec!["-servername", *name]).collect();
        others.push(vec!["-noservername"]);
        for arguments in &others {
            let said = ask(arguments).await;
            assert_eq!(shown(&said, "the first"), !strict, "{arguments:?}: {said}");
            assert_eq!(said.contains("alert"), strict, "{arguments:?}: {said}");
        }
        wait_outcome(&broker, "failed", if strict { others.len() } else { 0 }).await;
    }
}

#[tokio::test]
async fn http_1_1_is_agreed_on_and_others_are_refused_by_an_alert() {
    if left_out("http_1_1_is_agreed_on_and_others_are_refused_by_an_alert") {
        return;
    }
    let world = World::new();
    let (broker, _backend) = over("", &[&world.pair]).await;
    let ask = async |offer: &str| asked(&world.authority, broker.address(), &["-alpn", offer]).await;
    for offer in ["http/1.1", "h2,http/1.1", "http/1.1,h2", "h3,http/1.1"] {
        assert!(ask(offer).await.contains("ALPN protocol: http/1.1"), "{offer}");
    }
    let without = asked(&world.authority, broker.address(), &[]).await;
    assert!(without.contains("No ALPN negotiated") && version(&without).is_some(), "{without}");
    for offer in ["h2", "h3,spdy/1"] {
        let said = ask(offer).await;
        assert!(said.contains("alert no application protocol"), "{offer}: {said}");
    }
    wait_outcome(&broker, "failed", 2).await;
}

/// What curl gets: the status of the answer, or its own complaint.
async fn curl(world: &World, broker: &Broker, own: Option<&Pair>, more: &[&str]) -> Result<String, String> {
    let mut command = Tool::Curl.command();
    command.args(["--silent", "--show-error", "--http1.1", "--output", "/dev/null", "--max-time", "20"]);
    command.args(["--write-out", "status=%{http_code}", "--cacert", shown(&world.authority.ca())]).args(more);
    if let Some(own) = own {
        command.args(["--cert", shown(&own.cert), "--key", shown(&own.key)]);
    }
    command.arg(format!("https://{}/", broker.address()));
    let said = output(command, "").await;
    let status = said.lines().find_map(|line| line.strip_prefix("status=")).unwrap_or_default();
    if status == "000" || status.is_empty() { Err(said) } else { Ok(status.to_owned()) }
}

#[tokio::test]
async fn clients_show_certificates_where_they_are_asked_for() {
    if tools::left_out("clients_show_certificates_where_they_are_asked_for", &[Tool::Curl]) {
        return;
    }
    let world = World::new();
    let clients = Authority::new("the clients' authority");
    let (known, expired, strange) = (
        clients.client("somebody"),
        clients.expired("late", &["late.test"]),
        world.authority.client("stranger"),
    );
    let ca = format!("client_ca = {:?}", shown(&clients.ca()));
    // Without a certificate, with a good one, and with bad ones.
    for (auth, none, good, bad) in
        [("off", true, true, true), ("optional", true, true, false), ("required", false, true, false)]
    {
        let more = if auth == "off" { String::new() } else { format!("client_auth = \"{auth}\"\n{ca}") };
        let (broker, _backend) = over(&more, &[&world.pair]).await;
        let mut refused = 0;
        for (own, comes_in) in
            [(None, none), (Some(&known), good), (Some(&expired), bad), (Some(&strange), bad)]
        {
            let got = curl(&world, &broker, own, &[]).await;
            // It asks for no upgrade, and the backend has no page.
            assert_eq!(got.as_deref().ok(), comes_in.then_some("404"), "{auth}, {own:?}: {got:?}");
            refused += usize::from(!comes_in);
        }
        let tls =
            if auth == "off" { world.tls.clone() } else { ClientTls::showing(&world.authority, &known) };
        Upgrade::to(broker.address()).tls(&tls).connect().await.ask("m", "a:m").await;
        wait_outcome(&broker, "failed", refused).await;
    }
}

#[tokio::test]
async fn curl_is_answered_as_at_a_plain_port() {
    if tools::left_out("curl_is_answered_as_at_a_plain_port", &[Tool::Curl]) {
        return;
    }
    let world = World::new();
    let (broker, _backend) = over("", &[&world.pair]).await;
    assert_eq!(curl(&world, &broker, None, &[]).await.as_deref(), Ok("404"));
    assert_eq!(curl(&world, &broker, None, &["--tls-max", "1.2"]).await.as_deref(), Ok("404"));
    let upgrade = [
        "--header",
        "Connection: Upgrade",
        "--header",
        "Upgrade: websocket",
        "--header",
        "Sec-WebSocket-Version: 8",
        "--header",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    assert_eq!(curl(&world, &broker, None, &upgrade).await.as_deref(), Ok("426"), "the version is told");
    // A client that does not trust the authority goes by itself.
    let other = World { pair: world.pair.clone(), ..World::new() };
    assert!(curl(&other, &broker, None, &[]).await.is_err());
    wait_outcome(&broker, "failed", 1).await;
}

/// Keys of tickets, in HAProxy's form: 48 bytes of base64 a line.
fn ticket_keys(authority: &Authority, name: &str, keys: &[char]) -> String {
    let file = authority.path(name);
    let lines: Vec<String> = keys.iter().map(|key| key.to_string().repeat(64)).collect();
    fs::write(&file, lines.join("\n")).expect("a file");
    format!("tickets = {:?}", shown(&file))
}

/// Has a ticket of this broker's put into a file.
async fn collect(authority: &Authority, broker: &Broker, file: &Path, version: &str) {
    let mut command = s_client(authority, broker.address(), &[version, "-sess_out", shown(file)]);
    let mut process = Process::spawn("openssl", &mut command);
    // In TLS 1.3 it comes behind the handshake.
    eventually("a ticket", || fs::metadata(file).is_ok_and(|file| file.len() > 0)).await;
    process.write_line("Q");
    process.wait_exit().await;
}

async fn is_resumed(authority: &Authority, broker: &Broker, file: &Path, version: &str) -> bool {
    let said = asked(authority, broker.address(), &[version, "-sess_in", shown(file)]).await;
    assert!(said.contains("New, TLSv1") || said.contains("Reused, TLSv1"), "{said}");
    said.contains("Reused, ")
}

#[tokio::test]
async fn tickets_by_a_file_of_keys_hold_over_a_restart_and_at_other_brokers() {
    if left_out("tickets_by_a_file_of_keys_hold_over_a_restart_and_at_other_brokers") {
        return;
    }
    let world = World::new();
    let authority = &world.authority;
    let keys = ticket_keys(authority, "tickets", &['A', 'B', 'C']);
    let next = ticket_keys(authority, "next", &['B', 'C', 'D']);
    let others = ticket_keys(authority, "others", &['X', 'Y', 'Z']);
    for version in ["-tls1_2", "-tls1_3"] {
        let ticket = authority.path(&format!("ticket{version}"));
        let (first, _backend) = over(&keys, &[&world.pair]).await;
        collect(authority, &first, &ticket, version).await;
        assert!(is_resumed(authority, &first, &ticket, version).await, "{version}: by who has given it");
        wait_outcome(&first, "resumed", 1).await;
        drop(first);
        for (more, takes) in [(&keys, true), (&next, true), (&others, false), (&String::new(), false)] {
            let (broker, _backend) = over(more, &[&world.pair]).await;
            assert_eq!(is_resumed(authority, &broker, &ticket, version).await, takes, "{version}, {more}");
            wait_outcome(&broker, if takes { "resumed" } else { "full" }, 1).await;
        }
    }
}

/// Two listeners of one broker.
fn two(world: &World, first: &str, second: &str) -> BrokerBuilder {
    let pairs = [&world.pair];
    let second = table(second, &pairs);
    Broker::over(&[])
        .listener_setting(&table(first, &pairs))
        .listener(&format!("[[listener]]\naddress = \"127.0.0.1:0\"\npool = \"default\"\n{second}"))
        .pool_table("[[pool.backend]]\nurl = \"ws://127.0.0.1:9\"")
}

#[tokio::test]
async fn listeners_with_other_rules_for_clients_do_not_take_each_others_tickets() {
    if left_out("listeners_with_other_rules_for_clients_do_not_take_each_others_tickets") {
        return;
    }
    let world = World::new();
    let authority = &world.authority;
    let keys = ticket_keys(authority, "tickets", &['A', 'B', 'C']);
    let rules = format!("{keys}\nclient_auth = \"optional\"\nclient_ca = {:?}", shown(&authority.ca()));
    for (second, takes) in [(&keys, true), (&rules, false)] {
        let broker = two(&world, &keys, second).start().await;
        let ticket = authority.path(if takes { "same" } else { "other" });
        collect(authority, &broker, &ticket, "-tls1_3").await;
        let said = asked(authority, broker.address_of(1), &["-tls1_3", "-sess_in", shown(&ticket)]).await;
        assert_eq!(said.contains("Reused, "), takes, "{said}");
    }
}

#[tokio::test]
#[ignore = "a minute, and testssl.sh: ./test long encryption"]
async fn testssl_finds_no_old_version_and_no_weak_cipher() {
    if Command::new("testssl").arg("--version").output().is_err() {
        return leave_out(
            "testssl_finds_no_old_version_and_no_weak_cipher: there is no testssl, Debian's testssl.sh",
        );
    }
    let world = World::new();
    let (broker, _backend) = over("", &[&world.pair]).await;
    let mut command = Command::new("timeout");
    command.args([
        "900",
        "testssl",
        "--quiet",
        "--color",
        "0",
        "--warnings",
        "batch",
        "--protocols",
        "--std",
    ]);
    command.args([
        "--fs",
        "--renegotiation",
        "--heartbleed",
        "--ccs",
        "--robot",
        "--breach",
        "--poodle",
        "--sweet32",
    ]);
    command
        .args(["--freak", "--drown", "--logjam", "--beast", "--lucky13", "--rc4"])
        .arg(broker.address().to_string());
    let said = output(command, "").await;
    for (protocol, verdict) in [
        ("SSLv2", "not offered"),
        ("SSLv3", "not offered"),
        ("TLS 1 ", "not offered"),
        ("TLS 1.1", "not offered"),
        ("TLS 1.2", "offered"),
        ("TLS 1.3", "offered"),
    ] {
        let line = said.lines().find(|line| line.trim_start().starts_with(protocol)).unwrap_or_default();
        assert!(line.contains(verdict), "{protocol}: {line:?} in\n{said}");
    }
    let bad = |line: &&str| line.contains("VULNERABLE") && !line.to_lowercase().contains("not vulnerable");
    assert_eq!(said.lines().find(bad), None, "{said}");
}
