//! Requests that ask for no WebSocket find their client's backend too. The backends have no page, and say so.

use serde_json::Value;
use steadfast_tests::admin::exchange;
use steadfast_tests::broker::Broker;
use steadfast_tests::http::Response;

use crate::{STICKY, backends, come_to, given, home, newcomer, plain, showing, sticky, wait_done};

const NAMES: [&str; 3] = ["a", "b", "c"];

/// The answer to a request with this in `Cookie`, if there is something.
async fn get(broker: &Broker, cookie: &str) -> Response {
    let line = if cookie.is_empty() { String::new() } else { format!("Cookie: {cookie}\r\n") };
    let request = format!("GET /page HTTP/1.1\r\nHost: a.test\r\n{line}Connection: close\r\n\r\n");
    let response = exchange(broker.address(), request.as_bytes()).await.expect("an answer");
    assert_eq!(response.status, 404, "{response:?}");
    response
}

#[tokio::test]
async fn a_page_gives_the_cookie_and_the_session_comes_to_the_pages_backend() {
    let all = backends(NAMES).await;
    let broker = sticky(&all, "").start().await;
    for _ in 0..NAMES.len() {
        let response = get(&broker, "").await;
        let cookie = given(&response).expect("a cookie");
        assert_eq!(response.header("cache-control"), Some("private"), "no cache gives it to others");
        let first = showing(&broker, &cookie).await;
        assert_eq!(first.cookie, None, "it is good");
        assert_eq!(come_to(&broker, &cookie, &first.home, 3).await, 3);
        assert_eq!(given(&get(&broker, &cookie).await), None, "nor does a page give another one");
    }
    let hits = broker.metric(STICKY, &[("outcome", "hit")]).await;
    assert_eq!(hits, (NAMES.len() * 5) as f64, "each request with a cookie came to its own");
}

#[tokio::test]
async fn where_nobody_is_known_pages_give_nothing() {
    let all = backends(NAMES).await;
    let broker = plain(&all).start().await;
    let response = get(&broker, "").await;
    assert_eq!((given(&response), response.header("cache-control")), (None, None));
}

#[tokio::test]
async fn after_a_session_has_moved_the_next_page_says_so() {
    let all = backends(NAMES).await;
    let broker = sticky(&all, "").start().await;
    let (mut client, first, cookie) = newcomer(&broker).await;
    assert_eq!(given(&get(&broker, &cookie).await), None, "it has not moved");
    let answer = broker.post(&format!("/api/v1/pools/default/backends/{first}/drain")).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    broker.wait_backend(&first, "empty", |backend: &Value| backend["sessions"] == 0).await;
    let second = home(&mut client).await;
    assert_ne!(second, first);
    let next = given(&get(&broker, &cookie).await).expect("the page says where it is now");
    let again = showing(&broker, &next).await;
    assert_eq!((again.home, again.cookie), (second, None));
}

/// Whoever was emptied may be stopped: nobody comes to it, by whatever cookie.
#[tokio::test]
async fn a_backend_whose_drain_is_done_gets_no_page_to_answer() {
    let all = backends(NAMES).await;
    let broker = sticky(&all, "draining = \"follow\"").start().await;
    let (client, first, cookie) = newcomer(&broker).await;
    client.close(1000, "").await;
    let answer = broker.post(&format!("/api/v1/pools/default/backends/{first}/drain")).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    wait_done(&broker, "drain-1").await;
    let next = given(&get(&broker, &cookie).await).expect("it was answered elsewhere");
    assert_ne!(showing(&broker, &next).await.home, first);
}
