//! The headers of a client's request as they go on to a backend.

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::forwarding::{Appended, ForwardedForm, Hops};
use super::header_rules::{self, HeaderRules, retain_around};
use super::hop_by_hop::{drop_named, frames, passes};
use super::token_list::has_token;

/// Where the addresses stand that a request has passed.
pub(super) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Over what the client has asked, and for which host.
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// What is left of what proxies in front have said, if they are trusted, besides.
const WAY: [HeaderName; 3] = [FORWARDED_FOR, HeaderName::from_static("x-forwarded-port"), header::FORWARDED];

/// Makes of a client's headers what a backend is told, but for those that each connection has for itself; returns what is
/// appended to them at each dial. The request has come by `hops`, and its route has these rules.
pub(super) fn prepare(
    headers: &mut HeaderMap,
    (hops, form): (&Hops, ForwardedForm),
    rules: Option<&HeaderRules>,
) -> Appended {
    // First what the client may decide: its Connection header must not take away what comes after.
    drop_named(headers);
    // Before a rule gives the backend another host.
    let appended = hops.tell(headers, form);
    if let Some(rules) = rules {
        // To name what a service may see is no reason to take its client's address from it; to block that is.
        let stays = |name: &HeaderName| WAY.contains(name) && !rules.block.contains(name);
        header_rules::apply(rules, headers, |name| is_essential(name) || frames(name) || stays(name));
    }
    appended
}

/// The headers of a request that is no upgrade, as its backend gets them.
pub(crate) fn of_request(
    mut headers: HeaderMap,
    way: (&Hops, ForwardedForm),
    rules: Option<&HeaderRules>,
) -> HeaderMap {
    let takes_trailers = has_token(&headers, &header::TE, "trailers");
    let Appended { address, element } = prepare(&mut headers, way, rules);
    let theirs = headers.keys_len();
    if let Some(address) = address {
        append(&mut headers, FORWARDED_FOR, shown(address).as_bytes());
    }
    if !element.is_empty() {
        append(&mut headers, header::FORWARDED, &element);
    }
    // Mostly there is one that goes, and one of these takes its place.
    let ours = headers.keys_len() - theirs;
    retain_around(&mut headers, ours, |name| passes(name) || frames(name));
    // Its other words concern this connection alone.
    if takes_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    headers
}

/// An address as headers have it. The library's own way takes as long as the rest of a request together.
pub(super) fn shown(address: IpAddr) -> String {
    let IpAddr::V4(address) = address.to_canonical() else { return address.to_canonical().to_string() };
    let mut text = String::with_capacity("255.255.255.255".len());
    for octet in address.octets() {
        if !text.is_empty() {
            text.push('.');
        }
        for (size, least) in [(100, 100), (10, 10), (1, 0)] {
            if octet >= least {
                text.push(char::from(b'0' + octet / size % 10));
            }
        }
    }
    text
}

/// Puts a last element into a list, which is one line then.
fn append(headers: &mut HeaderMap, name: HeaderName, last: &[u8]) {
    if !headers.contains_key(&name) {
        if let Ok(only) = HeaderValue::from_bytes(last) {
            headers.insert(name, only);
        }
        return;
    }
    let before = headers.get_all(&name).iter().map(HeaderValue::as_bytes).map(<[u8]>::trim_ascii);
    let mut all: Vec<&[u8]> = before.filter(|value| !value.is_empty()).collect();
    all.push(last);
    // Each of its parts was a value, or was written here.
    if let Ok(list) = HeaderValue::from_bytes(&all.join(&b", "[..])) {
        headers.insert(name, list);
    }
}

/// Headers that every backend gets, whatever the rules leave out.
fn is_essential(name: &HeaderName) -> bool {
    [header::HOST, FORWARDED_PROTO, FORWARDED_HOST].contains(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a backend gets it from a proxy at 192.0.2.1, which nobody trusts.
    fn onward(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let mut headers: HeaderMap = lines.iter().map(pair).collect();
        let hops = Hops::read(&mut headers, ([192, 0, 2, 1], 7).into(), |_| false);
        of_request(headers, (&hops, ForwardedForm::Both), None)
    }

    #[test]
    fn what_concerns_one_connection_stays_there() {
        let onward = onward(&[
            ("host", "a.test"),
            ("connection", "keep-alive, x-own, x-forwarded-for, host"),
            ("x-own", "1"),
            ("x-a", "2"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABkAAQAAP__"),
            ("te", "gzip, trailers"),
            ("expect", "100-continue"),
            ("transfer-encoding", "chunked"),
            ("trailer", "x-sum"),
            ("proxy-authorization", "Basic eA=="),
            ("sec-websocket-key", "x"),
            ("steadfast-session", "forged"),
        ]);
        let names: Vec<_> = onward.keys().map(HeaderName::as_str).collect();
        assert_eq!(
            names,
            [
                "host",
                "x-a",
                "http2-settings",
                "trailer",
                "x-forwarded-proto",
                "x-forwarded-host",
                "x-forwarded-for",
                "forwarded",
                "te"
            ]
        );
        assert_eq!(onward["te"], "trailers");
    }

    #[test]
    fn a_list_is_one_line_and_ends_with_who_asks() {
        let mut headers = HeaderMap::new();
        append(&mut headers, FORWARDED_FOR, b"192.0.2.1");
        append(&mut headers, FORWARDED_FOR, b"192.0.2.2");
        assert_eq!(headers.get_all(FORWARDED_FOR).iter().collect::<Vec<_>>(), ["192.0.2.1, 192.0.2.2"]);
        assert_eq!(
            onward(&[("host", "a.test"), ("x-forwarded-for", "6.6.6.6")])["x-forwarded-for"],
            "192.0.2.1"
        );
    }
}
