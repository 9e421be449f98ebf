//! Connections that hyper reads: all but those whose first request is an upgrade, comes whole at once and is taken. One
//! request comes after another, until one of them becomes a session, either side has enough, or nothing comes any more.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1::{self, Parts};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep_until};

use super::connection::{ClientConnection, FailedRequest, locked};
use super::response::{ResponseBody, switching};
use super::target::FirstLine;
use super::turns::{RequestTurns, TurnBody, TurnStand};
use super::upgrade::{AnsweredRequest, UpgradeAnswer, patience};
use crate::config::settings::HeaderCase;
use crate::http::header_case::Spelled;
use crate::http::http2_goodbye;
use crate::http::token_list::asks_for_websocket;
use crate::net::address::Address;
use crate::net::patient::Patient;
use crate::net::stream::Stream;

/// How often the kernel asks whether a silent client's host is there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// More than it takes to read a head that is there.
const HEAD_KNOWN: Duration = Duration::from_secs(60);

pub(super) const NOT_PLAIN: &str = "this port speaks TLS: ask it by https:// or wss://";

const NO_HTTP_2: &str = "this port speaks HTTP/1.1 alone";

const NO_PLACES: &str = "the broker ends";

impl ClientConnection {
    /// Has hyper read requests from what has come and the connection, and answers them: the first with `response`, if that
    /// is known, which is then the last. The first is to be there by `until`.
    pub(super) async fn converse_by_hyper(
        &self,
        (stream, came): (Stream, Bytes),
        response: Option<Response<ResponseBody>>,
        until: Instant,
    ) -> Result<AnsweredRequest, FailedRequest> {
        // Before it has spoken, only who should speak TLS has an answer; any other is that to a request of HTTP/1.1.
        let no_http_2 = if response.is_some() { NOT_PLAIN } else { NO_HTTP_2 };
        let address = Address::of(self.peer.client.ip());
        let Some(place) = self.broker.guests.join(address).await else {
            return Err(FailedRequest { why: NO_PLACES.to_owned(), told: None });
        };
        // It is not kept for as long as the connection is there.
        let (timeouts, limits, case) = {
            let snapshot = self.broker.snapshot();
            let settings = &snapshot.settings;
            (settings.timeouts.clone(), settings.limits.clone(), self.header_case(&snapshot))
        };
        // Who has its answer needs not say anything in time.
        let until = if response.is_some() { Instant::now() + HEAD_KNOWN } else { until };
        let turns = Arc::new(RequestTurns::new(place, until, timeouts.http_idle, timeouts.handshake));
        let (response, next, fragment) = (Mutex::new(response), Mutex::new(None), AtomicBool::new(false));
        let service = service_fn(|request: Request<Incoming>| {
            let (known, next, turns, fragment) = (locked(&response).take(), &next, &turns, &fragment);
            async move {
                let response = match known {
                    Some(response) => response,
                    None if asks_for_websocket(request.headers()) => {
                        turns.upgrades(Instant::now() + patience(&self.broker.snapshot()));
                        // It takes one of its own.
                        self.leaves_place();
                        let answer = self.welcome(request.map(drop), fragment.load(Relaxed)).boxed().await;
                        match answer {
                            UpgradeAnswer::Refused(response) => response,
                            UpgradeAnswer::Switches(lines, what) => {
                                // hyper takes the response alone, and has no place for what is to follow it.
                                *locked(next) = Some(what);
                                switching(lines)
                            }
                        }
                    }
                    None => {
                        let turn = turns.begins();
                        self.respond(request, turn, fragment.load(Relaxed)).await
                    }
                };
                Ok::<_, Infallible>(response.map(|body| TurnBody::new(body, Arc::clone(turns))))
            }
            // hyper keeps room for it from the beginning, and it is large: it has the whole way to a backend in it. That of
            // an upgrade is larger still.
            .boxed()
        });
        // Who waits for events says nothing for long, and may be gone.
        if let Err(error) = stream.set_keepalive(KEEPALIVE) {
            tracing::debug!(%error, "a socket option was refused");
        }
        let seen = FirstLine::new(stream, came, &fragment, &turns);
        let stream = Spelled::new(Patient::new(seen, timeouts.client_stall), case);
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .title_case_headers(case == HeaderCase::Title)
            .max_headers(limits.header_lines)
            .max_header_size(limits.header)
            .max_buf_size(limits.header.max(8192))
            .serve_connection(TokioIo::new(stream), service);
        let served = {
            let mut going = pin!(async {
                tokio::select! {
                    () = turns.place.told() => {}
                    () = self.broker.guests.ended() => {}
                }
            });
            let (mut listens, mut goes, mut timer) = (false, false, pin!(sleep_until(until)));
            poll_fn(|cx| {
                loop {
                    if let Poll::Ready(served) = connection.poll_unpin(cx) {
                        return Poll::Ready(Some(served));
                    }
                    let TurnStand { until, is_waiting, is_upgrading } = turns.stand();
                    // A session's connection does not end with its upgrade. One that answers makes no room before it waits,
                    // and has been told of the end of all by a word that needs no other look.
                    if !goes
                        && !is_upgrading
                        && (self.broker.guests.are_ending()
                            || ((is_waiting || !listens) && going.as_mut().poll(cx).is_ready()))
                    {
                        goes = true;
                        std::pin::Pin::new(&mut connection).graceful_shutdown();
                        continue;
                    }
                    listens |= !is_upgrading;
                    let Some(until) = until else { return Poll::Pending };
                    // It need not be set anew for each request: when it is over, it is looked what holds by then.
                    if timer.deadline() > until {
                        timer.as_mut().reset(until);
                    }
                    if timer.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    if Instant::now() >= until {
                        return Poll::Ready(None);
                    }
                    timer.as_mut().reset(until);
                }
            })
            .await
        };
        let begun = turns.have_begun();
        let Parts { io, read_buf, .. } = connection.into_parts();
        let (mut stream, unread) = io.into_inner().into_inner().into_inner().into_inner();
        let early = if unread.is_empty() { read_buf } else { [read_buf, unread].concat().into() };
        let next = locked(&next).take();
        match served {
            Some(Ok(())) => {}
            // Of this hyper says nothing. A beginning that comes in pieces is no HTTP/1.1 before it is known as this.
            Some(Err(error)) if error.is_parse_version_h2() => {
                stream.write_all(&http2_goodbye::goodbye(no_http_2)).await?;
                stream.flush().await?;
                return Err(FailedRequest { why: no_http_2.to_owned(), told: Some(stream) });
            }
            // What cannot be read has got its answer, too.
            Some(Err(error)) if error.is_parse() => {
                return Err(FailedRequest { why: error.to_string(), told: Some(stream) });
            }
            Some(Err(error)) if !begun => {
                return Err(FailedRequest { why: error.to_string(), told: None });
            }
            None if !begun => {
                return Err(FailedRequest { why: "its request did not come in time".to_owned(), told: None });
            }
            None if turns.stand().is_waiting => {}
            None => return Err(FailedRequest { why: "it took too long".to_owned(), told: None }),
            // It has gone in the midst of an answer, or takes nothing of it.
            Some(Err(error)) => tracing::debug!(client = %self.peer.client, %error, "a connection has ended"),
        }
        Ok(AnsweredRequest { stream, early, next })
    }
}
