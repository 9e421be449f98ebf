//! Networks as a set: whether an address is in one of them.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// How many leading bits make an IPv6 address one that stands for an IPv4 address.
const MAPPED: u8 = 96;

/// Networks without overlap, in the order of their first addresses, so that long lists are searched
/// quickly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NetworkSet(Vec<IpNet>);

impl NetworkSet {
    pub(crate) fn new(networks: &[IpNet]) -> NetworkSet {
        let mut set = IpNet::aggregate(&networks.iter().copied().map(canonical).collect());
        set.sort_unstable_by_key(IpNet::network);
        NetworkSet(set)
    }

    /// Whether one of them holds the address. An IPv4 address is one also when it is written as IPv6, and so an IPv6
    /// network such as `::/0` holds none.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let after = self.0.partition_point(|network| network.network() <= address);
        self.0[..after].last().is_some_and(|network| network.contains(&address))
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A network of IPv4 addresses that is written as IPv6 is the IPv4 network.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let first = v6.network().to_ipv4_mapped();
    let v4 = first.zip(v6.prefix_len().checked_sub(MAPPED));
    v4.and_then(|(first, len)| Ipv4Net::new(first, len).ok()).map_or(network, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    /// Addresses that are close together, so that networks overlap and meet.
    fn address() -> impl Strategy<Value = IpAddr> {
        let v4 = any::<[u8; 2]>().prop_map(|[c, d]| IpAddr::V4(Ipv4Addr::new(10, 0, c & 3, d)));
        let v6 = any::<[u8; 2]>().prop_map(|[c, d]| {
            IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, u16::from(c & 3), u16::from(d)))
        });
        prop_oneof![v4, v6]
    }

    fn network() -> impl Strategy<Value = IpNet> {
        let len = prop_oneof![1 => 0u8..=32, 4 => 22u8..=32];
        (address(), len).prop_map(|(address, len)| {
            let len = if address.is_ipv4() { len } else { len * 4 };
            IpNet::new(address, len).expect("a network")
        })
    }

    proptest! {
        #[test]
        fn a_set_holds_what_one_of_its_networks_holds(
            networks in prop::collection::vec(network(), 0..30),
            clients in prop::collection::vec(address(), 1..50),
        ) {
            let set = NetworkSet::new(&networks);
            for client in clients {
                let expected = networks.iter().any(|network| network.contains(&client));
                prop_assert_eq!(set.contains(client), expected, "{}", client);
            }
        }
    }
}
