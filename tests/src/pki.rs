//! Authorities and what they have signed, as the PEM files that a configuration names.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use tempfile::TempDir;

/// A certificate and its key, as files.
#[derive(Debug, Clone)]
pub struct Pair {
    /// In PEM.
    pub cert: PathBuf,
    /// The same.
    pub key: PathBuf,
}

impl Pair {
    /// Their two lines of a configuration.
    pub fn keys(&self) -> String {
        format!("cert = {:?}\nkey = {:?}\n", shown(&self.cert), shown(&self.key))
    }

    /// Puts this one in another's place, each file by a rename.
    pub fn replace(&self, other: &Pair) {
        for (from, to) in [(&self.cert, &other.cert), (&self.key, &other.key)] {
            fs::rename(from, to).expect("both are in one folder");
        }
    }
}

/// An authority, and the folder of what it has signed.
pub struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// A new one of this name.
    pub fn new(name: &str) -> Authority {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, new_key()).expect("it signs itself");
        fs::write(folder.path().join("ca.pem"), issuer.pem()).expect("a file");
        Authority { folder, issuer }
    }

    /// The file of its own certificate.
    pub fn ca(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// A file in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A server's, for these host names and addresses, as `NAME.pem` and `NAME.key`.
    pub fn server(&self, name: &str, hosts: &[&str]) -> Pair {
        self.sign(name, server_params(name, hosts))
    }

    /// One whose time is over.
    pub fn expired(&self, name: &str, hosts: &[&str]) -> Pair {
        let mut params = server_params(name, hosts);
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2001, 1, 1);
        self.sign(name, params)
    }

    /// One that nobody but itself has signed.
    pub fn self_signed(&self, name: &str, hosts: &[&str]) -> Pair {
        let key = new_key();
        let signed = server_params(name, hosts).self_signed(&key).expect("it signs itself");
        self.write(name, &signed.pem(), &key)
    }

    /// A client's, with this common name.
    pub fn client(&self, name: &str) -> Pair {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(name, params)
    }

    fn sign(&self, name: &str, params: CertificateParams) -> Pair {
        let key = new_key();
        let signed = params.signed_by(&key, &self.issuer).expect("a certificate");
        self.write(name, &signed.pem(), &key)
    }

    fn write(&self, name: &str, cert: &str, key: &KeyPair) -> Pair {
        let pair = Pair { cert: self.path(&format!("{name}.pem")), key: self.path(&format!("{name}.key")) };
        fs::write(&pair.cert, cert).expect("a file");
        fs::write(&pair.key, key.serialize_pem()).expect("a file");
        pair
    }
}

fn server_params(name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).expect("names of hosts");
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

/// A path as text.
pub fn shown(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}
