//! The arguments of every event: how many sessions, what they send, and through which broker.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::ValueEnum;

use crate::peers::{Peer, steadfast};

/// The sessions and the broker that they go through.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Load {
    /// Sessions.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) sessions: u32,
    /// Messages per second of each session.
    #[arg(long, default_value_t = 20.0, value_parser = positive)]
    pub(crate) rate: f64,
    /// Bytes of a message.
    #[arg(long, default_value_t = 64)]
    pub(crate) payload: usize,
    /// Seconds of calm before the event.
    #[arg(long, default_value_t = 2.0, value_parser = positive)]
    pub(crate) warm_up: f64,
    /// Seconds to wait for the last answers.
    #[arg(long, default_value_t = 10.0, value_parser = positive)]
    pub(crate) wait: f64,
    /// The backends answer each message only after this many milliseconds, and pings at once, as
    /// asynchronous ones do.
    #[arg(long, visible_alias = "handler-ms", default_value_t = 0, value_name = "MS")]
    pub(crate) delay: u64,
    /// They answer one message in twenty after this many milliseconds instead, as a server that collects
    /// garbage now and then does.
    #[arg(long, default_value_t = 0, value_name = "MS")]
    pub(crate) stall: u64,
    /// Client processes; each can open as many sessions as it may have descriptors.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) processes: u32,
    /// The whole test so often, each time with new processes.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// The broker that the harness starts.
    #[arg(long, value_enum, default_value = "steadfast")]
    pub(crate) broker: Broker,
    /// Steadfast's executable; built beside this one by default.
    #[arg(long, value_name = "PATH")]
    pub(crate) steadfast: Option<PathBuf>,
    /// How Steadfast learns that a backend has a message.
    #[arg(long, default_value = "pong", value_parser = ["pong", "none"])]
    pub(crate) ack: String,
    /// One more argument of `steadfast serve`; repeatable, as in --serve-args=--workers=2.
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub(crate) serve_args: Vec<String>,
    /// A backend that nothing happens to, to be dialled directly for comparison, with --target.
    #[arg(long, value_name = "ADDR", requires = "target")]
    pub(crate) floor: Option<SocketAddr>,
    /// Also write everything as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// The brokers that the harness knows how to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Broker {
    Steadfast,
    Haproxy,
    Nginx,
}

impl Load {
    /// The broker to start; `more` are arguments of `steadfast serve`.
    pub(crate) async fn peer(&self, more: Vec<String>) -> io::Result<Peer> {
        let missing = || io::Error::other(format!("{:?} is not installed", self.broker));
        match self.broker {
            Broker::Steadfast => {
                let program = steadfast::locate(self.steadfast.as_deref()).await?;
                let ack = format!("--ack={}", self.ack);
                let arguments = std::iter::once(ack).chain(more).chain(self.serve_args.iter().cloned());
                Ok(Peer::Steadfast(program, arguments.collect()))
            }
            Broker::Haproxy => Peer::haproxy(1).ok_or_else(missing),
            Broker::Nginx => Peer::nginx(1).ok_or_else(missing),
        }
    }
}

/// Seconds or a rate.
pub(crate) fn positive(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|error| format!("{error}"))?;
    let sensible = value.is_finite() && value > 0.0 && value <= 1e6;
    sensible.then_some(value).ok_or_else(|| "expected a number above 0 and up to 1,000,000".to_owned())
}
