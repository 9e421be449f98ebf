//! All innocents of a run.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use serde_json::Value;
use steadfast_tests::broker::Broker;
use steadfast_tests::proxy::Proxy;
use steadfast_tests::wait::eventually;

use crate::chance::Chance;
use crate::innocent::{Common, Innocent, WINDOW};
use crate::judge::{Ledger, Promise};
use crate::wires::Wires;

/// Of each kind: plain at the echoes, of the library there, and of the library at the counters.
const EACH: u8 = 5;

/// Answers that each client gets between two faults. No message is under way in both then, for which the poison guard
/// would have to suspect it.
const BETWEEN: usize = 3 * WINDOW;

/// Clients that talk until [`Crowd::hush`].
pub(crate) struct Crowd {
    innocents: Vec<Innocent>,
    common: Arc<Common>,
}

/// What a crowd has seen, when it was as promised.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) messages: usize,
    pub(crate) repeated: u64,
    /// Backends that sessions have left.
    pub(crate) changes: u64,
    /// Sorted.
    pub(crate) round_trips: Vec<Duration>,
}

impl Crowd {
    /// Clients of the pools `echo` and `counter`. All have been answered when this returns.
    pub(crate) async fn gather(broker: &Broker, wires: &Wires) -> Self {
        let common = Arc::new(Common::default());
        let mut innocents = Vec::new();
        for n in 0..EACH {
            let source = Ipv4Addr::new(127, 0, 2, 1 + n);
            let client = wires.upgrade(broker).from(source).connect().await;
            innocents.push(Innocent::plain(format!("plain{n}"), source, client, &common));
            for (pool, promise) in [(0, Promise::AtLeastOnce), (1, Promise::Once)] {
                let source = Ipv4Addr::new(127, 0, 2, 101 + 10 * pool + n);
                let proxy = Proxy::start_from(broker.address_of(usize::from(pool)), source).await;
                let name = format!("library{pool}x{n}");
                innocents.push(Innocent::library(name, source, proxy, promise, n % 2 == 0, &common));
            }
        }
        let crowd = Self { innocents, common };
        crowd.goes_on().await;
        crowd
    }

    /// Waits until each has got some more answers.
    pub(crate) async fn goes_on(&self) {
        let wanted: Vec<usize> = self.innocents.iter().map(|one| one.answered() + BETWEEN).collect();
        for (one, wanted) in self.innocents.iter().zip(wanted) {
            eventually(&format!("more answers for {}", one.name), || {
                let complaints = self.common.complaints();
                assert!(complaints.is_empty(), "{complaints:#?}");
                one.answered() >= wanted
            })
            .await;
        }
    }

    /// Cuts the connection of one that may come back; says of whom.
    pub(crate) fn cut_one(&self, chance: &mut Chance) -> String {
        let may_come_back = |one: &&Innocent| one.way_to_cut().is_some();
        let all: Vec<&Innocent> = self.innocents.iter().filter(may_come_back).collect();
        let one = chance.one_of(&all);
        one.way_to_cut().expect("it may come back").cut();
        format!("the connection of {} is cut", one.name)
    }

    /// All get their last answers and leave. Judges each, also by what the broker has counted of it.
    pub(crate) async fn hush(self, broker: &Broker) -> Seen {
        self.common.is_over.store(true, SeqCst);
        let mut accounts = Vec::new();
        for innocent in self.innocents {
            accounts.push((innocent.name.clone(), innocent.source, innocent.end().await));
        }
        broker.wait_sessions(0).await;
        let ledgers = ledgers(broker);
        let mut seen = Seen { messages: 0, repeated: 0, changes: 0, round_trips: Vec::new() };
        let mut complaints = self.common.complaints();
        for (name, source, account) in accounts {
            let [ledger] = ledgers.get(&source).map_or(&[][..], Vec::as_slice) else {
                complaints.push(format!("{name} is not one session: {:?}", ledgers.get(&source)));
                continue;
            };
            seen.messages += account.judge.answered();
            seen.repeated += account.judge.repeated();
            seen.changes += ledger.changes;
            seen.round_trips.extend(account.round_trips);
            let verdict = account.judge.verdict(ledger);
            if !verdict.is_empty() {
                complaints.push(format!("{name}: {verdict:?}; {ledger:?}"));
            }
        }
        assert!(complaints.is_empty(), "{complaints:#?}");
        seen.round_trips.sort_unstable();
        seen
    }
}

impl Seen {
    /// The round trip that this share of all, in percent, is not slower than.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let last = self.round_trips.len() - 1;
        self.round_trips[last * percent / 100]
    }
}

/// What the broker has counted of sessions that have ended, by the address of the client.
fn ledgers(broker: &Broker) -> BTreeMap<Ipv4Addr, Vec<Ledger>> {
    let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for line in broker.access_lines() {
        let client: SocketAddr =
            line["client"].as_str().and_then(|text| text.parse().ok()).expect("a client");
        if let SocketAddr::V4(client) = client {
            all.entry(*client.ip()).or_default().push(ledger(&line));
        }
    }
    all
}

fn ledger(line: &Value) -> Ledger {
    let count = |key: &str| line[key].as_u64().unwrap_or_else(|| panic!("{key} in {line}"));
    Ledger {
        upstream: count("upstream"),
        acknowledged: count("acknowledged"),
        lost_upstream: count("lost_upstream"),
        in_doubt: count("in_doubt"),
        downstream: count("downstream"),
        lost_downstream: count("lost_downstream"),
        changes: count("failovers") + count("moves"),
    }
}
