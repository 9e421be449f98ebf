//! What several of these tests begin with.

use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::shim::{Host, Link, ShimClient};

/// A broker over hosts whose services link the shim, called `a`, `b` ...
pub(crate) fn over(hosts: &[&Host]) -> BrokerBuilder {
    let builder = Broker::over(&[]).pool_setting("ack = \"shim\"");
    let named = hosts.iter().zip('a'..='z');
    named.fold(builder, |builder, (host, name)| builder.pool_table(&host.table(&name.to_string())))
}

/// A session at the only host, with its client.
pub(crate) async fn session(broker: &Broker, host: &Host) -> (ShimClient, Link) {
    tokio::join!(ShimClient::connect(broker.address(), None), host.accept())
}
