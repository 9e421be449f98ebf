//! A client that comes with TLS. The certificate is the test's own; it is valid until 2124.

#![cfg(feature = "tls")]
#![allow(clippy::disallowed_methods, reason = "a test may fail where the system gives no thread")]

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use steadfast_protocol::steadfast_v1::client_wire::{FromBroker, Reason, Standing, Token, Welcome};
use steadfast_shim::client::{BadOptions, Client, Event, Loss, Options};
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::{Message, accept_hdr};

fn certificate() -> CertificateDer<'static> {
    CertificateDer::from(&include_bytes!("tls/certificate.der")[..])
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn server() -> Arc<ServerConfig> {
    let key = PrivatePkcs8KeyDer::from(&include_bytes!("tls/key.der")[..]);
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate()], PrivateKeyDer::Pkcs8(key))
        .expect("a certificate and its key");
    Arc::new(config)
}

/// What trusts these certificates and no others.
fn trusting(certificates: &[CertificateDer<'static>]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate.clone()).expect("a certificate");
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions");
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

fn options(listener: &TcpListener, tls: Arc<ClientConfig>) -> Options {
    let port = listener.local_addr().expect("an address").port();
    Options { tls: Some(tls), ..Options::new([format!("wss://127.0.0.1:{port}/")]) }
}

/// Welcomes one client, and returns what it says first.
#[expect(clippy::result_large_err, reason = "the library's callback has it so")]
fn welcome_one(listener: &TcpListener) -> String {
    let (stream, _) = listener.accept().expect("a connection");
    let stream = StreamOwned::new(ServerConnection::new(server()).expect("a server"), stream);
    let agree = |_: &Request, mut answer: Response| {
        answer.headers_mut().insert("sec-websocket-protocol", "steadfast.v1".parse().expect("a header"));
        Ok(answer)
    };
    let mut socket = accept_hdr(stream, agree).expect("an upgrade");
    let session = [1; 16];
    let (token, standing) = (Token::new(session, [1; 32]), Standing::Fresh(Reason::New));
    let welcome = FromBroker::Welcome(Welcome { session, token, window_ms: 0, standing });
    socket.send(Message::text(welcome.text())).expect("a connection");
    socket.read().expect("a message").to_string()
}

async fn next(client: &mut Client) -> Option<Event> {
    tokio::time::timeout(Duration::from_secs(30), client.next()).await.expect("an event")
}

#[tokio::test]
async fn a_certificate_that_is_trusted_leads_to_a_session() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut client = Client::connect(options(&listener, trusting(&[certificate()]))).expect("good options");
    let broker = tokio::task::spawn_blocking(move || welcome_one(&listener));
    let fresh = Event::Fresh { reason: Reason::New, unknown: None };
    assert_eq!(next(&mut client).await, Some(fresh));
    assert_eq!(broker.await.expect("no panic"), "a 0");
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut client = Client::connect(options(&listener, trusting(&[]))).expect("good options");
    let server = tokio::task::spawn_blocking(move || {
        let (stream, _) = listener.accept().expect("a connection");
        let stream = StreamOwned::new(ServerConnection::new(server()).expect("a server"), stream);
        accept_hdr(stream, tokio_tungstenite::tungstenite::handshake::server::NoCallback).is_err()
    });
    match next(&mut client).await {
        Some(Event::Lost { loss: Loss::Unreachable, detail: Some(detail) }) => {
            assert!(detail.contains("certificate"), "{detail}");
        }
        other => panic!("an attempt that failed, not {other:?}"),
    }
    assert!(server.await.expect("no panic"));
}

#[tokio::test]
async fn without_a_configuration_the_systems_store_is_used() {
    match Client::connect(Options::new(["wss://127.0.0.1:1/"])) {
        Ok(mut client) => {
            let event = next(&mut client).await;
            assert!(matches!(event, Some(Event::Lost { loss: Loss::Unreachable, .. })), "{event:?}");
        }
        // A system without one is told of.
        Err(error) => assert!(matches!(error, BadOptions::TrustStore(_)), "{error}"),
    }
}
