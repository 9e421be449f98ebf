//! Memory of sessions that do nothing.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};

use super::load::{Checker, Template};
use crate::link::Link;
use crate::proc;

/// Bytes of the message that every session exchanges once.
const PAYLOAD: usize = 64;
/// An answer to it must come within this.
const ECHO_TIME_MAX: Duration = Duration::from_secs(20);

/// The arguments of `client idle`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// The peer.
    #[arg(long)]
    pub(crate) address: SocketAddr,
    /// A process of the peer, whose memory is counted.
    #[arg(long, required = true)]
    pub(crate) pid: Vec<u32>,
    /// Sessions.
    #[arg(long)]
    pub(crate) sessions: usize,
    /// Sessions opened and closed before the first reading.
    #[arg(long)]
    pub(crate) warm_up: usize,
    /// Milliseconds from the last handshake to a reading.
    #[arg(long)]
    pub(crate) settle: u64,
}

/// Resident memory of the peer, in KB.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// How many sessions there were.
    pub(crate) sessions: usize,
    /// Without any, after the warm-up.
    pub(crate) before_kb: u64,
    /// With all of them, which have said nothing yet.
    pub(crate) fresh_kb: u64,
    /// With all of them, after each has exchanged one message.
    pub(crate) used_kb: u64,
}

/// Opens the sessions and reads the peer's memory.
pub(crate) async fn run(options: Options) -> io::Result<Figures> {
    let settle = Duration::from_millis(options.settle);
    let mut warm = super::open_all(options.address, 0, options.warm_up).await?;
    exchange_all(&mut warm).await?;
    drop(warm);
    sleep(settle).await;
    let before_kb = proc::resident_kb(&options.pid)?;
    let mut links = super::open_all(options.address, options.warm_up as u64, options.sessions).await?;
    sleep(settle).await;
    let fresh_kb = proc::resident_kb(&options.pid)?;
    // It also proves that every one of them was really open.
    exchange_all(&mut links).await?;
    sleep(settle).await;
    let used_kb = proc::resident_kb(&options.pid)?;
    Ok(Figures { sessions: options.sessions, before_kb, fresh_kb, used_kb })
}

/// One message on each session, one after the other: all at once would be load, not idleness.
async fn exchange_all(links: &mut [Link]) -> io::Result<()> {
    for (session, link) in links.iter_mut().enumerate() {
        timeout(ECHO_TIME_MAX, exchange_one(link, session as u64)).await??;
    }
    Ok(())
}

async fn exchange_one(link: &mut Link, session: u64) -> io::Result<()> {
    let mut checker = Checker::new(Template::new(PAYLOAD, session));
    checker.send(link.queued());
    loop {
        match link.exchange(|bytes, queue| checker.feed(bytes, queue)).await? {
            Some(Ok(0)) => {}
            Some(Ok(_)) => return Ok(()),
            Some(Err(wrong)) => return Err(io::Error::other(format!("idle session {session}: {wrong}"))),
            None => return Err(io::Error::other(format!("idle session {session} was closed"))),
        }
    }
}
