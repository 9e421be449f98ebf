//! Connections that carry many requests, toward clients and toward backends.

use steadfast_tests::backend::Backend;
use steadfast_tests::origin::{Origin, ok};
use steadfast_tests::upgrade::Upgrade;
use steadfast_tests::wire::Wire;

use crate::front::Plan;
use crate::requests::{request, scene};

const POST: &str = "POST /\nContent-Length: 1";

#[tokio::test]
async fn one_clients_requests_need_one_connection() {
    let (origin, front) = scene().await;
    let served = origin.serve(|request| ok(request.target()));
    let mut client = Wire::dial(front.address).await;
    for n in 0..50 {
        let head = if n % 2 == 0 { format!("GET /{n}") } else { format!("POST /{n}\nContent-Length: 1") };
        client.send(request(&head, if n % 2 == 0 { "" } else { "x" })).await;
        assert_eq!(client.answer().await.text(), format!("/{n}"));
    }
    let used = served.used();
    assert_eq!(used.iter().map(Vec::len).collect::<Vec<_>>(), [50], "all on one connection");
}

#[tokio::test]
async fn connections_are_passed_from_client_to_client() {
    let (origin, front) = scene().await;
    let served = origin.serve(|request| ok(request.target()));
    for _ in 0..20 {
        let mut client = Wire::dial(front.address).await;
        for _ in 0..5 {
            client.send(request("GET /", "")).await;
            assert_eq!(client.answer().await.status(), 200);
        }
    }
    // No more than one for each client's first request.
    let used = served.used();
    assert!(used.len() <= 20, "{} connections for 20 clients in turn", used.len());
    assert_eq!(used.iter().map(Vec::len).sum::<usize>(), 100);
}

/// Whoever keeps fewer dials for some of them each time.
#[tokio::test]
async fn as_many_as_ask_at_a_time_have_their_connections_kept() {
    const CLIENTS: usize = 40;
    let origin = Origin::listen().await;
    let front = Plan::over(&[("a", origin.address())]).kept(600_000).start().await;
    let (mut clients, mut backends) = (Vec::new(), Vec::new());
    for _ in 0..CLIENTS {
        let mut client = Wire::dial(front.address).await;
        client.send(request("GET /0", "")).await;
        let mut backend = origin.accept().await;
        assert_eq!(backend.request().await.target(), "/0");
        clients.push(client);
        backends.push(backend);
    }
    for round in 1..5 {
        for backend in &mut backends {
            backend.send(ok("")).await;
        }
        for client in &mut clients {
            assert_eq!(client.answer().await.status(), 200);
            client.send(request(&format!("GET /{round}"), "")).await;
        }
        for backend in &mut backends {
            assert_eq!(backend.request().await.target(), format!("/{round}"));
        }
    }
}

/// Of a request that fails on an old connection nobody knows whether it was taken, and the client of a first request
/// does not expect such an end.
#[tokio::test]
async fn a_clients_first_post_never_rides_on_an_old_connection() {
    let (origin, front) = scene().await;
    let served = origin.serve(|request| ok(request.target()));
    for n in 0..5 {
        let mut client = Wire::dial(front.address).await;
        client.send(request(&format!("POST /first/{n}\nContent-Length: 1"), "x")).await;
        assert_eq!(client.answer().await.status(), 200);
        client.send(request(POST, "x")).await;
        assert_eq!(client.answer().await.status(), 200);
    }
    for own in served.used() {
        let late = own.iter().skip(1).filter(|request| request.target().starts_with("/first"));
        assert_eq!(late.count(), 0, "a first one stands behind others: {own:?}");
    }
}

#[tokio::test]
async fn connections_are_not_passed_on_where_that_is_not_wanted() {
    let origin = Origin::listen().await;
    let front = Plan::over(&[("a", origin.address())]).never_reuse().start().await;
    let served = origin.serve(|request| ok(request.target()));
    for n in 0..5 {
        let mut client = Wire::dial(front.address).await;
        for _ in 0..3 {
            client.send(request(&format!("GET /{n}"), "")).await;
            assert_eq!(client.answer().await.status(), 200);
        }
    }
    for own in served.used() {
        let first = own[0].target();
        assert!(
            own.iter().all(|request| request.target() == first),
            "two clients on one connection: {own:?}"
        );
    }
}

#[tokio::test]
async fn a_client_that_wants_an_end_gets_it_behind_the_answer() {
    let (origin, front) = scene().await;
    let _served = origin.serve(|request| ok(request.target()));
    let mut client = Wire::dial(front.address).await;
    client.send(request("GET /1", "")).await;
    assert_eq!(client.answer().await.text(), "/1");
    client.send(request("GET /2\nConnection: close", "")).await;
    let answer = client.answer().await;
    assert_eq!((answer.text().as_str(), answer.header("connection")), ("/2", Some("close")));
    client.end().await;
}

#[tokio::test]
async fn a_backend_that_ends_its_connections_is_no_matter_of_the_clients() {
    let (origin, front) = scene().await;
    let served = origin.serve(|_| {
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\nKeep-Alive: timeout=1\r\n\r\nok"
            .to_vec()
    });
    let mut client = Wire::dial(front.address).await;
    for n in 0..10 {
        let head = if n % 2 == 0 { "GET /" } else { POST };
        client.send(request(head, if n % 2 == 0 { "" } else { "x" })).await;
        let answer = client.answer().await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"), "request {n}");
        assert_ne!(answer.header("connection"), Some("close"), "it is the backend's alone");
    }
    assert_eq!(served.used().len(), 10);
}

/// Without a word, as servers do after a time, and when a request may be on its way.
#[tokio::test]
async fn connections_that_end_under_a_get_cost_nothing() {
    let (origin, front) = scene().await;
    let backend = tokio::spawn(async move {
        let mut connections = 0;
        loop {
            let mut wire = origin.accept().await;
            connections += 1;
            let Some(seen) = wire.try_request().await else { continue };
            if seen.target() == "/last" {
                wire.send(ok("last")).await;
                return connections;
            }
            wire.send(ok("well")).await;
            // Closed at once, whatever comes.
        }
    });
    let mut client = Wire::dial(front.address).await;
    for n in 0..100 {
        client.send(request("GET /", "")).await;
        let answer = client.answer().await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, "well"), "request {n}");
    }
    client.send(request("GET /last", "")).await;
    assert_eq!(client.answer().await.text(), "last");
    assert!(backend.await.expect("the backend lived") >= 101);
}

#[tokio::test]
async fn an_end_that_has_been_seen_costs_a_post_nothing() {
    let (origin, front) = scene().await;
    let mut client = Wire::dial(front.address).await;
    for n in 0..10 {
        client.send(request(POST, "x")).await;
        let mut backend = origin.accept().await;
        backend.request().await;
        backend.send(ok("well")).await;
        let answer = client.answer().await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, "well"), "request {n}");
        backend.finish().await;
        // Both sides have ended it.
        backend.end().await;
    }
}

/// An answer that comes when nobody has asked must not be the next client's.
#[tokio::test]
async fn what_stands_behind_an_answer_is_nobodys_answer() {
    let (origin, front) = scene().await;
    let injected = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\ninjected";
    let _served = origin.serve(move |request| match request.target() {
        "/bad" => [ok("bad"), injected.as_bytes().to_vec()].concat(),
        _ => ok("right"),
    });
    let mut client = Wire::dial(front.address).await;
    client.send(request("GET /bad", "")).await;
    assert_eq!(client.answer().await.text(), "bad");
    client.send(request("GET /good", "")).await;
    assert_eq!(client.answer().await.text(), "right");
    let mut other = Wire::dial(front.address).await;
    for _ in 0..3 {
        other.send(request("GET /good", "")).await;
        assert_eq!(other.answer().await.text(), "right");
    }
}

#[tokio::test]
async fn requests_that_do_not_wait_are_answered_in_order() {
    let (origin, front) = scene().await;
    let served = origin.serve(|request| ok(format!("{} {}", request.target(), request.text())));
    let mut client = Wire::dial(front.address).await;
    let mut all = Vec::new();
    for n in 0..20 {
        all.extend(match n % 3 {
            0 => request(&format!("GET /{n}"), ""),
            1 => request(&format!("POST /{n}\nContent-Length: 4"), "body"),
            _ => request(&format!("POST /{n}\nTransfer-Encoding: chunked"), "4\r\nbody\r\n0\r\n\r\n"),
        });
    }
    client.send(all).await;
    for n in 0..20 {
        let body = if n % 3 == 0 { "" } else { "body" };
        assert_eq!(client.answer().await.text(), format!("/{n} {body}"));
    }
    assert_eq!(served.requests().len(), 20);
}

#[tokio::test]
async fn requests_that_do_not_wait_wait_for_the_first_ones_answer() {
    let (origin, front) = scene().await;
    let mut client = Wire::dial(front.address).await;
    client.send([request("GET /1", ""), request("GET /2", "")].concat()).await;
    let mut backend = origin.accept().await;
    assert_eq!(backend.request().await.target(), "/1");
    backend.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    for chunk in ["one ", "after ", "the other", ""] {
        backend.send_chunk(chunk).await;
    }
    assert_eq!(client.answer().await.text(), "one after the other");
    assert_eq!(backend.request().await.target(), "/2");
    backend.send(ok("second")).await;
    assert_eq!(client.answer().await.text(), "second");
}

#[tokio::test]
async fn a_connection_that_is_idle_for_too_long_is_ended() {
    let origin = Origin::listen().await;
    let front = Plan::over(&[("a", origin.address())]).idle(200).start().await;
    let served = origin.serve(|request| ok(request.target()));
    let mut client = Wire::dial(front.address).await;
    for _ in 0..3 {
        client.send(request("GET /", "")).await;
        assert_eq!(client.answer().await.text(), "/");
    }
    client.end().await;
    assert_eq!(served.requests().len(), 3);
}

#[tokio::test]
async fn a_long_answer_is_no_idleness() {
    let origin = Origin::listen().await;
    let front = Plan::over(&[("a", origin.address())]).idle(200).start().await;
    // Idle meanwhile: its end says that the time has passed.
    let mut other = Wire::dial(front.address).await;
    let mut client = Wire::dial(front.address).await;
    client.send(request("GET /slow", "")).await;
    let mut backend = origin.accept().await;
    backend.request().await;
    other.send(request("GET /quick", "")).await;
    let mut quick = origin.accept().await;
    quick.request().await;
    quick.send(ok("quick")).await;
    assert_eq!(other.answer().await.text(), "quick");
    other.end().await;
    backend.send(ok("slow")).await;
    assert_eq!(client.answer().await.text(), "slow");
}

#[tokio::test]
async fn a_connection_that_has_served_pages_becomes_a_websocket() {
    let backend = Backend::start("a", "--page /page:200:hello").await;
    let front = Plan::over(&[("a", backend.address())]).start().await;
    let mut wire = Wire::dial(front.address).await;
    for _ in 0..3 {
        wire.send(request("GET /page", "")).await;
        assert_eq!(wire.answer().await.text(), "hello");
    }
    wire.send(request("POST /none\nContent-Length: 4", "body")).await;
    assert_eq!(wire.answer().await.status(), 404);
    let mut client = wire.upgrade(&Upgrade::to(front.address)).await;
    for message in ["one", "two"] {
        client.ask(message, &format!("a:{message}")).await;
    }
    assert_eq!(client.close(1000, "").await.0, Some(1000));
}
