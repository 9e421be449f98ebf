//! What a client counts while it loads a peer: answers, how long they took, and processor times on all sides.

use std::cell::RefCell;
use std::io;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::strace::{self, SystemCalls};
use crate::proc;

/// Round trips are recorded up to this, in nanoseconds, with three digits.
const ROUND_TRIP_MAX: u64 = 60_000_000_000;

/// Whose processor time is counted, and for how long.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub(crate) struct Options {
    /// A process of the peer, whose processor time is counted.
    #[arg(long)]
    pub(crate) pid: Vec<u32>,
    /// The backend's process.
    #[arg(long)]
    pub(crate) backend_pid: Vec<u32>,
    /// Milliseconds under load before anything is counted.
    #[arg(long)]
    pub(crate) warm_up: u64,
    /// Milliseconds that are counted.
    #[arg(long)]
    pub(crate) measure: u64,
    /// Afterwards, count the peer's system calls for a second.
    #[arg(long)]
    pub(crate) strace: bool,
}

/// What was counted between the warm-up and the end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// How long it really was.
    pub(crate) seconds: f64,
    /// Messages that came back, right.
    pub(crate) messages: u64,
    /// Round trips in microseconds: the median.
    pub(crate) p50_us: f64,
    /// One in a hundred took longer.
    pub(crate) p99_us: f64,
    /// The longest.
    pub(crate) max_us: f64,
    /// Processor time of the peer.
    pub(crate) peer_cpu_ns: u64,
    /// Processor time of the backend.
    pub(crate) backend_cpu_ns: u64,
    /// Processor time of this client.
    pub(crate) client_cpu_ns: u64,
    /// System calls of the peer, when asked for.
    pub(crate) system_calls: Option<SystemCalls>,
}

/// Counts what others put into `tally` meanwhile.
pub(super) async fn watch(options: &Options, tally: &RefCell<Tally>) -> io::Result<Figures> {
    sleep(Duration::from_millis(options.warm_up)).await;
    tally.borrow_mut().reset();
    let (start, before) = (Instant::now(), processor_times(options)?);
    sleep(Duration::from_millis(options.measure)).await;
    let (seconds, after) = (start.elapsed().as_secs_f64(), processor_times(options)?);
    let used = |which: usize| after[which].saturating_sub(before[which]);
    let mut figures = tally.borrow().figures(seconds);
    (figures.peer_cpu_ns, figures.backend_cpu_ns, figures.client_cpu_ns) = (used(0), used(1), used(2));
    if options.strace && !options.pid.is_empty() {
        let counted = strace::count(&options.pid, || tally.borrow().messages).await?;
        figures.system_calls = Some(counted);
    }
    Ok(figures)
}

/// Of the peer, the backend and this process.
fn processor_times(options: &Options) -> io::Result<[u64; 3]> {
    Ok([
        proc::cpu_ns(&options.pid)?,
        proc::cpu_ns(&options.backend_pid)?,
        proc::cpu_ns(&[std::process::id()])?,
    ])
}

/// What all connections have counted together.
#[derive(Debug)]
pub(super) struct Tally {
    messages: u64,
    round_trips: Histogram<u64>,
    /// Everything is counted.
    over: bool,
}

impl Tally {
    pub(super) fn new() -> io::Result<Self> {
        let round_trips = Histogram::new_with_max(ROUND_TRIP_MAX, 3).map_err(io::Error::other)?;
        Ok(Self { messages: 0, round_trips, over: false })
    }

    pub(super) fn reset(&mut self) {
        self.messages = 0;
        self.round_trips.reset();
    }

    pub(super) fn answered(&mut self, round_trip: Duration) {
        self.messages += 1;
        self.round_trips.saturating_record(u64::try_from(round_trip.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Everything is counted.
    pub(super) fn end(&mut self) {
        self.over = true;
    }

    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    pub(super) fn figures(&self, seconds: f64) -> Figures {
        let at = |quantile: f64| self.round_trips.value_at_quantile(quantile) as f64 / 1_000.0;
        Figures {
            seconds,
            messages: self.messages,
            p50_us: at(0.5),
            p99_us: at(0.99),
            max_us: at(1.0),
            peer_cpu_ns: 0,
            backend_cpu_ns: 0,
            client_cpu_ns: 0,
            system_calls: None,
        }
    }
}
