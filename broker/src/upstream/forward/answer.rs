//! An answer's body on its way to the client: as it comes, and with it the request's place on the backend.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::futures::OwnedNotified;

use super::body::BodyWatch;
use super::connection::RequestConnection;
use super::kept;
use crate::upstream::backend::RequestLease;

/// Why an answer ends in its midst.
pub(crate) type AnswerFault = Box<dyn std::error::Error + Send + Sync>;

const DRAINED: &str = "its backend is drained, and the time of its requests is over";

/// A backend's body.
pub(crate) struct AnswerBody {
    body: Incoming,
    /// `None`: it is through.
    rest: Option<Box<Rest>>,
    /// It may end at any time: its client comes again for more (HTML, 9.2.3).
    pub(crate) is_event_stream: bool,
}

/// What is given back when it is through.
struct Rest {
    lease: RequestLease,
    keeping: Option<Keeping>,
    /// While nothing comes.
    cut: Option<Pin<Box<OwnedNotified>>>,
}

/// The connection, for another request.
pub(super) struct Keeping {
    pub(super) connection: RequestConnection,
    /// What has become of the body of the present one.
    pub(super) sent: BodyWatch,
    /// As one of how many it is kept, and for how long.
    pub(super) most: usize,
    pub(super) time: Duration,
}

impl AnswerBody {
    pub(super) fn new(body: Incoming, lease: RequestLease, keeping: Option<Keeping>) -> AnswerBody {
        let rest = Some(Box::new(Rest { lease, keeping, cut: None }));
        AnswerBody { body, rest, is_event_stream: false }
    }

    /// All of it has come.
    fn through(&mut self) {
        let Some(rest) = self.rest.take() else { return };
        let Rest { lease, keeping, .. } = *rest;
        // Who has answered before it had the whole request may read on for long.
        if let Some(Keeping { connection, sent, most, time }) = keeping
            && sent.is_through()
        {
            kept::keep(lease.backend().id, connection, most, time);
        }
    }

    /// Whether it is to end, since its backend is drained. Asked while nothing comes.
    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(rest) = &mut self.rest else { return Poll::Pending };
        let lease = &rest.lease;
        rest.cut.get_or_insert_with(|| Box::pin(lease.cut())).as_mut().poll(cx)
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = AnswerFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerFault>>> {
        if self.rest.is_none() {
            return Poll::Ready(None);
        }
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                // Behind trailers nobody asks for more.
                if self.body.is_end_stream() || frame.is_trailers() {
                    self.through();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.rest = None;
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(None) => {
                self.through();
                Poll::Ready(None)
            }
            Poll::Pending if self.poll_cut(cx).is_ready() => {
                self.rest = None;
                Poll::Ready((!self.is_event_stream).then(|| Err(DRAINED.into())))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        // Of one without a body nobody asks for it.
        if self.body.is_end_stream() {
            self.through();
        }
    }
}
