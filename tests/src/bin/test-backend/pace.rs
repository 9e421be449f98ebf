//! Reading no faster than a behaviour allows.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::Shared;

/// Bytes of a read at most when reading is slow.
const PART: usize = 4096;

/// A stream that is read at `--read-rate`, if there is one at the moment.
#[derive(Debug)]
pub(crate) struct Paced<R> {
    stream: R,
    shared: Arc<Shared>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl<R> Paced<R> {
    /// As fast or slow as `shared` says at each read.
    pub(crate) fn new(stream: R, shared: Arc<Shared>) -> Self {
        Self { stream, shared, pause: None }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Paced<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        let Some(rate) = self.shared.behaviour().read_rate else {
            return Pin::new(&mut self.stream).poll_read(cx, into);
        };
        let mut part = [0; PART];
        let mut part = ReadBuf::new(&mut part[..PART.min((rate / 50).max(1)).min(into.remaining())]);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut part))?;
        into.put_slice(part.filled());
        let time = Duration::from_secs_f64(part.filled().len() as f64 / rate as f64);
        self.pause = Some(Box::pin(sleep(time)));
        Poll::Ready(Ok(()))
    }
}
