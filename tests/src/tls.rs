//! TLS at the tests' own ends: whom clients trust and what they show, and what backends prove.

use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::ProducesTickets;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};
use tokio_rustls::{TlsConnector, client};

use crate::pki::{Authority, Pair};

/// How a client speaks TLS. Clones share what they got for resumption.
#[derive(Debug, Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl ClientTls {
    /// Trusts this authority, and expects 127.0.0.1.
    pub fn trusting(authority: &Authority) -> ClientTls {
        ClientTls::of(authority, None)
    }

    /// As [`ClientTls::trusting`], and shows this certificate.
    pub fn showing(authority: &Authority, own: &Pair) -> ClientTls {
        ClientTls::of(authority, Some(own))
    }

    fn of(authority: &Authority, own: Option<&Pair>) -> ClientTls {
        let mut roots = RootCertStore::empty();
        roots.add(certificates(&authority.ca()).remove(0)).expect("an authority");
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let config = match own {
            None => config.with_no_client_auth(),
            Some(own) => {
                config.with_client_auth_cert(certificates(&own.cert), key(&own.key)).expect("they fit")
            }
        };
        let name = ServerName::try_from("127.0.0.1").expect("an address");
        ClientTls { config: Arc::new(config), name }
    }

    /// Expects, and asks for, this name instead.
    pub fn named(mut self, name: &str) -> ClientTls {
        self.name = ServerName::try_from(name.to_owned()).expect("a name");
        self
    }

    /// The record that a client begins with: its ClientHello.
    pub fn hello(&self) -> Vec<u8> {
        let mut client =
            ClientConnection::new(Arc::clone(&self.config), self.name.clone()).expect("a good name");
        let mut hello = Vec::new();
        client.write_tls(&mut hello).expect("memory takes all");
        hello
    }

    /// Does the handshake.
    ///
    /// # Errors
    /// What was wrong with it.
    pub async fn connect(&self, stream: TcpStream) -> std::io::Result<client::TlsStream<TcpStream>> {
        TlsConnector::from(Arc::clone(&self.config)).connect(self.name.clone(), stream).await
    }
}

/// How a server with this certificate speaks it. With `shared_tickets` all such servers take each other's.
pub fn server(cert: &Path, key_file: &Path, shared_tickets: bool) -> Arc<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(certificates(cert), key(key_file))
        .expect("a certificate and its key");
    if shared_tickets {
        config.ticketer = Arc::new(OpenTickets);
    }
    Arc::new(config)
}

/// Tickets that anybody can read, so that all processes of a test can.
#[derive(Debug)]
struct OpenTickets;

const MARK: &[u8] = b"an open ticket:";

impl ProducesTickets for OpenTickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        3600
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        Some([MARK, plain].concat())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        cipher.strip_prefix(MARK).map(<[u8]>::to_vec)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn certificates(file: &Path) -> Vec<CertificateDer<'static>> {
    let all = CertificateDer::pem_file_iter(file).expect("a file of certificates");
    all.map(|one| one.expect("a certificate")).collect()
}

fn key(file: &Path) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_file(file).expect("a file of a key")
}
