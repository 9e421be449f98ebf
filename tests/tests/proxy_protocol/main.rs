//! The PROXY protocol toward the broker and toward backends, and balancers that look whether somebody listens: with
//! headers by hand, and with HAProxy and nginx as the other end.

mod balancers;
mod incoming;
mod outgoing;
mod places;
mod receiver;
mod third_party;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::upgrade::Upgrade;

/// Where the trusted proxy connects from; its neighbour is not trusted.
const PROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

const BEHIND_PROXY: &str =
    "proxy_protocol = \"required\"\ntrusted = [\"127.0.0.2\", \"10.0.0.0/8\", \"fd00::/8\"]";

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn behind(backends: &[&Backend]) -> BrokerBuilder {
    Broker::over(backends).listener_setting(BEHIND_PROXY)
}

/// A line of version 1.
fn line(client: &str, destination: &str) -> Vec<u8> {
    let [client, destination]: [SocketAddr; 2] =
        [client, destination].map(|text| text.parse().expect("an address"));
    let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (client.ip(), destination.ip());
    format!("PROXY {family} {from} {to} {} {}\r\n", client.port(), destination.port()).into_bytes()
}

/// A block of version 2, with TLVs behind its addresses.
fn block(client: &str, destination: &str, tlvs: &[u8]) -> Vec<u8> {
    let [client, destination]: [SocketAddr; 2] =
        [client, destination].map(|text| text.parse().expect("an address"));
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let ports = [client.port().to_be_bytes(), destination.port().to_be_bytes()].concat();
    let body = [&octets(client.ip())[..], &octets(destination.ip()), &ports, tlvs].concat();
    bare_block(0x21, if client.is_ipv4() { 0x11 } else { 0x21 }, &body)
}

fn bare_block(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    [SIGNATURE, &[command, family], &(body.len() as u16).to_be_bytes(), body].concat()
}

/// The proxy's request behind a header.
fn introduced(broker: &Broker, header: &[u8]) -> Upgrade {
    Upgrade::to(broker.address()).from(PROXY).replace("Host", "chat.example").before(header)
}

/// The request of a client that the proxy introduces, in version 1.
fn of_client(broker: &Broker, client: &str) -> Upgrade {
    let destination = if client.starts_with('[') { "[2001:db8::1]:443" } else { "192.0.2.1:443" };
    introduced(broker, &line(client, destination))
}
