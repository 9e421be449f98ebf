//! An event in the life of a backend, under load: sessions send at a steady pace, something happens to
//! the backend that they are on, and every session tells what it noticed. `failover` and `drain` are
//! such events.

use std::future::Future;
use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::time::sleep;

use crate::client::DIALS_AT_ONCE;
use crate::client::sessions::{START, STOP, Window};
use crate::clock::monotonic_ns;
use clients::Clients;
pub(crate) use load::{Broker, Load, positive};
pub(crate) use report::{Account, Report, Round, Words};
pub(crate) use scene::Scene;
use verdict::Verdict;

mod clients;
mod floor;
mod load;
mod report;
mod scene;
mod verdict;

/// Messages sent so long before the event belong to it, as they may still be under way. A delayed
/// backend's delay, or stall, is added.
const LEAD: Duration = Duration::from_millis(500);
/// Messages sent so long after its end still do. Two periods of a session are added.
const TRAIL: Duration = Duration::from_secs(2);

/// Lets the sessions send, lets `event` happen in the middle, and collects what they noticed. They go on
/// for `after` seconds when it is over. The event gives its own account.
pub(crate) async fn observe<T>(
    load: &Load,
    scene: &Scene,
    after: f64,
    folder: &Path,
    event: impl Future<Output = io::Result<T>>,
) -> io::Result<Round<T>> {
    let mut clients = Clients::open(load, scene.door(), folder).await?;
    clients.tell_all(START).await?;
    sleep(Duration::from_secs_f64(load.warm_up)).await;
    let begin_ns = monotonic_ns();
    let account = event.await?;
    let window = window(load, begin_ns, monotonic_ns());
    sleep(Duration::from_secs_f64(after)).await;
    clients.tell_all(&format!("{STOP}{}", serde_json::to_string(&window)?)).await?;
    let outcomes = clients.finish(Duration::from_secs_f64(load.wait)).await?;
    let mut verdict = Verdict::new(&outcomes, scene.struck());
    if let Some(survivor) = scene.survivor() {
        let moved = verdict.moved.sessions;
        verdict.floor = floor::dial(survivor, moved, DIALS_AT_ONCE, folder).await?;
        verdict.floor_all_at_once = floor::dial(survivor, moved, moved, folder).await?;
    }
    Ok(Round { verdict, account })
}

fn window(load: &Load, begin_ns: u64, end_ns: u64) -> Window {
    let ns = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let lead = LEAD + Duration::from_millis(load.delay.max(load.stall));
    let trail = TRAIL + Duration::from_secs_f64(2.0 / load.rate);
    Window {
        from_ns: begin_ns.saturating_sub(ns(lead)),
        event_ns: begin_ns,
        until_ns: end_ns.saturating_add(ns(trail)),
    }
}
