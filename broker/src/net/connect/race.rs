//! Tries that overlap, until one gets through (RFC 8305, section 5).

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::fault::{ConnectFault, FaultKind};
use super::way::{Way, Won};
use super::ways::Ways;

/// How long a try may be silent before the next one begins: the Connection Attempt Delay.
pub(super) const DELAY: Duration = Duration::from_millis(250);

/// Tries one way after another with `open` until `end`. The next begins when one has failed, or was
/// silent for a while; those that are silent go on meanwhile.
///
/// # Errors
///
/// Returns the clearest word of all ways; `None`: the time was over, and nothing says more.
pub(super) async fn race<S, F>(
    ways: Ways,
    open: impl Fn(Way) -> F,
    end: Instant,
) -> Result<Won<S>, Option<io::Error>>
where
    F: Future<Output = Result<S, ConnectFault>>,
{
    let Some(way) = ways.lone() else {
        // Few need the room for it.
        return Box::pin(race_all(ways, open, end)).await;
    };
    let only = timeout_at(end, open(way)).await.map_err(|_| None)?;
    let won = |stream| Won { stream, way, overtaken: Vec::new() };
    only.map(won).map_err(|fault| Some(fault.error))
}

/// Of several ways.
async fn race_all<S, F>(
    mut ways: Ways,
    open: impl Fn(Way) -> F,
    end: Instant,
) -> Result<Won<S>, Option<io::Error>>
where
    F: Future<Output = Result<S, ConnectFault>>,
{
    let mut tries = FuturesUnordered::new();
    let mut silent: Vec<(Way, Instant)> = Vec::new();
    let mut word: Option<ConnectFault> = None;
    let mut next = pin!(sleep_until(end));
    let mut over = pin!(sleep_until(end));
    // A timer that is due at once fires up to a millisecond late.
    let mut due = true;
    loop {
        if std::mem::take(&mut due)
            && let Some(way) = ways.next()
        {
            silent.push((way, Instant::now()));
            let trying = open(way);
            tries.push(async move { (way, trying.await) });
            next.as_mut().reset(Instant::now() + DELAY);
        }
        tokio::select! {
            biased;
            Some((way, done)) = tries.next() => match done {
                Ok(stream) => return Ok(Won { stream, way, overtaken: overtaken(way, &silent) }),
                Err(ConnectFault { error, kind }) => {
                    silent.retain(|(other, _)| *other != way);
                    let kind = ways.failed(way, kind);
                    word = word.filter(|word| word.kind > kind).or(Some(ConnectFault { error, kind }));
                    due = true;
                    if tries.is_empty() && ways.is_empty() {
                        return Err(word.map(|word| word.error));
                    }
                }
            },
            () = &mut over => return Err(clearest(word)),
            () = &mut next, if !ways.is_empty() => due = true,
        }
    }
}

/// A way that stays silent to the end says more than one that does not exist.
fn clearest(word: Option<ConnectFault>) -> Option<io::Error> {
    word.filter(|word| word.kind > FaultKind::Silence).map(|word| word.error)
}

fn overtaken(won: Way, tries: &[(Way, Instant)]) -> Vec<IpAddr> {
    let begun = tries.iter().find(|(way, _)| *way == won).map(|(_, begun)| *begun);
    let earlier = |at: Instant| begun.is_some_and(|begun| at + DELAY <= begun);
    let slow = tries.iter().filter(|(way, at)| way.target == won.target && earlier(*at));
    slow.filter_map(|(way, _)| way.source).collect()
}
