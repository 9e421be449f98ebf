//! Sessions that are there and say nothing, while others are measured. This process says `ready` when all are open, and
//! ends when its standard input does.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use tokio::io::{sink, stdin};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Dialect;
use super::dialogue::Dialogue;
use crate::door::Door;

/// What this process writes when its sessions are open.
pub(crate) const READY: &str = "ready";
/// Bytes of a message, of which none is sent.
const PAYLOAD: usize = 16;

/// The arguments of `client crowd`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) door: Door,
    /// How the clients speak.
    #[arg(long, value_enum, default_value_t = Dialect::Plain)]
    pub(crate) dialect: Dialect,
    /// Number of the first one.
    #[arg(long)]
    pub(crate) first: u64,
    /// Sessions.
    #[arg(long)]
    pub(crate) sessions: usize,
}

/// What became of them.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// Sessions that were opened.
    pub(crate) sessions: usize,
    /// Those of them that did not last until the end.
    pub(crate) ended: usize,
}

/// Opens the sessions, and keeps them until the harness is done.
pub(crate) async fn run(options: Options) -> io::Result<Figures> {
    let Options { door, dialect, first, sessions } = options;
    let opened = Dialogue::open_all(door.target()?, dialect, PAYLOAD, first, sessions).await?;
    let (over, ends) = watch::channel(false);
    let ended = Rc::new(Cell::new(0));
    let mut tasks = JoinSet::new();
    for dialogue in opened {
        tasks.spawn_local(stay(dialogue, ends.clone(), ended.clone()));
    }
    println!("{READY}");
    tokio::io::copy(&mut stdin(), &mut sink()).await?;
    over.send_replace(true);
    tasks.join_all().await;
    Ok(Figures { sessions, ended: ended.get() })
}

/// Reads, as any client does, so that pings are answered, until all is over.
async fn stay(mut dialogue: Dialogue, mut ends: watch::Receiver<bool>, ended: Rc<Cell<usize>>) {
    loop {
        tokio::select! {
            read = dialogue.exchange() => if !matches!(read, Ok(Some(_))) {
                return ended.update(|ended| ended + 1);
            },
            _ = ends.changed() => {
                // A session that the broker ends in this moment is no failure of it any more.
                let _: io::Result<()> = dialogue.close().await;
                return;
            }
        }
    }
}
