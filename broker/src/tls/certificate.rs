//! The broker's own certificates: with their keys, and what they say of themselves.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::InconsistentKeys;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;

use super::loading::{Loading, shown};
use super::{pem, provider};
use crate::clock;
use crate::config::settings::CertificateFiles;

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CertificateFacts {
    /// The first name that it is for; without one, whom it is of.
    pub(crate) name: String,
    /// Hosts that it is for, in lower case, those with a wildcard as `*.example.com`.
    pub(super) hosts: Vec<String>,
    begin: SystemTime,
    end: SystemTime,
}

impl CertificateFacts {
    /// Seconds until its time is over; less than zero: since then.
    pub(crate) fn seconds_left(&self, now: SystemTime) -> f64 {
        match self.end.duration_since(now) {
            Ok(left) => left.as_secs_f64(),
            Err(over) => -over.duration().as_secs_f64(),
        }
    }

    /// Reads them.
    ///
    /// # Errors
    ///
    /// Why it is none, as the rest of a sentence about the file.
    pub(super) fn of(der: &CertificateDer<'_>) -> Result<CertificateFacts, String> {
        let unreadable =
            |error: &dyn std::fmt::Display| format!("holds a certificate that cannot be read: {error}");
        let (_, parsed) = x509_parser::parse_x509_certificate(der).map_err(|error| unreadable(&error))?;
        let names = parsed.subject_alternative_name().map_err(|error| unreadable(&error))?;
        let names = names.iter().flat_map(|names| &names.value.general_names);
        let hosts = names.filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
        let hosts: Vec<String> = hosts.collect();
        let name = hosts.first().cloned().unwrap_or_else(|| parsed.subject().to_string());
        let validity = parsed.validity();
        let (begin, end) = (at(validity.not_before.timestamp()), at(validity.not_after.timestamp()));
        Ok(CertificateFacts { name, hosts, begin, end })
    }

    /// Why nobody takes it now, if so.
    fn fault(&self, now: SystemTime) -> Option<&'static str> {
        match () {
            () if now > self.end => Some("has expired"),
            () if now < self.begin => Some("is not valid yet"),
            () => None,
        }
    }
}

/// A certificate of the broker's own.
pub(super) struct OwnCertificate {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) facts: CertificateFacts,
}

impl OwnCertificate {
    /// Reads both files, and the third if there is one; `None`: it is in the report.
    pub(super) fn load(files: &CertificateFiles, loading: &mut Loading<'_>) -> Option<OwnCertificate> {
        let chain = loading.parsed(&files.cert, |bytes| {
            let chain = pem::chain(bytes)?;
            let leaf = chain.first().ok_or_else(|| "holds no certificate".to_owned())?;
            CertificateFacts::of(leaf).map(|facts| (facts, chain))
        });
        let key = loading.parsed(&files.key, pem::private_key);
        let ocsp = files.ocsp.as_ref().map(|ocsp| loading.parsed(ocsp, pem::ocsp));
        let ((facts, chain), key) = (chain?, key?);
        let certified = CertifiedKey::from_der(chain, key, &provider::provider()).map_err(|error| {
            let (cert, key) = (shown(&files.cert.path), shown(&files.key.path));
            match error {
                rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                    format!("{key} does not fit the certificate in {cert}; give the key that this was made with")
                }
                error => format!(
                    "{key} cannot be used with {cert}: {error}; give a key by ECDSA (P-256 or P-384), Ed25519 or RSA \
                     (2048 bits or more)"
                ),
            }
        });
        let mut certified = loading.told(&files.key.place, certified)?;
        certified.ocsp = match ocsp {
            Some(ocsp) => Some(ocsp?),
            None => None,
        };
        if let Some(fault) = facts.fault(clock::wall()) {
            let (path, name) = (shown(&files.cert.path), &facts.name);
            loading
                .warnings
                .push(format!("{path}: the certificate of {name:?} {fault}; give one that is valid"));
        }
        Some(OwnCertificate { key: Arc::new(certified), facts })
    }
}

fn at(seconds: i64) -> SystemTime {
    let length = Duration::from_secs(seconds.unsigned_abs());
    let found = if seconds < 0 { UNIX_EPOCH.checked_sub(length) } else { UNIX_EPOCH.checked_add(length) };
    found.unwrap_or(UNIX_EPOCH)
}
