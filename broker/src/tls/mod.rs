//! TLS on both sides, as the configuration wants it: certificates, keys, tickets and whom to trust become what
//! connections are made with. Connections themselves are in `net`; what they say inside TLS is others' matter.
//!
//! What the files hold is loaded whole or not at all ([`load`]), at the start, at each reload and by
//! `steadfast check`. What has not changed since the last time is the same object as before, so that a reload costs
//! nobody a resumption.

mod certificate;
mod client;
mod loading;
mod pem;
mod provider;
mod server;
mod sessions;
mod sni;
mod tickets;
mod verifier;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::settings::{CertificateFiles, Settings};
use crate::config::{ConfigError, NamedFile};

pub(crate) use certificate::CertificateFacts;
pub(crate) use client::PoolTls;
use loading::{Loading, Ticketers};
use server::ServerSide;

/// What listeners and pools speak TLS with.
#[derive(Debug, Clone, Default)]
pub struct TlsSetup {
    /// In the order of the configuration.
    listeners: Vec<Option<Arc<ServerSide>>>,
    pools: HashMap<String, Arc<PoolTls>>,
    ticketers: Ticketers,
    warnings: Vec<String>,
}

impl TlsSetup {
    /// What is sound and yet worth a look, a sentence each: certificates whose time is over, and the like.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Tells them in the log.
    pub fn log(&self) {
        for warning in &self.warnings {
            tracing::warn!("{warning}");
        }
    }

    /// What the listener of this number speaks TLS with; `None`: it speaks plainly.
    pub(crate) fn listener(&self, number: usize) -> Option<&Arc<rustls::ServerConfig>> {
        self.listeners.get(number)?.as_ref().map(|side| &side.config)
    }

    /// The certificates of the listener of this number.
    pub(crate) fn certificates(&self, number: usize) -> &[CertificateFacts] {
        let side = self.listeners.get(number).and_then(Option::as_ref);
        side.map_or(&[], |side| &side.certificates)
    }

    /// What this pool speaks TLS with; `None`: none of its backends does.
    pub(crate) fn pool(&self, name: &str) -> Option<&Arc<PoolTls>> {
        self.pools.get(name)
    }
}

/// Reads what the settings name, and makes of it what connections need. `file`: the configuration, for what is wrong.
/// `before`: what holds now.
///
/// # Errors
///
/// Every file that cannot be read, holds something else than it should, or does not fit another.
pub fn load(
    settings: &Settings,
    file: Option<&Path>,
    before: Option<&TlsSetup>,
) -> Result<TlsSetup, ConfigError> {
    let mut loading = Loading::new(file, before.map(|before| &before.ticketers));
    let present: Vec<_> = before.into_iter().flat_map(|before| before.listeners.iter().flatten()).collect();
    let mut listeners = Vec::with_capacity(settings.listeners.len());
    for listener in &settings.listeners {
        let tls = listener.tls.as_ref();
        listeners.push(tls.and_then(|tls| server::load(tls, &present, &mut loading)));
    }
    let mut pools = HashMap::new();
    for pool in &settings.pools {
        let Some(tls) = &pool.tls else { continue };
        let spoken = pool.backends.iter().filter(|backend| backend.tls);
        let hosts: Vec<&str> = spoken.map(|backend| backend.host.as_str()).collect();
        let present = before.and_then(|before| before.pool(&pool.name));
        let loaded = client::load(tls, &hosts, present, &mut loading);
        pools.extend(loaded.map(|loaded| (pool.name.clone(), loaded)));
    }
    let Loading { report, warnings, ticketers, .. } = loading;
    report.finish(Some(TlsSetup { listeners, pools, ticketers, warnings }))
}

/// Every file that [`load`] reads, the system's own apart.
pub fn files(settings: &Settings) -> Vec<PathBuf> {
    let listeners = settings.listeners.iter().filter_map(|listener| listener.tls.as_ref());
    let of_listener =
        listeners.flat_map(|tls| tls.client_ca.iter().chain(&tls.tickets).chain(own(&tls.certificates)));
    let pools = settings.pools.iter().filter_map(|pool| pool.tls.as_ref());
    let of_pool = pools.flat_map(|tls| tls.ca.iter().chain(own(&tls.client)));
    of_listener.chain(of_pool).map(|file| file.path.clone()).collect()
}

fn own<'a>(
    certificates: impl IntoIterator<Item = &'a CertificateFiles>,
) -> impl Iterator<Item = &'a NamedFile> {
    certificates
        .into_iter()
        .flat_map(|files| [Some(&files.cert), Some(&files.key), files.ocsp.as_ref()])
        .flatten()
}
