//! Networks that may come in, and networks that may not.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// How many leading bits make an IPv6 address one that stands for an IPv4 address.
const MAPPED: u8 = 96;

/// Both lists of a rule.
pub(super) struct Networks {
    allow: Set,
    deny: Set,
}

impl Networks {
    pub(super) fn new(allow: &[IpNet], deny: &[IpNet]) -> Networks {
        Networks { allow: Set::new(allow), deny: Set::new(deny) }
    }

    /// `deny` wins; an empty `allow` is for all.
    pub(super) fn admit(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        !self.deny.contains(client) && (self.allow.0.is_empty() || self.allow.contains(client))
    }
}

/// Networks without overlap, in the order of their first addresses, so that long lists are searched
/// quickly.
struct Set(Vec<IpNet>);

impl Set {
    fn new(networks: &[IpNet]) -> Set {
        let mut set = IpNet::aggregate(&networks.iter().copied().map(canonical).collect());
        set.sort_unstable_by_key(IpNet::network);
        Set(set)
    }

    /// `client` is canonical, and so an IPv6 network such as `::/0` holds no IPv4 address.
    fn contains(&self, client: IpAddr) -> bool {
        let after = self.0.partition_point(|network| network.network() <= client);
        self.0[..after].last().is_some_and(|network| network.contains(&client))
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

    fn nets(networks: &[&str]) -> Vec<IpNet> {
        networks.iter().map(|text| text.parse().expect("a network")).collect()
    }

    fn admit(allow: &[&str], deny: &[&str], client: &str) -> bool {
        Networks::new(&nets(allow), &nets(deny)).admit(client.parse().expect("an address"))
    }

    #[test]
    fn without_rules_all_may_come_in() {
        assert!(admit(&[], &[], "192.0.2.1"));
        assert!(admit(&[], &[], "2001:db8::1"));
    }

    #[test]
    fn only_allowed_networks_may_come_in() {
        let allow = ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"];
        for client in ["10.255.255.255", "10.0.0.0", "192.0.2.7", "::ffff:10.1.2.3", "2001:db8:ffff::1"] {
            assert!(admit(&allow, &[], client), "{client}");
        }
        for client in
            ["9.255.255.255", "11.0.0.0", "192.0.2.8", "::ffff:11.0.0.1", "2001:db9::", "::10.0.0.1"]
        {
            assert!(!admit(&allow, &[], client), "{client}");
        }
    }

    #[test]
    fn deny_wins() {
        let (allow, deny) = (["10.0.0.0/8"], ["10.6.6.0/24", "0.0.0.0/32"]);
        assert!(admit(&allow, &deny, "10.6.5.255"));
        assert!(!admit(&allow, &deny, "10.6.6.1"));
        assert!(!admit(&allow, &deny, "::ffff:10.6.6.1"));
        assert!(!admit(&["10.6.6.1/32"], &deny, "10.6.6.1"));
        assert!(!admit(&[], &deny, "10.6.6.1"));
        assert!(admit(&[], &deny, "192.0.2.1"));
    }

    #[test]
    fn ipv4_networks_can_be_written_as_ipv6() {
        assert!(!admit(&[], &["::ffff:10.0.0.0/104"], "10.1.2.3"));
        assert!(admit(&[], &["::ffff:10.0.0.0/104"], "11.1.2.3"));
        assert!(!admit(&[], &["::ffff:0:0/96"], "192.0.2.1"));
        assert!(admit(&[], &["::ffff:0:0/96"], "2001:db8::1"));
    }

    #[test]
    fn each_family_has_its_own_whole() {
        assert!(!admit(&[], &["0.0.0.0/0"], "192.0.2.1"));
        assert!(admit(&[], &["0.0.0.0/0"], "2001:db8::1"));
        assert!(!admit(&[], &["::/0"], "2001:db8::1"));
        assert!(admit(&[], &["::/0"], "::ffff:192.0.2.1"));
        assert!(!admit(&["::/0", "0.0.0.0/0"], &["255.255.255.255/32"], "255.255.255.255"));
    }

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
            let set = Set::new(&networks);
            for client in clients {
                let expected = networks.iter().any(|network| network.contains(&client));
                prop_assert_eq!(set.contains(client), expected, "{}", client);
            }
        }
    }
}
