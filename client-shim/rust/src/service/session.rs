//! One session, as long as it is at this service.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::Stream;
use http::Request;
use steadfast_protocol::steadfast_v1::SessionId;
use steadfast_protocol::steadfast_v1::service::Attachment;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::wire::{self, Pulse, Wire};

use super::shared::SharedSession;
use super::{Commit, End, Ended, Event, HandshakeError, Options, Push, Sender, driver};

/// A session. Dropping it before its end is like the service's death: the broker takes it to another one.
#[derive(Debug)]
pub struct Session {
    sender: Sender,
    attachment: Attachment,
    request: Request<()>,
}

impl Session {
    /// Of a connection that is upgraded: its 101 was sent, with `Steadfast-Shim: 1`, without extensions. For
    /// services with an HTTP server of their own; [`super::Listener`] does this for all others. `request` is
    /// the upgrade's. Waits for the session to come, for [`Options::handshake_timeout`] at the most.
    ///
    /// # Errors
    /// When none comes.
    pub async fn attach<S>(
        stream: S,
        request: Request<()>,
        options: &Options,
    ) -> Result<Session, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let attached = Session::attach_now(stream, request, options);
        match tokio::time::timeout(options.handshake_timeout, attached).await {
            Ok(attached) => attached,
            Err(_) => Err(HandshakeError::Timeout),
        }
    }

    pub(super) async fn attach_now<S>(
        stream: S,
        request: Request<()>,
        options: &Options,
    ) -> Result<Session, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(options.socket())).await;
        let mut wire = Wire::new(socket, Pulse::default());
        let shared = Arc::new(SharedSession::new(options));
        match driver::attach(&mut wire, &shared).await {
            Ok(attachment) => {
                tokio::spawn(driver::drive(wire, shared.clone()));
                Ok(Session { sender: Sender::new(shared), attachment, request })
            }
            Err(end) => {
                let close = match &end {
                    End::Breach(breach) => Some(wire::close(driver::close_for(*breach))),
                    _ => None,
                };
                tokio::spawn(wire.finish(close));
                Err(HandshakeError::NoSession(end))
            }
        }
    }

    /// The session's name, the same at every service it comes to.
    pub fn id(&self) -> SessionId {
        self.attachment.session
    }

    /// Grows with each service that the session comes to: a fencing token for a store of the service's own.
    pub fn epoch(&self) -> u64 {
        self.attachment.epoch
    }

    /// The client's handshake, with the broker's own headers.
    pub fn request(&self) -> &Request<()> {
        &self.request
    }

    /// What the last commit with a capsule has left, here or elsewhere; `None`: none ever was.
    pub fn capsule(&self) -> Option<&[u8]> {
        self.attachment.capsule.as_deref()
    }

    /// Seq of the first message that comes here.
    pub fn first_seq(&self) -> u64 {
        self.attachment.committed.saturating_add(1)
    }

    /// Number of the last commit that was applied when the session came.
    pub fn applied_at_first(&self) -> u64 {
        self.attachment.applied
    }

    /// What happens next; `None` after [`Event::Ended`]. Nothing is lost when it is dropped before.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|cx| self.sender.shared().poll_event(cx)).await
    }

    /// See [`Sender::commit`].
    pub fn commit(&self, upto: u64) -> Commit<'_> {
        self.sender.commit(upto)
    }

    /// See [`Sender::repeat`].
    pub fn repeat(&self, number: u64, upto: u64) -> Commit<'_> {
        self.sender.repeat(number, upto)
    }

    /// See [`Sender::push`].
    pub fn push(&self) -> Push<'_> {
        self.sender.push()
    }

    /// See [`Sender::applied`].
    ///
    /// # Errors
    /// See [`Sender::applied`].
    pub async fn applied(&self, number: u64) -> Result<(), Ended> {
        self.sender.applied(number).await
    }

    /// Whether the session is to leave. [`Event::Draining`] says so too, in its turn.
    pub fn is_draining(&self) -> bool {
        self.sender.shared().lock().machine.is_draining()
    }

    /// What sends, to be given to other tasks.
    pub fn sender(&self) -> &Sender {
        &self.sender
    }

    /// Ends the session: a Close goes to the client, behind everything that was sent. Waits until that is done,
    /// for some seconds at the most. The code is 1000 or one of 3000 to 4999 (RFC 6455, 7.4); another is
    /// taken for 1000. A reason longer than 123 bytes is cut.
    pub async fn close(self, code: u16, reason: &str) {
        self.sender.shared().lock().close(wire::Close::new(code.into(), reason));
        self.sender.shared().work.notify_one();
        self.sender.shared().until(|state| state.end.as_ref().map(|_| ())).await;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.sender.shared().lock().abandoned = true;
        self.sender.shared().work.notify_one();
    }
}

impl Stream for Session {
    type Item = Event;

    /// As [`Session::next`].
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.sender.shared().poll_event(cx)
    }
}
