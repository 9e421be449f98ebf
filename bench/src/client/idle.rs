//! Memory of sessions that do nothing.

use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};

use super::Dialect;
use super::dialogue::Dialogue;
use crate::door::Door;
use crate::proc;

/// Bytes of the message that every session exchanges once.
const PAYLOAD: usize = 64;
/// An answer to it must come within this.
const ECHO_TIME_MAX: Duration = Duration::from_secs(20);

/// The arguments of `client idle`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) door: Door,
    /// A process of the peer, whose memory is counted.
    #[arg(long, required = true)]
    pub(crate) pid: Vec<u32>,
    /// How the clients speak.
    #[arg(long, value_enum, default_value_t = Dialect::Plain)]
    pub(crate) dialect: Dialect,
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
    let Options { dialect, warm_up, .. } = options;
    let target = options.door.target()?;
    let open = |first, count| Dialogue::open_all(target.clone(), dialect, PAYLOAD, first, count);
    let mut warm = open(0, warm_up).await?;
    exchange_all(&mut warm).await?;
    close_all(warm).await?;
    sleep(settle).await;
    let before_kb = proc::resident_kb(&options.pid)?;
    let mut opened = open(warm_up as u64, options.sessions).await?;
    sleep(settle).await;
    let fresh_kb = proc::resident_kb(&options.pid)?;
    // It also proves that every one of them was really open.
    exchange_all(&mut opened).await?;
    sleep(settle).await;
    let used_kb = proc::resident_kb(&options.pid)?;
    close_all(opened).await?;
    Ok(Figures { sessions: options.sessions, before_kb, fresh_kb, used_kb })
}

async fn close_all(sessions: Vec<Dialogue>) -> io::Result<()> {
    for mut session in sessions {
        session.close().await?;
    }
    Ok(())
}

/// One message on each session, one after the other: all at once would be load, not idleness.
async fn exchange_all(sessions: &mut [Dialogue]) -> io::Result<()> {
    for (number, session) in sessions.iter_mut().enumerate() {
        let exchanging = timeout(ECHO_TIME_MAX, exchange_one(session)).await?;
        exchanging
            .map_err(|error| io::Error::new(error.kind(), format!("idle session {number}: {error}")))?;
    }
    Ok(())
}

async fn exchange_one(session: &mut Dialogue) -> io::Result<()> {
    session.send();
    loop {
        match session.exchange().await? {
            Some(0) => {}
            // Nothing that the broker would keep for a client that may come back is left.
            Some(_) => return session.acknowledge().await,
            None => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it was closed")),
        }
    }
}
