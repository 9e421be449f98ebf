//! How the echoes and their clients are spoken to: plainly, or by TLS on both sides.

use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::pki::{Authority, Pair, shown};
use steadfast_tests::tls::ClientTls;
use steadfast_tests::upgrade::Upgrade;

/// Set for TLS.
const TLS: &str = "STEADFAST_CHAOS_TLS";

/// The listener behind those of the two pools.
const ENCRYPTED: usize = 2;

/// The certificate of all, if there is TLS.
pub(crate) struct Wires(Option<(Authority, Pair, ClientTls)>);

impl Wires {
    pub(crate) fn encrypted() -> Wires {
        let authority = Authority::new("chaos");
        let pair = authority.server("server", &["127.0.0.1"]);
        let tls = ClientTls::trusting(&authority);
        Wires(Some((authority, pair, tls)))
    }

    pub(crate) fn of_the_environment() -> Wires {
        if std::env::var_os(TLS).is_some() { Wires::encrypted() } else { Wires(None) }
    }

    pub(crate) async fn echo(&self, name: &str, flags: &str) -> Backend {
        match &self.0 {
            None => Backend::start(name, flags).await,
            Some((_, pair, _)) => Backend::start_encrypted(name, flags, pair).await,
        }
    }

    /// The pool of the echoes, which was added last, is spoken to so, and has a listener for it.
    pub(crate) fn configured(&self, builder: BrokerBuilder) -> BrokerBuilder {
        let Some((authority, pair, _)) = &self.0 else { return builder };
        let listener = format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\npool = \"echo\"\n[[listener.tls.certificate]]\n{}",
            pair.keys()
        );
        builder.pool_table(&format!("[pool.tls]\nca = {:?}", shown(&authority.ca()))).listener(&listener)
    }

    /// The request of a client of the echoes.
    pub(crate) fn upgrade(&self, broker: &Broker) -> Upgrade {
        match &self.0 {
            None => Upgrade::to(broker.address_of(0)),
            Some((_, _, tls)) => Upgrade::to(broker.address_of(ENCRYPTED)).tls(tls),
        }
    }
}
