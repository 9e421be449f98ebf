//! An answer's body of which the first bytes say who its client is from now on.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::response::ResponseBody;
use crate::upstream::backend::Backend;
use crate::upstream::forward::AnswerFault;
use crate::upstream::sticky::StickyRequest;
use crate::upstream::sticky::engine_io::LOOKED_AT;

/// A body that is looked at while it passes. It is learned from before the client has it, whose next request may come at
/// once.
pub(super) struct LearnedBody {
    body: ResponseBody,
    identified: StickyRequest,
    backend: Arc<Backend>,
    seen: Vec<u8>,
}

impl LearnedBody {
    pub(super) fn new(body: ResponseBody, identified: StickyRequest, backend: Arc<Backend>) -> LearnedBody {
        LearnedBody { body, identified, backend, seen: Vec::new() }
    }

    fn look(&mut self, data: &[u8]) {
        let room = LOOKED_AT - self.seen.len();
        if room == 0 || !self.identified.learns_of_bodies() {
            return;
        }
        self.seen.extend_from_slice(data.get(..room).unwrap_or(data));
        self.identified.body(&self.backend, &self.seen);
    }
}

impl Body for LearnedBody {
    type Data = Bytes;
    type Error = AnswerFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerFault>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.look(data);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
