//! The course of the demo: the script is played while the crowd talks and the show goes on.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use steadfast_protocol::session::Status;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior};

use super::Options;
use super::admin::{self, Report};
use super::backends::Backend;
use super::cast::POOLS;
use super::crowd::{Client, Crowd};
use super::drain::Drain;
use super::evidence::{Evidence, PoolEvidence, SessionEvidence};
use super::pause::{Strike, StrikeKind, WINDOW};
use super::script::{Deed, Event};
use super::show::{BackendCell, PoolRow, Show, Snapshot};
use super::stage::Stage;
use crate::upstream::backend::BackendState;

/// How often the table is drawn.
const FRAME: Duration = Duration::from_millis(200);

/// After this long without a new answer, the answers that are missing will not come.
const QUIET: Duration = Duration::from_secs(2);

/// The longest wait for the last answers.
const LAST_ANSWERS_MAX: Duration = Duration::from_secs(20);

/// The longest wait for drains. They take about a second.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// A demo under way.
pub(super) struct Performance {
    crowd: Crowd,
    stage: Stage,
    reports: watch::Receiver<Arc<Report>>,
    show: Show,
    frames: Interval,
    strikes: Vec<Strike>,
    drains: Vec<Drain>,
}

impl Performance {
    /// Starts the processes, connects the crowd and lets it talk.
    pub(super) async fn begin(options: &Options) -> io::Result<Self> {
        let Options { sessions, rate, .. } = options;
        let stage = Stage::set().await?;
        let pools = POOLS.len();
        let title = format!("Steadfast demo: {pools} pools of {sessions} sessions, {rate} messages/s each");
        let show = Show::open(title)?;
        let reports = admin::watch(stage.broker.api().clone());
        let period = Duration::from_secs(1) / *rate;
        let crowd = Crowd::gather(stage.broker.listeners(), *sessions as usize, period).await?;
        let mut frames = tokio::time::interval(FRAME);
        frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self { crowd, stage, reports, show, frames, strikes: Vec::new(), drains: Vec::new() })
    }

    /// Plays the script, and lets the crowd talk until the time is up.
    pub(super) async fn play(&mut self, events: &[Event], seconds: u64) -> io::Result<()> {
        for event in events {
            self.show_until(event.at).await?;
            if event.deed == Deed::Undrain {
                self.await_drains().await?;
            }
            self.announce(event)?;
            self.perform(event).await?;
        }
        self.show_until(Duration::from_secs(seconds)).await
    }

    async fn perform(&mut self, event: &Event) -> io::Result<()> {
        let api = self.stage.broker.api();
        match event.deed {
            Deed::Drain => {
                for (pool, backend) in event.places() {
                    self.drains.push(Drain::begin(api, pool, backend).await?);
                }
            }
            Deed::Undrain => {
                for drain in &self.drains {
                    drain.undo(api).await?;
                }
            }
            _ => self.stage.perform(event).await?,
        }
        Ok(())
    }

    /// Waits until all drains are over, and a while longer: what follows of them is theirs.
    async fn await_drains(&mut self) -> io::Result<()> {
        let give_up = self.crowd.now() + DRAIN_MAX;
        while self.drains.iter().any(|drain| drain.operation.state.is_active()) && self.crowd.now() < give_up
        {
            self.show_next().await?;
            for drain in &mut self.drains {
                drain.look(self.stage.broker.api()).await?;
            }
        }
        let until = self.crowd.now() + WINDOW;
        for strike in self.strikes.iter_mut().filter(|strike| strike.kind == StrikeKind::Drained) {
            strike.until = until;
        }
        self.show_until(until).await
    }

    /// The crowd falls silent; waits for the answers that are still to come.
    pub(super) async fn await_last_answers(&mut self) -> io::Result<()> {
        self.crowd.hush();
        let give_up = self.crowd.now() + LAST_ANSWERS_MAX;
        let (mut missing, mut since) = (self.unanswered(), self.crowd.now());
        while missing > 0 && self.crowd.now() < give_up {
            self.show_next().await?;
            let still_missing = self.unanswered();
            if still_missing != missing {
                (missing, since) = (still_missing, self.crowd.now());
            } else if self.crowd.now() > since + QUIET && self.all_have_backends() {
                break;
            }
        }
        self.show_next().await
    }

    /// What the clients saw and what the broker says. To be read before the clients leave.
    pub(super) async fn evidence(&self) -> io::Result<Evidence> {
        let report = admin::read(self.stage.broker.api()).await?;
        // A client's address alone is not enough: connections to different listeners may share one.
        let mut known: HashMap<_, _> = report
            .sessions
            .into_iter()
            .map(|session| ((session.pool.clone(), session.client), session))
            .collect();
        let pools = POOLS.iter().zip(self.crowd.pools()).map(|(pool, clients)| PoolEvidence {
            name: pool.name,
            promise: pool.promise,
            sessions: clients
                .iter()
                .map(|client| SessionEvidence {
                    transcript: client.transcript().clone(),
                    broker: known.remove(&(pool.name.to_owned(), client.address)),
                })
                .collect(),
        });
        let (strikes, drains) = (self.strikes.clone(), self.drains.clone());
        Ok(Evidence { pools: pools.collect(), strikes, drains })
    }

    /// The clients leave and all processes end. Returns where the logs are, when they are kept.
    pub(super) async fn end(self, keep_logs: bool) -> io::Result<Option<PathBuf>> {
        drop(self.show);
        self.crowd.leave().await;
        self.stage.clear(keep_logs).await
    }

    async fn show_until(&mut self, at: Duration) -> io::Result<()> {
        while let Some(left) = at.checked_sub(self.crowd.now()) {
            tokio::select! {
                shown = self.show_next() => shown?,
                () = tokio::time::sleep(left) => {}
            }
        }
        Ok(())
    }

    async fn show_next(&mut self) -> io::Result<()> {
        self.frames.tick().await;
        self.stage.check()?;
        let report = self.reports.borrow().clone();
        self.show.moment(&self.snapshot(&report))
    }

    /// Says what is about to be done, and takes down strikes.
    fn announce(&mut self, event: &Event) -> io::Result<()> {
        let at = self.crowd.now();
        if let Some(kind) = event.strike() {
            self.strikes.extend(event.pools.iter().map(|&pool| {
                let backends = event.backends.iter().map(|&index| POOLS[pool].backend(index));
                Strike { kind, pool, backends: backends.collect(), at, until: at + WINDOW }
            }));
        }
        let names: Vec<_> = event.targets().collect();
        let served = |client: &&Client| {
            let transcript = client.transcript();
            transcript.service_at(at).is_some_and(|service| names.iter().any(|name| name == service))
        };
        let sessions = self.crowd.pools().iter().flatten().filter(served).count();
        self.show.event(at, &event.sentence(&names, sessions))
    }

    fn unanswered(&self) -> usize {
        self.crowd.pools().iter().flatten().map(|client| client.transcript().unanswered()).sum()
    }

    /// Whether no session is on its way to another backend, by the newest report.
    fn all_have_backends(&self) -> bool {
        let moving = |state| matches!(state, Status::Waiting | Status::Dialing | Status::Replaying);
        !self.reports.borrow().sessions.iter().any(|session| moving(session.state))
    }

    fn snapshot(&self, report: &Report) -> Snapshot {
        let pools = POOLS.iter().zip(self.crowd.pools()).zip(self.stage.backends());
        let pools = pools.map(|((pool, clients), backends)| PoolRow {
            backends: backends.iter().map(|backend| cell(backend, report)).collect(),
            ..row(pool.name, clients, report)
        });
        Snapshot { at: self.crowd.now(), pools: pools.collect() }
    }
}

/// A pool's figures, without its backends.
fn row(name: &'static str, clients: &[Client], report: &Report) -> PoolRow {
    let mut row = PoolRow { name, ..PoolRow::default() };
    for client in clients {
        let transcript = client.transcript();
        row.sessions += usize::from(transcript.closed().is_none());
        row.sent += transcript.sent();
        row.answered += transcript.answered();
        row.twice += transcript.twice();
    }
    for session in report.sessions.iter().filter(|session| session.pool == name) {
        row.replayed += session.ledger.upstream.replayed as usize;
        row.in_doubt += session.ledger.upstream.in_doubt as usize;
    }
    row
}

fn cell(backend: &Backend, report: &Report) -> BackendCell {
    let status = report.backends.iter().find(|status| status.name == backend.name());
    BackendCell {
        state: backend.state(),
        draining: status.is_some_and(|status| status.state == BackendState::Draining),
        penalised: status.is_some_and(|status| status.penalised),
        sessions: status.map_or(0, |status| status.sessions),
    }
}
