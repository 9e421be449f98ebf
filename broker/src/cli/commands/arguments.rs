//! What the commands for a running broker take.

use std::time::Duration;

use clap::{Args, Subcommand};
use http::uri::Authority;

use crate::api::model::operations::OperationOrder;

/// What can be asked of a running broker.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lists the backends of a running broker
    Backends(AccessArguments),
    /// Lists sessions, the oldest first
    Sessions(SessionsArguments),
    /// Lists the listeners for clients
    Listeners(AccessArguments),
    /// Moves all sessions off a backend, which gets no new ones
    Drain(DrainArguments),
    /// Ends a drain; the backend takes sessions again
    Undrain(OfBackend),
    /// Gives a backend no new sessions; those it has stay
    Disable(OfBackend),
    /// Lets a disabled backend take sessions again
    Enable(OfBackend),
    /// Spreads a pool's sessions by the weights of its backends
    Rebalance(RebalanceArguments),
    /// Moves all sessions of a backend, or one session, at once, as if the backend had failed
    Failover(FailoverArguments),
    /// Closes a session toward both sides
    Abort(Abort),
    /// Lists drains and other operations, or shows, cancels or resumes one
    Operations(OperationsArguments),
    /// Has listeners take no new sessions; those that are there go on
    Pause(OfListener),
    /// Has paused listeners take sessions again
    Resume(OfListener),
}

/// Where the broker is, and how answers are shown. The token comes from STEADFAST_TOKEN alone.
#[derive(Debug, Args)]
pub struct AccessArguments {
    /// The broker's admin listener, HOST:PORT
    #[arg(
        long, env = "STEADFAST_ADMIN", value_name = "ADDR", default_value = "127.0.0.1:9000",
        value_parser = address
    )]
    pub admin: String,

    /// Prints what the API answers
    #[arg(long)]
    pub json: bool,
}

/// Which sessions.
#[derive(Debug, Args)]
pub struct SessionsArguments {
    /// Only those of this pool
    #[arg(long, value_name = "POOL")]
    pub pool: Option<String>,

    /// Only those on this backend
    #[arg(long, value_name = "NAME")]
    pub backend: Option<String>,

    /// Only those in this state, such as relaying
    #[arg(long, value_name = "STATE")]
    pub state: Option<String>,

    /// Only those of this client, by its address with or without the port
    #[arg(long, value_name = "ADDR")]
    pub client: Option<String>,

    /// Only those that came to this listener, IP:PORT
    #[arg(long, value_name = "ADDR")]
    pub listener: Option<String>,

    /// How many at the most, 1 to 10000
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub limit: usize,

    /// Those behind this one: what the page before named
    #[arg(long, value_name = "NEXT")]
    pub after: Option<String>,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at its type")]
    pub access: AccessArguments,
}

/// A backend to drain, and how.
#[derive(Debug, Args)]
pub struct DrainArguments {
    /// The backend: its name, or POOL/NAME
    pub name: String,

    /// Returns when the backend holds no session, or the drain has ended otherwise
    #[arg(long)]
    pub wait: bool,

    /// Moves sessions that are never quiet too, as if the backend had failed
    #[arg(long)]
    pub force: bool,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at its type")]
    pub pace: PaceArguments,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at its type")]
    pub access: AccessArguments,
}

/// How an operation goes about it; without these, as the broker is configured.
#[derive(Debug, Default, Args)]
pub struct PaceArguments {
    /// Sessions that are moved per second
    #[arg(long, value_name = "N")]
    pub rate: Option<u32>,

    /// Sessions that are moved at once
    #[arg(long, value_name = "N")]
    pub concurrency: Option<usize>,

    /// Failed moves after which it stops
    #[arg(long, value_name = "N")]
    pub errors_max: Option<usize>,

    /// How long it may take, such as 5m
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub time_limit: Option<Duration>,
}

/// A backend.
#[derive(Debug, Args)]
pub struct OfBackend {
    /// The backend: its name, or POOL/NAME
    pub name: String,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at its type")]
    pub access: AccessArguments,
}

/// A pool to spread anew, and how.
#[derive(Debug, Args)]
pub struct RebalanceArguments {
    /// The pool
    pub pool: String,

    /// Ends when no backend is off its share by more than this, in percent
    #[arg(long, value_name = "PERCENT")]
    pub tolerance: Option<u32>,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at its type")]
    pub pace: PaceArguments,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at its type")]
    pub access: AccessArguments,
}

/// What is to leave its backend, and how.
#[derive(Debug, Args)]
pub struct FailoverArguments {
    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at its type")]
    pub who: Leaving,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at its type")]
    pub pace: PaceArguments,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at its type")]
    pub access: AccessArguments,
}

/// All sessions of a backend, or one session: one of the two is there.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Leaving {
    /// The backend: its name, or POOL/NAME
    pub name: Option<String>,

    /// Only the session with this id
    #[arg(long, value_name = "ID", conflicts_with = "PaceArguments")]
    pub session: Option<String>,
}

/// A session to close, and what both sides are told.
#[derive(Debug, Args)]
pub struct Abort {
    /// The session's id
    pub id: String,

    /// The close code: 1000, 1001, 1008, 1011 to 1014 or 3000 to 4999 [default: 1008]
    #[arg(long, value_name = "CODE")]
    pub code: Option<u16>,

    /// The reason, at most 123 bytes
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at its type")]
    pub access: AccessArguments,
}

/// All operations, or one and what to do with it.
#[derive(Debug, Args)]
pub struct OperationsArguments {
    /// The operation, such as drain-3
    pub id: Option<String>,

    /// Ends it; what was moved stays where it is
    #[arg(long, requires = "id", conflicts_with = "resume")]
    pub cancel: bool,

    /// Goes on with one that has stopped
    #[arg(long, requires = "id")]
    pub resume: bool,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at its type")]
    pub access: AccessArguments,
}

/// A listener, or all.
#[derive(Debug, Args)]
pub struct OfListener {
    /// The listener's address, IP:PORT; all without it
    pub listener: Option<String>,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at its type")]
    pub access: AccessArguments,
}

fn address(text: &str) -> Result<String, String> {
    let authority = text.parse::<Authority>().ok().filter(|authority| {
        authority.port_u16().is_some() && !authority.host().is_empty() && !text.contains('@')
    });
    authority
        .map(|authority| authority.to_string())
        .ok_or_else(|| "expected HOST:PORT such as 127.0.0.1:9000 or [::1]:9000".to_owned())
}

impl PaceArguments {
    /// What the API is told, which is no more than was said here.
    pub(super) fn order(&self) -> OperationOrder {
        let PaceArguments { rate, concurrency, errors_max, time_limit } = *self;
        let millis = |limit: Duration| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        OperationOrder {
            rate,
            concurrency,
            errors_max,
            time_limit_ms: time_limit.map(millis),
            ..OperationOrder::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_admin_address_has_a_host_and_a_port() {
        for good in ["127.0.0.1:9000", "[::1]:9000", "broker.internal:80"] {
            assert_eq!(address(good).as_deref(), Ok(good));
        }
        for bad in ["", "127.0.0.1", ":9000", "http://127.0.0.1:9000", "a:b", "me@host:80", "host:99999"] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pace_has_only_what_was_said() {
        let json = |pace: &PaceArguments| serde_json::to_string(&pace.order()).expect("JSON");
        assert_eq!(json(&PaceArguments::default()), "{}");
        let time_limit = Some(Duration::from_secs(300));
        let pace = PaceArguments { rate: Some(5), time_limit, ..PaceArguments::default() };
        assert_eq!(json(&pace), r#"{"rate":5,"time_limit_ms":300000}"#);
    }
}
