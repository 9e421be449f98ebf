//! The load of a relay row: every connection keeps a fixed number of messages in flight and checks
//! every answer.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Dialect;
use super::dialogue::Dialogue;
use super::strace::{self, SystemCalls};
use crate::door::Door;
use crate::proc;

/// Round trips are recorded up to this, in nanoseconds, with three digits.
const ROUND_TRIP_MAX: u64 = 60_000_000_000;
/// How long the connections may take to close, once everything is counted.
const END_TIME_MAX: Duration = Duration::from_secs(2);

/// The arguments of `client load`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) door: Door,
    /// A process of the peer, whose processor time is counted.
    #[arg(long)]
    pub(crate) pid: Vec<u32>,
    /// The backend's process.
    #[arg(long)]
    pub(crate) backend_pid: Vec<u32>,
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
        figures = watch(&options, &tally) => figures?,
        Some(ended) = tasks.join_next() => {
            return Err(ended.map_err(io::Error::other)?.unwrap_or_else(|| io::Error::other("a connection ended")));
        }
    };
    tally.borrow_mut().over = true;
    // What a broker does after the measurement is no part of it.
    let _ = timeout(END_TIME_MAX, tasks.join_all()).await;
    Ok(figures)
}

async fn watch(options: &Options, tally: &RefCell<Tally>) -> io::Result<Figures> {
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
            if tally.borrow().over {
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
