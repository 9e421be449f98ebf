//! An authority and a server's certificate that it has signed, as files that every peer reads.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};

use super::NAME;

/// Where the files are, all of them PEM. All keys are of ECDSA with P-256.
#[derive(Debug)]
pub(crate) struct Papers {
    /// The authority's certificate.
    pub(crate) ca: PathBuf,
    /// The server's certificate.
    pub(crate) cert: PathBuf,
    /// Its key.
    pub(crate) key: PathBuf,
    /// Both in one file, as HAProxy wants them.
    pub(crate) cert_and_key: PathBuf,
}

impl Papers {
    /// Makes them in `folder`.
    pub(crate) fn make(folder: &Path) -> io::Result<Self> {
        let (ca, cert, key) = signed().map_err(io::Error::other)?;
        let write = |name: &str, text: &str| {
            let file = folder.join(name);
            fs::write(&file, text)?;
            io::Result::Ok(file)
        };
        Ok(Self {
            ca: write("ca.pem", &ca)?,
            cert: write("server.pem", &cert)?,
            key: write("server.key", &key)?,
            cert_and_key: write("server-with-key.pem", &(cert + &key))?,
        })
    }
}

/// The certificates of the authority and the server, and the server's key.
fn signed() -> Result<(String, String, String), rcgen::Error> {
    let key = || KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256);
    let ca_key = key()?;
    let mut ca = CertificateParams::default();
    ca.distinguished_name.push(DnType::CommonName, "steadfast-bench");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca_cert = ca.self_signed(&ca_key)?;

    let server_key = key()?;
    let mut server = CertificateParams::new(vec![NAME.to_owned(), "127.0.0.1".to_owned()])?;
    server.distinguished_name.push(DnType::CommonName, NAME);
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.use_authority_key_identifier_extension = true;
    let server_cert = server.signed_by(&server_key, &Issuer::new(ca, ca_key))?;
    Ok((ca_cert.pem(), server_cert.pem(), server_key.serialize_pem()))
}
