//! Files become what connections are made with, and two real ends of such connections find each other.

mod pki;
mod reloading;
mod wrong_files;

use std::fmt::Write;
use std::fs;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, Error, HandshakeKind, ProtocolVersion, ServerConfig, ServerConnection};

use super::*;
use crate::config::settings::Settings;
use crate::config::{Overrides, parse};
use pki::Authority;

/// Years in which a certificate is valid.
const VALID: (i32, i32) = (2000, 4000);

/// A file's key and value.
fn file(key: &str, authority: &Authority, name: &str) -> String {
    format!("{key} = {:?}\n", authority.path(name).to_str().expect("UTF-8"))
}

/// A listener's table with these certificates, and more keys above them.
fn listener(authority: &Authority, names: &[&str], keys: &str) -> String {
    let mut text = format!("[listener.tls]\n{keys}\n");
    for name in names {
        let cert = file("cert", authority, &format!("{name}.pem"));
        let key = file("key", authority, &format!("{name}.key"));
        write!(text, "[[listener.tls.certificate]]\n{cert}{key}").expect("text");
    }
    text
}

/// A configuration with this in its listener, and this in its pool.
fn text(listener: &str, pool: &str) -> String {
    format!(
        "[[listener]]\naddress = '127.0.0.1:0'\n{listener}\n[[pool]]\nname = 'chat'\n[[pool.backend]]\n\
         url = 'wss://chat.test:1'\n[pool.tls]\n{pool}\n"
    )
}

fn settings(listener: &str, pool: &str) -> Settings {
    parse(&text(listener, pool), &Overrides::default()).expect("a sound configuration")
}

fn loaded(listener: &str, pool: &str) -> TlsSetup {
    load(&settings(listener, pool), None, None).expect("sound files")
}

fn problems(listener: &str, pool: &str) -> Vec<String> {
    load(&settings(listener, pool), None, None).expect_err("something is wrong").lines().collect()
}

/// What both ends know of a connection.
#[derive(Debug)]
struct Met {
    client: ClientConnection,
    server: ServerConnection,
}

impl Met {
    /// The name in the certificate that the client was shown.
    fn shown(&self) -> String {
        let chain = self.client.peer_certificates().expect("the server has shown some");
        CertificateFacts::of(&chain[0]).expect("a certificate").name
    }

    fn resumed(&self) -> bool {
        let kinds = (self.client.handshake_kind(), self.server.handshake_kind());
        assert_eq!(kinds.0, kinds.1);
        kinds.0 == Some(HandshakeKind::Resumed)
    }
}

/// A pool's client meets a server.
fn meet(pool: &PoolTls, name: &str, server: &Arc<ServerConfig>) -> Result<Met, Error> {
    meet_at(pool, 1, name, server)
}

/// The same with the backend that the client takes the server for.
fn meet_at(pool: &PoolTls, port: u16, name: &str, server: &Arc<ServerConfig>) -> Result<Met, Error> {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    connect(ClientConnection::new(pool.config("backend", port), name)?, server)
}

/// Carries bytes from one end to the other until both are silent.
fn connect(mut client: ClientConnection, server: &Arc<ServerConfig>) -> Result<Met, Error> {
    let mut server = ServerConnection::new(Arc::clone(server))?;
    loop {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).expect("a vector takes them");
        }
        let from_client = bytes.len();
        server.read_tls(&mut &bytes[..]).expect("they are read");
        let heard = server.process_new_packets().map(|_| ());
        bytes.clear();
        while server.wants_write() {
            server.write_tls(&mut bytes).expect("a vector takes them");
        }
        if from_client + bytes.len() == 0 {
            heard?;
            return Ok(Met { client, server });
        }
        client.read_tls(&mut &bytes[..]).expect("they are read");
        // What the server says of the fault is on its way, and tells the client.
        client.process_new_packets()?;
        heard?;
    }
}

/// A setup of one listener, and a client that trusts its authority.
fn pair(
    authority: &Authority,
    names: &[&str],
    listener_keys: &str,
    pool_keys: &str,
) -> (Arc<ServerConfig>, Arc<PoolTls>) {
    let pool_keys = format!("{}{pool_keys}", file("ca", authority, "ca.pem"));
    let setup = loaded(&listener(authority, names, listener_keys), &pool_keys);
    (Arc::clone(setup.listener(0).expect("it speaks TLS")), Arc::clone(setup.pool("chat").expect("it does")))
}

#[test]
fn a_plain_configuration_needs_nothing() {
    let text =
        "[[listener]]\naddress = '127.0.0.1:0'\n[[pool]]\nname = 'chat'\n[[pool.backend]]\nurl = 'ws://a'\n";
    let settings = parse(text, &Overrides::default()).expect("a sound configuration");
    let setup = load(&settings, None, None).expect("no file");
    assert!(setup.listener(0).is_none() && setup.pool("chat").is_none() && files(&settings).is_empty());
}

#[test]
fn a_client_is_shown_the_certificate_of_the_name_it_asks_for() {
    let authority = Authority::new("one");
    authority.server("first", &["first.test"], VALID);
    authority.server("wild", &["*.wild.test", "other.test"], VALID);
    authority.server("exact", &["Exact.Wild.test"], VALID);
    let names = ["first", "wild", "exact"];
    let (server, pool) = pair(&authority, &names, "", "verify = true");
    let shown = |name: &str, pool: &PoolTls| meet(pool, name, &server).map(|met| met.shown());
    for (asked, expected) in [
        ("first.test", "first.test"),
        ("any.wild.test", "*.wild.test"),
        ("other.test", "*.wild.test"),
        ("exact.wild.test", "exact.wild.test"),
    ] {
        assert_eq!(shown(asked, &pool).as_deref(), Ok(expected), "{asked}");
    }
    // The others are shown the first, which is not theirs.
    for asked in ["unknown.test", "wild.test", "a.b.wild.test", "127.0.0.1"] {
        assert!(shown(asked, &pool).is_err(), "{asked}");
        let any = Arc::clone(loaded("", "verify = false").pool("chat").expect("it does"));
        assert_eq!(shown(asked, &any).as_deref(), Ok("first.test"), "{asked}");
    }
}

#[test]
fn a_strict_listener_refuses_other_names_and_none() {
    let authority = Authority::new("one");
    authority.server("first", &["first.test", "*.wild.test"], VALID);
    let (server, _) = pair(&authority, &["first"], "strict_sni = true", "");
    let any = Arc::clone(loaded("", "verify = false").pool("chat").expect("it does"));
    for name in ["first.test", "a.wild.test"] {
        assert!(meet(&any, name, &server).is_ok(), "{name}");
    }
    for name in ["unknown.test", "127.0.0.1"] {
        let error = meet(&any, name, &server).expect_err(name);
        assert!(matches!(error, Error::AlertReceived(_)), "{name}: {error}");
    }
}

#[test]
fn one_protocol_is_spoken_inside() {
    let authority = Authority::new("one");
    authority.server("first", &["first.test"], VALID);
    let (server, pool) = pair(&authority, &["first"], "", "");
    let met = meet(&pool, "first.test", &server).expect("they meet");
    assert_eq!(
        (met.client.alpn_protocol(), met.server.alpn_protocol()),
        (Some(server::ALPN), Some(server::ALPN))
    );
    let mut other = (*pool.config("backend", 1)).clone();
    other.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from("first.test").expect("a name");
    assert!(
        connect(ClientConnection::new(Arc::new(other.clone()), name.clone()).expect("a client"), &server)
            .is_err()
    );
    other.alpn_protocols.clear();
    assert!(connect(ClientConnection::new(Arc::new(other), name).expect("a client"), &server).is_ok());
}

#[test]
fn versions_begin_where_they_are_to() {
    let authority = Authority::new("one");
    authority.server("first", &["first.test"], VALID);
    let (both, _) = pair(&authority, &["first"], "", "");
    let (new, new_pool) = pair(&authority, &["first"], "min_version = '1.3'", "min_version = '1.3'");
    let met = meet(&new_pool, "first.test", &both).expect("they meet");
    assert_eq!(met.client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    let old = rustls::ClientConfig::builder_with_provider(provider::provider())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .expect("a version");
    let old = old.dangerous().with_custom_certificate_verifier(Arc::new(verifier::AnyCertificate::new()));
    let old = Arc::new(old.with_no_client_auth());
    let client =
        || ClientConnection::new(Arc::clone(&old), ServerName::try_from("first.test").expect("a name"));
    let met = connect(client().expect("a client"), &both).expect("they meet");
    assert_eq!(met.client.protocol_version(), Some(ProtocolVersion::TLSv1_2));
    let error = connect(client().expect("a client"), &new).expect_err("too old");
    assert!(matches!(error, Error::AlertReceived(rustls::AlertDescription::ProtocolVersion)), "{error}");
}

#[test]
fn who_may_sign_and_what_is_verified() {
    let (authority, other) = (Authority::new("one"), Authority::new("two"));
    authority.server("first", &["first.test", "10.0.0.1"], VALID);
    authority.server("expired", &["first.test"], (2000, 2001));
    let (server, pool) = pair(&authority, &["first"], "", "");
    let (expired, _) = pair(&authority, &["expired"], "", "");
    let (_, stranger) = pair(other_with_server(&other), &["first"], "", "");
    let any = Arc::clone(loaded("", "verify = false").pool("chat").expect("it does"));
    assert!(meet(&pool, "first.test", &server).is_ok() && meet(&pool, "10.0.0.1", &server).is_ok());
    assert!(meet(&pool, "second.test", &server).is_err(), "another name");
    assert!(meet(&pool, "first.test", &expired).is_err(), "its time is over");
    assert!(meet(&stranger, "first.test", &server).is_err(), "signed by somebody else");
    for server in [&server, &expired] {
        assert!(meet(&any, "second.test", server).is_ok(), "nobody looks");
    }
}

fn other_with_server(authority: &Authority) -> &Authority {
    authority.server("first", &["first.test"], VALID);
    authority
}

#[test]
fn backends_prove_to_be_their_host_or_what_the_pool_says() {
    let (host, named) =
        (loaded("", "verify = false"), loaded("", "verify = false\nserver_name = 'inner.test'"));
    let (host, named) = (host.pool("chat").expect("it does"), named.pool("chat").expect("it does"));
    for name in ["chat_1.test", "10.0.0.1", "::1"] {
        let expected = ServerName::try_from(name).expect("a name");
        assert_eq!(host.server_name(name), Ok(expected));
        assert_eq!(named.server_name(name), Ok(ServerName::try_from("inner.test").expect("a name")));
    }
    assert_eq!(host.server_name("chat.test."), host.server_name("chat.test"));
    let error = host.server_name("a..b").expect_err("no name");
    assert!(error.contains("\"a..b\"") && error.contains("server_name"), "{error}");
}

#[test]
fn clients_show_certificates_where_they_are_asked_to() {
    let (authority, other) = (Authority::new("one"), Authority::new("two"));
    authority.server("first", &["first.test"], VALID);
    authority.client("alice");
    other.client("mallory");
    let by = |authority: &Authority, name: &str| {
        let cert = file("cert", authority, &format!("{name}.pem"));
        cert + &file("key", authority, &format!("{name}.key"))
    };
    let rules = |word: &str| format!("client_auth = '{word}'\n{}", file("client_ca", &authority, "ca.pem"));
    for (rules, nobody) in [(rules("optional"), true), (rules("required"), false)] {
        let (server, none) = pair(&authority, &["first"], &rules, "");
        let (_, alice) = pair(&authority, &["first"], "", &by(&authority, "alice"));
        let (_, mallory) = pair(&authority, &["first"], "", &by(&other, "mallory"));
        let seen = |pool: &PoolTls| {
            let met = meet(pool, "first.test", &server).ok()?;
            Some(met.server.peer_certificates().map_or(0, <[_]>::len))
        };
        assert_eq!(seen(&alice), Some(1));
        assert_eq!(seen(&none), nobody.then_some(0));
        assert_eq!(seen(&mallory), None);
    }
}

#[test]
fn one_ticket_for_each_connection_is_kept_until_it_is_used() {
    let authority = Authority::new("one");
    authority.server("first", &["first.test"], VALID);
    let (server, pool) = pair(&authority, &["first"], "", "");
    let herd = 40;
    let client = || {
        let name = ServerName::try_from("first.test").expect("a name");
        ClientConnection::new(pool.config("backend", 1), name).expect("a client")
    };
    // All begin before the first has a ticket.
    let begun: Vec<_> = (0..herd).map(|_| client()).collect();
    for client in begun {
        assert!(!connect(client, &server).expect("they meet").resumed());
    }
    let again: Vec<_> = (0..herd).map(|_| client()).collect();
    for client in again {
        assert!(connect(client, &server).expect("they meet").resumed());
    }
}

#[test]
fn backends_with_one_name_have_their_own_tickets() {
    let authority = Authority::new("one");
    authority.server("first", &["first.test"], VALID);
    // Each has keys of its own.
    let servers: Vec<_> = (0..3).map(|_| pair(&authority, &["first"], "", "").0).collect();
    let (_, pool) = pair(&authority, &["first"], "", "server_name = 'first.test'");
    for resumed in [false, true, true] {
        for (port, server) in (1..).zip(&servers) {
            let met = meet_at(&pool, port, "first.test", server).expect("they meet");
            assert_eq!(met.resumed(), resumed, "at {port}");
        }
    }
    assert!(!meet_at(&pool, 1, "first.test", &servers[1]).expect("they meet").resumed());
}

#[test]
fn what_backends_give_is_bounded() {
    let authority = Authority::new("one");
    authority.server("first", &["first.test"], VALID);
    let (server, pool) = pair(&authority, &["first"], "", "");
    let client = |port| {
        let name = ServerName::try_from("first.test").expect("a name");
        ClientConnection::new(pool.config("backend", port), name).expect("a client")
    };
    // All begin before there is a ticket: of one backend there are more than are kept.
    let begun: Vec<_> = (0..1030).map(|_| client(1)).chain([client(2)]).collect();
    for client in begun {
        connect(client, &server).expect("they meet");
    }
    let again: Vec<_> = (0..1030).map(|_| client(1)).collect();
    let resumed = again.into_iter().map(|client| connect(client, &server).expect("they meet"));
    assert_eq!(resumed.filter(Met::resumed).count(), 1023, "the fullest has given up its oldest");
    assert!(meet_at(&pool, 2, "first.test", &server).expect("they meet").resumed(), "and not the other");
}

#[test]
fn every_file_is_named_that_is_read() {
    let authority = Authority::new("one");
    authority.server("first", &["first.test"], VALID);
    let more = format!(
        "client_auth = 'optional'\n{}{}",
        file("client_ca", &authority, "ca.pem"),
        file("tickets", &authority, "tickets")
    );
    let tls = listener(&authority, &["first"], &more) + &file("ocsp", &authority, "ocsp");
    let pool = ["ca.pem", "first.pem", "first.key"].into_iter().zip(["ca", "cert", "key"]);
    let pool: String = pool.map(|(name, key)| file(key, &authority, name)).collect();
    let named = files(&settings(&tls, &pool));
    let names: Vec<_> =
        named.iter().map(|path| path.file_name().expect("a name").to_str().expect("UTF-8")).collect();
    assert_eq!(
        names,
        ["ca.pem", "tickets", "first.pem", "first.key", "ocsp", "ca.pem", "first.pem", "first.key"]
    );
}

#[test]
fn certificates_tell_how_long_they_last() {
    let authority = Authority::new("one");
    authority.server("first", &["first.test"], (2000, 2040));
    authority.server("expired", &["expired.test"], (2000, 2001));
    authority.server("future", &["future.test"], (3000, 3001));
    let setup = loaded(&listener(&authority, &["first", "expired", "future"], ""), "verify = false");
    let now = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_735_689_600);
    let left: Vec<_> =
        setup.certificates(0).iter().map(|facts| (facts.name.as_str(), facts.seconds_left(now))).collect();
    let day = 86_400.0;
    // From the first day of 2025.
    assert_eq!(left[..2], [("first.test", 5478.0 * day), ("expired.test", -8766.0 * day)]);
    let warnings = setup.warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("expired.pem") && warnings[0].contains("\"expired.test\" has expired"));
    assert!(warnings[1].contains("\"future.test\" is not valid yet"), "{warnings:?}");
}
