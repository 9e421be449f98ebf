//! The harness tested by itself: clients straight at backends, without a broker between.

use steadfast_tests::admin;
use steadfast_tests::backend::Backend;
use steadfast_tests::client::{Client, Incoming};
use steadfast_tests::frame::{End, Frame};
use steadfast_tests::journal::Event;
use steadfast_tests::network::unread;
use steadfast_tests::sequence::range;
use steadfast_tests::upgrade::Upgrade;
use steadfast_tests::wait::eventually;

#[tokio::test]
async fn a_backend_echoes_and_writes_down_what_it_saw() {
    let backend = Backend::start("a", "").await;
    let mut client = Upgrade::to(backend.address()).path("/x?y=1").header("Cookie", "c=1").connect().await;
    client.ask("hello", "a:hello").await;
    client.send_frame(Frame::new(steadfast_tests::frame::PING, "p")).await;
    assert_eq!(client.next().await, Incoming::Pong(b"p".to_vec()));
    assert_eq!(client.close(4001, "bye").await, (Some(4001), "bye".to_owned()));
    let seen = backend.wait_end(0).await;
    assert_eq!((seen.line.as_str(), seen.header("cookie")), ("GET /x?y=1 HTTP/1.1", Some("c=1")));
    assert_eq!(seen.texts(), ["hello"]);
    assert_eq!(seen.pings(), ["70"]);
    assert_eq!(seen.close(), Some((Some(4001), "bye".to_owned())));
}

#[tokio::test]
async fn a_backend_comes_back_on_its_port() {
    let backend = Backend::start("a", "").await;
    let mut client = Client::connect(backend.address()).await;
    client.ask("one", "a:one").await;
    backend.kill();
    assert!(matches!(client.ended().await, End::Eof | End::Reset));
    backend.restart().await;
    let mut client = Client::connect(backend.address()).await;
    client.ask("two", "a:two").await;
    assert_eq!(backend.journal().texts(), ["one", "two"]);
    let connections = backend.journal().connections();
    assert_ne!(connections[0].pid, connections[1].pid);
}

#[tokio::test]
async fn a_supervisor_restarts_what_dies() {
    let backend = Backend::start("a", "--die-on poison").await;
    let _supervisor = backend.supervise();
    let client = Client::connect(backend.address()).await;
    client.send("poison").await;
    backend.wait_messages(1).await;
    let first = backend.journal().connections()[0].pid;
    eventually("a new process", || backend.id().is_some_and(|id| id != first)).await;
    let mut client = Client::connect(backend.address()).await;
    client.ask("fine", "a:fine").await;
    assert_ne!(backend.journal().connections()[1].pid, first);
}

#[tokio::test]
async fn commands_come_as_messages_and_from_the_master() {
    let backend = Backend::start("a", "").await;
    let mut client = Client::connect(backend.address()).await;
    client.send("!feed 3").await;
    assert_eq!(client.texts(3).await, range("a:feed", 1, 3));
    backend.command("!push hello there").await;
    assert_eq!(client.text().await, "hello there");
    client.send("!fragments 3").await;
    let message = client.message().await;
    assert_eq!((message.fragments, message.bytes), (vec![7, 7, 7], b"part-1;part-2;part-3;".to_vec()));
    backend.set("--silent").await;
    client.send("no answer").await;
    backend.command("!close 4000 enough").await;
    assert_eq!(client.closed().await, (Some(4000), "enough".to_owned()));
}

#[tokio::test]
async fn some_obey_and_the_others_go_on() {
    let backend = Backend::start("a", "").await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(Client::connect(backend.address()).await);
    }
    backend.command_some(2, "!eof").await;
    // Who has gone does not hear it any more.
    backend.command("!push here").await;
    let mut stayed = 0;
    for client in &mut clients {
        match client.next().await {
            Incoming::End(_) => {}
            Incoming::Message(message) => {
                assert_eq!(message.bytes, b"here");
                stayed += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(stayed, 1);
}

#[tokio::test]
async fn pages_have_the_headers_that_they_are_given() {
    let backend = Backend::start("a", "--page /health:200 --page-header Steadfast-Drain:on").await;
    let page = admin::get(backend.address(), "/health").await;
    assert_eq!((page.status, page.header("steadfast-drain")), (200, Some("on")));
}

#[tokio::test]
async fn last_words_arrive_although_the_socket_is_reset() {
    let backend = Backend::start("a", "").await;
    let mut client = Client::connect(backend.address()).await;
    client.send("!answers-then-close 4002").await;
    backend.wait_messages(1).await;
    client.send("unread").await;
    assert_eq!(client.texts(3).await, range("a:last", 1, 3));
    assert_eq!(client.closed().await.0, Some(4002));
    assert_eq!(client.ended().await, End::Reset);
}

#[tokio::test]
async fn half_messages_resets_and_refusals() {
    let backend = Backend::start("a", "--die-on p --die-how partial").await;
    let mut client = Client::connect(backend.address()).await;
    client.send("p").await;
    assert_eq!(client.ended().await, End::EofInFrame);
    backend.set_flags("--refuse 403 --refuse-body not+today --answer-header X-Why:because");
    backend.restart().await;
    let response = Upgrade::to(backend.address()).refused().await;
    assert_eq!((response.status, response.text().as_str()), (403, "not today"));
    assert_eq!(response.header("x-why"), Some("because"));
    backend.set("").await;
    let client = Client::connect(backend.address()).await;
    client.send_frame(Frame::text("whole")).await;
    backend.wait_messages(2).await;
    client.reset().await;
    assert_eq!(backend.wait_end(2).await.end(), Some("Reset"));
}

#[tokio::test]
async fn delayed_answers_come_in_order_and_pings_are_answered_meanwhile() {
    let backend = Backend::start("a", "--delay 100 --one-by-one").await;
    let mut client = Client::connect(backend.address()).await;
    client.send("m-1").await;
    client.send("m-2").await;
    client.send_frame(Frame::new(steadfast_tests::frame::PING, "now")).await;
    assert_eq!(client.next().await, Incoming::Pong(b"now".to_vec()));
    assert_eq!(client.texts(2).await, range("a:m", 1, 2));
    let events: Vec<Event> = backend.journal().connections().remove(0).events;
    assert!(matches!(events.last(), Some(Event::Ping { .. })));
}

#[tokio::test]
async fn what_is_sent_on_a_swallowed_connection_arrives_nowhere() {
    let backend = Backend::start("a", "").await;
    let mut client = Client::connect(backend.address()).await;
    client.ask("one", "a:one").await;
    eventually("nothing is on its way", || unread(backend.address()) == 0).await;
    backend.swallow(1).await;
    client.send("two").await;
    let mut other = Client::connect(backend.address()).await;
    other.ask("three", "a:three").await;
    assert!(unread(backend.address()) >= "two".len(), "it waits to be acknowledged");
    assert_eq!(backend.journal().texts(), ["one", "three"]);
}

#[tokio::test]
async fn a_backend_that_reads_slowly_leaves_the_rest_to_the_kernel() {
    let backend = Backend::start("a", "--silent --read-rate 20000 --receive-buffer 4096").await;
    let client = Client::connect(backend.address()).await;
    for text in range(&"m".repeat(200), 1, 200) {
        client.send(&text).await;
    }
    backend.wait_messages(5).await;
    let (read, waiting) = (backend.journal().texts().len(), unread(backend.address()));
    assert!(read < 200 && waiting > 0, "{read} messages were read, {waiting} bytes wait");
    backend.set("--silent").await;
    backend.wait_messages(200).await;
    assert_eq!(backend.journal().texts(), range(&"m".repeat(200), 1, 200));
    eventually("all is read", || unread(backend.address()) == 0).await;
}

#[tokio::test]
async fn a_backend_may_answer_the_latest_of_several_pings() {
    let backend = Backend::start("a", "--latest-pong 50").await;
    let mut client = Client::connect(backend.address()).await;
    for payload in ["1", "2", "3"] {
        client.send_frame(Frame::new(steadfast_tests::frame::PING, payload)).await;
    }
    client.send("!push end").await;
    assert_eq!(client.text().await, "end");
    assert_eq!(client.next().await, Incoming::Pong(b"3".to_vec()));
}

#[tokio::test]
async fn a_handler_that_works_keeps_its_own_session_waiting_alone() {
    let backend = Backend::start("a", "").await;
    let (mut slow, mut quick) =
        (Client::connect(backend.address()).await, Client::connect(backend.address()).await);
    slow.send("!work 300").await;
    backend.wait_messages(1).await;
    slow.send("after").await;
    quick.ask("one", "a:one").await;
    assert_eq!(backend.journal().texts(), ["!work 300", "one"]);
    assert_eq!(slow.texts(2).await, ["a:done", "a:after"]);
}

#[tokio::test]
async fn two_processes_share_an_address() {
    let first = Backend::start("one", "--reuse-port").await;
    let second = Backend::start_beside(&first, "two", "--reuse-port").await;
    assert_eq!(first.address(), second.address());
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 2 {
        let mut client = Client::connect(first.address()).await;
        client.send("who?").await;
        seen.insert(client.text().await);
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["one:who?", "two:who?"]);
}
