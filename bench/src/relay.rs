//! `relay`: the same work for Steadfast and its peers.

use std::io;
use std::net::SocketAddr;

use clap::ValueEnum;

use crate::client::Dialect;
use crate::peers::{External, Peer};
use crate::rounds::{self, Entrant, Field, Words};

/// How the report speaks.
const WORDS: Words = Words {
    one: "peer",
    all: "peers",
    ratios: "steadfast_to_peer",
    about_ratios: "A ratio is Steadfast's figure divided by the peer's",
    reference_first: true,
};

/// The arguments of `relay`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    rounds: rounds::Options,
    /// Only these of the peers that the harness starts; `direct` is no broker at all.
    #[arg(long, value_delimiter = ',', value_enum, default_value = "steadfast,haproxy,nginx,direct")]
    peers: Vec<Known>,
    /// Worker threads of each peer that the harness starts; with nginx, worker processes.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    workers: u32,
    /// Another broker, already running in front of the backend (see --backend-listen).
    #[arg(long, value_name = "NAME=ADDR,PID")]
    peer: Vec<External>,
    /// Where the backend listens, so that another broker can be pointed at it.
    #[arg(long, default_value = "127.0.0.1:0")]
    backend_listen: SocketAddr,
}

/// The peers that the harness knows how to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Known {
    Steadfast,
    Haproxy,
    Nginx,
    Direct,
}

/// Measures, and prints the report. Says how many measurements could not be taken.
pub(crate) async fn run(options: Options) -> io::Result<usize> {
    let peers = peers(&options).await?;
    let reference = peers.iter().position(|peer| matches!(peer, Peer::Steadfast(..)));
    let entrants = peers.into_iter().map(|peer| Entrant {
        name: peer.to_string(),
        about: about(&peer, options.workers),
        peer,
        dialect: Dialect::Plain,
    });
    let field = Field::new(&options.rounds, &[format!("--listen={}", options.backend_listen)]).await?;
    field.compare(&options.rounds, entrants.collect(), WORDS, reference).await
}

/// What the report says of a peer.
fn about(peer: &Peer, workers: u32) -> String {
    if peer.is_ours() { format!("{}, workers: {workers}", peer.version()) } else { peer.version() }
}

/// The peers of this run. One that is not installed is left out, loudly.
async fn peers(options: &Options) -> io::Result<Vec<Peer>> {
    let mut peers = Vec::new();
    for known in &options.peers {
        let found = match known {
            Known::Steadfast => {
                let (program, mut arguments) = options.rounds.steadfast().await?;
                // One is what it gets anyway, unless --serve-args says otherwise.
                arguments.extend((options.workers > 1).then(|| format!("--workers={}", options.workers)));
                Some(Peer::Steadfast(program, arguments))
            }
            Known::Haproxy => Peer::haproxy(options.workers),
            Known::Nginx => Peer::nginx(options.workers),
            Known::Direct => Some(Peer::Direct),
        };
        match found {
            Some(peer) => peers.push(peer),
            None => eprintln!("SKIPPED: {known:?} is not installed, so nothing is compared with it"),
        }
    }
    peers.extend(options.peer.iter().cloned().map(Peer::External));
    Ok(peers)
}
