//! A request's body on its way to a backend: as it comes, within its limits. Nothing of it is kept.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tokio::time::{Instant, Sleep, sleep};

/// How long a backend is waited for that may want no body; as long as clients wait.
const UNDECIDED: Duration = Duration::from_secs(1);

/// A request's body.
pub(crate) struct RequestBody(Option<Box<Streamed>>);

/// One that comes from a client.
struct Streamed {
    body: Incoming,
    /// Bytes that may still come; `None`: any number.
    left: Option<usize>,
    pause: Duration,
    /// While the backend has not said whether it wants the body.
    permission: Option<Permission>,
    /// While the client pauses.
    end: Option<Pin<Box<Sleep>>>,
    watch: BodyWatch,
}

/// The wait for a 100 (RFC 9110, 10.1.1), on the backend's side: as long as nothing is read of a body, hyper does not ask
/// the client for it. A backend that says nothing, as one that does not know of it, wants the body.
struct Permission {
    told: Pin<Box<OwnedNotified>>,
    end: Pin<Box<Sleep>>,
}

/// Gives it.
#[derive(Debug, Clone)]
pub(crate) struct Permit(Arc<Notify>);

/// What has become of a body, for whoever waits for the answer.
#[derive(Debug, Clone, Default)]
pub(super) struct BodyWatch(Option<Arc<Mutex<BodyProgress>>>);

#[derive(Debug, Default)]
struct BodyProgress {
    last: Option<Instant>,
    through: bool,
    fault: Option<BodyFault>,
}

/// Why a client's body goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyFault {
    /// It is larger than it may be.
    Large,
    /// The client has paused for too long.
    Slow,
    /// It has ended too soon, or is no body.
    Broken,
}

impl fmt::Display for BodyFault {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            BodyFault::Large => "the request's body is too large",
            BodyFault::Slow => "the request's body has paused for too long",
            BodyFault::Broken => "the request's body is broken",
        })
    }
}

impl std::error::Error for BodyFault {}

impl RequestBody {
    pub(crate) fn none() -> RequestBody {
        RequestBody(None)
    }

    /// The body of a client's request: `most` bytes of it, and no longer pause than that.
    pub(crate) fn of(body: Incoming, most: Option<usize>, pause: Duration) -> RequestBody {
        if body.is_end_stream() {
            return RequestBody::none();
        }
        let watch = BodyWatch(Some(Arc::default()));
        let streamed = Streamed { body, left: most, pause, permission: None, end: None, watch };
        RequestBody(Some(Box::new(streamed)))
    }

    /// Waits with the body until the backend wants it, whose answer that says so calls for this; `None`: there is no body.
    pub(crate) fn ask_first(&mut self) -> Option<Permit> {
        let streamed = self.0.as_mut()?;
        let told = Arc::new(Notify::new());
        let permission = Permission {
            told: Box::pin(Arc::clone(&told).notified_owned()),
            end: Box::pin(sleep(UNDECIDED)),
        };
        streamed.permission = Some(permission);
        Some(Permit(told))
    }

    pub(super) fn watch(&self) -> BodyWatch {
        self.0.as_ref().map(|streamed| streamed.watch.clone()).unwrap_or_default()
    }
}

impl Permit {
    pub(crate) fn give(&self) {
        self.0.notify_one();
    }
}

impl BodyWatch {
    /// Returns when something of it was last read; `None`: there is none, or nothing was.
    pub(super) fn last_read(&self) -> Option<Instant> {
        self.progress()?.last
    }

    /// All of it was read, or there is none.
    pub(super) fn is_through(&self) -> bool {
        self.progress().is_none_or(|progress| progress.through)
    }

    /// Returns why it went no further.
    pub(super) fn fault(&self) -> Option<BodyFault> {
        self.progress()?.fault
    }

    /// No other thread waits for it.
    fn progress(&self) -> Option<MutexGuard<'_, BodyProgress>> {
        let progress = self.0.as_ref()?;
        Some(progress.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, note: impl FnOnce(&mut BodyProgress)) {
        if let Some(mut progress) = self.progress() {
            note(&mut progress);
        }
    }
}

impl Streamed {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        if let Some(Permission { told, end }) = &mut self.permission {
            if told.as_mut().poll(cx).is_pending() && end.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.permission = None;
        }
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            let pause = self.pause;
            let end = self.end.get_or_insert_with(|| Box::pin(sleep(pause)));
            return end.as_mut().poll(cx).map(|()| Some(Err(BodyFault::Slow)));
        };
        self.end = None;
        // Behind trailers nobody asks for more.
        let is_last = match &frame {
            None => true,
            Some(Ok(frame)) => frame.is_trailers() || self.body.is_end_stream(),
            Some(Err(_)) => false,
        };
        self.watch.note(|progress| (progress.last, progress.through) = (Some(Instant::now()), is_last));
        let Some(frame) = frame else { return Poll::Ready(None) };
        let Ok(frame) = frame else { return Poll::Ready(Some(Err(BodyFault::Broken))) };
        if let (Some(left), Some(data)) = (&mut self.left, frame.data_ref()) {
            match left.checked_sub(data.len()) {
                Some(rest) => *left = rest,
                None => return Poll::Ready(Some(Err(BodyFault::Large))),
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let Some(streamed) = &mut self.0 else { return Poll::Ready(None) };
        let polled = streamed.poll(cx);
        if let Poll::Ready(Some(Err(fault))) = &polled {
            streamed.watch.note(|progress| progress.fault = Some(*fault));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|streamed| streamed.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), |streamed| streamed.body.size_hint())
    }
}
