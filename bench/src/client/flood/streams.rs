//! Floods of sessions that are there.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout_at};

use super::Flood;
use crate::client::open_all;
use crate::link::Link;

/// Bytes that are written, or read, at a time.
const QUEUED: usize = 256 * 1024;

/// How much at a time, and with which pause, when it is not to be as much as goes.
const LITTLE: usize = 64 * 1024;
const READ_OF_THE_DEAF: usize = 4 * 1024;
const PAUSE: Duration = Duration::from_millis(10);

/// The sessions of a flood.
pub(super) async fn open(address: SocketAddr, connections: usize) -> io::Result<Vec<Link>> {
    // Browsers with low numbers are neighbours.
    const FIRST: u64 = 1_000_000;
    open_all(address.into(), FIRST, connections, Link::open_to_speaker).await
}

/// Floods until it is time; how many bytes were taken.
pub(super) async fn flood(link: Link, flood: Flood, until: Instant) -> io::Result<u64> {
    let frame = flood.frame();
    let frames = frame.repeat((QUEUED / frame.len()).max(1));
    let (mut reader, mut writer) = link.into_socket()?.into_split();
    let mut bytes = 0;
    let write = async {
        match flood {
            // Its backend floods.
            Flood::BackendPings => std::future::pending().await,
            Flood::Open => loop {
                let at = bytes % frames.len();
                bytes += writer.write(&frames[at..frames.len().min(at + LITTLE)]).await?;
                sleep(PAUSE).await;
            },
            _ => {
                while let n @ 1.. = writer.write(&frames[bytes % frames.len()..]).await? {
                    bytes += n;
                }
                io::Result::Ok(())
            }
        }
    };
    let read = async {
        let (most, pause) = match flood {
            Flood::Deaf => (READ_OF_THE_DEAF, Some(PAUSE)),
            _ => (QUEUED, None),
        };
        let mut buffer = vec![0; most];
        while reader.read(&mut buffer).await? > 0 {
            if let Some(pause) = pause {
                sleep(pause).await;
            }
        }
        io::Result::<()>::Err(io::ErrorKind::UnexpectedEof.into())
    };
    // Both at once: one that writes only when it has read would wait for answers.
    let both = async { tokio::try_join!(write, read).map(|((), ())| ()) };
    if let Ok(ended) = timeout_at(until.into(), both).await {
        ended?;
    }
    Ok(bytes as u64)
}
