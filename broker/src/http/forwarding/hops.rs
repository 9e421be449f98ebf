//! The way that a request has come: read from its headers, told to backends.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::ForwardedForm;
use super::claims::sift;
use super::element::{Element, emit, from_the_right};
use super::node::Node;
use crate::http::header_rules::retain;
use crate::http::token_list::elements;

/// Where the addresses stand that a request has passed.
const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Over what the client has asked, for which host, and at which port.
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// No request passes more proxies; what stands further to the left was made up.
const HOPS_MAX: usize = 64;

/// The way that a request has come.
#[derive(Debug)]
pub(crate) struct Hops {
    /// With whom the connection is.
    peer: SocketAddr,
    client: SocketAddr,
    /// The peer is trusted. No header of another one's request says for whom that is.
    trusted: bool,
    /// The connection speaks TLS.
    tls: bool,
    /// Who asked whom, the first one first: as much of the list as can be read. Empty: the peer says nothing of it.
    chain: Vec<Element>,
    /// The first element that somebody trusted has written.
    believed: usize,
    /// The first header that was taken out since the peer is not trusted.
    dropped: Option<HeaderName>,
}

/// What is appended at each dial to what came; `None` or empty: nothing is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Appended {
    /// To `X-Forwarded-For`.
    pub(crate) address: Option<IpAddr>,
    /// To `Forwarded`.
    pub(crate) element: Vec<u8>,
}

impl Hops {
    /// Reads the way of a request from `peer`, and takes out of its headers what is not to be believed.
    ///
    /// Of a trusted peer the list of addresses is walked from the right, over those that are trusted too. The first
    /// other one is the client. What cannot be read ends the walk, and so does a hidden name: whoever is to the left of
    /// it is not known to have been there.
    pub(crate) fn read(
        headers: &mut HeaderMap,
        peer: SocketAddr,
        is_trusted: impl Fn(IpAddr) -> bool,
    ) -> Hops {
        let trusted = is_trusted(peer.ip());
        let dropped = sift(headers, trusted);
        let mut hops =
            Hops { peer, client: peer, trusted, tls: false, chain: Vec::new(), believed: 0, dropped };
        if trusted {
            hops.walk(headers, is_trusted);
        }
        hops
    }

    fn walk(&mut self, headers: &HeaderMap, is_trusted: impl Fn(IpAddr) -> bool) {
        let (mut believes, mut believed) = (true, 0);
        for element in readable(headers) {
            if believes {
                let client = element.node().and_then(|node| node.address());
                self.client = client.unwrap_or(self.client);
                believes = client.is_some_and(|client| is_trusted(client.ip()));
                believed += 1;
            }
            self.chain.push(element);
        }
        self.chain.reverse();
        self.believed = self.chain.len() - believed;
    }

    /// The request has come over TLS.
    pub(crate) fn over_tls(&mut self) {
        self.tls = true;
    }

    /// Returns the client's address; the port is 0 when nobody says it.
    pub(crate) fn client(&self) -> SocketAddr {
        self.client
    }

    /// Returns the first header that was taken out since the peer is not trusted.
    pub(crate) fn dropped(&self) -> Option<&HeaderName> {
        self.dropped.as_ref()
    }

    /// Brings the headers that go on to backends into this form, and returns what each dial appends to them.
    pub(crate) fn tell(&self, headers: &mut HeaderMap, form: ForwardedForm) -> Appended {
        let proto = self.proto(headers);
        let host = self.host(headers);
        let line = form.has_rfc7239().then(|| self.line(headers, &proto, host.as_ref()));
        if form.has_x() {
            self.tell_x(headers, proto, host);
        } else {
            retain(headers, |name| ![FOR, PROTO, HOST, PORT].contains(name));
        }
        if self.trusted {
            retain(headers, |name| name != header::FORWARDED);
        }
        let (before, own) = line.unwrap_or_default();
        if let Some(before) = HeaderValue::from_bytes(&before).ok().filter(|before| !before.is_empty()) {
            headers.insert(header::FORWARDED, before);
        }
        Appended { address: form.has_x().then(|| self.address()), element: own }
    }

    fn tell_x(&self, headers: &mut HeaderMap, proto: HeaderValue, host: Option<HeaderValue>) {
        if !self.has_any(headers, &FOR) {
            let nodes: Vec<_> = self.chain.iter().map(x_node).collect();
            if let Some(nodes) = HeaderValue::from_str(&nodes.join(", ")).ok().filter(|_| !nodes.is_empty()) {
                headers.insert(FOR, nodes);
            }
        }
        if !self.has_any(headers, &PROTO) {
            headers.insert(PROTO, proto);
        }
        if let Some(host) = host.filter(|_| !self.has_any(headers, &HOST)) {
            headers.insert(HOST, host);
        }
    }

    /// Over what the client has asked: as the nearest proxy says, else over what we were asked.
    fn proto(&self, headers: &HeaderMap) -> HeaderValue {
        let said = self.last(headers, &PROTO).or_else(|| self.said(b"proto"));
        let own = HeaderValue::from_static(if self.tls { "https" } else { "http" });
        said.and_then(|proto| HeaderValue::from_bytes(proto).ok()).unwrap_or(own)
    }

    /// Whether the client has asked over TLS, as far as anybody says so who is believed.
    pub(crate) fn came_over_tls(&self, headers: &HeaderMap) -> bool {
        self.proto(headers).as_bytes().eq_ignore_ascii_case(b"https")
    }

    /// For which host the client has asked; `None`: nobody says so.
    fn host(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let said = self.last(headers, &HOST).or_else(|| self.said(b"host"));
        let said = said.and_then(|host| HeaderValue::from_bytes(host).ok());
        said.or_else(|| headers.get(header::HOST).cloned()).filter(|host| !host.is_empty())
    }

    /// What those say who are believed, the one first who is next to the client.
    fn said(&self, name: &[u8]) -> Option<&[u8]> {
        self.chain[self.believed..].iter().find_map(|element| element.value(name))
    }

    /// The elements of `Forwarded` that came, or what came in another form, and our own. Protocol and host are said
    /// once: there are backends that go by the first and others that go by the last to say them.
    fn line(
        &self,
        headers: &HeaderMap,
        proto: &HeaderValue,
        host: Option<&HeaderValue>,
    ) -> (Vec<u8>, Vec<u8>) {
        let mut chain = self.chain.clone();
        chain.push(Element::of(&Node::Address(self.address(), None)));
        let from_x = self.has_any(headers, &FOR);
        if from_x || self.said(b"proto").is_none() {
            let teller = if from_x { self.believed } else { chain.len() - 1 };
            let mut element = std::mem::take(&mut chain[teller]);
            if let Some(host) = host.filter(|_| element.value(b"host").is_none()) {
                element = element.with("host", host.as_bytes());
            }
            chain[teller] = element.with("proto", proto.as_bytes());
        }
        let own = chain.pop().map(|own| emit(&[own])).unwrap_or_default();
        (emit(&chain), own)
    }

    fn has_any(&self, headers: &HeaderMap, name: &HeaderName) -> bool {
        self.trusted && has_any(headers, name)
    }

    /// The last element of what the peer says in a header.
    fn last<'a>(&self, headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
        if self.trusted { elements(headers, name).last() } else { None }
    }

    fn address(&self) -> IpAddr {
        self.peer.ip().to_canonical()
    }
}

/// Who asked whom, the last one first, up to what cannot be read: `X-Forwarded-For`, or `Forwarded` if that is not there.
fn readable(headers: &HeaderMap) -> Vec<Element> {
    if has_any(headers, &FOR) {
        let addresses = lines(headers, FOR).flat_map(x_from_the_right);
        return addresses.map_while(|element| element).take(HOPS_MAX).collect();
    }
    let elements = lines(headers, header::FORWARDED).flat_map(from_the_right);
    elements.map_while(|element| element).take(HOPS_MAX).collect()
}

/// Several lines are one list.
fn lines(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    headers.get_all(name).iter().rev().map(HeaderValue::as_bytes)
}

fn x_from_the_right(line: &[u8]) -> impl Iterator<Item = Option<Element>> {
    let nodes = line.rsplit(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|node| !node.is_empty());
    nodes.map(|node| Node::parse(node).map(|node| Element::of(&node)))
}

fn has_any(headers: &HeaderMap, name: &HeaderName) -> bool {
    elements(headers, name).next().is_some()
}

/// As `X-Forwarded-For` has it: an address of IPv6 stands without brackets unless it has a port.
fn x_node(element: &Element) -> Cow<'static, str> {
    match element.node() {
        Some(Node::Address(address, None)) => address.to_string().into(),
        Some(node) => node.to_string().into(),
        None => "unknown".into(),
    }
}

#[cfg(test)]
mod tests;
