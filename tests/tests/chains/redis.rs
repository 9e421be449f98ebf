//! A Redis of the test's own, which keeps nothing.

use std::path::{Path, PathBuf};

use steadfast_tests::process::Process;
use steadfast_tests::wait::eventually_async;
use tempfile::TempDir;
use tokio::net::UnixStream;

use crate::peers::tools::Tool;

/// A `redis-server` that listens on a file. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Redis {
    file: PathBuf,
    _process: Process,
    _folder: TempDir,
}

impl Redis {
    /// Starts it, and waits until it listens.
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("redis.sock");
        let mut command = Tool::Redis.command();
        command.current_dir(folder.path()).args(["--port", "0", "--save", "", "--unixsocket"]).arg(&file);
        let process = Process::spawn("redis-server", &mut command);
        eventually_async("Redis to listen", async || UnixStream::connect(&file).await.ok()).await;
        Self { file, _process: process, _folder: folder }
    }

    /// Where it listens.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }
}
