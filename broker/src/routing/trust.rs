//! Whose word is taken for who a client is: the proxies in front of one listener.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use ipnet::IpNet;

use crate::net::networks::NetworkSet;

/// The networks that a listener trusts.
pub(crate) struct Trust {
    networks: NetworkSet,
    /// Somebody else has made a claim, and the log has it.
    told: Arc<AtomicBool>,
}

impl Trust {
    pub(crate) fn new(networks: &[IpNet]) -> Trust {
        Trust { networks: NetworkSet::new(networks), told: Arc::default() }
    }

    /// The trust of a changed configuration. Whether others make claims is told once, and again when other networks
    /// are trusted.
    pub(crate) fn renewed(&self, networks: &[IpNet]) -> Trust {
        let mut next = Trust::new(networks);
        if next.networks == self.networks {
            next.told = Arc::clone(&self.told);
        }
        next
    }

    pub(crate) fn holds(&self, address: IpAddr) -> bool {
        self.networks.contains(address)
    }

    /// Whether the claim of somebody else is the first one, and so to be told.
    pub(crate) fn is_first_claim(&self) -> bool {
        !self.told.load(Relaxed) && !self.told.swap(true, Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(text: &str) -> Vec<IpNet> {
        vec![text.parse().expect("a network")]
    }

    #[test]
    fn nobody_is_trusted_unless_it_is_said() {
        let [four, mapped] = ["10.1.2.3", "::ffff:10.1.2.3"].map(|text| text.parse().expect("an address"));
        assert!(!Trust::new(&[]).holds(four));
        let trust = Trust::new(&networks("10.0.0.0/8"));
        assert!(trust.holds(four) && trust.holds(mapped));
    }

    #[test]
    fn a_claim_is_told_once_for_the_same_networks() {
        let trust = Trust::new(&networks("10.0.0.0/8"));
        assert!(trust.is_first_claim() && !trust.is_first_claim());
        assert!(!trust.renewed(&networks("10.0.0.0/8")).is_first_claim());
        let other = trust.renewed(&networks("10.0.0.0/9"));
        assert!(other.is_first_claim() && !other.is_first_claim());
    }
}
