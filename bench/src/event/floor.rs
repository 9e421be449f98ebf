//! The floor of a pause: as many connections as were moved, dialled without any broker.

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::client::dial;
use crate::door::Door;
use crate::process::Process;

/// How long the bare dials may take.
const DIAL_TIME_MAX: Duration = Duration::from_secs(120);

/// Dials `backend` directly, `at_once` connections at a time. `None` when there is nothing to compare with.
pub(super) async fn dial(
    backend: &Door,
    connections: usize,
    at_once: usize,
    folder: &Path,
) -> io::Result<Option<dial::Figures>> {
    if connections == 0 {
        return Ok(None);
    }
    let arguments =
        ["client", "dial", &format!("--connections={connections}"), &format!("--at-once={at_once}")];
    let arguments = arguments.map(str::to_owned).into_iter().chain(backend.arguments());
    let dialler = Process::start_own(folder, "dial", arguments.map(Into::into).collect())?;
    let output = dialler.finish(DIAL_TIME_MAX).await?;
    serde_json::from_str(&output).map(Some).map_err(io::Error::from)
}
