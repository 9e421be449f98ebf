//! Headers that claim for whom, or how, a request was made: from whom they are taken, and which spellings of their names
//! a backend may take for the same.

use http::header::{self, HeaderMap, HeaderName};

use crate::http::header_rules::retain;
use crate::http::hop_by_hop::{is_forwarding, may_be_forwarding, one_spelling};

/// Takes out what is not to be believed: of a trusted peer what is spelled so that a backend may take it for a claim, of
/// others every claim. Returns the first claim that was taken from one who is not trusted.
pub(super) fn sift(headers: &mut HeaderMap, trusted: bool) -> Option<HeaderName> {
    // Mostly there is none.
    if !headers.keys().any(|name| may_be_forwarding(name.as_str())) {
        return None;
    }
    let is_dropped = |name: &&HeaderName| may_be_forwarding(name.as_str()) && is_claim(name.as_str());
    let dropped = headers.keys().filter(|_| !trusted).find(is_dropped).cloned();
    retain(headers, |name| {
        if !may_be_forwarding(name.as_str()) {
            return true;
        }
        let spelled = one_spelling(name.as_str());
        !is_claim(&spelled) || (trusted && spelled == name.as_str())
    });
    dropped
}

/// `Via` says by whom a message was sent on, and not for whom.
fn is_claim(name: &str) -> bool {
    is_forwarding(name) && name != header::VIA.as_str()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const CLAIMS: [&str; 12] = [
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-prefix",
        "forwarded",
        "x-real-ip",
        "true-client-ip",
        "x-client-ip",
        "cf-connecting-ip",
        "client-cert",
        "client-cert-chain",
    ];
    const ALIKE: [&str; 6] = [
        "x_forwarded_for",
        "x-forwarded_proto",
        "x_real_ip",
        "x.forwarded.for",
        "cf_connecting_ip",
        "client_cert",
    ];
    const OTHERS: [&str; 6] = ["via", "host", "x-forwarded", "x_custom", "forwarded-by", "cookie"];

    fn left(trusted: bool) -> (Vec<String>, Option<HeaderName>) {
        let names = OTHERS[..3].iter().chain(&CLAIMS).chain(&ALIKE).chain(&OTHERS[3..]);
        let pairs = names.map(|name| (HeaderName::from_static(name), HeaderValue::from_static("x")));
        let mut headers: HeaderMap = pairs.collect();
        let dropped = sift(&mut headers, trusted);
        (headers.keys().map(ToString::to_string).collect(), dropped)
    }

    #[test]
    fn who_is_not_trusted_claims_nothing() {
        assert_eq!(
            left(false),
            (OTHERS.map(str::to_owned).to_vec(), Some("x-forwarded-for".parse().expect("a name")))
        );
    }

    #[test]
    fn who_is_trusted_claims_by_the_names_alone_that_have_one_spelling() {
        let expected: Vec<_> =
            OTHERS[..3].iter().chain(&CLAIMS).chain(&OTHERS[3..]).map(ToString::to_string).collect();
        assert_eq!(left(true), (expected, None));
    }
}
