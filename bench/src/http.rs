//! `http`: requests that ask for no WebSocket, through Steadfast and its peers.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::ValueEnum;

use crate::client::Dialect;
use crate::peers::{External, Peer, Reuse, Traffic, steadfast};
use crate::rounds::{self, Entrant, Field, Words};
use crate::tls::Sides;

/// The arguments of `http`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    rounds: rounds::Options,
    /// Only these of the peers that the harness starts; `direct` is no broker at all.
    #[arg(
        long,
        value_delimiter = ',',
        value_enum,
        default_value = "steadfast,haproxy,haproxy-always,nginx,direct"
    )]
    peers: Vec<Known>,
    /// Another executable of Steadfast's, which takes part as `beside`.
    #[arg(long, value_name = "PATH")]
    beside: Option<PathBuf>,
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
    /// With `http-reuse safe`.
    Haproxy,
    /// With `http-reuse always`.
    HaproxyAlways,
    Nginx,
    Direct,
}

impl Known {
    /// As on the command line.
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    fn reuse(self) -> Reuse {
        if self == Self::HaproxyAlways { Reuse::Always } else { Reuse::Safe }
    }
}

/// One that takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    name: String,
    peer: Peer,
    reuse: Reuse,
}

/// Measures, and prints the report. Says how many measurements could not be taken.
pub(crate) async fn run(options: Options) -> io::Result<usize> {
    let entrants = entrants(parts(&options).await?, options.workers);
    let listen = [format!("--listen={}", options.backend_listen)];
    let field = Field::new(&options.rounds, &listen, false).await?;
    field.compare(&options.rounds, entrants, Words::OF_PEERS).await
}

/// Who takes part. A peer that is not installed is left out, loudly.
async fn parts(options: &Options) -> io::Result<Vec<Part>> {
    let mut parts = Vec::new();
    for known in &options.peers {
        let found = match known {
            Known::Steadfast => {
                let (program, arguments) = options.rounds.steadfast().await?;
                Some(Peer::Steadfast(program, with_workers(arguments, options.workers)))
            }
            Known::Haproxy | Known::HaproxyAlways => Peer::haproxy(options.workers),
            Known::Nginx => Peer::nginx(options.workers),
            Known::Direct => Some(Peer::Direct),
        };
        match found {
            Some(peer) => parts.push(Part { name: known.name(), peer, reuse: known.reuse() }),
            None => eprintln!("SKIPPED: {} is not installed, so nothing is compared with it", known.name()),
        }
    }
    if options.beside.is_some() {
        let program = steadfast::locate(options.beside.as_deref()).await?;
        let peer = Peer::Steadfast(program, with_workers(options.rounds.serve_args(), options.workers));
        parts.push(Part { name: "beside".to_owned(), peer, reuse: Reuse::Safe });
    }
    let external = options.peer.iter().cloned().map(Peer::External);
    parts.extend(external.map(|peer| Part { name: peer.to_string(), peer, reuse: Reuse::Safe }));
    Ok(parts)
}

/// One is what it gets anyway, unless --serve-args says otherwise.
fn with_workers(arguments: Vec<String>, workers: u32) -> Vec<String> {
    arguments.into_iter().chain((workers > 1).then(|| format!("--workers={workers}"))).collect()
}

/// All of them, compared with Steadfast if that takes part.
fn entrants(parts: Vec<Part>, workers: u32) -> Vec<Entrant> {
    let reference = parts.iter().position(|part| matches!(part.peer, Peer::Steadfast(..)));
    let entrants = parts.into_iter().map(|Part { name, peer, reuse }| Entrant {
        name,
        about: peer.about(workers),
        peer,
        traffic: Traffic::Requests(reuse),
        dialect: Dialect::Plain,
        tls: Sides::Off,
        reference,
    });
    entrants.collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    async fn taking_part(arguments: &[&str]) -> Vec<Entrant> {
        let line = Line::try_parse_from([&["http"], arguments].concat()).unwrap();
        entrants(parts(&line.options).await.unwrap(), line.options.workers)
    }

    #[tokio::test]
    async fn all_are_compared_with_the_first_steadfast() {
        let own = std::env::current_exe().unwrap();
        let own = own.to_str().unwrap();
        let arguments = ["--peers=direct,steadfast", "--steadfast", own, "--beside", own];
        let more = ["--peer=envoy=127.0.0.1:8080,4711", "--workers=2", "--serve-args=--ack=none"];
        let entrants = taking_part(&[&arguments[..], &more].concat()).await;
        let names: Vec<(&str, Option<usize>)> =
            entrants.iter().map(|entrant| (entrant.name.as_str(), entrant.reference)).collect();
        let expected = ["direct", "steadfast", "beside", "envoy"].map(|name| (name, Some(1)));
        assert_eq!(names, expected);
        let both = Peer::Steadfast(own.into(), vec!["--ack=none".to_owned(), "--workers=2".to_owned()]);
        assert_eq!((&entrants[1].peer, &entrants[2].peer), (&both, &both));
    }

    #[tokio::test]
    async fn steadfast_may_be_left_out() {
        let entrants = taking_part(&["--peers=direct"]).await;
        assert_eq!((entrants.len(), entrants[0].reference), (1, None));
        assert_eq!(entrants[0].traffic, Traffic::Requests(Reuse::Safe));
    }

    #[test]
    fn haproxy_is_told_what_to_use_again() {
        let reuses = [Known::Haproxy, Known::HaproxyAlways].map(|known| (known.name(), known.reuse()));
        let expected = [("haproxy".to_owned(), Reuse::Safe), ("haproxy-always".to_owned(), Reuse::Always)];
        assert_eq!(reuses, expected);
    }
}
