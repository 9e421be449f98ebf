//! What a request is placed by, as a hash: the client's address, or something in the request.

use std::borrow::Cow;
use std::net::IpAddr;
use std::num::NonZeroU64;

use http::header::HeaderName;
use http::{HeaderMap, Uri};

use super::hash;
use crate::config::settings::{Balance, HashKey};
use crate::http::cookies;

/// What ties a session to a backend: the hash of the key that its pool places requests by. It is found once, in the
/// first request, and kept, so that whatever places the session again (a redial, a move, a rebalance) asks for the same
/// backend. Sessions without one go wherever their pool's rule says at the moment.
///
/// `Option<Affinity>` takes no more room than the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Affinity(NonZeroU64);

impl Affinity {
    /// Finds the key of a request; `None` when it has none, an empty one, or when `balance` needs none. An IPv4
    /// address that came as IPv6 (RFC 4291, 2.5.5.2) is that IPv4 address.
    pub(crate) fn find(
        balance: &Balance,
        client: IpAddr,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Option<Affinity> {
        match balance {
            Balance::Source => Some(Affinity::of_address(client)),
            Balance::Hash(key) => part_of_request(key, uri, headers)
                .filter(|key| !key.is_empty())
                .map(|key| Affinity::of_key(&key)),
            Balance::LeastSessions | Balance::RoundRobin | Balance::PowerOfTwo | Balance::Random => None,
        }
    }

    fn of_address(client: IpAddr) -> Affinity {
        match client.to_canonical() {
            IpAddr::V4(address) => Affinity::of_key(&address.octets()),
            IpAddr::V6(address) => Affinity::of_key(&address.octets()),
        }
    }

    fn of_key(key: &[u8]) -> Affinity {
        Affinity::of_hash(hash::of(key))
    }

    /// Of a key with this hash. One of 2^64 hashes is moved; it is as good as any.
    pub(crate) fn of_hash(hash: u64) -> Affinity {
        Affinity(NonZeroU64::new(hash).unwrap_or(NonZeroU64::MIN))
    }

    /// Returns the hash that backends draw their scores with.
    pub(super) fn hash(self) -> u64 {
        self.0.get()
    }
}

/// The part of a request that a key names; `None`: it has none.
pub(crate) fn part_of_request<'a>(
    key: &HashKey,
    uri: &'a Uri,
    headers: &'a HeaderMap,
) -> Option<Cow<'a, [u8]>> {
    match key {
        HashKey::Header(name) => header(name, headers).map(Cow::Borrowed),
        HashKey::Cookie(name) => cookie(name, headers).map(Cow::Borrowed),
        HashKey::Query(name) => query(name, uri),
        HashKey::Path(number) => segment(*number, uri),
    }
}

fn header<'a>(name: &HeaderName, headers: &'a HeaderMap) -> Option<&'a [u8]> {
    Some(headers.get(name)?.as_bytes())
}

/// The first of that name, since user agents send the most specific path's first (RFC 6265, 5.4). The
/// value is taken as it is, quotes and all: only the application knows what they mean.
fn cookie<'a>(name: &str, headers: &'a HeaderMap) -> Option<&'a [u8]> {
    cookies::pairs(headers).find_map(|pair| cookies::value_of(pair, name))
}

/// The first of that name, decoded as a form is: `+` is a space. Bytes that are no UTF-8 become U+FFFD.
fn query<'a>(name: &str, uri: &'a Uri) -> Option<Cow<'a, [u8]>> {
    let mut parameters = form_urlencoded::parse(uri.query()?.as_bytes());
    let (_, value) = parameters.find(|(found, _)| found == name)?;
    Some(match value {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    })
}

/// The segment of that number, from 1, with percent-encoding decoded (RFC 3986, 2.1). Empty segments
/// count: in `/a//b`, `b` is the third.
fn segment(number: usize, uri: &Uri) -> Option<Cow<'_, [u8]>> {
    // What stands in front of the first slash is no segment.
    let segment = uri.path().split('/').skip(1).nth(number.checked_sub(1)?)?;
    Some(percent_encoding::percent_decode_str(segment).into())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::HeaderMap;

    use super::*;

    const CLIENT: &str = "192.0.2.7";

    fn source(client: &str) -> Option<Affinity> {
        Affinity::find(
            &Balance::Source,
            client.parse().expect("an address"),
            &Uri::default(),
            &HeaderMap::new(),
        )
    }

    /// Header names and values, in the order in which they came.
    fn headers(lines: &[(&'static str, &'static [u8])]) -> HeaderMap {
        let parse = |value| HeaderValue::from_bytes(value).expect("a header value");
        lines.iter().map(|(name, value)| (HeaderName::from_static(name), parse(value))).collect()
    }

    fn hashed(key: HashKey, uri: &str, headers: &HeaderMap) -> Option<Affinity> {
        let uri = uri.parse().expect("a target");
        Affinity::find(&Balance::Hash(key), CLIENT.parse().expect("an address"), &uri, headers)
    }

    fn by_header(lines: &[(&'static str, &'static [u8])]) -> Option<Affinity> {
        hashed(HashKey::Header(HeaderName::from_static("x-user")), "/", &headers(lines))
    }

    fn by_cookie(lines: &[&'static [u8]]) -> Option<Affinity> {
        let lines: Vec<_> = lines.iter().map(|line| ("cookie", *line)).collect();
        hashed(HashKey::Cookie("sid".into()), "/", &headers(&lines))
    }

    fn by_query(uri: &str) -> Option<Affinity> {
        hashed(HashKey::Query("room".into()), uri, &HeaderMap::new())
    }

    fn by_segment(number: usize, uri: &str) -> Option<Affinity> {
        hashed(HashKey::Path(number), uri, &HeaderMap::new())
    }

    fn value(bytes: &[u8]) -> Option<Affinity> {
        Some(Affinity::of_key(bytes))
    }

    #[test]
    fn source_is_the_clients_address() {
        assert_eq!(source(CLIENT), value(&[192, 0, 2, 7]));
        assert_ne!(source(CLIENT), source("192.0.2.8"));
        assert_ne!(source("2001:db8::1"), source("2001:db8::2"));
    }

    #[test]
    fn ipv4_within_ipv6_is_ipv4() {
        assert_eq!(source("::ffff:192.0.2.7"), source(CLIENT));
        assert_ne!(source("64:ff9b::192.0.2.7"), source(CLIENT));
    }

    #[test]
    fn other_balances_have_no_key() {
        let client = CLIENT.parse().expect("an address");
        for balance in [Balance::LeastSessions, Balance::RoundRobin, Balance::PowerOfTwo, Balance::Random] {
            assert_eq!(
                Affinity::find(&balance, client, &Uri::from_static("/?room=1"), &HeaderMap::new()),
                None
            );
        }
    }

    #[test]
    fn a_headers_first_value() {
        assert_eq!(by_header(&[("x-user", b"ann")]), value(b"ann"));
        assert_eq!(by_header(&[("x-user", b"ann"), ("x-user", b"bob")]), value(b"ann"));
        assert_eq!(by_header(&[("x-user", b"\xff\xfe")]), value(b"\xff\xfe"));
        assert_eq!(by_header(&[("x-user", b"")]), None);
        assert_eq!(by_header(&[("x-other", b"ann")]), None);
    }

    #[test]
    fn a_cookie_among_others() {
        assert_eq!(by_cookie(&[b"sid=31d4"]), value(b"31d4"));
        assert_eq!(by_cookie(&[b"a=b; sid=31d4; c=d"]), value(b"31d4"));
        assert_eq!(by_cookie(&[b"a=b;sid = 31d4 ;c=d"]), value(b"31d4"));
        assert_eq!(by_cookie(&[b"a=b", b"c=d; sid=31d4"]), value(b"31d4"));
        assert_eq!(by_cookie(&[b"sid=31d4; sid=other"]), value(b"31d4"));
    }

    #[test]
    fn a_cookies_value_is_taken_as_it_is() {
        assert_eq!(by_cookie(&[b"sid=\"x\""]), value(b"\"x\""));
        assert_eq!(by_cookie(&[b"sid=a=b=="]), value(b"a=b=="));
        assert_eq!(by_cookie(&[b"sid=%41"]), value(b"%41"));
        assert_eq!(by_cookie(&[b"sid=\xff"]), value(b"\xff"));
    }

    #[test]
    fn no_cookie_of_that_name() {
        for line in
            [b"" as &[u8], b";;;", b"sid", b"sid=", b"sid=  ; a=b", b"SID=x", b"xsid=x", b"=sid", b"a=sid=x"]
        {
            assert_eq!(by_cookie(&[line]), None, "{}", line.escape_ascii());
        }
        assert_eq!(by_cookie(&[]), None);
    }

    #[test]
    fn a_query_parameter() {
        assert_eq!(by_query("/?room=42"), value(b"42"));
        assert_eq!(by_query("/?a=b&room=42&room=43"), value(b"42"));
        assert_eq!(by_query("/?ro%6Fm=%34%32"), value(b"42"));
        assert_eq!(by_query("/?room=a+b"), value(b"a b"));
        assert_eq!(by_query("/?room=%c3%a9"), value("é".as_bytes()));
        assert_eq!(by_query("/?room=%ff"), value("\u{fffd}".as_bytes()));
    }

    #[test]
    fn no_query_parameter_of_that_name() {
        for uri in ["/", "/?", "/?room", "/?room=", "/?Room=1", "/?rooms=1", "/room=1", "*"] {
            assert_eq!(by_query(uri), None, "{uri}");
        }
    }

    #[test]
    fn a_path_segment() {
        assert_eq!(by_segment(1, "/room/42"), value(b"room"));
        assert_eq!(by_segment(2, "/room/42"), value(b"42"));
        assert_eq!(by_segment(2, "/room/42/?x=/y"), value(b"42"));
        assert_eq!(by_segment(2, "/room/%34%32"), value(b"42"));
        assert_eq!(by_segment(2, "/room/a%2Fb"), value(b"a/b"));
        assert_eq!(by_segment(2, "/room/a+b%zz"), value(b"a+b%zz"));
        assert_eq!(by_segment(3, "/a//b"), value(b"b"));
        assert_eq!(by_segment(1, "http://example.com/room"), value(b"room"));
    }

    #[test]
    fn no_path_segment_of_that_number() {
        for (number, uri) in
            [(0, "/a"), (1, "/"), (2, "/a"), (2, "/a/"), (2, "/a//b"), (1, "*"), (usize::MAX, "/a/b")]
        {
            assert_eq!(by_segment(number, uri), None, "segment {number} of {uri}");
        }
    }

    #[test]
    fn none_takes_no_more_room_than_a_hash() {
        assert_eq!(size_of::<Option<Affinity>>(), size_of::<u64>());
        assert_eq!(Affinity::of_hash(0), Affinity::of_hash(1));
        assert_eq!(Affinity::of_hash(u64::MAX).hash(), u64::MAX);
    }
}
