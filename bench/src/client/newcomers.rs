//! Clients that come one after another: how long each waits for its first answer.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::Dialect;
use super::dialogue::Dialogue;
use super::watch::{Figures, Tally};

/// How long one waits for its answer before that is a failure.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

/// The arguments of `client newcomers`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// The peer.
    #[arg(long)]
    pub(crate) address: SocketAddr,
    /// Bytes of a message.
    #[arg(long)]
    pub(crate) payload: usize,
    /// Milliseconds before anything is counted.
    #[arg(long)]
    pub(crate) warm_up: u64,
    /// Milliseconds that are counted.
    #[arg(long)]
    pub(crate) measure: u64,
}

/// Comes, asks, and leaves, again and again. A round trip is from the first packet to the first answer.
pub(crate) async fn run(options: Options) -> io::Result<Figures> {
    let begun = Instant::now();
    let mut tally = Tally::new()?;
    let mut client = 0;
    come(&options, &mut tally, begun + Duration::from_millis(options.warm_up), &mut client).await?;
    tally.reset();
    let counted = Instant::now();
    come(&options, &mut tally, counted + Duration::from_millis(options.measure), &mut client).await?;
    Ok(tally.figures(counted.elapsed().as_secs_f64()))
}

async fn come(options: &Options, tally: &mut Tally, until: Instant, client: &mut u64) -> io::Result<()> {
    while Instant::now() < until {
        let begun = Instant::now();
        let answered = timeout(ANSWER_TIME_MAX, ask(options, *client)).await;
        let mut dialogue =
            answered.map_err(|_| io::Error::other("a newcomer was not answered for 30 s"))??;
        tally.answered(begun.elapsed());
        *client += 1;
        dialogue.close().await?;
    }
    Ok(())
}

async fn ask(options: &Options, client: u64) -> io::Result<Dialogue> {
    let opened =
        Dialogue::open_all(options.address.into(), Dialect::Plain, options.payload, client, 1).await?;
    let mut dialogue = opened.into_iter().next().ok_or(io::ErrorKind::NotConnected)?;
    dialogue.send();
    while dialogue.exchange().await?.ok_or(io::ErrorKind::UnexpectedEof)? == 0 {}
    Ok(dialogue)
}
