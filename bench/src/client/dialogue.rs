//! A connection whose messages are numbered and whose answers are checked.

use std::io;
use std::time::Duration;

use tokio::time::timeout;

use super::checker::{Checker, Template};
use super::{Dialect, MASK};
use crate::link::{Link, Target};
use crate::wire::control::NORMAL;
use crate::wire::frame;

/// From the handshake to the broker's welcome, or the server's.
const WELCOME_TIME_MAX: Duration = Duration::from_secs(20);

/// A connection and what is known of its messages.
#[derive(Debug)]
pub(crate) struct Dialogue {
    link: Link,
    checker: Checker,
}

impl Dialogue {
    /// Opens `count` connections as the browsers `first` and following, a bounded number at a time. Their
    /// messages have `payload` bytes.
    pub(crate) async fn open_all(
        target: Target,
        dialect: Dialect,
        payload: usize,
        first: u64,
        count: usize,
    ) -> io::Result<Vec<Self>> {
        let open = move |target, client| Self::open(target, dialect, payload, client);
        super::open_all(target, first, count, open).await
    }

    async fn open(target: Target, dialect: Dialect, payload: usize, client: u64) -> io::Result<Self> {
        let checker = Checker::new(Template::new(payload, client, dialect));
        match dialect {
            Dialect::Plain | Dialect::JsonRpc => {
                Ok(Self { link: Link::open(target, client).await?, checker })
            }
            Dialect::Shim | Dialect::SocketIo => {
                let (link, early) = match dialect {
                    Dialect::Shim => Link::open_shim(target, client).await?,
                    _ => Link::open_greeted(target, client).await?,
                };
                let mut dialogue = Self { link, checker };
                let greeting = timeout(WELCOME_TIME_MAX, dialogue.greet(&early)).await;
                greeting.map_err(|_| io::Error::other("no welcome came"))??;
                Ok(dialogue)
            }
        }
    }

    /// Waits for the welcome, and answers it.
    async fn greet(&mut self, early: &[u8]) -> io::Result<()> {
        self.checker.feed(early, self.link.queued()).map_err(io::Error::other)?;
        while !self.checker.is_welcomed() {
            self.exchange().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        }
        self.link.flush().await
    }

    /// Queues the next message.
    pub(crate) fn send(&mut self) {
        self.checker.send(self.link.queued());
    }

    /// Writes what is queued, waits for bytes, and says how many messages have come back with them. `None`
    /// at the end of the connection.
    pub(crate) async fn exchange(&mut self) -> io::Result<Option<usize>> {
        let checker = &mut self.checker;
        match self.link.exchange(|bytes, queue| checker.feed(bytes, queue)).await? {
            Some(answers) => {
                let wrong = |wrong| io::Error::other(format!("a wrong answer: {wrong}"));
                answers.map(Some).map_err(wrong)
            }
            None => Ok(None),
        }
    }

    /// Says that everything has come, as a client does that has nothing else to say.
    pub(crate) async fn acknowledge(&mut self) -> io::Result<()> {
        self.checker.acknowledge(self.link.queued());
        self.link.flush().await
    }

    /// Ends the session: one that is only left may wait for its client to come back.
    pub(crate) async fn close(&mut self) -> io::Result<()> {
        frame::put_frame(self.link.queued(), frame::CLOSE, Some(MASK), &NORMAL.to_be_bytes());
        self.link.flush().await
    }
}
