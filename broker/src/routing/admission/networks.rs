//! Networks that may come in, and networks that may not.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::net::networks::NetworkSet;

/// Both lists of a rule.
pub(super) struct Networks {
    allow: NetworkSet,
    deny: NetworkSet,
}

impl Networks {
    pub(super) fn new(allow: &[IpNet], deny: &[IpNet]) -> Networks {
        Networks { allow: NetworkSet::new(allow), deny: NetworkSet::new(deny) }
    }

    /// `deny` wins; an empty `allow` is for all.
    pub(super) fn admit(&self, client: IpAddr) -> bool {
        !self.deny.contains(client) && (self.allow.is_empty() || self.allow.contains(client))
    }
}

#[cfg(test)]
mod tests {
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
}
