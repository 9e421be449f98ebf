//! Authorities and certificates as files.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use tempfile::TempDir;

/// An authority, and the folder of what it has signed.
pub(super) struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// With its certificate as `ca.pem`.
    pub(super) fn new(name: &str) -> Authority {
        let folder = tempfile::tempdir().expect("a folder");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, key()).expect("an authority");
        fs::write(folder.path().join("ca.pem"), issuer.pem()).expect("a file");
        Authority { folder, issuer }
    }

    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes `NAME.pem` and `NAME.key` for these hosts, valid from some year's begin to another's.
    pub(super) fn server(&self, name: &str, hosts: &[&str], years: (i32, i32)) {
        self.sign(name, hosts, years, ExtendedKeyUsagePurpose::ServerAuth);
    }

    /// The same for a client.
    pub(super) fn client(&self, name: &str) {
        self.sign(name, &[], (2000, 4000), ExtendedKeyUsagePurpose::ClientAuth);
    }

    fn sign(&self, name: &str, hosts: &[&str], (begin, end): (i32, i32), usage: ExtendedKeyUsagePurpose) {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).expect("hosts");
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(begin, 1, 1);
        params.not_after = date_time_ymd(end, 1, 1);
        params.extended_key_usages = vec![usage];
        let key = key();
        let signed = params.signed_by(&key, &self.issuer).expect("a certificate");
        fs::write(self.path(&format!("{name}.pem")), signed.pem()).expect("a file");
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).expect("a file");
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}
