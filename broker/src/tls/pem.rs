//! What is in PEM files (RFC 7468), and what is in them instead.

use rustls::RootCertStore;
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Certificates of one chain. Nobody verifies longer ones.
const CHAIN_MAX: usize = 32;
/// The first byte of anything that is DER and not PEM.
const DER: u8 = 0x30;

/// A certificate, and those that lead from it to the root.
///
/// # Errors
///
/// What the file holds instead, as the rest of a sentence about it.
pub(super) fn chain(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain = certificates(bytes)?;
    if chain.len() > CHAIN_MAX {
        return Err(format!(
            "holds {} certificates; {CHAIN_MAX} are the most: give the certificate, and those between it and the root",
            chain.len()
        ));
    }
    Ok(chain)
}

/// Those who may sign, and how many of the certificates cannot be read.
///
/// # Errors
///
/// As [`chain`].
pub(super) fn roots(bytes: &[u8]) -> Result<(RootCertStore, usize), String> {
    let mut roots = RootCertStore::empty();
    let (added, ignored) = roots.add_parsable_certificates(certificates(bytes)?);
    if added == 0 {
        return Err(format!("holds {ignored} certificates that cannot be read; give those of who may sign"));
    }
    Ok((roots, ignored))
}

/// The first private key.
///
/// # Errors
///
/// As [`chain`].
pub(super) fn private_key(bytes: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(bytes).map_err(|_| {
        if bytes.windows(LOCKED.len()).any(|found| found == LOCKED) {
            return "holds a private key under a passphrase; take that off with openssl pkey -in FILE -out FILE"
                .to_owned();
        }
        let begins = "-----BEGIN PRIVATE KEY-----";
        format!("holds no private key, but {}; give a PEM file with {begins}", instead(bytes))
    })
}

/// An OCSP response (RFC 6960), which is DER.
///
/// # Errors
///
/// As [`chain`].
pub(super) fn ocsp(bytes: &[u8]) -> Result<Vec<u8>, String> {
    if bytes.first() != Some(&DER) {
        return Err("holds no OCSP response in DER; openssl ocsp -respout FILE writes one".to_owned());
    }
    Ok(bytes.to_owned())
}

/// Stands in keys that want a passphrase, in both of their forms.
const LOCKED: &[u8] = b"ENCRYPTED";

fn certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => {
            let begins = "-----BEGIN CERTIFICATE-----";
            Err(format!("holds no certificate, but {}; give a PEM file with {begins}", instead(bytes)))
        }
    }
}

/// What is in a file in place of what is wanted.
fn instead(bytes: &[u8]) -> &'static str {
    let sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes);
    match sections.collect::<Result<Vec<_>, _>>() {
        Err(_) => "PEM that is broken",
        Ok(sections) => match sections.first().map(|(kind, _)| kind) {
            Some(SectionKind::Certificate) => "a certificate",
            Some(SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey) => {
                "a private key"
            }
            Some(SectionKind::Csr) => "a request for a certificate",
            Some(_) => "something else in PEM",
            None if bytes.is_empty() => "nothing at all",
            None if bytes.first() == Some(&DER) => "DER",
            None => "nothing in PEM",
        },
    }
}
