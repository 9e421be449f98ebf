//! `relay`: the same work for Steadfast and its peers.

use std::io;
use std::net::SocketAddr;

use clap::ValueEnum;

use crate::client::Dialect;
use crate::peers::{External, Peer, Traffic};
use crate::rounds::{self, Entrant, Field, Words};
use crate::tls::Sides;

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
    /// The sides on which connections have TLS. Several are measured beside each other, round by round.
    #[arg(long, value_delimiter = ',', value_enum, default_value = "off")]
    tls: Vec<Sides>,
    /// Another broker, already running in front of the backend (see --backend-listen).
    #[arg(long, value_name = "NAME=ADDR,PID", conflicts_with = "tls")]
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
    let entrants = entrants(&peers, &options.tls, options.workers);
    let listen = [format!("--listen={}", options.backend_listen)];
    let field = Field::new(&options.rounds, &listen, options.tls != [Sides::Off]).await?;
    field.compare(&options.rounds, entrants, Words::OF_PEERS).await
}

/// Each of the peers for each kind of TLS, compared with the Steadfast of its kind.
fn entrants(peers: &[Peer], tls: &[Sides], workers: u32) -> Vec<Entrant> {
    let mut entrants: Vec<Entrant> = Vec::new();
    for sides in tls {
        // Without a broker it is one connection, with TLS or without.
        let again = *sides == Sides::Both && tls.contains(&Sides::Client);
        let taking_part = peers.iter().filter(|peer| !(again && **peer == Peer::Direct));
        let first = entrants.len();
        let steadfast = taking_part.clone().position(|peer| matches!(peer, Peer::Steadfast(..)));
        entrants.extend(taking_part.map(|peer| Entrant {
            name: if *sides == Sides::Off { peer.to_string() } else { format!("{peer}-{sides}") },
            about: peer.about(workers),
            peer: peer.clone(),
            traffic: Traffic::Sessions,
            dialect: Dialect::Plain,
            tls: *sides,
            reference: steadfast.map(|at| first + at),
        }));
    }
    entrants
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_compared_with_the_steadfast_of_its_kind() {
        let peers = [Peer::Haproxy("h".into(), 1), Peer::Steadfast("s".into(), Vec::new()), Peer::Direct];
        let all = entrants(&peers, &[Sides::Off, Sides::Client, Sides::Both], 1);
        let names: Vec<(&str, Option<usize>)> =
            all.iter().map(|entrant| (entrant.name.as_str(), entrant.reference)).collect();
        let expected = [
            ("haproxy", Some(1)),
            ("steadfast", Some(1)),
            ("direct", Some(1)),
            ("haproxy-client", Some(4)),
            ("steadfast-client", Some(4)),
            ("direct-client", Some(4)),
            ("haproxy-both", Some(7)),
            ("steadfast-both", Some(7)),
        ];
        assert_eq!(names, expected);
        assert_eq!(entrants(&peers[2..], &[Sides::Both], 1)[0].reference, None);
    }
}
