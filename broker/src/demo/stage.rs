//! Everything that runs beside the crowd: the warden, the backends and the broker.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use futures::future;
use tempfile::TempDir;

use super::backends::Backend;
use super::broker::Broker;
use super::cast::{BACKENDS_PER_POOL, POOLS};
use super::script::{Deed, Event};
use super::warden::Warden;

/// The processes of the demo. Dropping it ends them all.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) broker: Broker,
    backends: Vec<Vec<Backend>>,
    backends_log: File,
    directory: TempDir,
    /// Last, so that it finds the others gone.
    warden: Warden,
}

impl Stage {
    /// Starts all processes. The configuration and the logs are in a new directory.
    pub(super) async fn set() -> io::Result<Self> {
        let directory = TempDir::with_prefix("steadfast-demo-")?;
        let backends_log = File::create(directory.path().join("backends.log"))?;
        let warden = Warden::start()?;
        let mut backends = Vec::new();
        for pool in POOLS {
            let start = |index| Backend::start(pool, index, &warden, &backends_log);
            backends.push(future::try_join_all((0..BACKENDS_PER_POOL).map(start)).await?);
        }
        let broker = Broker::start(&backends, directory.path(), &warden).await?;
        Ok(Self { broker, backends, backends_log, directory, warden })
    }

    /// The backends of each pool.
    pub(super) fn backends(&self) -> &[Vec<Backend>] {
        &self.backends
    }

    /// Does what the script says to their processes, to all backends concerned at once.
    pub(super) async fn perform(&mut self, event: &Event) -> io::Result<()> {
        let Self { backends, warden, backends_log, .. } = self;
        let concerned = backends.iter_mut().enumerate().filter(|(pool, _)| event.pools.contains(pool));
        let concerned = concerned.flat_map(|(_, pool)| pool.iter_mut().enumerate());
        let concerned = concerned.filter(|(index, _)| event.backends.contains(index));
        let deeds = concerned.map(|(_, backend)| backend.undergo(event.deed, warden, backends_log));
        future::try_join_all(deeds).await.map(drop)
    }

    /// An error when a process has ended that should run. The logs are kept then.
    pub(super) fn check(&mut self) -> io::Result<()> {
        let checked = self.broker.check();
        let checked = checked.and_then(|()| self.backends.iter_mut().flatten().try_for_each(Backend::check));
        checked.map_err(|error| {
            self.directory.disable_cleanup(true);
            io::Error::other(format!("{error}; its log is in {}", self.directory.path().display()))
        })
    }

    /// Ends all processes. Returns the directory of the logs when they are to be kept.
    pub(super) async fn clear(self, keep_logs: bool) -> io::Result<Option<PathBuf>> {
        let Self { broker, mut backends, backends_log, mut directory, warden } = self;
        directory.disable_cleanup(keep_logs);
        broker.stop().await?;
        for backend in backends.iter_mut().flatten() {
            backend.undergo(Deed::Kill, &warden, &backends_log).await?;
        }
        warden.dismiss().await;
        Ok(keep_logs.then(|| directory.path().to_owned()))
    }
}
