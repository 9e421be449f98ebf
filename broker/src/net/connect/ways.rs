//! Which ways lead to a backend, and in which order they are tried.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use super::fault::FaultKind;
use super::history::History;
use super::way::Way;

/// Ways that have not been tried yet, the next one first.
#[derive(Debug)]
pub(super) struct Ways {
    waiting: VecDeque<Way>,
    /// The target that took the last connection.
    reached: Option<SocketAddr>,
}

impl Ways {
    /// Each way differs from the one before in both ends as far as there are others, since nobody knows
    /// which end is at fault when one is silent.
    pub(super) fn new(found: &[SocketAddr], sources: &[IpAddr], history: &History) -> Ways {
        let reached = history.reached();
        if let ([target], []) = (found, sources) {
            return Ways { waiting: VecDeque::from([Way { target: *target, source: None }]), reached };
        }
        let sources = history.ordered(sources);
        let of_family = |target: &SocketAddr| match sources.as_slice() {
            [] => vec![None],
            sources => {
                sources.iter().filter(|s| s.is_ipv4() == target.is_ipv4()).copied().map(Some).collect()
            }
        };
        let targets: Vec<_> = ordered(found, reached).into_iter().map(|t| (t, of_family(&t))).collect();
        let rounds = targets.iter().map(|(_, sources)| sources.len()).max().unwrap_or_default();
        let mut waiting = VecDeque::new();
        for round in 0..rounds {
            for (number, (target, sources)) in targets.iter().enumerate() {
                if round < sources.len() {
                    let source = sources[(number + round) % sources.len()];
                    waiting.push_back(Way { target: *target, source });
                }
            }
        }
        Ways { waiting, reached }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Returns the way if there is one only, which needs no race.
    pub(super) fn lone(&self) -> Option<Way> {
        self.waiting.front().filter(|_| self.waiting.len() == 1).copied()
    }

    pub(super) fn next(&mut self) -> Option<Way> {
        self.waiting.pop_front()
    }

    /// Learns from a way that has failed, and returns what that says.
    pub(super) fn failed(&mut self, way: Way, kind: FaultKind) -> FaultKind {
        match kind {
            // It is there and does not want to: so it is from everywhere.
            FaultKind::Refusal => self.waiting.retain(|other| other.target != way.target),
            // Nothing has been heard of the target yet.
            FaultKind::NoWay | FaultKind::UsedUp => self.bring_forward(way.target),
            FaultKind::Silence | FaultKind::Local => {}
        }
        if kind == FaultKind::UsedUp && self.reached == Some(way.target) { FaultKind::Local } else { kind }
    }

    fn bring_forward(&mut self, target: SocketAddr) {
        let next = self.waiting.iter().position(|other| other.target == target);
        if let Some(way) = next.and_then(|next| self.waiting.remove(next)) {
            self.waiting.push_front(way);
        }
    }
}

/// The address that worked last, then the others in the order of the resolver (RFC 6724) with the
/// families in turn (RFC 8305, section 4).
fn ordered(found: &[SocketAddr], reached: Option<SocketAddr>) -> Vec<SocketAddr> {
    let mut left: Vec<SocketAddr> = Vec::new();
    for target in found {
        if !left.contains(target) {
            left.push(*target);
        }
    }
    let mut ordered: Vec<SocketAddr> = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let next = match ordered.last() {
            None => left.iter().position(|target| Some(*target) == reached),
            Some(last) => left.iter().position(|target| target.is_ipv4() != last.is_ipv4()),
        };
        ordered.push(left.remove(next.unwrap_or(0)));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(written: &str) -> Vec<SocketAddr> {
        let port = |ip: &str| SocketAddr::new(ip.parse().expect("an address"), 80);
        written.split_whitespace().map(port).collect()
    }

    fn ips(written: &str) -> Vec<IpAddr> {
        addresses(written).iter().map(SocketAddr::ip).collect()
    }

    /// All ways, as `target<source`.
    fn all(mut ways: Ways) -> String {
        let mut written = Vec::new();
        while let Some(Way { target, source }) = ways.next() {
            let source = source.map(|source| format!("<{source}")).unwrap_or_default();
            written.push(format!("{}{source}", target.ip()));
        }
        written.join(" ")
    }

    fn ways(found: &str, sources: &str) -> Ways {
        Ways::new(&addresses(found), &ips(sources), &History::default())
    }

    #[test]
    fn families_take_turns() {
        for (found, expected) in [
            ("", ""),
            ("10.0.0.1 10.0.0.2", "10.0.0.1 10.0.0.2"),
            ("10.0.0.1 10.0.0.1", "10.0.0.1"),
            ("fd::1 fd::2 fd::3 10.0.0.1 10.0.0.2", "fd::1 10.0.0.1 fd::2 10.0.0.2 fd::3"),
            ("10.0.0.1 10.0.0.2 fd::1", "10.0.0.1 fd::1 10.0.0.2"),
        ] {
            assert_eq!(all(ways(found, "")), expected, "{found}");
        }
    }

    #[test]
    fn the_address_that_worked_last_comes_first() {
        let found = addresses("fd::1 fd::2 10.0.0.1 10.0.0.2");
        let ordered = |reached| ordered(&found, Some(reached));
        assert_eq!(ordered(found[3]), addresses("10.0.0.2 fd::1 10.0.0.1 fd::2"));
        assert_eq!(ordered(addresses("10.0.0.9")[0]), addresses("fd::1 10.0.0.1 fd::2 10.0.0.2"));
    }

    #[test]
    fn both_ends_change_from_one_way_to_the_next() {
        for (found, sources, expected) in [
            ("10.0.0.1", "10.0.1.1 10.0.1.2", "10.0.0.1<10.0.1.1 10.0.0.1<10.0.1.2"),
            (
                "10.0.0.1 10.0.0.2",
                "10.0.1.1 10.0.1.2",
                "10.0.0.1<10.0.1.1 10.0.0.2<10.0.1.2 10.0.0.1<10.0.1.2 10.0.0.2<10.0.1.1",
            ),
            ("fd::1 10.0.0.1", "10.0.1.1", "10.0.0.1<10.0.1.1"),
            ("fd::1", "10.0.1.1", ""),
        ] {
            assert_eq!(all(ways(found, sources)), expected, "{found} from {sources}");
        }
    }

    #[test]
    fn who_refuses_is_not_asked_from_elsewhere() {
        let mut ways = ways("10.0.0.1 10.0.0.2", "10.0.1.1 10.0.1.2");
        let first = ways.next().expect("a way");
        assert_eq!(ways.failed(first, FaultKind::Refusal), FaultKind::Refusal);
        assert_eq!(all(ways), "10.0.0.2<10.0.1.2 10.0.0.2<10.0.1.1");
    }

    #[test]
    fn a_source_that_cannot_be_used_makes_room_for_the_next() {
        for kind in [FaultKind::NoWay, FaultKind::UsedUp] {
            let mut ways = ways("10.0.0.1 10.0.0.2", "10.0.1.1 10.0.1.2");
            let first = ways.next().expect("a way");
            ways.failed(first, kind);
            assert_eq!(ways.next(), Some(Way { target: first.target, source: Some(ips("10.0.1.2")[0]) }));
        }
    }
}
