//! Memory of connections that are kept for another request.

use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};

use crate::asker::Asker;
use crate::door::Door;
use crate::proc;
use crate::wire::http::Shape;

/// An answer must come within this.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(20);

/// The arguments of `client kept`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) door: Door,
    /// A process of the peer, whose memory is counted.
    #[arg(long, required = true)]
    pub(crate) pid: Vec<u32>,
    #[command(flatten)]
    pub(crate) shape: Shape,
    /// Connections.
    #[arg(long)]
    pub(crate) connections: usize,
    /// Connections opened, used and closed before the first reading.
    #[arg(long)]
    pub(crate) warm_up: usize,
    /// Milliseconds from the last answer to a reading.
    #[arg(long)]
    pub(crate) settle: u64,
}

/// Resident memory of the peer, in KB.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// How many connections there were.
    pub(crate) connections: usize,
    /// Without any, after the warm-up.
    pub(crate) before_kb: u64,
    /// With all of them, after one request on each.
    pub(crate) kept_kb: u64,
}

/// Opens the connections and reads the peer's memory.
pub(crate) async fn run(options: Options) -> io::Result<Figures> {
    let settle = Duration::from_millis(options.settle);
    let target = options.door.target()?;
    let clients = |count| (0..count).map(|_| Asker::new(target.clone(), options.shape)).collect::<Vec<_>>();
    ask_all(&mut clients(options.warm_up)).await?;
    sleep(settle).await;
    let before_kb = proc::resident_kb(&options.pid)?;
    let mut kept = clients(options.connections);
    ask_all(&mut kept).await?;
    sleep(settle).await;
    let kept_kb = proc::resident_kb(&options.pid)?;
    // It also proves that every one of them was really kept.
    ask_all(&mut kept).await?;
    Ok(Figures { connections: options.connections, before_kb, kept_kb })
}

/// One request of each, one after the other: all at once would be load, not idleness.
async fn ask_all(clients: &mut [Asker]) -> io::Result<()> {
    for (number, client) in clients.iter_mut().enumerate() {
        let asked = timeout(ANSWER_TIME_MAX, client.ask()).await?;
        asked.map_err(|error| io::Error::new(error.kind(), format!("kept connection {number}: {error}")))?;
    }
    Ok(())
}
