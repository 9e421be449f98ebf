//! A clock inside the broker: a session on a backend that says nothing at all is left after its pool's
//! `ack_timeout`, which is a condition to wait for.

use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::client::Client;
use steadfast_tests::sequence::home_and_other;

use crate::{NO_PROBE, pair, pool};

/// Two backends of which one will fall silent.
pub(crate) struct Clock {
    backends: (Backend, Backend),
}

/// A clock that runs.
pub(crate) struct Running<'a> {
    _client: Client,
    rings: &'a Backend,
}

impl Clock {
    pub(crate) async fn new() -> Self {
        Self { backends: pair("").await }
    }

    /// Adds the clock's pool to a broker, as its last one. It rings after `time`.
    pub(crate) fn add_to(&self, broker: BrokerBuilder, time: &str) -> BrokerBuilder {
        let (a, b) = &self.backends;
        pool(broker, "clock", &[a, b], &[&format!("ack_timeout = \"{time}\""), NO_PROBE])
    }

    /// Begins to wait; `index` is that of the clock's pool in the broker.
    pub(crate) async fn start(&self, broker: &Broker, index: usize) -> Running<'_> {
        let mut client = Client::connect(broker.address_of(index)).await;
        let (falls_silent, rings) = home_and_other([&self.backends.0, &self.backends.1]).await;
        client.ask("tick", &format!("{}:tick", falls_silent.name())).await;
        falls_silent.set("--silent --no-pong").await;
        client.send("tock").await;
        Running { _client: client, rings }
    }
}

impl Running<'_> {
    /// Waits until the time is over.
    pub(crate) async fn rang(self) {
        self.rings.wait_upgrades(1).await;
    }
}
