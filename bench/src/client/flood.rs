//! Connections that send as much as their peer takes, for as long as they are let, to see who else suffers.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use super::{MASK, open_all};
use crate::link::Link;
use crate::wire::frame::{self, BINARY, PING};

/// Bytes that are written, or read, at a time.
const QUEUED: usize = 256 * 1024;

/// What a flood is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Flood {
    /// Empty pings: the cheapest frames, each of which wants an answer.
    Pings,
    /// Messages of one byte.
    Tiny,
    /// Messages of 64 KiB.
    Large,
}

impl Flood {
    /// As on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Flood::Pings => "pings",
            Flood::Tiny => "tiny",
            Flood::Large => "large",
        }
    }

    fn frame(self) -> Vec<u8> {
        let (opcode, payload) = match self {
            Flood::Pings => (PING, 0),
            Flood::Tiny => (BINARY, 1),
            Flood::Large => (BINARY, 64 * 1024),
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
    // Browsers with low numbers are neighbours.
    const FIRST: u64 = 1_000_000;
    let links = open_all(options.address, FIRST, options.connections, Link::open).await?;
    let begun = Instant::now();
    let until = begun + Duration::from_millis(options.last);
    let mut tasks = JoinSet::new();
    for link in links {
        tasks.spawn_local(flood(link, options.flood.frame(), until));
    }
    let mut bytes = 0;
    while let Some(ended) = tasks.join_next().await {
        bytes += ended.map_err(io::Error::other)??;
    }
    Ok(Figures { bytes, seconds: begun.elapsed().as_secs_f64() })
}

async fn flood(link: Link, frame: Vec<u8>, until: Instant) -> io::Result<u64> {
    let frames = frame.repeat((QUEUED / frame.len()).max(1));
    let (mut reader, mut writer) = link.into_stream().into_split();
    let mut bytes = 0;
    let write = async {
        while let n @ 1.. = writer.write(&frames[bytes % frames.len()..]).await? {
            bytes += n;
        }
        io::Result::Ok(())
    };
    let read = async {
        let mut buffer = vec![0; QUEUED];
        while reader.read(&mut buffer).await? > 0 {}
        io::Result::<()>::Err(io::ErrorKind::UnexpectedEof.into())
    };
    // Both at once: one that writes only when it has read would wait for answers.
    let both = async { tokio::try_join!(write, read).map(|((), ())| ()) };
    if let Ok(ended) = timeout_at(until.into(), both).await {
        ended?;
    }
    Ok(bytes as u64)
}
