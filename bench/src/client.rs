//! `client`: the processes that make the load. Each takes one measurement of one peer, prints it as
//! one line of JSON, and ends.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::io;
use std::rc::Rc;

use serde::Serialize;
use tokio::task::{JoinSet, LocalSet};

use crate::link::Target;
use crate::wire::protocols::Protocol;

pub(crate) mod bounded;
mod checker;
mod conversation;
pub(crate) mod crowd;
pub(crate) mod dial;
mod dialogue;
pub(crate) mod flood;
pub(crate) mod idle;
pub(crate) mod kept;
pub(crate) mod load;
pub(crate) mod newcomers;
mod opening;
pub(crate) mod requests;
pub(crate) mod sessions;
pub(crate) mod strace;
pub(crate) mod stream;
pub(crate) mod upgrades;
pub(crate) mod watch;

/// Handshakes in flight at once, wherever many connections are opened.
pub(crate) const DIALS_AT_ONCE: usize = 64;

/// The masking key of every client frame. A fixed one is as good as any here: masks protect browsers'
/// intermediaries, and relaying costs the same whatever the key.
pub(crate) const MASK: [u8; 4] = [0x9D, 0x3B, 0x51, 0xE6];

/// How a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Dialect {
    /// As any WebSocket client.
    Plain,
    /// `steadfast.v1`.
    Shim,
    /// Events of Socket.IO.
    #[value(name = "socket.io")]
    SocketIo,
    /// Calls of JSON-RPC.
    #[value(name = "json-rpc")]
    JsonRpc,
}

impl Dialect {
    /// The protocol that a profile knows, if it is one.
    pub(crate) fn protocol(self) -> Option<Protocol> {
        match self {
            Self::Plain | Self::Shim => None,
            Self::SocketIo => Some(Protocol::SocketIo),
            Self::JsonRpc => Some(Protocol::JsonRpc),
        }
    }
}

impl fmt::Display for Dialect {
    /// As on the command line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::Shim => "shim",
            Self::SocketIo => "socket.io",
            Self::JsonRpc => "json-rpc",
        })
    }
}

/// What a client process measures.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Measure {
    /// Messages per second, round trips and processor time.
    Load(load::Options),
    /// How long those who come wait for an answer.
    Newcomers(newcomers::Options),
    /// Nothing: sessions that do nothing while another process measures.
    Crowd(crowd::Options),
    /// Memory of idle sessions.
    Idle(idle::Options),
    /// Requests per second, how long they take, and processor time.
    Requests(requests::Options),
    /// Memory of connections that are kept for another request.
    Kept(kept::Options),
    /// Sessions opened and closed per second.
    Upgrades(upgrades::Options),
    /// A number of messages, and nothing measured.
    Messages(bounded::Messages),
    /// A number of requests, and nothing measured.
    Questions(bounded::Questions),
    /// A number of sessions opened and closed, and nothing measured.
    Sequence(bounded::Upgrades),
    /// How long a number of connections takes.
    Dial(dial::Options),
    /// Paced sessions while something happens to their backend.
    Sessions(sessions::Options),
    /// As much as the peer takes, for a while.
    Flood(flood::Options),
    /// One session's messages, one behind the other, and the time until all have come.
    Stream(stream::Options),
}

/// Takes the measurement and prints it.
pub(crate) async fn run(measure: Measure) -> io::Result<()> {
    LocalSet::new()
        .run_until(async {
            match measure {
                Measure::Load(options) => print(&load::run(options).await?),
                Measure::Newcomers(options) => print(&newcomers::run(options).await?),
                Measure::Crowd(options) => print(&crowd::run(options).await?),
                Measure::Idle(options) => print(&idle::run(options).await?),
                Measure::Requests(options) => print(&requests::run(options).await?),
                Measure::Kept(options) => print(&kept::run(options).await?),
                Measure::Upgrades(options) => print(&upgrades::run(options).await?),
                Measure::Messages(options) => print(&bounded::messages(options).await?),
                Measure::Questions(options) => print(&bounded::questions(options).await?),
                Measure::Sequence(options) => print(&bounded::upgrades(options).await?),
                Measure::Dial(options) => print(&dial::run(options).await?),
                Measure::Sessions(options) => print(&sessions::run(options).await?),
                Measure::Flood(options) => print(&flood::run(options).await?),
                Measure::Stream(options) => print(&stream::run(options).await?),
            }
        })
        .await
}

fn print(figures: &impl Serialize) -> io::Result<()> {
    println!("{}", serde_json::to_string(figures)?);
    Ok(())
}

/// Opens `count` connections to `target` as the browsers `first` and following, a bounded number at a
/// time.
pub(crate) async fn open_all<T: 'static, F: Future<Output = io::Result<T>>>(
    target: Target,
    first: u64,
    count: usize,
    open: impl Fn(Target, u64) -> F + Clone + 'static,
) -> io::Result<Vec<T>> {
    let address = target.address();
    let open = move |index: usize| open(target.clone(), first + index as u64);
    let opened = spread(count, DIALS_AT_ONCE, open).await;
    let context = |error: io::Error| io::Error::new(error.kind(), format!("opening to {address}: {error}"));
    opened.map_err(context)
}

/// Does `work(0)` to `work(count - 1)`, `at_once` of them at a time, and returns what came of them, in
/// no particular order. The first failure ends it.
pub(crate) async fn spread<T, F>(
    count: usize,
    at_once: usize,
    work: impl Fn(usize) -> F + Clone + 'static,
) -> io::Result<Vec<T>>
where
    T: 'static,
    F: Future<Output = io::Result<T>>,
{
    let next = Rc::new(Cell::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..at_once.min(count) {
        let (next, work) = (next.clone(), work.clone());
        workers.spawn_local(async move {
            let mut done = Vec::new();
            while next.get() < count {
                let index = next.replace(next.get() + 1);
                done.push(work(index).await?);
            }
            Ok::<_, io::Error>(done)
        });
    }
    let mut all = Vec::with_capacity(count);
    while let Some(done) = workers.join_next().await {
        all.append(&mut done.map_err(io::Error::other)??);
    }
    Ok(all)
}
