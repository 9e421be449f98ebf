//! What counts as one client.

use std::net::IpAddr;

/// An IPv4 address, or a /64 network of IPv6: one host can use every address of such a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Address {
    V4([u8; 4]),
    /// The first half of the address.
    V6([u8; 8]),
}

impl Address {
    /// An IPv4 address that is written as IPv6 (RFC 4291, 2.5.5.2) counts as IPv4, as it comes from a
    /// listener for both.
    pub(crate) fn of(client: IpAddr) -> Address {
        match client.to_canonical() {
            IpAddr::V4(address) => Address::V4(address.octets()),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Address::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(address: &str) -> Address {
        Address::of(address.parse().expect("an address"))
    }

    #[test]
    fn an_ipv4_address_is_one_client_in_both_forms() {
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_ne!(of("0.0.0.0"), of("::"));
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff:ffff:ffff:ffff"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
    }
}
