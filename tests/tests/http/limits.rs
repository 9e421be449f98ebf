//! Limits of time, length and number, each with its status and a sentence.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use futures::future::join_all;
use steadfast_tests::origin::{Origin, ok};
use steadfast_tests::wire::{Message, Wire};
use tokio::time::sleep;

use crate::front::{Front, Plan, is_haproxy};
use crate::requests::{chunked, request};

async fn scene(plan: impl FnOnce(Plan) -> Plan) -> (Origin, Front) {
    let origin = Origin::listen().await;
    let front = plan(Plan::over(&[("a", origin.address())])).start().await;
    (origin, front)
}

/// A status, and a sentence that says why.
pub(crate) fn assert_told(answer: &Message, status: u16) {
    assert_eq!(answer.status(), status, "{answer:?}");
    assert!(answer.text().trim().contains(' '), "the body is a sentence: {answer:?}");
}

#[tokio::test]
async fn a_head_that_does_not_come_to_its_end_is_not_waited_for() {
    let (origin, front) = scene(|plan| plan.head(300)).await;
    let _served = origin.serve(|request| ok(request.target()));
    for (before, begin) in [(0, ""), (0, "GET / HTTP/1.1\r\nHo"), (1, "G"), (2, "POST / HTTP/1.1\r\n")] {
        let mut client = Wire::dial(front.address).await;
        for _ in 0..before {
            client.send(request("GET /", "")).await;
            assert_eq!(client.answer().await.status(), 200);
        }
        client.send(begin).await;
        if let Some(answer) = client.try_answer().await {
            assert!([400, 408].contains(&answer.status()), "{begin:?}: {answer:?}");
        }
        client.end().await;
    }
}

#[tokio::test]
async fn a_pause_in_a_body_has_an_end() {
    if is_haproxy() {
        // It waits for the backend, which waits for the body.
        return;
    }
    for framing in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        let (origin, front) = scene(|plan| plan.body_pause(300)).await;
        let mut client = Wire::dial(front.address).await;
        let begin = if framing.contains("chunked") { "4\r\nhalf\r\n" } else { "half" };
        client.send(request(&format!("POST /\n{framing}"), begin)).await;
        let mut backend = origin.accept().await;
        backend.head().await;
        assert_told(&client.answer().await, 408);
        client.end().await;
        backend.rest().await;
        assert!(!backend.shown().ends_with("0\r\n\r\n"), "it is no whole one: {}", backend.shown());
    }
}

/// As an upload over a bad line.
#[tokio::test]
async fn a_body_that_goes_on_may_take_longer_than_a_pause() {
    let (origin, front) = scene(|plan| plan.body_pause(2000)).await;
    let served = origin.serve(|request| ok(request.text()));
    let mut client = Wire::dial(front.address).await;
    client.send(request("POST /\nContent-Length: 50", "")).await;
    for _ in 0..50 {
        client.send("x").await;
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(client.answer().await.text(), "x".repeat(50));
    assert_eq!(served.requests().len(), 1);
}

#[tokio::test]
async fn bodies_have_the_length_that_they_may_have() {
    let (origin, front) = scene(|plan| plan.body_max(1000)).await;
    let served = origin.serve(|request| ok(request.body.len().to_string()));
    let body = [b'x'; 1001];
    let mut client = Wire::dial(front.address).await;
    client.send(request("POST /\nContent-Length: 1000", &body[..1000])).await;
    assert_eq!(client.answer().await.text(), "1000");
    client.send(request("POST /\nTransfer-Encoding: chunked", chunked(&body[..1000], 99))).await;
    assert_eq!(client.answer().await.text(), "1000");
    client.send(request("POST /\nContent-Length: 1001", body)).await;
    assert_told(&client.answer().await, 413);
    if is_haproxy() {
        // It looks at lengths that are said alone.
        return;
    }
    let mut client = Wire::dial(front.address).await;
    client.send(request("POST /\nTransfer-Encoding: chunked", chunked(&body, 99))).await;
    assert_told(&client.answer().await, 413);
    let lengths: Vec<_> = served.requests().iter().map(|request| request.body.len()).collect();
    assert_eq!(lengths, [1000, 1000], "no other has become whole");
}

/// The client is told, though it has not sent all that it wants to send.
#[tokio::test]
async fn a_body_that_is_too_long_is_refused_before_it_has_come() {
    let (origin, front) = scene(|plan| plan.body_max(1000)).await;
    let served = origin.serve(|request| ok(request.body.len().to_string()));
    for head in
        ["POST /\nContent-Length: 100000000", "POST /\nContent-Length: 100000000\nExpect: 100-continue"]
    {
        let mut client = Wire::dial(front.address).await;
        client.send(request(head, "")).await;
        assert_told(&client.answer().await, 413);
    }
    assert_eq!(served.requests().len(), 0);
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_not_waited_for() {
    let (origin, front) = scene(|plan| plan.answer(300)).await;
    for head in ["GET /", "POST /\nContent-Length: 0"] {
        let mut client = Wire::dial(front.address).await;
        client.send(request(head, "")).await;
        let mut backend = origin.accept().await;
        backend.request().await;
        assert_told(&client.answer().await, 504);
        // It need not answer any more.
        backend.end().await;
    }
}

#[tokio::test]
async fn an_answer_that_has_begun_may_take_its_time() {
    if is_haproxy() {
        // Its time is that of any pause.
        return;
    }
    let (origin, front) = scene(|plan| plan.answer(300)).await;
    let mut client = Wire::dial(front.address).await;
    client.send(request("GET /events", "")).await;
    let mut backend = origin.accept().await;
    backend.request().await;
    backend.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    client.head().await;
    // The time is over for one that began later.
    let mut other = Wire::dial(front.address).await;
    other.send(request("GET /never", "")).await;
    let mut silent = origin.accept().await;
    silent.request().await;
    assert_eq!(other.answer().await.status(), 504);
    backend.send_chunk("late").await;
    backend.send_chunk("").await;
    assert_eq!(client.chunk().await, b"late");
    assert!(client.chunk().await.is_empty());
}

/// The most requests that a backend has had at once, of twelve.
async fn peak(plan: impl FnOnce(Plan) -> Plan) -> usize {
    const CLIENTS: usize = 12;
    let (origin, front) = scene(plan).await;
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let backend = tokio::spawn({
        let (now, most) = (Arc::clone(&now), Arc::clone(&most));
        async move {
            loop {
                let mut wire = origin.accept().await;
                let (now, most) = (Arc::clone(&now), Arc::clone(&most));
                tokio::spawn(async move {
                    while wire.idle_request().await.is_some() {
                        most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                        sleep(Duration::from_millis(30)).await;
                        now.fetch_sub(1, SeqCst);
                        if wire.try_send(ok("well")).await.is_err() {
                            return;
                        }
                    }
                });
            }
        }
    });
    join_all((0..CLIENTS).map(async |n| {
        let mut client = Wire::dial(front.address).await;
        for _ in 0..3 {
            client.send(request(&format!("GET /{n}"), "")).await;
            assert_eq!(client.answer().await.text(), "well");
        }
    }))
    .await;
    backend.abort();
    most.load(SeqCst)
}

#[tokio::test]
async fn a_backend_has_no_more_requests_at_once_than_it_may_have() {
    assert_eq!(peak(|plan| plan.seats(2)).await, 2);
}

#[tokio::test]
async fn without_a_limit_it_has_more() {
    assert!(peak(|plan| plan).await > 2, "else the other test says nothing");
}

#[tokio::test]
async fn who_waits_for_a_seat_gets_it_when_it_is_free() {
    let (origin, front) = scene(|plan| plan.seats(1)).await;
    let mut first = Wire::dial(front.address).await;
    first.send(request("GET /first", "")).await;
    let mut backend = origin.accept().await;
    assert_eq!(backend.request().await.target(), "/first");
    let mut second = Wire::dial(front.address).await;
    second.send(request("POST /second\nContent-Length: 4", "body")).await;
    if let Some(broker) = front.broker() {
        broker.wait_waiting("default", 1).await;
    }
    // The seat is taken as long as the answer goes on.
    backend.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab").await;
    first.head().await;
    if let Some(broker) = front.broker() {
        broker.wait_waiting("default", 1).await;
    }
    backend.send("cd").await;
    let mut next = origin.accept().await;
    let seen = next.request().await;
    assert_eq!((seen.target(), seen.text().as_str()), ("/second", "body"));
    next.send(ok("second")).await;
    assert_eq!(second.answer().await.text(), "second");
}

#[tokio::test]
async fn a_client_that_leaves_gives_its_seat_back() {
    let (origin, front) = scene(|plan| plan.seats(1)).await;
    for n in 0..5 {
        let mut leaves = Wire::dial(front.address).await;
        leaves.send(request("GET /leaves", "")).await;
        let mut backend = origin.accept().await;
        backend.request().await;
        if n % 2 == 0 {
            backend.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab").await;
            leaves.head().await;
        }
        drop(leaves);
    }
    let mut last = Wire::dial(front.address).await;
    last.send(request("GET /last", "")).await;
    let mut backend = origin.accept().await;
    assert_eq!(backend.request().await.target(), "/last");
    backend.send(ok("last")).await;
    assert_eq!(last.answer().await.text(), "last");
}

#[tokio::test]
async fn nobody_waits_for_a_seat_for_ever() {
    let (origin, front) = scene(|plan| plan.seats(1).queue(300)).await;
    let mut first = Wire::dial(front.address).await;
    first.send(request("GET /first", "")).await;
    let mut backend = origin.accept().await;
    backend.request().await;
    let mut second = Wire::dial(front.address).await;
    second.send(request("GET /second", "")).await;
    assert_told(&second.answer().await, 503);
    backend.send(ok("first")).await;
    assert_eq!(first.answer().await.text(), "first");
}
