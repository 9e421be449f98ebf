//! `steadfast-bench`: the same work for Steadfast, HAProxy, nginx and any other address, in one run.
//!
//! `relay` measures brokers that relay, `http` what requests beside that cost, `shim` what `steadfast.v1` costs, `profiles` what it costs that messages are understood, `instructions` what a message costs
//! on any machine, however busy it is, `paths` what a session carries to a backend that is far away,
//! `floods` what a neighbour notices of one who sends without end, `failover` a broker that loses a backend,
//! `drain` one that empties one; `plots` draws what they have found. Clients, broker and backends are
//! processes of their own: this program starts itself again as `client`, `backend` and `proxy`.

// A test fails by a panic.
#![cfg_attr(test, allow(clippy::unwrap_used))]

use std::future::Future;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

mod asker;
mod backend;
mod client;
mod clock;
mod door;
mod drain;
mod event;
mod failover;
mod floods;
mod http;
mod instructions;
mod json;
mod link;
mod machine;
mod paths;
mod peers;
mod plots;
mod proc;
mod process;
mod profiles;
mod relay;
mod rounds;
mod shim;
mod stats;
mod table;
mod tether;
mod tls;
mod variant;
mod wire;

/// Measures WebSocket brokers.
///
/// Exit codes: 0 all was measured, whatever the figures; 1 something could not be measured; 2 usage;
/// 130 interrupted.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Cost of relaying: messages, round trips, processor time, memory, upgrades.
    Relay(relay::Options),
    /// Cost of requests that ask for no WebSocket: their number, times, processor time, memory.
    Http(http::Options),
    /// Cost of `steadfast.v1`, toward services, toward clients and both, beside plain relaying.
    Shim(shim::Options),
    /// Cost of profiles, beside the same messages in a pool without one.
    Profiles(profiles::Options),
    /// Instructions that a message costs Steadfast in user space, counted by valgrind.
    Instructions(instructions::Options),
    /// What one session carries when the path to the backend takes its time.
    Paths(paths::Options),
    /// What a neighbour notices while somebody sends as much as the broker takes.
    Floods(floods::Options),
    /// What clients notice when a backend is killed.
    Failover(failover::Options),
    /// What clients notice when a backend is drained.
    Drain(drain::Options),
    /// Pictures of what the others have measured.
    Plots(plots::Options),
    /// A WebSocket echo server, to put behind a broker of your own.
    Backend(backend::Options),
    /// A client process of the harness.
    #[command(hide = true)]
    Client {
        #[command(subcommand)]
        measure: client::Measure,
    },
    /// A path to an address on which every byte takes a while.
    #[command(hide = true)]
    Proxy(paths::proxy::Options),
    /// Becomes another program, which ends with the harness.
    #[command(hide = true)]
    Tether(tether::Options),
}

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    raise_descriptor_limit();
    if let Command::Tether(options) = command {
        return failed(&tether::run(&options));
    }
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let code = runtime.block_on(until_interrupted(run(command)));
    // A client may still have a read of its standard input in a thread.
    runtime.shutdown_background();
    code
}

async fn run(command: Command) -> ExitCode {
    let result = match command {
        Command::Relay(options) => relay::run(options).await,
        Command::Http(options) => http::run(options).await,
        Command::Shim(options) => shim::run(options).await,
        Command::Profiles(options) => profiles::run(options).await,
        Command::Instructions(options) => instructions::run(options).await,
        Command::Paths(options) => paths::run(options).await,
        Command::Floods(options) => floods::run(options).await,
        Command::Failover(options) => failover::run(options).await.map(|()| 0),
        Command::Drain(options) => drain::run(options).await.map(|()| 0),
        Command::Plots(options) => plots::run(&options),
        Command::Backend(options) => backend::run(options).await.map(|()| 0),
        Command::Client { measure } => client::run(measure).await.map(|()| 0),
        Command::Proxy(options) => paths::proxy::run(options).await.map(|()| 0),
        Command::Tether(_) => Ok(0),
    };
    match result {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failures) => failed(&format!("{failures} measurements could not be taken; see above")),
        Err(error) => failed(&error),
    }
}

/// Drops the work on SIGINT or SIGTERM: everything that was started ends with what holds it.
async fn until_interrupted(work: impl Future<Output = ExitCode>) -> ExitCode {
    let signals = signal(SignalKind::interrupt())
        .and_then(|interrupt| signal(SignalKind::terminate()).map(|terminate| (interrupt, terminate)));
    let (mut interrupt, mut terminate) = match signals {
        Ok(signals) => signals,
        Err(error) => return failed(&error),
    };
    tokio::select! {
        code = work => code,
        _ = interrupt.recv() => interrupted(),
        _ = terminate.recv() => interrupted(),
    }
}

fn interrupted() -> ExitCode {
    eprintln!("interrupted");
    ExitCode::from(130)
}

fn failed(error: &impl std::fmt::Display) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

/// Thousands of sessions need thousands of descriptors. Where they do not suffice, opening them fails
/// with an error of its own.
fn raise_descriptor_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _: Result<(), nix::Error> = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
