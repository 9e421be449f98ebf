//! Backends that are taken away and come back: at most one of each pool at a time.

use nix::sys::signal::Signal;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::service::Service;
use tokio::time::sleep;

use crate::chance::Chance;

/// The behaviour of a test backend, which has something in hand most of the time, and that of a slow one.
pub(crate) const FLAGS: &str = "--sign --unwritten --handle 2";
const SLOW: &str = "--sign --unwritten --handle 20";

/// One backend, of either kind.
#[derive(Debug)]
pub(crate) enum Host {
    /// It says everything back.
    Echo(Backend),
    /// It counts, and commits.
    Counter(Box<Service>),
}

/// What is the matter with a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outage {
    /// It was killed, and nobody listens.
    Killed,
    /// It is stopped, and its kernel goes on for it.
    Stopped,
    /// It is to be empty.
    Drained,
    /// It takes its time for each message.
    Slow,
}

/// A pool, and which of its backends is out.
#[derive(Debug)]
pub(crate) struct Pool {
    name: &'static str,
    hosts: Vec<Host>,
    out: Option<(usize, Outage)>,
}

impl Host {
    fn name(&self) -> &str {
        match self {
            Self::Echo(backend) => backend.name(),
            Self::Counter(service) => service.name(),
        }
    }

    fn table(&self) -> String {
        match self {
            Self::Echo(backend) => {
                format!("[[pool.backend]]\nname = \"{}\"\nurl = \"{}\"", backend.name(), backend.url())
            }
            Self::Counter(service) => service.table(),
        }
    }

    async fn restart(&self) {
        match self {
            Self::Echo(backend) => backend.restart().await,
            Self::Counter(service) => service.restart().await,
        }
    }

    fn kill(&self) {
        match self {
            Self::Echo(backend) => backend.kill(),
            Self::Counter(service) => service.kill(),
        }
    }

    fn signal(&self, signal: Signal) {
        match self {
            Self::Echo(backend) => backend.signal(signal),
            Self::Counter(service) => service.signal(signal),
        }
    }

    /// Another behaviour, where it has one.
    async fn behave(&self, flags: &str) {
        if let Self::Echo(backend) = self {
            backend.set(flags).await;
        }
    }
}

impl Pool {
    pub(crate) fn new(name: &'static str, hosts: Vec<Host>) -> Self {
        Self { name, hosts, out: None }
    }

    /// The tables of the configuration that list its backends.
    pub(crate) fn tables(&self) -> impl Iterator<Item = String> {
        self.hosts.iter().map(Host::table)
    }

    /// Mends what is out, or else takes one out; says what it has done.
    pub(crate) async fn change(&mut self, broker: &Broker, chance: &mut Chance) -> String {
        if self.out.is_some() {
            return self.mend(broker).await;
        }
        let at = chance.below(self.hosts.len());
        let host = &self.hosts[at];
        let outage = *chance.one_of(&[
            Outage::Killed,
            Outage::Killed,
            Outage::Stopped,
            Outage::Drained,
            Outage::Drained,
            Outage::Slow,
        ]);
        match outage {
            Outage::Killed => {
                host.kill();
                if chance.below(2) == 0 {
                    // It is back before anybody has looked for it.
                    host.restart().await;
                    return format!("{} begins anew", host.name());
                }
            }
            Outage::Stopped => {
                host.signal(Signal::SIGSTOP);
                // Who is silent is left for one that is up: not for one that is ejected, which may be long.
                if chance.below(2) == 0 || !self.is_another_up(broker, at).await {
                    sleep(chance.pause(10, 500)).await;
                    host.signal(Signal::SIGCONT);
                    return format!("{} was stopped for a moment", host.name());
                }
            }
            Outage::Drained => self.order(broker, host, "drain").await,
            Outage::Slow => host.behave(SLOW).await,
        }
        self.out = Some((at, outage));
        format!("{} is {outage:?}", self.hosts[at].name())
    }

    /// Everybody is there again; says who was not.
    pub(crate) async fn mend(&mut self, broker: &Broker) -> String {
        let Some((at, outage)) = self.out.take() else { return "nothing is out".to_owned() };
        let host = &self.hosts[at];
        match outage {
            Outage::Killed => host.restart().await,
            Outage::Stopped => host.signal(Signal::SIGCONT),
            Outage::Drained => self.order(broker, host, "undrain").await,
            Outage::Slow => host.behave(FLAGS).await,
        }
        format!("{} is {outage:?} no more", host.name())
    }

    async fn is_another_up(&self, broker: &Broker, at: usize) -> bool {
        for (_, host) in self.hosts.iter().enumerate().filter(|(other, _)| *other != at) {
            if broker.backend(host.name()).await.is_some_and(|own| own["state"] == "up") {
                return true;
            }
        }
        false
    }

    async fn order(&self, broker: &Broker, host: &Host, change: &str) {
        let path = format!("/api/v1/pools/{}/backends/{}/{change}", self.name, host.name());
        let answer = broker.post(&path).await;
        // It may be on its way out already, by its own wish.
        assert!([200, 202, 409].contains(&answer.status), "{path}: {} {}", answer.status, answer.text());
    }
}
