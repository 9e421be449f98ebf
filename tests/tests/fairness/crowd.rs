//! Many connections that say too little, and a neighbour who wants to be served beside them.

use std::net::{IpAddr, SocketAddr};

use futures::future::join_all;
use steadfast_tests::client::Client;
use steadfast_tests::process::raise_descriptor_limit;
use steadfast_tests::upgrade::Upgrade;
use tokio::net::TcpStream;

/// Connections of a crowd.
pub(crate) const CROWD: usize = 1200;

/// Sessions that a neighbour opens.
pub(crate) const NEIGHBOURS: usize = 100;

/// Where crowds come from, unless a test wants them elsewhere.
pub(crate) const THEIRS: [u8; 4] = [127, 0, 0, 2];

/// How many connections are opened at the same time.
const TOGETHER: usize = 50;

/// As many descriptors as a test with a crowd takes.
pub(crate) fn room() {
    raise_descriptor_limit(8 * CROWD as u64);
}

/// Opens `count` connections of `source`, each with the first `bytes` of an upgrade request.
pub(crate) async fn half_open(
    address: SocketAddr,
    source: impl Into<IpAddr>,
    count: usize,
    bytes: usize,
) -> Vec<TcpStream> {
    let upgrade = Upgrade::to(address).from(source);
    let mut crowd = Vec::new();
    while crowd.len() < count {
        crowd.extend(join_all((0..TOGETHER).map(|_| upgrade.begin(bytes))).await);
    }
    crowd
}

/// How many of these connections the broker has not ended.
pub(crate) fn standing(crowd: &[TcpStream]) -> usize {
    let stands = |stream: &&TcpStream| {
        let read = stream.try_read(&mut [0; 64]);
        read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    };
    crowd.iter().filter(stands).count()
}

/// Opens sessions one after another and asks something on each; they last until they are dropped.
pub(crate) async fn neighbours(upgrade: &Upgrade, backend: &str) -> Vec<Client> {
    let mut clients = Vec::new();
    for n in 0..NEIGHBOURS {
        let mut client = upgrade.connect().await;
        client.ask(&n.to_string(), &format!("{backend}:{n}")).await;
        clients.push(client);
    }
    clients
}
