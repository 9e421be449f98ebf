//! `steadfast demo`: real backends, the real broker and a crowd of clients, all on loopback; backends
//! are drained, killed, stopped and restarted, and the clients say what they noticed.
//!
//! The order of events is in `script`, the promises are judged in `verdict`, and `warden` sees to
//! it that no process is left behind.

mod admin;
pub mod backend;
mod backends;
mod broker;
mod cast;
mod crowd;
mod drain;
mod evidence;
mod pause;
mod performance;
mod report;
mod script;
mod show;
mod stage;
mod transcript;
mod verdict;
pub mod warden;

use std::io::{self, Write};
use std::process::ExitCode;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use self::cast::POOLS;
use self::performance::Performance;

/// The exit code after Ctrl-C or another request to end, as shells have it for Ctrl-C.
const INTERRUPTED: u8 = 130;

/// The most messages per second in each pool: more would measure the machine.
const MESSAGES_PER_SECOND_MAX: usize = 20_000;

/// Descriptors that the broker wants for itself, its dials included.
const BROKER_DESCRIPTORS: u64 = 1024;

/// The command line of `steadfast demo`.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Clients of each of the three pools
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(3..=5000))]
    sessions: u32,
    /// Messages that each client sends per second
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,
    /// For how long the clients send
    #[arg(long, default_value_t = 22, value_parser = clap::value_parser!(u64).range(script::SECONDS_MIN..=60))]
    seconds: u64,
}

/// Runs the demo. Success only when every promise was kept.
pub fn run(options: &Options) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = runtime.and_then(|runtime| runtime.block_on(perform_or_stop(options)));
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("the demo failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// When a signal comes first, the performance is dropped, and with it every process.
async fn perform_or_stop(options: &Options) -> io::Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        outcome = perform(options) => outcome,
        _ = interrupt.recv() => Ok(ExitCode::from(INTERRUPTED)),
        _ = terminate.recv() => Ok(ExitCode::from(INTERRUPTED)),
        _ = hangup.recv() => Ok(ExitCode::from(INTERRUPTED)),
    }
}

async fn perform(options: &Options) -> io::Result<ExitCode> {
    check_load(options)?;
    let mut performance = Performance::begin(options).await?;
    performance.play(&script::events(options.seconds), options.seconds).await?;
    performance.await_last_answers().await?;
    let verdict = verdict::judge(&performance.evidence().await?);
    let logs = performance.end(!verdict.kept()).await?;
    for line in report::lines(&verdict) {
        writeln!(io::stdout(), "{line}")?;
    }
    writeln!(io::stdout(), "\n{}", report::conclusion(&verdict, logs.as_deref()))?;
    Ok(if verdict.kept() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Refuses what this machine cannot carry, and raises the limit of descriptors as far as it goes.
fn check_load(options: &Options) -> io::Result<()> {
    let Options { sessions, rate, .. } = *options;
    let per_second = sessions as usize * rate as usize;
    if per_second > MESSAGES_PER_SECOND_MAX {
        let most = MESSAGES_PER_SECOND_MAX;
        return Err(io::Error::other(format!(
            "{sessions} sessions at {rate} messages/s are {per_second} messages/s in each pool; the demo is made \
             for {most}: lower --sessions or --rate"
        )));
    }
    let needed = u64::from(sessions) * POOLS.len() as u64 * 2 + BROKER_DESCRIPTORS;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if hard < needed {
        return Err(io::Error::other(format!(
            "too few descriptors: {hard} where {needed} are needed; raise `ulimit -n` or lower --sessions"
        )));
    }
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}
