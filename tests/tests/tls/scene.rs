//! What these tests begin with: an authority, what it has signed, and brokers and backends that speak TLS or do not.

use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::pki::{Authority, Pair, shown};
use steadfast_tests::tls::ClientTls;
use steadfast_tests::upgrade::Upgrade;

/// The four ways: whether the client's side has TLS, and whether the backend's has.
pub(crate) const WAYS: [(bool, bool); 4] = [(false, false), (false, true), (true, false), (true, true)];

/// An authority, and the certificate for 127.0.0.1 that everybody has who is right.
pub(crate) struct World {
    pub(crate) authority: Authority,
    pub(crate) pair: Pair,
    pub(crate) tls: ClientTls,
}

impl World {
    pub(crate) fn new() -> World {
        let authority = Authority::new("the tests' authority");
        let pair = authority.server("server", &["127.0.0.1", "localhost"]);
        let tls = ClientTls::trusting(&authority);
        World { authority, pair, tls }
    }

    /// A backend that speaks TLS.
    pub(crate) async fn backend(&self, name: &str, flags: &str) -> Backend {
        Backend::start_encrypted(name, flags, &self.pair).await
    }

    /// A backend that does, or does not.
    pub(crate) async fn backend_of(&self, encrypted: bool, name: &str, flags: &str) -> Backend {
        if encrypted { self.backend(name, flags).await } else { Backend::start(name, flags).await }
    }

    /// A broker that takes TLS from clients, and trusts backends that this authority has signed.
    pub(crate) fn over(&self, backends: &[&Backend]) -> BrokerBuilder {
        self.served(self.trusting(Broker::over(backends)), "")
    }

    /// TLS at the listener of the pool added last, with further keys.
    pub(crate) fn served(&self, builder: BrokerBuilder, more: &str) -> BrokerBuilder {
        builder.listener_setting(&table(more, &[&self.pair]))
    }

    /// TLS toward the backends of the pool added last.
    pub(crate) fn trusting(&self, builder: BrokerBuilder) -> BrokerBuilder {
        builder.pool_table(&format!("[pool.tls]\nca = {:?}", shown(&self.authority.ca())))
    }

    /// A client's request, over TLS.
    pub(crate) fn upgrade(&self, broker: &Broker) -> Upgrade {
        Upgrade::to(broker.address()).tls(&self.tls)
    }
}

/// `[listener.tls]` with these keys and certificates.
pub(crate) fn table(more: &str, certificates: &[&Pair]) -> String {
    let mut table = format!("[listener.tls]\n{more}\n");
    for certificate in certificates {
        table += &format!("[[listener.tls.certificate]]\n{}", certificate.keys());
    }
    table
}

/// How many handshakes of clients have come to this.
pub(crate) async fn outcome(broker: &Broker, outcome: &str) -> f64 {
    broker.metric("steadfast_tls_handshakes_total", &[("outcome", outcome)]).await
}

/// Waits until so many handshakes of clients have come to this.
pub(crate) async fn wait_outcome(broker: &Broker, outcome: &str, count: usize) {
    let labels = [("outcome", outcome)];
    broker.wait_metric("steadfast_tls_handshakes_total", &labels, |value| value == count as f64).await;
}

/// Waits until so many handshakes of clients have failed, and there is no other error of handshakes.
pub(crate) async fn wait_failed(broker: &Broker, count: usize) {
    wait_outcome(broker, "failed", count).await;
    broker.wait_metric("steadfast_handshake_errors_total", &[], |value| value == count as f64).await;
}
