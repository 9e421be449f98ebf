//! Which certificate a client is shown: by the name that it asks for (RFC 6066, 3), and by what it can verify.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate::OwnCertificate;

/// Certificates of one listener by the names that they are for.
#[derive(Debug)]
pub(super) struct CertificatesByName {
    all: Vec<Arc<CertifiedKey>>,
    /// `chat.example.com`
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// `example.com`, of `*.example.com`
    below: HashMap<String, Vec<Arc<CertifiedKey>>>,
    strict: bool,
}

impl CertificatesByName {
    /// `strict`: who asks for none of the names gets none of the certificates.
    pub(super) fn new(certificates: &[OwnCertificate], strict: bool) -> CertificatesByName {
        let all = certificates.iter().map(|certificate| Arc::clone(&certificate.key)).collect();
        let (mut exact, mut below) = (HashMap::<_, Vec<_>>::new(), HashMap::<_, Vec<_>>::new());
        for OwnCertificate { key, facts } in certificates {
            for host in &facts.hosts {
                let (names, name) = match host.strip_prefix("*.") {
                    Some(parent) => (&mut below, parent),
                    None => (&mut exact, host.as_str()),
                };
                names.entry(name.to_owned()).or_default().push(Arc::clone(key));
            }
        }
        CertificatesByName { all, exact, below, strict }
    }

    /// Those for this name: by the name itself, else by a wildcard for its first label alone (RFC 9525, 6.3).
    fn named(&self, name: &str) -> Option<&[Arc<CertifiedKey>]> {
        let name = name.to_ascii_lowercase();
        let by_wildcard = || self.below.get(name.split_once('.')?.1);
        self.exact.get(&name).or_else(by_wildcard).map(Vec::as_slice)
    }

    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let candidates = match name.and_then(|name| self.named(name)) {
            Some(named) => named,
            None if self.strict => return None,
            None => &self.all,
        };
        // Of one by RSA and one by ECDSA the first that the client can verify.
        let fits = |certified: &&Arc<CertifiedKey>| certified.key.choose_scheme(schemes).is_some();
        candidates.iter().find(fits).or(candidates.first()).cloned()
    }
}

impl ResolvesServerCert for CertificatesByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), hello.signature_schemes())
    }
}
