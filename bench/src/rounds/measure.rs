//! Single measurements: a client process is started, and its figures are turned into those of a row.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::{Field, Load, Requests, Started};
use crate::client::{self, Dialect};
use crate::peers::Running;
use crate::process::Process;
use crate::wire::http::Shape;

/// What a measurement may take beyond the time that it counts.
const OVERHEAD_MAX: Duration = Duration::from_secs(120);
/// Sessions opened and closed before memory is read for the first time.
const IDLE_WARM_UP: usize = 100;
/// From the last handshake to a reading of memory.
const IDLE_SETTLE_MS: u64 = 500;

/// What is asked for on a connection that is kept.
const KEPT: Shape = Shape { upload: 0, answer: 200, close: false };
/// How long opening a crowd, and closing it, may take.
const CROWD_TIME_MAX: Duration = Duration::from_secs(120);

/// Figures by name; see [`super::rows::Metric`].
pub(super) type Figures = BTreeMap<&'static str, f64>;

/// How figures that count something are called.
struct Names {
    per_second: &'static str,
    cpu: &'static str,
    backend_cpu: &'static str,
    client_cpu: &'static str,
    system_calls: &'static str,
}

const MESSAGES: Names = Names {
    per_second: "messages_per_second",
    cpu: "cpu_us_per_message",
    backend_cpu: "backend_cpu_us_per_message",
    client_cpu: "client_cpu_us_per_message",
    system_calls: "system_calls_per_message",
};

const REQUESTS: Names = Names {
    per_second: "requests_per_second",
    cpu: "cpu_us_per_request",
    backend_cpu: "backend_cpu_us_per_request",
    client_cpu: "client_cpu_us_per_request",
    system_calls: "system_calls_per_request",
};

/// Messages per second, round trips, and processor time per message.
pub(super) async fn load(field: &Field, started: &Started, load: Load) -> io::Result<Figures> {
    let mut arguments = vec!["load".to_owned(), format!("--dialect={}", started.entrant.dialect)];
    arguments.extend([format!("--connections={}", load.connections), format!("--depth={}", load.depth)]);
    arguments.extend([format!("--payload={}", load.payload)]);
    watched(field, started, arguments, &MESSAGES).await
}

/// Requests per second, how long they take, and processor time per request.
pub(super) async fn requests(field: &Field, started: &Started, requests: Requests) -> io::Result<Figures> {
    let mut arguments = vec!["requests".to_owned(), format!("--connections={}", requests.connections)];
    arguments.extend(requests.shape.arguments());
    watched(field, started, arguments, &REQUESTS).await
}

/// What a client process counts, which these arguments describe.
async fn watched(
    field: &Field,
    started: &Started,
    mut arguments: Vec<String>,
    names: &Names,
) -> io::Result<Figures> {
    let peer = &started.running;
    arguments.extend(process_arguments(peer));
    arguments.extend([format!("--backend-pid={}", field.backend(&started.entrant).process.id())]);
    arguments.extend(times(field));
    if field.scale.strace {
        arguments.push("--strace".to_owned());
    }
    let counted: client::watch::Figures = client_process(field, arguments).await?;
    if counted.messages == 0 {
        return Err(io::Error::other("nothing was answered in the time that was counted"));
    }
    let each = |ns: u64| ns as f64 / 1_000.0 / counted.messages as f64;
    let mut figures = Figures::from([
        (names.per_second, counted.messages as f64 / counted.seconds),
        ("p50_us", counted.p50_us),
        ("p99_us", counted.p99_us),
        ("max_us", counted.max_us),
        (names.backend_cpu, each(counted.backend_cpu_ns)),
        (names.client_cpu, each(counted.client_cpu_ns)),
    ]);
    if !peer.processes().is_empty() {
        figures.insert(names.cpu, each(counted.peer_cpu_ns));
    }
    if let Some(calls) = &counted.system_calls {
        figures.insert(names.system_calls, calls.per_message());
        eprintln!("  {calls}");
    }
    Ok(figures)
}

/// The same for a few sessions, while a process of its own holds the rest of all `sessions`, which are silent. One
/// that has ended meanwhile makes it a failure.
pub(super) async fn crowd(
    field: &Field,
    started: &Started,
    sessions: usize,
    talk: Load,
) -> io::Result<Figures> {
    let silent = sessions.saturating_sub(talk.connections);
    let mut arguments = vec!["client".to_owned(), "crowd".to_owned(), format!("--sessions={silent}")];
    arguments.extend(started.running.door().arguments());
    arguments.push(format!("--dialect={}", started.entrant.dialect));
    // They are other browsers than those that talk.
    arguments.push(format!("--first={}", talk.connections));
    let arguments = arguments.into_iter().map(OsString::from).collect();
    let mut crowd = Process::start_own(field.folder.path(), "crowd", arguments)?;
    let line = crowd.line(CROWD_TIME_MAX).await?;
    if line != client::crowd::READY {
        return Err(crowd.failure(&format!("said `{line}` and not that it is ready")));
    }
    let figures = load(field, started, talk).await?;
    let held: client::crowd::Figures = serde_json::from_str(&crowd.finish(CROWD_TIME_MAX).await?)?;
    if held.ended > 0 {
        let ended = held.ended;
        return Err(io::Error::other(format!(
            "{ended} of {silent} silent sessions ended while others talked"
        )));
    }
    Ok(figures)
}

/// Sessions opened and closed per second, and processor time for each.
pub(super) async fn upgrades(field: &Field, started: &Started, at_once: usize) -> io::Result<Figures> {
    opened(field, started, at_once, None, ["upgrades_per_second", "cpu_us_per_upgrade"]).await
}

/// The same with TLS, each by a ticket or none.
pub(super) async fn handshakes(
    field: &Field,
    started: &Started,
    at_once: usize,
    resumed: bool,
) -> io::Result<Figures> {
    let tickets = resumed.then_some("--tickets");
    opened(field, started, at_once, tickets, ["handshakes_per_second", "cpu_us_per_handshake"]).await
}

async fn opened(
    field: &Field,
    started: &Started,
    at_once: usize,
    more: Option<&str>,
    [per_second, cpu_each]: [&'static str; 2],
) -> io::Result<Figures> {
    let peer = &started.running;
    let mut arguments = vec!["upgrades".to_owned(), format!("--at-once={at_once}")];
    arguments.extend(more.map(str::to_owned));
    arguments.extend(peer_arguments(peer, started.entrant.dialect));
    arguments.extend(times(field));
    let counted: client::upgrades::Figures = client_process(field, arguments).await?;
    if counted.upgrades == 0 {
        return Err(io::Error::other("no session was opened and closed in the time that was counted"));
    }
    let mut figures = Figures::from([(per_second, counted.upgrades as f64 / counted.seconds)]);
    if !peer.processes().is_empty() {
        let each = counted.peer_cpu_ns as f64 / 1_000.0 / counted.upgrades as f64;
        figures.insert(cpu_each, each);
    }
    Ok(figures)
}

/// Resident memory per session. The direct connection has none.
pub(super) async fn idle(
    field: &Field,
    started: &Started,
    sessions: usize,
    round: usize,
) -> io::Result<Option<Figures>> {
    if started.running.processes().is_empty() {
        return Ok(None);
    }
    let fresh = fresh(field, started, round).await?;
    let peer = fresh.as_ref().unwrap_or(&started.running);
    idle_of(field, peer, started.entrant.dialect, sessions).await.map(Some)
}

/// The same per connection that is kept behind a request.
pub(super) async fn kept(
    field: &Field,
    started: &Started,
    connections: usize,
    round: usize,
) -> io::Result<Option<Figures>> {
    if started.running.processes().is_empty() {
        return Ok(None);
    }
    let fresh = fresh(field, started, round).await?;
    let peer = fresh.as_ref().unwrap_or(&started.running);
    let mut arguments = vec!["kept".to_owned(), format!("--connections={connections}")];
    arguments.extend(KEPT.arguments());
    arguments.extend([format!("--warm-up={IDLE_WARM_UP}"), format!("--settle={IDLE_SETTLE_MS}")]);
    arguments.extend(process_arguments(peer));
    let counted: client::kept::Figures = client_process(field, arguments).await?;
    let all = counted.kept_kb as f64 - counted.before_kb as f64;
    Ok(Some(Figures::from([
        ("kb_per_connection", all / counted.connections.max(1) as f64),
        ("kb_before", counted.before_kb as f64),
    ])))
}

/// A peer of this kind, started to have its memory counted: pages that earlier work has left behind would hide it. A
/// broker that somebody else has started is taken as it is.
async fn fresh(field: &Field, started: &Started, round: usize) -> io::Result<Option<Running>> {
    if !started.entrant.peer.is_ours() {
        return Ok(None);
    }
    let instance = format!("{}-idle-{round}", started.entrant.name);
    field.start(&started.entrant, &instance).await.map(Some)
}

async fn idle_of(field: &Field, peer: &Running, dialect: Dialect, sessions: usize) -> io::Result<Figures> {
    let mut arguments = vec!["idle".to_owned(), format!("--sessions={sessions}")];
    arguments.extend([format!("--warm-up={IDLE_WARM_UP}"), format!("--settle={IDLE_SETTLE_MS}")]);
    arguments.extend(peer_arguments(peer, dialect));
    let counted: client::idle::Figures = client_process(field, arguments).await?;
    let each = |kb: u64| (kb as f64 - counted.before_kb as f64) / counted.sessions.max(1) as f64;
    Ok(Figures::from([
        ("kb_per_session", each(counted.fresh_kb)),
        ("kb_per_used_session", each(counted.used_kb)),
        ("kb_before", counted.before_kb as f64),
    ]))
}

fn peer_arguments(peer: &Running, dialect: Dialect) -> Vec<String> {
    let dialect = format!("--dialect={dialect}");
    process_arguments(peer).into_iter().chain([dialect]).collect()
}

/// Where clients connect, and whose processes they count.
fn process_arguments(peer: &Running) -> Vec<String> {
    let pids = peer.processes().into_iter().map(|pid| format!("--pid={pid}"));
    peer.door().arguments().chain(pids).collect()
}

fn times(field: &Field) -> [String; 2] {
    let ms = |duration: Duration| duration.as_millis();
    [format!("--warm-up={}", ms(field.scale.warm_up)), format!("--measure={}", ms(field.scale.measure))]
}

/// Runs a client process to its end, and reads the line it prints.
async fn client_process<T: DeserializeOwned>(field: &Field, arguments: Vec<String>) -> io::Result<T> {
    let arguments = std::iter::once("client".to_owned()).chain(arguments).map(OsString::from).collect();
    let client = Process::start_own(field.folder.path(), "client", arguments)?;
    let output = client.finish(field.scale.warm_up + field.scale.measure + OVERHEAD_MAX).await?;
    serde_json::from_str(&output).map_err(io::Error::from)
}
