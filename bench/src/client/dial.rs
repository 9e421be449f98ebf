//! The bare time in which connections can be dialled and upgraded, to see a failover's pause beside.

use std::io;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{DIALS_AT_ONCE, spread};
use crate::door::Door;
use crate::link::Link;
use crate::stats;

/// The arguments of `client dial`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) door: Door,
    /// Connections.
    #[arg(long)]
    pub(crate) connections: usize,
    /// So many at once.
    #[arg(long, default_value_t = DIALS_AT_ONCE)]
    pub(crate) at_once: usize,
}

/// How long it took. A connection counts from the start of all, since a moved session waits from the
/// moment its backend fails.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// How many there were.
    pub(crate) connections: usize,
    /// Milliseconds until half of them were upgraded.
    pub(crate) p50_ms: f64,
    /// Until 99 of 100 were.
    pub(crate) p99_ms: f64,
    /// Until all were.
    pub(crate) max_ms: f64,
    /// The curve of these times; see [`stats::percentiles`].
    pub(crate) percentiles_ms: Vec<f64>,
}

/// Dials them all, and keeps them until all are there.
pub(crate) async fn run(options: Options) -> io::Result<Figures> {
    let start = Instant::now();
    let target = options.door.target()?;
    let open = move |index: usize| {
        let target = target.clone();
        async move {
            let link = Link::open(target, index as u64).await?;
            Ok((start.elapsed().as_secs_f64() * 1_000.0, link))
        }
    };
    let opened = spread(options.connections, options.at_once.max(1), open).await?;
    let times: Vec<f64> = opened.iter().map(|(ms, _)| *ms).collect();
    let at = |quantile| stats::quantile(&times, quantile).unwrap_or_default();
    let percentiles_ms = stats::percentiles(&times);
    Ok(Figures {
        connections: times.len(),
        p50_ms: at(0.5),
        p99_ms: at(0.99),
        max_ms: at(1.0),
        percentiles_ms,
    })
}
