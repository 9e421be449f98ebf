//! The load of a relay row: every connection keeps a fixed number of messages in flight and checks
//! every answer.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Dialect;
use super::dialogue::Dialogue;
use super::watch::{self, Figures, Tally};
use crate::door::Door;

/// How long the connections may take to close, once everything is counted.
const END_TIME_MAX: Duration = Duration::from_secs(2);

/// The arguments of `client load`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) door: Door,
    #[command(flatten)]
    pub(crate) watch: watch::Options,
    /// How the clients speak.
    #[arg(long, value_enum, default_value_t = Dialect::Plain)]
    pub(crate) dialect: Dialect,
    /// Connections.
    #[arg(long)]
    pub(crate) connections: usize,
    /// Messages in flight on each.
    #[arg(long)]
    pub(crate) depth: usize,
    /// Bytes of a message.
    #[arg(long)]
    pub(crate) payload: usize,
}

/// Opens the connections, loads them and counts.
pub(crate) async fn run(options: Options) -> io::Result<Figures> {
    let tally = Rc::new(RefCell::new(Tally::new()?));
    let Options { dialect, payload, connections, depth, .. } = options;
    let mut tasks = JoinSet::new();
    for dialogue in Dialogue::open_all(options.door.target()?, dialect, payload, 0, connections).await? {
        let connection = Connection { dialogue, sent: VecDeque::new(), depth };
        tasks.spawn_local(connection.run(tally.clone()));
    }
    let figures = tokio::select! {
        figures = watch::watch(&options.watch, &tally) => figures?,
        Some(ended) = tasks.join_next() => {
            return Err(ended.map_err(io::Error::other)?.unwrap_or_else(|| io::Error::other("a connection ended")));
        }
    };
    tally.borrow_mut().end();
    // What a broker does after the measurement is no part of it.
    let _ = timeout(END_TIME_MAX, tasks.join_all()).await;
    Ok(figures)
}

/// One connection under load.
struct Connection {
    dialogue: Dialogue,
    /// When the messages in flight were sent, in order.
    sent: VecDeque<Instant>,
    depth: usize,
}

impl Connection {
    /// Runs until everything is counted, or something is wrong, which it returns; `None` when it or the peer
    /// closed.
    async fn run(mut self, tally: Rc<RefCell<Tally>>) -> Option<io::Error> {
        loop {
            if tally.borrow().is_over() {
                return self.dialogue.close().await.err();
            }
            self.top_up();
            match self.dialogue.exchange().await {
                Ok(Some(answers)) => self.count(answers, &mut tally.borrow_mut()),
                Ok(None) => return None,
                Err(error) => return Some(error),
            }
        }
    }

    fn top_up(&mut self) {
        if self.sent.len() == self.depth {
            return;
        }
        let now = Instant::now();
        while self.sent.len() < self.depth {
            self.dialogue.send();
            self.sent.push_back(now);
        }
    }

    fn count(&mut self, answers: usize, tally: &mut Tally) {
        if answers == 0 {
            return;
        }
        let now = Instant::now();
        self.sent.drain(..answers).for_each(|sent| tally.answered(now - sent));
    }
}
