//! What one pool speaks TLS with to its backends.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;

use super::certificate::OwnCertificate;
use super::loading::{Loading, Roots};
use super::provider::{self, Digest};
use super::server::{ALPN, versions};
use super::sessions::{BackendResumptions, Resumptions};
use super::verifier::AnyCertificate;
use crate::config::quoted;
use crate::config::settings::PoolTlsSettings;
use crate::lock::OrderedMutex;
use crate::lock::rank::BackendConfigsRank;

/// Backends of one pool for which something is kept.
const CONFIGS_MAX: usize = 1024;

/// One pool's side.
#[derive(Debug)]
pub(crate) struct PoolTls {
    config: ClientConfig,
    /// The same for each backend by its address, with what that has given for resumption.
    configs: OrderedMutex<HashMap<Arc<str>, Arc<ClientConfig>>, BackendConfigsRank>,
    resumptions: Arc<Resumptions>,
    /// The name that all certificates must have; `None`: each its backend's host.
    name: Option<ServerName<'static>>,
    /// Of all that it was made of.
    digest: Digest,
}

impl PoolTls {
    /// What connections to the backend at this host and port are made with.
    pub(crate) fn config(&self, host: &str, port: u16) -> Arc<ClientConfig> {
        let address = format!("{host}:{port}");
        let mut configs = self.configs.lock();
        if let Some(config) = configs.get(address.as_str()) {
            return Arc::clone(config);
        }
        // Those that DNS finds come and go without end. Connections keep their own.
        if configs.len() >= CONFIGS_MAX {
            configs.clear();
        }
        let address: Arc<str> = address.into();
        let given =
            BackendResumptions { address: Arc::clone(&address), store: Arc::clone(&self.resumptions) };
        let mut config = self.config.clone();
        config.resumption = Resumption::store(Arc::new(given));
        let config = Arc::new(config);
        configs.insert(address, Arc::clone(&config));
        config
    }

    /// Whom a backend with this host is to prove to be: the pool's own name for it, or the host.
    ///
    /// # Errors
    ///
    /// The host cannot stand in a certificate, as a sentence.
    pub(crate) fn server_name(&self, host: &str) -> Result<ServerName<'static>, String> {
        match &self.name {
            Some(name) => Ok(name.clone()),
            None => server_name(host),
        }
    }
}

/// Reads its files; `None`: something is in the report. `hosts`: of its backends that speak TLS. `present`: what holds
/// now, and is kept when it is made of the same.
pub(super) fn load(
    tls: &PoolTlsSettings,
    hosts: &[&str],
    present: Option<&Arc<PoolTls>>,
    loading: &mut Loading<'_>,
) -> Option<Arc<PoolTls>> {
    let name = tls.server_name.as_deref().map(server_name).transpose();
    let name = loading.told(&tls.place, name);
    if tls.server_name.is_none() {
        hosts.iter().for_each(|host| {
            let _ = loading.told(&tls.place, server_name(host));
        });
    }
    let roots = match (&tls.ca, tls.verify) {
        (_, false) => Some(None),
        (Some(file), true) => loading.roots(file).map(Some),
        (None, true) => loading.system_roots(&tls.place).map(Some),
    };
    let own = tls.client.as_ref().map(|files| OwnCertificate::load(files, loading));
    let (name, roots) = (name?, roots?);
    let own = match own {
        Some(own) => Some(own?),
        None => None,
    };
    let digest = digest(tls, roots.as_ref(), loading);
    if let Some(same) = present.filter(|present| present.digest == digest) {
        return Some(Arc::clone(same));
    }
    let config = config(tls, roots, own).map_err(|error| format!("TLS cannot be set up: {error}"));
    let config = loading.told(&tls.place, config)?;
    let (configs, resumptions) = (OrderedMutex::default(), Arc::default());
    Some(Arc::new(PoolTls { config, configs, resumptions, name, digest }))
}

/// A host as certificates have it.
fn server_name(host: &str) -> Result<ServerName<'static>, String> {
    // The dot of the root stands in no certificate (RFC 6066, 3).
    let name = ServerName::try_from(host.strip_suffix('.').unwrap_or(host).to_owned());
    name.map_err(|_| {
        format!("{} can stand in no certificate; give a server_name in [pool.tls]", quoted(host))
    })
}

fn config(
    tls: &PoolTlsSettings,
    roots: Option<Roots>,
    own: Option<OwnCertificate>,
) -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(provider::provider())
        .with_protocol_versions(versions(tls.min_version))?;
    let builder = match roots {
        Some((roots, _)) => builder.with_root_certificates(roots),
        None => builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate::new())),
    };
    let mut config = match own {
        Some(own) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own.key))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    // Each backend gets its own.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Of the settings and of every file's content.
fn digest(tls: &PoolTlsSettings, roots: Option<&Roots>, loading: &Loading<'_>) -> Digest {
    let files = tls.client.iter().flat_map(|files| [&files.cert, &files.key]);
    let contents: Vec<_> = files.map(|file| loading.content(file)).collect();
    let settings = format!("{tls:?}");
    let trusted = roots.map_or(&[][..], |(_, digest)| digest);
    provider::digest(
        [settings.as_bytes(), trusted].into_iter().chain(contents.iter().map(|content| &**content)),
    )
}
