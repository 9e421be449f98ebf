//! Reading the configuration again, whole or not at all.
//!
//! Half a file may be a configuration too, one with fewer backends. So what was read of a file that has changed counts
//! only when the file is the same a moment later; else somebody is writing it, and it is read again. The same holds for
//! the files that it names.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

use crate::broker::Broker;
use crate::config::{ConfigError, Look, Settings, Source, restart, secrets};
use crate::metric::{self, ReloadOutcome};
use crate::net::blocking;
use crate::telemetry::logging::Levels;
use crate::tls::{self, TlsSetup};

/// Somebody asks for a reload, and waits for what comes of it.
pub(crate) type ReloadRequest = oneshot::Sender<Result<(), String>>;

/// Requests that wait at once; further ones are refused.
pub(crate) const REQUESTS: usize = 16;

/// So long nobody must have written what was read.
const SETTLED: Duration = Duration::from_millis(250);

/// How long a file is read again and again that is written meanwhile.
const WRITTEN_MAX: Duration = Duration::from_secs(5);

/// The configuration, and what the files hold that it names.
type Loaded = (Settings, TlsSetup);

/// What makes the configuration that is read again, and where it goes.
pub(crate) struct Reloader {
    pub(crate) broker: Arc<Broker>,
    pub(crate) source: Source,
    pub(crate) levels: Levels,
    /// The files as they were before they were first read.
    pub(crate) seen: Look,
}

impl Reloader {
    /// Reloads on SIGHUP, on request and on change, until it is dropped.
    pub(crate) async fn run(
        self,
        mut hangups: mpsc::Receiver<()>,
        mut requests: mpsc::Receiver<ReloadRequest>,
    ) {
        let mut known = self.seen.clone();
        loop {
            tokio::select! {
                Some(()) = hangups.recv() => self.reload("SIGHUP", &mut known, None).await,
                Some(request) = requests.recv() => self.reload("the API", &mut known, Some(request)).await,
                () = self.changed(&known) => self.reload("a change of the file", &mut known, None).await,
            }
        }
    }

    async fn reload(&self, cause: &'static str, known: &mut Look, request: Option<ReloadRequest>) {
        let done = self.try_reload(known).await;
        tell(cause, &done);
        if let Some(request) = request {
            // Whoever asked may have gone.
            let _ = request.send(done.map_err(|lines| lines.join("\n")));
        }
    }

    async fn try_reload(&self, known: &mut Look) -> Result<(), Vec<String>> {
        let (settings, tls) = self.load_settled(known).await?;
        let fixed = restart::differences(&self.broker.snapshot().settings, &settings);
        if !fixed.is_empty() {
            let keys = fixed.join(", ");
            return Err(vec![format!("nothing is changed: a restart is needed to change {keys}")]);
        }
        self.apply(settings, tls)
    }

    /// What the file says when nobody writes it; or what is wrong with it then.
    async fn load_settled(&self, known: &mut Look) -> Result<Loaded, Vec<String>> {
        let until = Instant::now() + WRITTEN_MAX;
        loop {
            let (look, loaded) = self.load(known).await?;
            let changed = look.differs(known);
            *known = look;
            if changed {
                sleep(SETTLED).await;
            }
            if self.source.look_again(known) == *known {
                return loaded.map_err(|error| error.lines().collect());
            }
            if Instant::now() >= until {
                // What the file is at last is to be taken for a change.
                known.forget();
                return Err(vec![format!(
                    "nothing is read: the file has been written for {} seconds without a pause; put a new one in its \
                     place in one step, by a rename",
                    WRITTEN_MAX.as_secs()
                )]);
            }
        }
    }

    /// What the files say, and how they were before they were read: what changes meanwhile is another change.
    async fn load(&self, known: &Look) -> Result<(Look, Result<Loaded, ConfigError>), Vec<String>> {
        let (source, known) = (self.source.clone(), known.clone());
        let present = self.broker.snapshot().tls.clone();
        // A file may take its time, and this thread answers health checks too.
        let no_thread =
            |error| vec![format!("nothing is read: {error}; raise the limit of threads (ulimit -u)")];
        blocking::call(move || load(&source, &known, &present)).await.map_err(no_thread)
    }

    fn apply(&self, settings: Settings, tls: TlsSetup) -> Result<(), Vec<String>> {
        self.levels.set(&settings.log.level).map_err(|error| vec![error])?;
        tls.log();
        for warning in secrets::warnings(&settings) {
            tracing::warn!("{warning}");
        }
        self.broker.reconfigure(settings, tls);
        Ok(())
    }

    /// Waits until the file differs from what is known and has stopped changing. It is looked at,
    /// not watched: that works on every file system, and with files that are replaced by links.
    async fn changed(&self, known: &Look) {
        let every = self.broker.snapshot().settings.reload.watch;
        if every.is_zero() || self.source.file().is_none() {
            return pending().await;
        }
        let mut last = known.clone();
        loop {
            sleep(every).await;
            let look = self.source.look_again(known);
            if look.differs(known) && look == last {
                return;
            }
            last = look;
        }
    }
}

/// One reading. Of a configuration with a mistake it is not known which files it names: they are those of before.
fn load(source: &Source, known: &Look, present: &TlsSetup) -> (Look, Result<Loaded, ConfigError>) {
    let own = source.look();
    let mut settings = match source.load() {
        Ok(settings) => settings,
        Err(error) => return (own.naming_those_of(known), Err(error)),
    };
    let look = own.naming([secrets::files(&settings), tls::files(&settings)].concat());
    let loaded = secrets::read(&mut settings, source.file())
        .and_then(|()| tls::load(&settings, source.file(), Some(present)));
    (look, loaded.map(|tls| (settings, tls)))
}

fn tell(cause: &'static str, done: &Result<(), Vec<String>>) {
    match done {
        Ok(()) => {
            metric::RELOADS.count(ReloadOutcome::Applied);
            tracing::info!(cause, "configuration reloaded");
        }
        Err(lines) => {
            metric::RELOADS.count(ReloadOutcome::Refused);
            for problem in lines {
                tracing::error!(cause, problem, "configuration not reloaded; the present one stays");
            }
        }
    }
}
