//! Backends that are drained: what they are answering comes to its end, and nothing else goes there.

use steadfast_tests::origin::{Origin, ok};
use steadfast_tests::wire::Wire;

use crate::front::{Front, Plan, is_haproxy};
use crate::requests::request;

async fn scene(plan: impl FnOnce(Plan) -> Plan) -> (Origin, Origin, Front) {
    let (a, b) = (Origin::listen().await, Origin::listen().await);
    let front = plan(Plan::over(&[("a", a.address()), ("b", b.address())]).first_first()).start().await;
    (a, b, front)
}

#[tokio::test]
async fn what_is_being_answered_comes_to_its_end() {
    let (a, b, front) = scene(|plan| plan).await;
    let (mut slow, mut stream) = (Wire::dial(front.address).await, Wire::dial(front.address).await);
    slow.send(request("POST /slow\nContent-Length: 4", "body")).await;
    let mut of_slow = a.accept().await;
    of_slow.request().await;
    stream.send(request("GET /stream", "")).await;
    let mut of_stream = a.accept().await;
    of_stream.request().await;
    of_stream.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst").await;
    stream.head().await;
    front.begin_drain("a").await;
    let served = b.serve(|_| ok("b"));
    for _ in 0..10 {
        let mut other = Wire::dial(front.address).await;
        other.send(request("GET /", "")).await;
        assert_eq!(other.answer().await.text(), "b");
    }
    of_stream.send("later").await;
    assert_eq!(stream.bytes(10).await, b"firstlater");
    of_slow.send(ok("slow")).await;
    assert_eq!(slow.answer().await.text(), "slow");
    front.wait_drained("a").await;
    // Their next requests go elsewhere, on the same connections.
    for client in [&mut slow, &mut stream] {
        client.send(request("GET /next", "")).await;
        assert_eq!(client.answer().await.text(), "b");
    }
    assert_eq!(served.requests().len(), 12);
}

#[tokio::test]
async fn a_backend_that_comes_back_gets_requests_again() {
    let (a, b, front) = scene(|plan| plan).await;
    let (_a, _b) = (a.serve(|_| ok("a")), b.serve(|_| ok("b")));
    let mut client = Wire::dial(front.address).await;
    for _ in 0..3 {
        for (who, drained) in [("a", false), ("b", true)] {
            if drained {
                front.drain("a").await;
            }
            client.send(request("GET /", "")).await;
            assert_eq!(client.answer().await.text(), who);
        }
        front.undrain("a").await;
    }
}

/// `EventSource` comes again, and says which event was its last one.
#[tokio::test]
async fn event_streams_are_ended_as_if_they_were_over() {
    if is_haproxy() {
        return;
    }
    let (a, _b, front) = scene(|plan| plan.drain(200)).await;
    let mut client = Wire::dial(front.address).await;
    client.send(request("GET /events\nAccept: text/event-stream", "")).await;
    let mut backend = a.accept().await;
    backend.request().await;
    backend
        .send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    backend.send_chunk("data: 1\n\n").await;
    client.head().await;
    assert_eq!(client.chunk().await, b"data: 1\n\n");
    front.drain("a").await;
    assert_eq!(client.try_chunk().await, Some(Vec::new()), "the end of a whole answer");
    backend.end().await;
}

#[tokio::test]
async fn what_goes_on_for_too_long_is_cut() {
    if is_haproxy() {
        return;
    }
    let (a, b, front) = scene(|plan| plan.drain(200)).await;
    let _b = b.serve(|_| ok("b"));
    let (mut file, mut post) = (Wire::dial(front.address).await, Wire::dial(front.address).await);
    file.send(request("GET /file", "")).await;
    let mut of_file = a.accept().await;
    of_file.request().await;
    of_file.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").await;
    file.head().await;
    assert_eq!(file.chunk().await, b"half");
    post.send(request("POST /\nContent-Length: 4", "body")).await;
    let mut of_post = a.accept().await;
    of_post.request().await;
    front.drain("a").await;
    assert_eq!(file.try_chunk().await, None, "half a file is no whole one");
    let answer = post.answer().await;
    assert!([502, 503, 504].contains(&answer.status()), "{answer:?}");
}

/// By the number of requests that each has.
#[tokio::test]
async fn requests_count_where_the_next_one_goes() {
    let origins = [Origin::listen().await, Origin::listen().await, Origin::listen().await];
    let servers: Vec<_> = ["a", "b", "c"].into_iter().zip(origins.iter().map(Origin::address)).collect();
    let front = Plan::over(&servers).start().await;
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut client = Wire::dial(front.address).await;
        client.send(request("GET /long", "")).await;
        clients.push(client);
    }
    for origin in &origins {
        for _ in 0..2 {
            let mut wire = origin.accept().await;
            wire.request().await;
            wire.send(ok("")).await;
        }
    }
    for mut client in clients {
        assert_eq!(client.answer().await.status(), 200);
    }
}
