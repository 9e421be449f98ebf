//! Connections that take as much of their peer as they are let, to see who else suffers.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::MASK;
use crate::wire::frame::{self, BINARY, PING};

mod knocks;
mod streams;

/// Where those come from that are told apart by their address.
const SOURCE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Bytes of a message that stays open for long.
const OPEN_BYTES: usize = 8 * 1024 * 1024;

/// What a flood is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Flood {
    /// Empty pings: the cheapest frames, each of which wants an answer.
    Pings,
    /// Messages of one byte.
    Tiny,
    /// Messages of 64 KiB.
    Large,
    /// Messages of 64 KiB whose answers are hardly read.
    Deaf,
    /// Messages of 8 MiB that take more than a second.
    Open,
    /// Empty pings of a backend, which belongs to another pool.
    BackendPings,
    /// Half a request on each of 1,100 connections of one address.
    HalfOpen,
    /// Upgrades of another pool, whose backend takes connections and never answers.
    Mute,
    /// Requests for the metrics, each on a connection of its own.
    Admin,
}

/// Where a flood goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// To the listener of the neighbour's pool.
    Clients,
    /// To that of the pool with a backend that sends pings without end.
    PingingPool,
    /// To that of the pool with a backend that never answers.
    MutePool,
    /// To the admin listener.
    Admin,
}

impl Flood {
    /// As on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Flood::Pings => "pings",
            Flood::Tiny => "tiny",
            Flood::Large => "large",
            Flood::Deaf => "deaf",
            Flood::Open => "open",
            Flood::BackendPings => "backend-pings",
            Flood::HalfOpen => "half-open",
            Flood::Mute => "mute",
            Flood::Admin => "admin",
        }
    }

    /// Where it goes.
    pub(crate) fn target(self) -> Target {
        match self {
            Flood::BackendPings => Target::PingingPool,
            Flood::Mute => Target::MutePool,
            Flood::Admin => Target::Admin,
            _ => Target::Clients,
        }
    }

    /// Connections, unless somebody says how many.
    pub(crate) fn connections(self) -> u32 {
        match self {
            Flood::Pings | Flood::Tiny | Flood::Large | Flood::BackendPings => 1,
            Flood::Deaf | Flood::Open | Flood::Admin => 16,
            Flood::HalfOpen => 1_100,
            Flood::Mute => 200,
        }
    }

    /// Whether it is about who comes, and not about who is there.
    pub(crate) fn is_for_newcomers(self) -> bool {
        matches!(self, Flood::HalfOpen | Flood::Mute)
    }

    /// What is sent over and over, where it is frames.
    fn frame(self) -> Vec<u8> {
        let (opcode, payload) = match self {
            Flood::Pings => (PING, 0),
            Flood::Tiny => (BINARY, 1),
            Flood::Open => (BINARY, OPEN_BYTES),
            _ => (BINARY, 64 * 1024),
        };
        let mut frame = Vec::new();
        frame::put_frame(&mut frame, opcode, Some(MASK), &vec![b'f'; payload]);
        frame
    }
}

/// The arguments of `client flood`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// The peer.
    #[arg(long)]
    pub(crate) address: SocketAddr,
    /// What is sent.
    #[arg(long, value_enum)]
    pub(crate) flood: Flood,
    /// Connections.
    #[arg(long)]
    pub(crate) connections: usize,
    /// Milliseconds from the first byte to the last.
    #[arg(long)]
    pub(crate) last: u64,
}

/// What the peer has taken.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// Bytes written, over all connections.
    pub(crate) bytes: u64,
    /// How long it took, in seconds.
    pub(crate) seconds: f64,
}

/// Floods, and says how much was taken. What the peer answers is read and dropped.
pub(crate) async fn run(options: Options) -> io::Result<Figures> {
    let Options { address, flood, connections, last } = options;
    let last = Duration::from_millis(last);
    let mut tasks = JoinSet::new();
    let begun = match flood {
        Flood::HalfOpen | Flood::Mute | Flood::Admin => {
            let until = Instant::now() + last;
            for client in 0..connections {
                tasks.spawn_local(knocks::knock(address, flood, client as u64, until));
            }
            until - last
        }
        _ => {
            let links = streams::open(address, connections).await?;
            let begun = Instant::now();
            for link in links {
                tasks.spawn_local(streams::flood(link, flood, begun + last));
            }
            begun
        }
    };
    let mut bytes = 0;
    while let Some(ended) = tasks.join_next().await {
        bytes += ended.map_err(io::Error::other)??;
    }
    Ok(Figures { bytes, seconds: begun.elapsed().as_secs_f64() })
}
