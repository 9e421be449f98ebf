//! How the client and the backend speak TLS.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::tickets::Tickets;

/// For clients that trust the authority in the file `ca`, with tickets or without.
pub(crate) fn client_config(ca: &Path, tickets: bool) -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(ca)? {
        roots.add(authority).map_err(io::Error::other)?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_protocol_versions(&[&TLS13]).map_err(io::Error::other)?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.resumption =
        if tickets { Resumption::store(Arc::new(Tickets::default())) } else { Resumption::disabled() };
    Ok(Arc::new(config))
}

/// For a server that shows the certificate in the file `cert`, and gives tickets.
pub(crate) fn acceptor(cert: &Path, key: &Path) -> io::Result<TlsAcceptor> {
    let chain = certificates(cert)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, &error))?;
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_protocol_versions(&[&TLS13]).map_err(io::Error::other)?;
    let config = builder.with_no_client_auth().with_single_cert(chain, private);
    let mut config = config.map_err(|error| unreadable(key, &error))?;
    config.ticketer = ring::Ticketer::new().map_err(io::Error::other)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(file: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let all = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, pem::Error>>);
    all.map_err(|error| unreadable(file, &error))
}

fn unreadable(file: &Path, error: &impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio_rustls::TlsConnector;

    use super::super::{Agreed, NAME, Papers};
    use super::*;

    /// What a client finds agreed when it has read a byte, with which tickets come.
    async fn agreed(config: &Arc<ClientConfig>, acceptor: &TlsAcceptor) -> io::Result<Agreed> {
        let (ours, theirs) = duplex(64 * 1024);
        let server = async {
            let mut stream = acceptor.accept(theirs).await?;
            stream.write_all(b"x").await?;
            stream.flush().await?;
            io::Result::Ok(stream)
        };
        let name = NAME.try_into().map_err(io::Error::other)?;
        let client = async {
            let mut stream = TlsConnector::from(config.clone()).connect(name, ours).await?;
            stream.read_u8().await?;
            io::Result::Ok(Agreed::of(stream.get_ref().1))
        };
        let (server, client) = tokio::join!(server, client);
        client.and_then(|agreed| server.map(|_| agreed))
    }

    #[tokio::test]
    async fn a_client_with_tickets_resumes_and_one_without_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let papers = Papers::make(folder.path()).unwrap();
        let server = acceptor(&papers.cert, &papers.key).unwrap();
        for tickets in [true, false] {
            let client = client_config(&papers.ca, tickets).unwrap();
            let first = agreed(&client, &server).await.unwrap();
            assert!(!first.resumed && first.to_string().starts_with("TLS 1.3 AES_"), "{first}");
            // One ticket is for one connection, and each brings the next.
            for _ in 0..3 {
                assert_eq!(agreed(&client, &server).await.unwrap().resumed, tickets);
            }
        }
    }

    #[tokio::test]
    async fn a_server_that_another_authority_has_signed_is_not_taken() {
        let [ours, theirs] = [0; 2].map(|_| tempfile::tempdir().unwrap());
        let [ours, theirs] = [ours, theirs].map(|folder| (Papers::make(folder.path()).unwrap(), folder));
        let server = acceptor(&theirs.0.cert, &theirs.0.key).unwrap();
        let client = client_config(&ours.0.ca, false).unwrap();
        assert!(agreed(&client, &server).await.is_err());
    }
}
