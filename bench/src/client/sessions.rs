//! Sessions that send at a steady pace while something happens to their backend. The harness says
//! through standard input when to begin and when to stop; this process says `ready` when all sessions
//! are open.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader, Stdin, stdin};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::clock::monotonic_ns;
use crate::door::Door;
use crate::link::Link;
use inbox::{Inbox, News};
use ledger::Ledger;
pub(crate) use ledger::{Outcome, Window};

mod inbox;
mod ledger;

/// How long late second answers are waited for when every message has its first.
const LINGER: Duration = Duration::from_millis(300);
/// How often it is looked whether answers are still missing.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What the harness writes to begin. To stop it writes [`STOP`] and a [`Window`] as JSON.
pub(crate) const START: &str = "start";
/// See [`START`].
pub(crate) const STOP: &str = "stop ";
/// What this process writes when its sessions are open.
pub(crate) const READY: &str = "ready";

/// The arguments of `client sessions`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) door: Door,
    /// Number of this process's first session.
    #[arg(long)]
    pub(crate) first: usize,
    /// How many sessions are this process's.
    #[arg(long)]
    pub(crate) sessions: usize,
    /// How many there are in all processes.
    #[arg(long)]
    pub(crate) total: usize,
    /// Messages per second of each session.
    #[arg(long)]
    pub(crate) rate: f64,
    /// Bytes of a message.
    #[arg(long)]
    pub(crate) payload: usize,
    /// Milliseconds to wait for the last answers.
    #[arg(long)]
    pub(crate) wait: u64,
}

/// What became of every session.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// In no particular order.
    pub(crate) sessions: Vec<Outcome>,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Not all sessions are open.
    Waiting,
    /// From this moment on.
    Sending(Instant),
    /// The last answers may come.
    Stopped,
    /// No more is counted.
    Over,
}

/// Opens the sessions, and lets them send between the harness's two lines.
pub(crate) async fn run(options: Options) -> io::Result<Figures> {
    let mut orders = BufReader::new(stdin());
    let (phase, phases) = watch::channel(Phase::Waiting);
    let missing = Rc::new(Cell::new(0));
    let links =
        super::open_all(options.door.target()?, options.first as u64, options.sessions, Link::open).await?;
    let mut tasks = JoinSet::new();
    for (index, link) in links.into_iter().enumerate() {
        let session = Session::new(link, options.first + index, &options, missing.clone());
        tasks.spawn_local(session.run(phases.clone()));
    }
    println!("{READY}");
    order(&mut orders, START).await?;
    phase.send_replace(Phase::Sending(Instant::now()));
    let window = order(&mut orders, STOP).await?;
    let window: Window = serde_json::from_str(&window)?;
    phase.send_replace(Phase::Stopped);
    await_answers(&missing, Duration::from_millis(options.wait)).await;
    phase.send_replace(Phase::Over);
    let ledgers = tasks.join_all().await;
    Ok(Figures { sessions: ledgers.iter().map(|ledger| ledger.outcome(window)).collect() })
}

/// The harness's next line, without the word that it must begin with.
async fn order(orders: &mut BufReader<Stdin>, word: &str) -> io::Result<String> {
    let mut line = String::new();
    orders.read_line(&mut line).await?;
    let rest = line.trim_end().strip_prefix(word.trim_end()).map(str::to_owned);
    rest.ok_or_else(|| io::Error::other(format!("expected `{word}` and read `{}`", line.trim_end())))
}

/// Waits until every message is answered whose session is open, or the time is up.
async fn await_answers(missing: &Cell<usize>, time_max: Duration) {
    let deadline = Instant::now() + time_max;
    while missing.get() > 0 && Instant::now() < deadline {
        sleep(LOOK_EVERY).await;
    }
    sleep(LINGER).await;
}

/// One session.
struct Session {
    link: Link,
    inbox: Inbox,
    ledger: Ledger,
    /// From one message to the next.
    period: Duration,
    /// From the start to the first message: sessions are spread evenly over a period.
    phase: Duration,
    /// Unanswered messages of all open sessions of this process.
    missing: Rc<Cell<usize>>,
}

impl Session {
    fn new(link: Link, number: usize, options: &Options, missing: Rc<Cell<usize>>) -> Self {
        let period = Duration::from_secs_f64(1.0 / options.rate);
        Self {
            link,
            inbox: Inbox::new(number as u64, options.payload),
            ledger: Ledger::default(),
            period,
            phase: period.mul_f64(number as f64 / options.total.max(1) as f64),
            missing,
        }
    }

    async fn run(mut self, mut phases: watch::Receiver<Phase>) -> Ledger {
        let mut next = None;
        loop {
            let step = tokio::select! {
                read = self.link.exchange(|bytes, queue| self.inbox.feed(bytes, queue)) => match read {
                    Ok(Some(news)) => Step::News(news),
                    Ok(None) | Err(_) => Step::News(vec![News::CLOSED_ABNORMALLY]),
                },
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => Step::Send,
                changed = phases.changed() => Step::Phase(changed.map_or(Phase::Over, |()| *phases.borrow())),
            };
            match step {
                Step::News(news) => self.take(news),
                Step::Send => {
                    self.send();
                    next = next.map(|at| at + self.period);
                }
                Step::Phase(Phase::Sending(start)) => next = Some(start + self.phase),
                Step::Phase(Phase::Waiting | Phase::Stopped) => next = None,
                Step::Phase(Phase::Over) => break,
            }
            if self.ledger.is_closed() {
                // What a closed session still owes is lost, and nobody waits for it.
                self.missing.update(|missing| missing - self.ledger.missing());
                break;
            }
        }
        self.ledger
    }

    fn send(&mut self) {
        let number = self.ledger.sent(monotonic_ns());
        self.inbox.put_message(number, self.link.queued());
        self.missing.update(|missing| missing + 1);
    }

    fn take(&mut self, news: Vec<News>) {
        let (now, before) = (monotonic_ns(), self.ledger.missing());
        for news in news {
            match news {
                News::Answer { number, backend } => self.ledger.answered(number, &backend, now),
                News::Wrong => self.ledger.wrong(),
                News::Closed(code) => {
                    self.ledger.closed(code);
                    // Nothing counts behind a Close (RFC 6455 section 5.5.1).
                    break;
                }
            }
        }
        self.missing.update(|missing| missing + self.ledger.missing() - before);
    }
}

/// What a session does next.
enum Step {
    News(Vec<News>),
    Send,
    Phase(Phase),
}
