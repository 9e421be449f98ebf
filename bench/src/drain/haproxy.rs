//! What an operator of HAProxy does: the server gets no more sessions, and those that it has are ended.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// How long one answer may take.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// Takes the first server out, by the stats socket.
pub(super) async fn take_out(stats_socket: &Path) -> io::Result<()> {
    for command in ["set server servers/s0 state maint", "shutdown sessions server servers/s0"] {
        let answer = timeout(ANSWER_TIME_MAX, say(stats_socket, command)).await??;
        // It says nothing when all is well.
        if !answer.trim().is_empty() {
            return Err(io::Error::other(format!("HAProxy answers `{command}` with: {}", answer.trim())));
        }
    }
    Ok(())
}

async fn say(stats_socket: &Path, command: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(stats_socket).await?;
    stream.write_all(format!("{command}\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
