//! Sessions that are opened and closed again, as fast as it goes.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{Dialect, MASK, spread};
use crate::door::Door;
use crate::link::{Link, Target};
use crate::proc;
use crate::wire::control::{Control, Gather, NORMAL};
use crate::wire::frame::{self, FrameError, Header, Piece, Reader};

/// From our Close to the peer's.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(5);

/// The arguments of `client upgrades`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) door: Door,
    /// The clients come back with tickets, where there is TLS; without it each is a new one.
    #[arg(long)]
    pub(crate) tickets: bool,
    /// A process of the peer, whose processor time is counted.
    #[arg(long)]
    pub(crate) pid: Vec<u32>,
    /// How the clients speak.
    #[arg(long, value_enum, default_value_t = Dialect::Plain)]
    pub(crate) dialect: Dialect,
    /// Sessions at once.
    #[arg(long)]
    pub(crate) at_once: usize,
    /// Milliseconds before anything is counted.
    #[arg(long)]
    pub(crate) warm_up: u64,
    /// Milliseconds that are counted.
    #[arg(long)]
    pub(crate) measure: u64,
}

/// What was counted between the warm-up and the end.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// How long it really was.
    pub(crate) seconds: f64,
    /// Sessions opened and closed.
    pub(crate) upgrades: u64,
    /// Processor time of the peer.
    pub(crate) peer_cpu_ns: u64,
}

/// Opens and closes, and counts.
pub(crate) async fn run(options: Options) -> io::Result<Figures> {
    let done = Rc::new(Cell::new(0));
    let opener = Opener::new(&options.door, options.dialect, options.tickets, options.at_once).await?;
    let mut tasks = JoinSet::new();
    for worker in 0..options.at_once as u64 {
        tasks.spawn_local(open_and_close(opener.clone(), worker << 32, done.clone()));
    }
    tokio::select! {
        figures = watch(&options, &done) => figures,
        Some(ended) = tasks.join_next() => Err(ended.map_err(io::Error::other)?),
    }
}

async fn watch(options: &Options, done: &Cell<u64>) -> io::Result<Figures> {
    sleep(Duration::from_millis(options.warm_up)).await;
    let (start, upgrades, cpu_ns) = (Instant::now(), done.get(), proc::cpu_ns(&options.pid)?);
    sleep(Duration::from_millis(options.measure)).await;
    Ok(Figures {
        seconds: start.elapsed().as_secs_f64(),
        upgrades: done.get() - upgrades,
        peer_cpu_ns: proc::cpu_ns(&options.pid)?.saturating_sub(cpu_ns),
    })
}

/// Goes on until something fails.
async fn open_and_close(opener: Opener, first: u64, done: Rc<Cell<u64>>) -> io::Error {
    let mut client = first;
    loop {
        if let Err(error) = opener.session(client).await {
            return io::Error::new(error.kind(), format!("after {} upgrades: {error}", done.get()));
        }
        client += 1;
        done.set(done.get() + 1);
    }
}

/// Opens sessions and closes them again.
#[derive(Debug, Clone)]
pub(super) struct Opener {
    target: Target,
    dialect: Dialect,
    /// What each handshake must be, if there is TLS: one by a ticket, or a full one.
    resumed: Option<bool>,
}

impl Opener {
    /// With `tickets`, opens and closes `at_once` sessions, so that each of as many that come at once has one.
    pub(super) async fn new(
        door: &Door,
        dialect: Dialect,
        tickets: bool,
        at_once: usize,
    ) -> io::Result<Self> {
        let target = if tickets { door.target_with_tickets()? } else { door.target()? };
        if !target.has_tls() {
            return Ok(Self { target, dialect, resumed: None });
        }
        if tickets {
            let first = Self { target: target.clone(), dialect, resumed: None };
            let open = move |client: usize| {
                let first = first.clone();
                async move { first.session(client as u64).await }
            };
            spread(at_once, at_once, open).await?;
        }
        Ok(Self { target, dialect, resumed: Some(tickets) })
    }

    /// Opens a session as browser number `client`, and closes it.
    pub(super) async fn session(&self, client: u64) -> io::Result<()> {
        // A Close may be said before the broker's welcome has come.
        let (mut link, early) = match self.dialect {
            Dialect::Plain | Dialect::JsonRpc => (Link::open(self.target.clone(), client).await?, Vec::new()),
            Dialect::Shim => Link::open_shim(self.target.clone(), client).await?,
            Dialect::SocketIo => Link::open_greeted(self.target.clone(), client).await?,
        };
        let agreed = link.agreed();
        frame::put_frame(link.queued(), frame::CLOSE, Some(MASK), &NORMAL.to_be_bytes());
        timeout(CLOSE_TIME_MAX, closed(link, &early)).await??;
        match (self.resumed, agreed) {
            (Some(wanted), Some(agreed)) if agreed.resumed != wanted => {
                let wanted = if wanted { "by a ticket" } else { "in full" };
                Err(io::Error::other(format!("the handshake was not {wanted}: {agreed}")))
            }
            _ => Ok(()),
        }
    }
}

/// Waits for the peer's Close.
async fn closed(mut link: Link, early: &[u8]) -> io::Result<()> {
    let mut waiting = Waiting::default();
    let mut code = waiting.close_in(early);
    loop {
        match code {
            Ok(Some(NORMAL)) => return link.end().await,
            Ok(Some(code)) => return Err(io::Error::other(format!("closed with {code} and not {NORMAL}"))),
            Ok(None) => {}
            Err(error) => return Err(io::Error::other(error)),
        }
        let read = link.exchange(|bytes, _| waiting.close_in(bytes)).await?;
        code = read.ok_or_else(|| io::Error::other("ended without a Close frame"))?;
    }
}

/// Skips everything but a Close.
#[derive(Debug, Default)]
struct Waiting {
    reader: Reader,
    gather: Gather,
    header: Option<Header>,
}

impl Waiting {
    /// The code of a Close in these bytes.
    fn close_in(&mut self, mut bytes: &[u8]) -> Result<Option<u16>, FrameError> {
        while let Some(piece) = self.reader.next(&mut bytes)? {
            match (piece, self.header) {
                (Piece::Start(header), _) => self.header = Some(header),
                (Piece::Payload { bytes, last }, Some(header)) if header.is_control() => {
                    if let Some(Control::Close(code)) = self.gather.take(&header, bytes, last) {
                        return Ok(Some(code));
                    }
                }
                (Piece::Payload { .. }, _) => {}
            }
        }
        Ok(None)
    }
}
