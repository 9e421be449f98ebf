//! Telling backends which certificate a client has shown (RFC 9440). What a client says of that itself is a claim like any
//! other for whom a request is (`forwarding/claims.rs`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{HeaderName, HeaderValue};

/// The header.
pub(crate) const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");

/// Its value for this certificate in DER: a byte sequence of structured fields (RFC 9440, 2.1; RFC 9651, 3.3.5).
pub(crate) fn value(certificate: &[u8]) -> Option<HeaderValue> {
    let mut text = String::with_capacity(certificate.len().div_ceil(3) * 4 + 2);
    text.push(':');
    STANDARD.encode_string(certificate, &mut text);
    text.push(':');
    // Nothing else than base64 is in it.
    HeaderValue::try_from(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_base64_between_colons() {
        for (certificate, expected) in [
            (&b""[..], "::"),
            (b"f", ":Zg==:"),
            (b"fo", ":Zm8=:"),
            (b"foo", ":Zm9v:"),
            (&[0xfb, 0xff], ":+/8=:"),
        ] {
            assert_eq!(value(certificate).expect("a value"), expected);
        }
        let long = value(&[0x30; 3000]).expect("a value");
        assert_eq!(long.len(), 4002);
        assert_eq!(CLIENT_CERT, "Client-Cert");
    }
}
