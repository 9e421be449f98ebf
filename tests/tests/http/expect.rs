//! `Expect: 100-continue`, and answers that come before a request's body is whole.

use steadfast_tests::origin::ok;
use steadfast_tests::wire::Wire;

use crate::requests::{request, scene};

#[tokio::test]
async fn a_client_that_waits_is_told_to_go_on() {
    let (origin, front) = scene().await;
    let mut client = Wire::dial(front.address).await;
    let mut backend = None;
    for n in 0..3 {
        client.send(request("POST /\nContent-Length: 5\nExpect: 100-continue", "")).await;
        let own = match &mut backend {
            Some(own) => own,
            none => none.insert(origin.accept().await),
        };
        let head = own.head().await;
        // Who has told the client already may keep it to itself.
        if head.headers.iter().any(|(name, _)| name == "expect") {
            own.send("HTTP/1.1 100 Continue\r\n\r\n").await;
        }
        assert_eq!(client.answer().await.status(), 100, "round {n}");
        client.send("hello").await;
        assert_eq!(own.bytes(5).await, b"hello");
        own.send(ok("taken")).await;
        assert_eq!(client.answer().await.text(), "taken", "and nothing else comes before");
    }
}

#[tokio::test]
async fn a_client_that_does_not_wait_is_served_too() {
    let (origin, front) = scene().await;
    let served = origin.serve(|request| ok(request.text()));
    let mut client = Wire::dial(front.address).await;
    for _ in 0..3 {
        client.send(request("POST /\nContent-Length: 5\nExpect: 100-continue", "hello")).await;
        let answer = loop {
            let answer = client.answer().await;
            if answer.status() != 100 {
                break answer;
            }
        };
        assert_eq!(answer.text(), "hello");
    }
    assert_eq!(served.requests().len(), 3);
}

/// Else it would send for nothing what it has asked about.
#[tokio::test]
async fn a_backend_that_wants_no_body_says_so_before_it_is_sent() {
    let (origin, front) = scene().await;
    let mut client = Wire::dial(front.address).await;
    client.send(request("POST /\nContent-Length: 5000000\nExpect: 100-continue", "")).await;
    let mut backend = origin.accept().await;
    backend.head().await;
    backend.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno").await;
    let answer = client.answer().await;
    assert_eq!((answer.status(), answer.text().as_str()), (401, "no"));
}

#[tokio::test]
async fn an_answer_that_comes_before_the_body_is_whole_arrives() {
    let (origin, front) = scene().await;
    let mut client = Wire::dial(front.address).await;
    client.send(request("POST /\nContent-Length: 5000000", "the beginning")).await;
    let mut backend = origin.accept().await;
    backend.head().await;
    backend.bytes(13).await;
    backend.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno").await;
    let answer = client.answer().await;
    assert_eq!((answer.status(), answer.text().as_str()), (413, "no"));
    // What is not wanted is not taken without end.
    drop(backend);
    while client.try_send([0; 10_000]).await.is_ok() {}
}

#[tokio::test]
async fn other_expectations_are_the_backends_matter() {
    let (origin, front) = scene().await;
    let _served = origin.serve(|request| ok(request.target()));
    let mut client = Wire::dial(front.address).await;
    client.send(request("GET /\nExpect: the-unexpected", "")).await;
    assert!([200, 417].contains(&client.answer().await.status()));
}
