//! The client's handshake, kept for redials in as little memory as it takes.
//!
//! Most of a browser's headers are the same for all its users, so they are shared between sessions;
//! a session's own part holds the target and what tells its user from others.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock, Weak};

#[cfg(test)]
use http::Request;
use http::Uri;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use twox_hash::XxHash64;

use crate::http::forwarding::{Appended, ForwardedForm, Hops};
use crate::http::head::put_line;
use crate::http::header_rules::HeaderRules;
use crate::http::hop_by_hop::{is_forwarding, passes};
use crate::http::hostname::without_port;
use crate::http::onward::{FORWARDED_FOR, prepare, shown};
use crate::http::token_list::split;
use crate::lock::OrderedMutex;
use crate::lock::rank::HeaderSetsRank;

/// How many different header sets are shared at the most; more are kept once per session.
const SHARED_MAX: usize = 1024;

/// About as many bytes a request has that are the broker's own.
const OURS_ABOUT: usize = 384;

/// What a backend must see again at each dial.
#[derive(Debug, Clone, Hash)]
pub(crate) struct Handshake {
    /// Lines of headers.
    shared: Arc<[u8]>,
    /// The parts of [`Own`], each but the last with its length in front.
    own: Box<[u8]>,
}

/// What stands in a session's own part.
struct Own<'a> {
    target: &'a [u8],
    /// What each dial appends to `X-Forwarded-For`; empty: the client's own address, if the next is empty too.
    address: &'a [u8],
    /// What each dial appends to `Forwarded`.
    element: &'a [u8],
    /// The lines of these two headers.
    forwarded: HeaderLines<'a>,
    /// Where the client has connected to, if that is not its listener's address.
    arrival: &'a [u8],
    /// The other lines.
    lines: &'a [u8],
}

/// What is negotiated anew with each backend.
#[derive(Debug, Clone, Default)]
pub(crate) struct BackendOffer {
    /// `Sec-WebSocket-Protocol`.
    pub(crate) protocols: Option<HeaderValue>,
    /// `Sec-WebSocket-Extensions`.
    pub(crate) extensions: Option<String>,
    /// `Steadfast-Shim`: the service is to speak `steadfast.v1` with the broker.
    pub(crate) shim: bool,
}

impl Handshake {
    /// Keeps what is to be repeated of the client's request for `target`, which has come by `hops`, as the route's rules
    /// have it; and where the client has connected to, if backends are told that and it is not its listener's address.
    pub(crate) fn keep(
        target: &Uri,
        mut headers: HeaderMap,
        (hops, form): (&Hops, ForwardedForm),
        rules: Option<&HeaderRules>,
        arrival: Option<SocketAddr>,
    ) -> Handshake {
        let (mut shared, mut forwarded, mut lines) =
            (Vec::with_capacity(512), Vec::new(), Vec::with_capacity(256));
        let appended = prepare(&mut headers, (hops, form), rules);
        for (name, value) in headers.iter().filter(|(name, _)| passes(name)) {
            let name = name.as_str();
            let part = match name {
                "x-forwarded-for" | "forwarded" => &mut forwarded,
                name if is_personal(name) => &mut lines,
                _ => &mut shared,
            };
            put_line(part, name, value.as_bytes());
        }
        let target = target.path_and_query().map_or("/", |target| target.as_str());
        let (address, element) = told_at_dials(&appended, hops);
        let arrival = arrival.map(|address| address.to_string()).unwrap_or_default();
        let own = [target.as_bytes(), address.as_bytes(), element, &forwarded, arrival.as_bytes()];
        Handshake { shared: share(shared), own: packed(own, &lines) }
    }

    /// As [`Handshake::keep`], of a request that a proxy at 192.0.2.1 has sent on, which is trusted.
    #[cfg(test)]
    pub(crate) fn new<B: Clone>(request: &Request<B>, rules: Option<&HeaderRules>) -> Handshake {
        let mut request = request.clone();
        let peer = ([192, 0, 2, 1], 7).into();
        let hops = Hops::read(request.headers_mut(), peer, |address| address == peer.ip());
        Handshake::keep(request.uri(), request.headers().clone(), (&hops, ForwardedForm::X), rules, None)
    }

    /// Returns the path that is asked for, without the query.
    pub(crate) fn path(&self) -> &[u8] {
        self.own().target.split(|byte| *byte == b'?').next().unwrap_or_default()
    }

    /// Returns for whom proxies say that the request is, header by header.
    pub(crate) fn forwarded_for(&self) -> impl Iterator<Item = &[u8]> {
        self.own().forwarded.map(|line| line.value)
    }

    /// Returns where the client has connected to, if that was kept.
    pub(crate) fn arrival(&self) -> Option<SocketAddr> {
        std::str::from_utf8(self.own().arrival).ok()?.parse().ok()
    }

    /// Returns the host that backends are asked for, without a port.
    pub(crate) fn host(&self) -> Option<&str> {
        let host = HeaderLines(&self.shared).find(|line| is_named(line.name, &header::HOST))?;
        std::str::from_utf8(without_port(host.value)).ok()
    }

    /// Returns the head of the request for one backend, on behalf of `client`: the address by which the session began.
    pub(crate) fn request(
        &self,
        client: IpAddr,
        key: &str,
        offer: &BackendOffer,
        session: &str,
        attempt: u32,
    ) -> Vec<u8> {
        let own = self.own();
        let mut head = Vec::with_capacity(self.shared.len() + self.own.len() + OURS_ABOUT);
        for part in [b"GET ", own.target, b" HTTP/1.1\r\n", &self.shared] {
            head.extend_from_slice(part);
        }
        own.put_lines(&mut head, client);
        head.extend_from_slice(b"connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n");
        put_line(&mut head, "sec-websocket-key", key.as_bytes());
        if let Some(protocols) = &offer.protocols {
            put_line(&mut head, "sec-websocket-protocol", protocols.as_bytes());
        }
        if let Some(extensions) = &offer.extensions {
            put_line(&mut head, "sec-websocket-extensions", extensions.as_bytes());
        }
        put_line(&mut head, "steadfast-session", session.as_bytes());
        put_line(&mut head, "steadfast-attempt", attempt.to_string().as_bytes());
        if offer.shim {
            put_line(&mut head, "steadfast-shim", b"1");
        }
        head.extend_from_slice(b"\r\n");
        head
    }

    fn own(&self) -> Own<'_> {
        let mut rest = &*self.own;
        let [target, address, element, forwarded, arrival] = [(); 5].map(|()| take(&mut rest));
        Own { target, address, element, forwarded: HeaderLines(forwarded), arrival, lines: rest }
    }
}

impl Own<'_> {
    /// Writes the lines, and for whom the request is: what proxies said of it stays in front of what the broker says itself.
    fn put_lines(self, head: &mut Vec<u8>, client: IpAddr) {
        let Own { address, element, forwarded, lines, .. } = self;
        head.extend_from_slice(lines);
        let shown = if address.is_empty() && element.is_empty() { shown(client) } else { String::new() };
        let address = if shown.is_empty() { address } else { shown.as_bytes() };
        let (mut addresses, mut elements) = (Vec::new(), Vec::new());
        for HeaderLine { name, value, whole } in forwarded {
            if !address.is_empty() && is_named(name, &FORWARDED_FOR) {
                addresses.extend(split(value));
            } else if !element.is_empty() && is_named(name, &header::FORWARDED) {
                // Commas in quotes are no ends of elements, so lines are joined as they are.
                elements.extend(Some(value).filter(|value| !value.is_empty()));
            } else {
                head.extend_from_slice(whole);
            }
        }
        for (name, mut all, ours) in
            [(FORWARDED_FOR, addresses, address), (header::FORWARDED, elements, element)]
        {
            if !ours.is_empty() {
                all.push(ours);
                put_line(head, name.as_str(), &all.join(&b", "[..]));
            }
        }
    }
}

/// What tells one user from another is not worth sharing.
fn is_personal(name: &str) -> bool {
    match name {
        "cookie" | "authorization" => true,
        "x-forwarded-proto" | "x-forwarded-host" => false,
        _ => name.starts_with("x-") || is_forwarding(name),
    }
}

/// What is kept of what each dial appends. Mostly that is the client's own address alone, which the session has anyway.
fn told_at_dials<'a>(appended: &'a Appended, hops: &Hops) -> (String, &'a [u8]) {
    let Appended { address, element } = appended;
    let client = hops.client().ip().to_canonical();
    let kept = address.filter(|address| !element.is_empty() || *address != client);
    (kept.map(shown).unwrap_or_default(), element)
}

fn is_named(name: &[u8], header: &HeaderName) -> bool {
    name == header.as_str().as_bytes()
}

/// One allocation for all of them.
fn packed(parts: [&[u8]; 5], lines: &[u8]) -> Box<[u8]> {
    let length: usize = parts.iter().map(|part| 3 + part.len()).sum();
    let mut packed = Vec::with_capacity(length + lines.len());
    for part in parts {
        // The whole head is bounded far below 2^24 bytes.
        packed.extend_from_slice(&(part.len() as u32).to_be_bytes()[1..]);
        packed.extend_from_slice(part);
    }
    packed.extend_from_slice(lines);
    packed.into_boxed_slice()
}

/// Takes a part that [`packed`] has written from the beginning of them.
fn take<'a>(parts: &mut &'a [u8]) -> &'a [u8] {
    let taken = parts
        .split_first_chunk()
        .and_then(|([a, b, c], rest)| rest.split_at_checked(u32::from_be_bytes([0, *a, *b, *c]) as usize));
    let (part, rest) = taken.unwrap_or_default();
    *parts = rest;
    part
}

/// Reads what [`put_line`] wrote. No value has an end of a line in it (RFC 9110, 5.5).
struct HeaderLines<'a>(&'a [u8]);

struct HeaderLine<'a> {
    name: &'a [u8],
    value: &'a [u8],
    /// The line with its end.
    whole: &'a [u8],
}

impl<'a> Iterator for HeaderLines<'a> {
    type Item = HeaderLine<'a>;

    fn next(&mut self) -> Option<HeaderLine<'a>> {
        let end = self.0.iter().position(|byte| *byte == b'\n')?;
        let (whole, rest) = self.0.split_at_checked(end + 1)?;
        self.0 = rest;
        let line = whole.strip_suffix(b"\r\n")?;
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at_checked(colon)?;
        Some(HeaderLine { name, value: value.strip_prefix(b": ")?, whole })
    }
}

/// By the hash of the set.
type HeaderSets = BTreeMap<u64, Weak<[u8]>>;

/// Nobody is to know which sets are found in each other's places.
static SEED: LazyLock<u64> = LazyLock::new(rand::random);

/// Header sets in use.
static SHARED: OrderedMutex<Option<HeaderSets>, HeaderSetsRank> = OrderedMutex::new(None);

/// One allocation for all sessions with these bytes.
fn share(bytes: Vec<u8>) -> Arc<[u8]> {
    let key = XxHash64::oneshot(*SEED, &bytes);
    let mut guard = SHARED.lock();
    let table = guard.get_or_insert_default();
    if let Some(found) = table.get(&key).and_then(Weak::upgrade).filter(|found| **found == *bytes) {
        return found;
    }
    let fresh: Arc<[u8]> = bytes.into();
    if table.len() >= SHARED_MAX {
        table.retain(|_, weak| weak.strong_count() > 0);
    }
    if table.len() < SHARED_MAX {
        table.insert(key, Arc::downgrade(&fresh));
    }
    fresh
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::get_request;
    use crate::http::hop_by_hop::end_to_end;

    fn client_request() -> Request<()> {
        Request::get("/chat?room=7")
            .header("Host", "example.test")
            .header("Upgrade", "websocket")
            .header("Connection", "keep-alive, Upgrade, X-Hop")
            .header("X-Hop", "not for others")
            .header("Cookie", "a=1")
            .header("Cookie", "b=2")
            .header("Origin", "https://example.test")
            .header("Steadfast-Session", "forged")
            .header("Steadfast-Shim", "1")
            .header("X-Forwarded-For", "203.0.113.9")
            .header("X-Forwarded-Proto", "https")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
            .body(())
            .expect("a request")
    }

    fn redial(handshake: &Handshake) -> Request<()> {
        let offer =
            BackendOffer { protocols: Some(HeaderValue::from_static("chat")), extensions: None, shim: false };
        let client = "::ffff:192.0.2.1".parse().expect("an address");
        read(handshake.request(client, "a2V5", &offer, "5e55", 2))
    }

    /// A request as a backend reads it.
    fn read(head: Vec<u8>) -> Request<()> {
        let length = head.len();
        let read = get_request(&head.into(), 64).expect("a whole head");
        assert_eq!(read.length, length, "nothing stands behind it");
        read.request
    }

    #[test]
    fn a_redial_repeats_the_clients_handshake() {
        let request = redial(&Handshake::new(&client_request(), None));
        assert_eq!(request.uri(), "/chat?room=7");
        let all = |name: &str| -> Vec<_> { request.headers().get_all(name).iter().cloned().collect() };
        assert_eq!(all("cookie"), ["a=1", "b=2"]);
        assert_eq!(all("host"), ["example.test"]);
        assert_eq!(all("origin"), ["https://example.test"]);
        assert_eq!(all("sec-websocket-protocol"), ["chat"]);
        assert_eq!(all("sec-websocket-key"), ["a2V5"]);
        assert_eq!(all("x-forwarded-for"), ["203.0.113.9, 192.0.2.1"]);
        assert_eq!(all("x-forwarded-proto"), ["https"], "the proxy in front knows");
        assert_eq!(all("x-forwarded-host"), ["example.test"]);
        assert_eq!(all("steadfast-session"), ["5e55"]);
        assert_eq!(all("steadfast-attempt"), ["2"]);
        assert_eq!(all("steadfast-shim"), [""; 0], "the client's own goes no further");
    }

    #[test]
    fn what_proxies_say_goes_on_though_connection_names_it() {
        for name in ["X-Forwarded-For", "x-forwarded-port", "X-Real-IP", "via"] {
            let mut request = client_request();
            let connection = HeaderValue::from_str(&format!("Upgrade, {name}")).expect("a value");
            request.headers_mut().insert("connection", connection);
            request.headers_mut().insert(
                HeaderName::from_bytes(name.as_bytes()).expect("a name"),
                HeaderValue::from_static("203.0.113.9"),
            );
            let sent = redial(&Handshake::new(&request, None)).headers()[name].clone();
            assert!(sent.as_bytes().starts_with(b"203.0.113.9"), "{name}: {sent:?}");
        }
    }

    #[test]
    fn addresses_are_continued_without_empty_elements() {
        for (before, expected) in [
            (&[""][..], "192.0.2.1"),
            (&["", "203.0.113.9", " "], "203.0.113.9, 192.0.2.1"),
            (&["203.0.113.9,, unknown,"], "203.0.113.9, unknown, 192.0.2.1"),
            (&["203.0.113.9", "198.51.100.7"], "203.0.113.9, 198.51.100.7, 192.0.2.1"),
            (&[], "192.0.2.1"),
        ] {
            let mut request = client_request();
            request.headers_mut().remove("x-forwarded-for");
            for line in before {
                request.headers_mut().append("x-forwarded-for", HeaderValue::from_static(line));
            }
            let sent = redial(&Handshake::new(&request, None));
            let values: Vec<_> = sent.headers().get_all("x-forwarded-for").iter().collect();
            assert_eq!(values, [expected], "{before:?}");
        }
    }

    /// What a backend gets at a dial, from a client at 203.0.113.9.
    fn dialled(peer: [u8; 4], form: ForwardedForm, lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut request = client_request();
        for (name, value) in lines {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).expect("a value"));
        }
        let trusts = |address: IpAddr| address == IpAddr::from([10, 0, 0, 1]);
        let hops = Hops::read(request.headers_mut(), (peer, 7).into(), trusts);
        let handshake = Handshake::keep(request.uri(), request.headers().clone(), (&hops, form), None, None);
        let client = hops.client().ip();
        let [first, second] = [1, 2].map(|attempt| {
            let head = handshake.request(client, "a2V5", &BackendOffer::default(), "5e55", attempt);
            read(head).headers().clone()
        });
        for name in ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded"] {
            assert_eq!(first.get(name), second.get(name), "{name} is repeated");
        }
        second
    }

    #[test]
    fn the_peer_is_appended_and_not_the_client_of_whom_it_speaks() {
        let lines = [("x-forwarded-for", "198.51.100.7, 203.0.113.9"), ("x-forwarded-proto", "https")];
        let headers = dialled([10, 0, 0, 1], ForwardedForm::Both, &lines);
        assert_eq!(headers["x-forwarded-for"], "198.51.100.7, 203.0.113.9, 10.0.0.1");
        let forwarded = "for=198.51.100.7, for=203.0.113.9;host=example.test;proto=https, for=10.0.0.1";
        assert_eq!(headers["forwarded"], forwarded);
        let headers = dialled([10, 0, 0, 1], ForwardedForm::Rfc7239, &lines);
        assert_eq!(
            (headers.get("x-forwarded-for"), headers["forwarded"].as_bytes()),
            (None, forwarded.as_bytes())
        );
        let headers = dialled([203, 0, 113, 9], ForwardedForm::X, &lines);
        assert_eq!(headers["x-forwarded-for"], "203.0.113.9");
        assert_eq!((headers["x-forwarded-proto"].as_bytes(), headers.get("forwarded")), (&b"http"[..], None));
        let headers = dialled([203, 0, 113, 9], ForwardedForm::Both, &lines);
        assert_eq!(headers["x-forwarded-for"], "203.0.113.9");
        assert_eq!(headers["forwarded"], "for=203.0.113.9;host=example.test;proto=http");
    }

    #[test]
    fn commas_in_quotes_stay_as_they_are() {
        let lines = [("x-forwarded-for", ""), ("forwarded", r#"for=203.0.113.9;x="a,b""#)];
        let headers = dialled([10, 0, 0, 1], ForwardedForm::Rfc7239, &lines);
        let ours = "for=10.0.0.1;host=example.test;proto=https";
        assert_eq!(headers["forwarded"], format!(r#"for=203.0.113.9;x="a,b", {ours}"#));
    }

    #[test]
    fn a_session_of_a_client_that_connects_by_itself_keeps_no_address_twice() {
        let mut request = client_request();
        let own = |request: &Request<()>, hops: &Hops| {
            let handshake = Handshake::keep(
                request.uri(),
                request.headers().clone(),
                (hops, ForwardedForm::X),
                None,
                None,
            );
            let Own { address, element, .. } = handshake.own();
            [address.len(), element.len()]
        };
        let direct = Hops::read(request.headers_mut(), ([203, 0, 113, 9], 7).into(), |_| false);
        assert_eq!(own(&request, &direct), [0, 0]);
        let mut request = client_request();
        let behind = Hops::read(request.headers_mut(), ([10, 0, 0, 1], 7).into(), |peer| {
            !peer.to_string().contains("113")
        });
        assert_eq!(own(&request, &behind), ["10.0.0.1".len(), 0]);
    }

    #[test]
    fn addresses_are_shown_as_the_library_shows_them() {
        for octet in 0..=u8::MAX {
            for address in [[octet, 0, 10, 100], [1, 99, 255, octet]].map(IpAddr::from) {
                assert_eq!(shown(address), address.to_string());
            }
        }
        for (address, text) in [("2001:db8::7", "2001:db8::7"), ("::ffff:192.0.2.1", "192.0.2.1")] {
            assert_eq!(shown(address.parse().expect("an address")), text);
        }
    }

    #[test]
    fn without_a_hosts_name_none_is_vouched_for() {
        let mut request = client_request();
        request.headers_mut().insert("host", HeaderValue::from_static(""));
        let sent = redial(&Handshake::new(&request, None));
        assert_eq!(
            (sent.headers()["host"].as_bytes(), sent.headers().get("x-forwarded-host")),
            (&b""[..], None)
        );
    }

    #[test]
    fn it_says_what_is_asked_for_and_for_whom() {
        let handshake = Handshake::new(&client_request(), None);
        assert_eq!(handshake.path(), b"/chat");
        assert_eq!(handshake.forwarded_for().collect::<Vec<_>>(), [b"203.0.113.9"]);
    }

    #[test]
    fn it_says_where_the_client_has_connected_to_and_for_which_host() {
        for (host, name) in
            [("example.test", "example.test"), ("a.test:8080", "a.test"), ("[::1]:80", "[::1]")]
        {
            let mut request = client_request();
            request.headers_mut().insert("host", HeaderValue::from_static(host));
            let hops = Hops::read(request.headers_mut(), ([192, 0, 2, 1], 7).into(), |_| false);
            for arrival in [None, Some("[2001:db8::7]:443".parse().expect("an address"))] {
                let headers = request.headers().clone();
                let way = (&hops, ForwardedForm::X);
                let handshake = Handshake::keep(request.uri(), headers, way, None, arrival);
                assert_eq!((handshake.arrival(), handshake.host()), (arrival, Some(name)));
            }
        }
    }

    #[test]
    fn the_host_goes_on_though_connection_names_it() {
        let mut request = client_request();
        request.headers_mut().insert("connection", HeaderValue::from_static("Upgrade, Host"));
        assert_eq!(redial(&Handshake::new(&request, None)).headers()["host"], "example.test");
    }

    #[test]
    fn what_concerns_one_connection_goes_no_further() {
        for connection in [&b"keep-alive, Upgrade, X-Hop"[..], b"Upgrade, f\xf6o, x-hop"] {
            let mut request = client_request();
            let connection = HeaderValue::from_bytes(connection).expect("a value");
            request.headers_mut().insert("connection", connection);
            let request = redial(&Handshake::new(&request, None));
            assert_eq!(request.headers().get("x-hop"), None);
            assert_eq!(request.headers()["connection"], "Upgrade");
        }
    }

    #[test]
    fn what_a_backend_tells_the_broker_goes_no_further() {
        let names = ["steadfast-failover", "steadfast-drain", "set-cookie"].map(HeaderName::from_static);
        let answer = HeaderMap::from_iter(names.map(|name| (name, HeaderValue::from_static("on"))));
        let passed: Vec<_> = end_to_end(&answer).map(|(name, _)| name.as_str()).collect();
        assert_eq!(passed, ["set-cookie"]);
    }

    #[test]
    fn sessions_of_one_browser_share_its_headers() {
        let [one, two] = [0, 1].map(|_| Handshake::new(&client_request(), None));
        assert!(Arc::ptr_eq(&one.shared, &two.shared));
    }
}
