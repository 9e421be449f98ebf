//! Serving a connection: its first byte, what a proxy or TLS puts in front of its request, and the request, which nearly always is
//! an upgrade that comes whole at once. All else is left to hyper.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::Response;
use http::header::{self, HeaderName};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, sleep_until, timeout};

use super::accept::{Accepted, Introduction};
use super::connection::{ClientConnection, FailedRequest};
use super::introduction;
use super::response::ResponseBody;
use super::upgrade::{AnsweredRequest, Next, UpgradeAnswer, patience};
use crate::broker::Broker;
use crate::config::settings::LimitSettings;
use crate::http::head::{self, RequestHead};
use crate::http::header_case::spell;
use crate::http::token_list::asks_for_websocket;
use crate::net::stream::Stream;
use crate::routing::listener::ListenerId;
use crate::snapshot::Snapshot;

const NO_PLACE: &str = "another connection needs its place";

/// Bytes that are read at first: nearly all requests are shorter.
const FIRST_READ: usize = 8192;

/// What the first request of a connection comes to.
enum FirstRequest {
    Answered(AnsweredRequest),
    /// hyper reads it, from what has come and the connection, and has its answer if that is known.
    ByHyper {
        stream: Stream,
        came: Bytes,
        response: Option<Response<ResponseBody>>,
    },
}

impl ClientConnection {
    /// Serves the one request of a connection that `listener` has accepted, in a task of its own.
    pub(crate) fn spawn(broker: &Arc<Broker>, listener: ListenerId, accepted: Accepted) {
        let (broker, snapshot) = (Arc::clone(broker), broker.snapshot());
        let until = Instant::now() + snapshot.settings.timeouts.handshake;
        if snapshot.expects_proxy_header(listener.number) {
            tokio::spawn(ClientConnection::introduced(broker, listener, accepted, until));
        } else {
            // Made in its own place: the runtime moves what it is given half a dozen times.
            let served = Box::write(
                Box::new_uninit(),
                ClientConnection::serve(broker, &snapshot, listener, accepted, until),
            );
            tokio::spawn(Box::into_pin(served));
        }
    }

    /// Serves it when a proxy has said whom it is for.
    async fn introduced(broker: Arc<Broker>, listener: ListenerId, accepted: Accepted, until: Instant) {
        // What that takes is needed for a moment, and not while nothing else is said.
        let Some(accepted) = introduction::read(&broker, &listener, accepted, until).boxed().await else {
            return;
        };
        let snapshot = broker.snapshot();
        let served = ClientConnection::serve(broker, &snapshot, listener, accepted, until);
        drop(snapshot);
        served.await;
    }

    fn serve(
        broker: Arc<Broker>,
        snapshot: &Snapshot,
        listener: ListenerId,
        accepted: Accepted,
        until: Instant,
    ) -> impl Future<Output = ()> + Send + use<> {
        let Accepted { stream, peer, place, introduction } = accepted;
        let arrival = match introduction {
            Introduction::Client { arrival } => Some(arrival),
            // Of a listener for all addresses, only the socket knows.
            _ if snapshot.sends_proxy && listener.address.is_unspecified() => stream.local_address().ok(),
            _ => None,
        };
        let is_own = introduction == Introduction::Own;
        let relaying = Mutex::default();
        ClientConnection::run(
            Arc::new(ClientConnection {
                broker,
                listener,
                peer,
                place,
                arrival,
                is_own,
                relaying,
                secured: OnceLock::new(),
            }),
            stream,
            until,
        )
    }

    /// Until the first byte is there, a connection has a timer, and neither a buffer nor a parser: many may say nothing.
    async fn run(task: Arc<ClientConnection>, mut stream: Stream, until: Instant) {
        let begins = tokio::select! {
            // Who says something at the last moment is heard.
            biased;
            ready = stream.readable() => match ready {
                Err(_) if task.is_own => return task.looked(),
                ready => ready.map_err(|error| error.to_string()),
            },
            () = task.place.told() => Err(NO_PLACE.to_owned()),
            () = sleep_until(until) => Err("it said nothing".to_owned()),
        };
        match begins {
            Ok(()) => {
                let then = ClientConnection::begun(task, stream, until).await;
                if let Some(then) = then {
                    then.await;
                }
            }
            Err(why) => task.failed(&why),
        }
    }

    /// What follows the first byte, in an allocation of its own: it takes much more memory than the wait for that.
    fn begun(
        task: Arc<ClientConnection>,
        stream: Stream,
        until: Instant,
    ) -> BoxFuture<'static, Option<BoxFuture<'static, ()>>> {
        // The place first: it is made there then, and not copied, which for so much would take longer than most steps.
        let begun = Box::write(Box::new_uninit(), ClientConnection::converse(task, stream, until));
        Box::into_pin(begun)
    }

    /// Reads the request, which must be there by `until`, and goes on with what it comes to. Returns what follows if hyper is
    /// to read it: that may last, and needs nothing of the room that this takes.
    async fn converse(
        task: Arc<ClientConnection>,
        stream: Stream,
        until: Instant,
    ) -> Option<BoxFuture<'static, ()>> {
        let snapshot = task.broker.snapshot();
        // Large as it is, it is not moved.
        let answered = pin!(task.answered(&snapshot, stream, until));
        match task.unless_told(answered).await {
            Ok(FirstRequest::Answered(answered)) => task.goes_on(Ok(answered)).await,
            Ok(FirstRequest::ByHyper { stream, came, response }) => {
                let task = Arc::clone(&task);
                return Some(ClientConnection::visit(task, (stream, came), response, until).boxed());
            }
            Err(failed) => task.goes_on(Err(failed)).await,
        }
        None
    }

    /// Has hyper read the requests.
    async fn visit(
        task: Arc<ClientConnection>,
        connection: (Stream, Bytes),
        response: Option<Response<ResponseBody>>,
        until: Instant,
    ) {
        let served = pin!(task.converse_by_hyper(connection, response, until));
        let served = task.unless_told(served).await;
        task.goes_on(served).await;
    }

    /// Does this, unless another connection needs its place before.
    async fn unless_told<T>(
        &self,
        served: impl Future<Output = Result<T, FailedRequest>>,
    ) -> Result<T, FailedRequest> {
        let (mut served, mut told) = (pin!(served), pin!(self.place.told()));
        poll_fn(|cx| {
            // Who is told to go and has sent its request by now has a place elsewhere, and is not asked for this one.
            if let Poll::Ready(served) = served.as_mut().poll(cx) {
                return Poll::Ready(served);
            }
            match self.place.is_held() && told.as_mut().poll(cx).is_ready() {
                true => Poll::Ready(Err(FailedRequest { why: NO_PLACE.to_owned(), told: None })),
                false => Poll::Pending,
            }
        })
        .await
    }

    /// The connection becomes a session's, or ends.
    async fn goes_on(&self, served: Result<AnsweredRequest, FailedRequest>) {
        let AnsweredRequest { stream, early, next } = match served {
            Ok(answered) => answered,
            Err(FailedRequest { why, told }) => {
                self.failed(&why);
                if let Some(stream) = told {
                    self.close(stream).await;
                }
                return;
            }
        };
        let Some(next) = next else { return self.close(stream).await };
        self.place.give_back();
        match next {
            Next::Begins(admitted) => self.begin(*admitted, (stream, early)),
            Next::Returns(returning) => self.hand_over(returning, stream, early),
        }
    }

    /// Answers the request. Nearly all come whole at once and are answered with a 101, for which little is needed. Whatever
    /// else comes, and each answer with a body, is left to hyper.
    async fn answered(
        &self,
        snapshot: &Snapshot,
        mut stream: Stream,
        until: Instant,
    ) -> Result<FirstRequest, FailedRequest> {
        if let Some(tls) = snapshot.tls(self.listener.number) {
            stream = self.secured((stream, tls), until).boxed().await?;
        }
        let came = match poll_fn(|cx| first_bytes(&mut stream, cx)).await {
            Err(_) if self.is_own => Bytes::new(),
            came => came?,
        };
        if came.is_empty() {
            // As of a balancer that looks whether somebody listens.
            if self.is_own {
                self.looked();
            }
            return Ok(FirstRequest::Answered(AnsweredRequest { stream, early: came, next: None }));
        }
        let head =
            whole(&came, &snapshot.settings.limits).filter(|head| asks_for_websocket(head.request.headers()));
        let Some(RequestHead { request, length, has_fragment }) = head else {
            return Ok(FirstRequest::ByHyper { stream, came, response: None });
        };
        let early = came.slice(length..);
        let answer = tokio::select! {
            biased;
            answer = timeout(patience(snapshot), self.welcome(request, has_fragment)) => {
                answer.map_err(|_| FailedRequest { why: "it took too long".to_owned(), told: None })?
            }
            // What comes before the answer waits for it, and so does an end behind that.
            ended = stream.ended(), if early.is_empty() => {
                return Err(ended.err().map_or_else(FailedRequest::gone, FailedRequest::from));
            }
        };
        match answer {
            UpgradeAnswer::Switches(lines, next) => {
                let mut head = head::switching(&lines);
                spell(&mut head, self.header_case(snapshot));
                stream.write_all(&head).await?;
                stream.flush().await?;
                Ok(FirstRequest::Answered(AnsweredRequest { stream, early, next: Some(next) }))
            }
            UpgradeAnswer::Refused(response) => {
                Ok(FirstRequest::ByHyper { stream, came, response: Some(response) })
            }
        }
    }
}

/// Reads what is there, into no more memory than that takes.
fn first_bytes(stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
    let mut room = [const { MaybeUninit::uninit() }; FIRST_READ];
    let mut buffer = ReadBuf::uninit(&mut room);
    ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
    Poll::Ready(Ok(Bytes::copy_from_slice(buffer.filled())))
}

/// The request, if it is there as a whole, within the limits, and nothing of it is hyper's to judge.
fn whole(came: &Bytes, limits: &LimitSettings) -> Option<RequestHead> {
    let head = head::get_request(came, limits.header_lines)?;
    let is_of_body =
        |name: &HeaderName| *name == header::TRANSFER_ENCODING || *name == header::CONTENT_LENGTH;
    let has_body = head.request.headers().keys().any(is_of_body);
    (head.length <= limits.header && !has_body).then_some(head)
}
