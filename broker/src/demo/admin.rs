//! What the broker says of itself over its admin API.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::api::client::{Api, Error};
use crate::api::model::backends::{BackendReply, BackendsReply};
use crate::api::model::sessions::{SessionReply, SessionsReply};

/// How often the live picture is read anew.
const INTERVAL: Duration = Duration::from_millis(250);

/// Sessions on one page, the most that the broker gives.
const PAGE: usize = 10_000;

/// Sessions and backends at one moment.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Every session that lives.
    pub(super) sessions: Vec<SessionReply>,
    /// Every backend of every pool.
    pub(super) backends: Vec<BackendReply>,
}

/// Reads one report.
pub(super) async fn read(api: &Api) -> Result<Report, Error> {
    let sessions = sessions(api).await?;
    let BackendsReply { backends } = api.get("/api/v1/backends").await?.view()?;
    Ok(Report { sessions, backends })
}

/// Page by page, as others come and go meanwhile.
async fn sessions(api: &Api) -> Result<Vec<SessionReply>, Error> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/v1/sessions?limit={PAGE}{after}");
        let SessionsReply { sessions, next, .. } = api.get(&path).await?.view()?;
        all.extend(sessions);
        match next {
            Some(next) => after = format!("&after={next}"),
            None => return Ok(all),
        }
    }
}

/// Keeps the newest report. A report that cannot be read is left out: the verdict rests on one that
/// is read at the end, and must be.
pub(super) fn watch(api: Api) -> watch::Receiver<Arc<Report>> {
    let (sender, receiver) = watch::channel(Arc::default());
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !sender.is_closed() {
            ticks.tick().await;
            if let Ok(report) = read(&api).await {
                sender.send_replace(Arc::new(report));
            }
        }
    });
    receiver
}
