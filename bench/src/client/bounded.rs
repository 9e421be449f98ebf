//! A piece of work of a given size, after which the client ends: what it costs a broker is counted from
//! outside.

use std::io;

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::dialogue::Dialogue;
use super::upgrades::Opener;
use super::{Dialect, spread};
use crate::asker::Asker;
use crate::door::Door;
use crate::wire::http::Shape;

/// The arguments of `client messages`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Messages {
    #[command(flatten)]
    pub(crate) door: Door,
    /// Connections.
    #[arg(long)]
    pub(crate) connections: usize,
    /// Messages in flight on each.
    #[arg(long)]
    pub(crate) depth: usize,
    /// How they speak.
    #[arg(long, value_enum, default_value_t = Dialect::Plain)]
    pub(crate) dialect: Dialect,
    /// Bytes of a message.
    #[arg(long)]
    pub(crate) payload: usize,
    /// Messages in all, which the connections share evenly.
    #[arg(long)]
    pub(crate) messages: usize,
}

/// The arguments of `client sequence`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Upgrades {
    #[command(flatten)]
    pub(crate) door: Door,
    /// Sessions at once.
    #[arg(long)]
    pub(crate) at_once: usize,
    /// The clients come back with tickets, where there is TLS; without it each is a new one.
    #[arg(long)]
    pub(crate) tickets: bool,
    /// How their clients speak.
    #[arg(long, value_enum, default_value_t = Dialect::Plain)]
    pub(crate) dialect: Dialect,
    /// Sessions in all.
    #[arg(long)]
    pub(crate) sessions: usize,
}

/// The arguments of `client questions`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Questions {
    #[command(flatten)]
    pub(crate) door: Door,
    #[command(flatten)]
    pub(crate) shape: Shape,
    /// Connections, each with one request in flight.
    #[arg(long)]
    pub(crate) connections: usize,
    /// Requests in all, which the connections share evenly.
    #[arg(long)]
    pub(crate) requests: usize,
}

/// How much was done: as much as was asked for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Done {
    /// Messages that came back, right, or requests answered so, or sessions opened and closed.
    pub(crate) done: u64,
}

/// Sends the messages, waits for their answers and closes.
pub(crate) async fn messages(options: Messages) -> io::Result<Done> {
    let Messages { door, connections, depth, dialect, payload, messages } = options;
    let dialogues = Dialogue::open_all(door.target()?, dialect, payload, 0, connections).await?;
    let mut tasks = JoinSet::new();
    for (at, dialogue) in dialogues.into_iter().enumerate() {
        tasks.spawn_local(converse(dialogue, depth, share(messages, connections, at)));
    }
    all(tasks).await
}

/// Asks so often, and ends.
pub(crate) async fn questions(options: Questions) -> io::Result<Done> {
    let Questions { door, shape, connections, requests } = options;
    let target = door.target()?;
    let mut tasks = JoinSet::new();
    for at in 0..connections {
        let (mut asker, share) = (Asker::new(target.clone(), shape), share(requests, connections, at));
        tasks.spawn_local(async move {
            for _ in 0..share {
                asker.ask().await?;
            }
            Ok(share as u64)
        });
    }
    all(tasks).await
}

/// Of `all` the part that number `at` of `count` takes: the first ones take what cannot be shared evenly.
fn share(all: usize, count: usize, at: usize) -> usize {
    all / count + usize::from(at < all % count)
}

/// What all of them have done.
async fn all(mut tasks: JoinSet<io::Result<u64>>) -> io::Result<Done> {
    let mut done = 0;
    while let Some(ended) = tasks.join_next().await {
        done += ended.map_err(io::Error::other)??;
    }
    Ok(Done { done })
}

/// Sends `messages`, `depth` of them at a time: the next ones when all of these are answered, so that what
/// the broker reads at once does not depend on who is faster.
async fn converse(mut dialogue: Dialogue, depth: usize, messages: usize) -> io::Result<u64> {
    let mut left = messages;
    while left > 0 {
        let burst = depth.min(left);
        (0..burst).for_each(|_| dialogue.send());
        let mut answers = 0;
        while answers < burst {
            answers += dialogue.exchange().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        }
        left -= burst;
    }
    dialogue.close().await?;
    while dialogue.exchange().await.is_ok_and(|read| read.is_some()) {}
    Ok(messages as u64)
}

/// Opens and closes the sessions.
pub(crate) async fn upgrades(options: Upgrades) -> io::Result<Done> {
    let Upgrades { door, at_once, dialect, sessions, tickets } = options;
    let opener = Opener::new(&door, dialect, tickets, at_once).await?;
    let session = move |client: usize| {
        let opener = opener.clone();
        async move { opener.session(client as u64).await }
    };
    Ok(Done { done: spread(sessions, at_once, session).await?.len() as u64 })
}
