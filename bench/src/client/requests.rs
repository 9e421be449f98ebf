//! Requests over HTTP, one in flight on each connection.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Instant;

use tokio::task::JoinSet;

use super::watch::{self, Figures, Tally};
use crate::asker::Asker;
use crate::door::Door;
use crate::wire::http::Shape;

/// The arguments of `client requests`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) door: Door,
    #[command(flatten)]
    pub(crate) watch: watch::Options,
    #[command(flatten)]
    pub(crate) shape: Shape,
    /// Connections.
    #[arg(long)]
    pub(crate) connections: usize,
}

/// Asks as fast as it is answered, and counts. Any answer but the one that was asked for ends it.
pub(crate) async fn run(options: Options) -> io::Result<Figures> {
    let tally = Rc::new(RefCell::new(Tally::new()?));
    let target = options.door.target()?;
    let mut tasks = JoinSet::new();
    for _ in 0..options.connections {
        tasks.spawn_local(ask(Asker::new(target.clone(), options.shape), tally.clone()));
    }
    tokio::select! {
        figures = watch::watch(&options.watch, &tally) => figures,
        Some(ended) = tasks.join_next() => Err(ended.map_err(io::Error::other)?),
    }
}

/// Goes on until something fails.
async fn ask(mut asker: Asker, tally: Rc<RefCell<Tally>>) -> io::Error {
    loop {
        let asked = Instant::now();
        match asker.ask().await {
            Ok(()) => tally.borrow_mut().answered(asked.elapsed()),
            Err(error) => return error,
        }
    }
}
