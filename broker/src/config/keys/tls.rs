//! Keys of `[listener.tls]` and `[pool.tls]`: who the broker is to clients, and whom it takes backends for.

use super::Section;
use crate::config::place::ConfigPlace;
use crate::config::settings::{CertificateFiles, ClientAuth, ListenerTls, PoolTlsSettings, TlsVersion};
use crate::config::values::network;

const VERSIONS: [(&str, TlsVersion); 2] = [("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)];
const CLIENT_AUTH: [(&str, ClientAuth); 3] =
    [("off", ClientAuth::Off), ("optional", ClientAuth::Optional), ("required", ClientAuth::Required)];

pub(super) fn listener(section: &mut Section<'_>) -> ListenerTls {
    let tls = ListenerTls {
        min_version: min_version(section),
        client_auth: section.choice("client_auth", ClientAuth::Off, &CLIENT_AUTH),
        client_ca: section.file("client_ca", "none"),
        tickets: section.file("tickets", "none"),
        strict_sni: section.flag("strict_sni", false),
        certificates: section.tables("certificate", certificate).into_iter().flatten().collect(),
    };
    let asks = tls.client_auth != ClientAuth::Off;
    section.check(&["client_auth"], !asks || tls.client_ca.is_some(), || {
        "needs a client_ca, the certificates of those who have signed the clients'; give its file".to_owned()
    });
    section.check(&["client_ca"], asks || tls.client_ca.is_none(), || {
        r#"means nothing with client_auth = "off"; set that to "optional" or "required", or remove this"#
            .to_owned()
    });
    section.check(&["certificate"], !tls.certificates.is_empty(), || {
        "missing; give a [[listener.tls.certificate]] with its cert and key".to_owned()
    });
    tls
}

/// `None` when a file is missing, which is in the report then.
fn certificate(section: &mut Section<'_>) -> Option<CertificateFiles> {
    let cert = section.required_file("cert");
    let key = section.required_file("key");
    let ocsp = section.file("ocsp", "none");
    Some(CertificateFiles { cert: cert?, key: key?, ocsp })
}

pub(super) fn pool(section: &mut Section<'_>) -> PoolTlsSettings {
    let ca = section.file("ca", "the system's");
    let name =
        section.text("server_name", "the URL's host", "a host name or an address", network::server_name);
    let verify = section.flag("verify", true);
    let (cert, key) = (section.file("cert", "none"), section.file("key", "none"));
    section.check(&["ca"], verify || ca.is_none(), || {
        "means nothing with verify = false, which takes every certificate; remove one of them".to_owned()
    });
    section.check(&["cert", "key"], cert.is_some() == key.is_some(), || {
        "cert and key belong together; give both, or none".to_owned()
    });
    PoolTlsSettings {
        place: section.place(),
        min_version: min_version(section),
        ca,
        server_name: name,
        verify,
        client: cert.zip(key).map(|(cert, key)| CertificateFiles { cert, key, ocsp: None }),
    }
}

/// What holds for a pool that has backends with TLS and no table for it, which stands there.
pub(in crate::config) fn default_pool_tls(place: ConfigPlace) -> PoolTlsSettings {
    PoolTlsSettings { place, ..pool(&mut Section::absent("pool.tls")) }
}

fn min_version(section: &mut Section<'_>) -> TlsVersion {
    section.choice("min_version", TlsVersion::Tls12, &VERSIONS)
}
