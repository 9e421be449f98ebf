//! Backends that cannot be reached, or end without an answer: what is tried again, and what must not be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use steadfast_tests::backend::Backend;
use steadfast_tests::origin::{Origin, Served, ok};
use steadfast_tests::wire::Wire;
use tokio::task::JoinHandle;

use crate::front::{Front, Plan, is_haproxy};
use crate::limits::assert_told;
use crate::requests::request;

/// `a` by hand, which gets all that it can get, and `b`, which answers.
async fn scene() -> (Origin, Served, Front) {
    let (a, b) = (Origin::listen().await, Origin::listen().await);
    let plan = Plan::over(&[("a", a.address()), ("b", b.address())]).first_first();
    let front = plan.start().await;
    (a, b.serve(|request| ok(format!("b has {} {}", request.method(), request.text()))), front)
}

#[tokio::test]
async fn where_nobody_is_it_says_so() {
    let (a, b) = (Backend::absent("a", ""), Backend::absent("b", ""));
    let front = Plan::over(&[("a", a.address()), ("b", b.address())]).start().await;
    for head in ["GET /", "POST /\nContent-Length: 0", "HEAD /"] {
        let mut client = Wire::dial(front.address).await;
        client.send(request(head, "")).await;
        if head.starts_with("HEAD") {
            assert_eq!(client.answer_to_head().await.status(), 503);
        } else {
            assert_told(&client.answer().await, 503);
        }
    }
}

/// Nothing of it was written, so that a POST goes to another one, too, with all of its body.
#[tokio::test]
async fn who_is_refused_by_one_is_served_by_the_other() {
    let (a, b) = (Backend::absent("a", ""), Origin::listen().await);
    let front = Plan::over(&[("a", a.address()), ("b", b.address())]).first_first().start().await;
    let served = b.serve(|request| ok(request.text()));
    for n in 0..10 {
        let mut client = Wire::dial(front.address).await;
        for head in [
            format!("GET /{n}"),
            format!("POST /{n}\nContent-Length: 4"),
            format!("PUT /{n}\nContent-Length: 4"),
        ] {
            let body = if head.starts_with("GET") { "" } else { "body" };
            client.send(request(&head, body)).await;
            let answer = client.answer().await;
            assert_eq!((answer.status(), answer.text().as_str()), (200, body), "{head}");
        }
    }
    assert_eq!(served.requests().len(), 30, "each one once");
}

/// How a backend ends a connection on which it has read a request.
#[derive(Debug, Clone, Copy)]
enum End {
    Close,
    Reset,
    /// In the midst of an answer's head.
    HalfAHead,
}

impl End {
    async fn of(self, mut wire: Wire) {
        match self {
            End::Close => drop(wire),
            End::Reset => wire.reset(),
            End::HalfAHead => wire.send("HTTP/1.1 200 OK\r\nContent-Le").await,
        }
    }
}

#[tokio::test]
async fn a_get_without_an_answer_is_sent_once_more() {
    for end in [End::Close, End::Reset] {
        for method in ["GET", "HEAD", "OPTIONS"] {
            let (a, b, front) = scene().await;
            let mut client = Wire::dial(front.address).await;
            client.send(request(&format!("{method} /"), "")).await;
            let mut wire = a.accept().await;
            wire.request().await;
            end.of(wire).await;
            let status = match method {
                "HEAD" => client.answer_to_head().await.status(),
                _ => client.answer().await.status(),
            };
            assert_eq!((status, b.requests().len()), (200, 1), "{method}, {end:?}");
        }
    }
}

#[tokio::test]
async fn a_post_without_an_answer_is_not() {
    for end in [End::Close, End::Reset, End::HalfAHead] {
        for head in [
            "POST /\nContent-Length: 0",
            "POST /\nContent-Length: 1",
            "PUT /\nContent-Length: 1",
            "DELETE /",
            "PATCH /\nTransfer-Encoding: chunked",
        ] {
            let (a, b, front) = scene().await;
            let mut client = Wire::dial(front.address).await;
            let body = if head.ends_with('1') {
                "x"
            } else if head.ends_with('d') {
                "1\r\nx\r\n0\r\n\r\n"
            } else {
                ""
            };
            client.send(request(head, body)).await;
            let mut wire = a.accept().await;
            wire.request().await;
            end.of(wire).await;
            assert_told(&client.answer().await, 502);
            assert_eq!(b.requests().len(), 0, "{head}, {end:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_has_begun_is_not_asked_for_again() {
    if is_haproxy() {
        // Half a head is no answer to it.
        return;
    }
    let (a, b, front) = scene().await;
    let mut client = Wire::dial(front.address).await;
    client.send(request("GET /", "")).await;
    let mut wire = a.accept().await;
    wire.request().await;
    End::HalfAHead.of(wire).await;
    assert_told(&client.answer().await, 502);
    assert_eq!(b.requests().len(), 0);
}

#[tokio::test]
async fn a_get_with_a_body_is_not_sent_again() {
    if is_haproxy() {
        // It can, for it keeps the body.
        return;
    }
    let (a, b, front) = scene().await;
    let mut client = Wire::dial(front.address).await;
    client.send(request("GET /\nContent-Length: 4", "body")).await;
    let mut wire = a.accept().await;
    wire.request().await;
    End::Close.of(wire).await;
    assert_told(&client.answer().await, 502);
    assert_eq!(b.requests().len(), 0);
}

#[tokio::test]
async fn a_get_that_ends_every_backend_ends_two() {
    if is_haproxy() {
        // It goes on for as often as its `retries` say.
        return;
    }
    let origins = [Origin::listen().await, Origin::listen().await, Origin::listen().await];
    let servers: Vec<_> = ["a", "b", "c"].into_iter().zip(origins.iter().map(Origin::address)).collect();
    let front = Plan::over(&servers).start().await;
    let count = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = origins
        .into_iter()
        .map(|origin| {
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                loop {
                    let mut wire = origin.accept().await;
                    if wire.try_request().await.is_some() {
                        count.fetch_add(1, SeqCst);
                    }
                }
            })
        })
        .collect();
    let mut client = Wire::dial(front.address).await;
    client.send(request("GET /poison", "")).await;
    assert_told(&client.answer().await, 502);
    assert_eq!(count.load(SeqCst), 2);
    tasks.iter().for_each(JoinHandle::abort);
}

#[tokio::test]
async fn after_a_loss_the_connection_goes_on_or_is_said_to_end() {
    let (a, b, front) = scene().await;
    let mut client = Wire::dial(front.address).await;
    client.send(request("POST /\nContent-Length: 4", "body")).await;
    let mut wire = a.accept().await;
    wire.request().await;
    End::Close.of(wire).await;
    drop(a);
    let answer = client.answer().await;
    assert_eq!(answer.status(), 502);
    if answer.header("connection") == Some("close") {
        return client.end().await;
    }
    client.send(request("POST /\nContent-Length: 4", "body")).await;
    assert_eq!(client.answer().await.text(), "b has POST body");
    assert_eq!(b.requests().len(), 1);
}

/// A backend that is killed may take a connection for a moment yet after those that it had have ended.
#[tokio::test]
async fn a_get_that_is_lost_with_a_kept_connection_may_be_lost_with_a_new_one() {
    let (a, b, front) = scene().await;
    let dying = tokio::spawn(async move {
        loop {
            let mut wire = a.accept().await;
            while let Some(seen) = wire.try_request().await {
                if seen.target() != "/first" {
                    break;
                }
                wire.send(ok("a")).await;
            }
        }
    });
    let mut client = Wire::dial(front.address).await;
    client.send(request("GET /first", "")).await;
    assert_eq!(client.answer().await.text(), "a");
    client.send(request("GET /second", "")).await;
    let answer = client.answer().await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "b has GET "));
    assert_eq!(b.requests().len(), 1);
    dying.abort();
}
