//! What one listener speaks TLS with.

use std::sync::Arc;

use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::{ServerConfig, SupportedProtocolVersion, version};

use super::certificate::{CertificateFacts, OwnCertificate};
use super::loading::Loading;
use super::provider::{self, Digest};
use super::sni::CertificatesByName;
use super::tickets::{self, TicketKeys};
use crate::config::NamedFile;
use crate::config::settings::{CertificateFiles, ClientAuth, ListenerTls, TlsVersion};

/// The one protocol that is spoken inside (RFC 7301).
pub(super) const ALPN: &[u8] = b"http/1.1";

/// One listener's side.
#[derive(Debug)]
pub(super) struct ServerSide {
    pub(super) config: Arc<ServerConfig>,
    pub(super) certificates: Vec<CertificateFacts>,
    /// Of all that it was made of.
    digest: Digest,
}

/// What is asked of clients.
struct ClientRules {
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    /// Who has been let in by other rules is not let in by these for a ticket's sake.
    digest: Digest,
}

/// Reads its files; `None`: something is in the report. Of the sides that there are, one that was made of the same is
/// taken.
pub(super) fn load(
    tls: &ListenerTls,
    present: &[&Arc<ServerSide>],
    loading: &mut Loading<'_>,
) -> Option<Arc<ServerSide>> {
    let own = tls.certificates.iter().map(|files| OwnCertificate::load(files, loading));
    // All of them, so that every problem is told.
    let own: Vec<Option<OwnCertificate>> = own.collect();
    let rules = ClientRules::load(tls, loading);
    let secrets = tls.tickets.as_ref().map(|file| loading.parsed(file, tickets::secrets));
    let own: Vec<OwnCertificate> = own.into_iter().collect::<Option<_>>()?;
    let rules = rules?;
    let place = &tls.certificates.first()?.cert.place;
    let ticketer: Arc<dyn ProducesTickets> = match secrets {
        Some(secrets) => {
            let keys = TicketKeys::new(&secrets?, &rules.digest);
            Arc::new(loading.told(place, keys.ok_or_else(|| "its keys cannot be derived".to_owned()))?)
        }
        None => loading.ticketer(rules.digest, place)?,
    };
    let digest = digest(tls, loading);
    if let Some(same) = present.iter().find(|side| side.digest == digest) {
        return Some(Arc::clone(same));
    }
    let config = config(tls, &own, rules, ticketer);
    let config = loading.told(place, config.map_err(|error| format!("TLS cannot be set up: {error}")))?;
    let certificates = own.into_iter().map(|own| own.facts).collect();
    Some(Arc::new(ServerSide { config: Arc::new(config), certificates, digest }))
}

/// The versions from the oldest that is wanted.
pub(super) fn versions(min: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static BOTH: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];
    match min {
        TlsVersion::Tls12 => &BOTH,
        TlsVersion::Tls13 => &BOTH[..1],
    }
}

impl ClientRules {
    fn load(tls: &ListenerTls, loading: &mut Loading<'_>) -> Option<ClientRules> {
        let (word, file) = match (tls.client_auth, &tls.client_ca) {
            (ClientAuth::Optional, Some(file)) => ("optional", file),
            (ClientAuth::Required, Some(file)) => ("required", file),
            // The configuration has no other combinations.
            _ => return Some(ClientRules { verifier: None, digest: provider::digest([&b"off"[..]]) }),
        };
        let (roots, signers) = loading.roots(file)?;
        let builder = WebPkiClientVerifier::builder_with_provider(roots, provider::provider());
        let built = match tls.client_auth {
            ClientAuth::Optional => builder.allow_unauthenticated().build(),
            ClientAuth::Required | ClientAuth::Off => builder.build(),
        };
        let verifier =
            loading.told(&file.place, built.map_err(|error| format!("cannot be used: {error}")))?;
        let digest = provider::digest([word.as_bytes(), &signers]);
        Some(ClientRules { verifier: Some(verifier), digest })
    }
}

fn config(
    tls: &ListenerTls,
    own: &[OwnCertificate],
    rules: ClientRules,
    ticketer: Arc<dyn ProducesTickets>,
) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(provider::provider())
        .with_protocol_versions(versions(tls.min_version))?;
    let builder = match rules.verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(CertificatesByName::new(own, tls.strict_sni)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    // What would be kept here for clients that may come back, they keep themselves.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = ticketer;
    // A connection lasts long: one that is broken is followed by one.
    config.send_tls13_tickets = 1;
    config.max_early_data_size = 0;
    Ok(config)
}

/// Of the settings and of every file's content.
fn digest(tls: &ListenerTls, loading: &Loading<'_>) -> Digest {
    let of_certificate =
        |files: &'_ CertificateFiles| [Some(files.cert.clone()), Some(files.key.clone()), files.ocsp.clone()];
    let files = tls.certificates.iter().flat_map(of_certificate).flatten();
    let files = files.chain(tls.client_ca.clone()).chain(tls.tickets.clone());
    let contents: Vec<_> = files.map(|file: NamedFile| loading.content(&file)).collect();
    let settings = format!("{tls:?}");
    provider::digest([settings.as_bytes()].into_iter().chain(contents.iter().map(|content| &**content)))
}
