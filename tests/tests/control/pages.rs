//! Lists of sessions: filters and pages.

use serde_json::Value;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::client::Client;

use crate::sentence;

async fn sessions(broker: &Broker, query: &str) -> Value {
    broker.get_json(&format!("/api/v1/sessions?{query}")).await
}

fn ids(page: &Value) -> Vec<String> {
    let sessions = page["sessions"].as_array().expect("a list");
    sessions.iter().map(|session| session["id"].as_str().expect("an id").to_owned()).collect()
}

async fn clients(broker: &Broker, count: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(Client::connect(broker.address()).await);
    }
    broker.wait_sessions(count).await;
    clients
}

#[tokio::test]
async fn pages_are_the_list_in_parts() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::start(&[&backend]).await;
    let _clients = clients(&broker, 7).await;
    let all = sessions(&broker, "").await;
    assert_eq!((&all["total"], &all["next"]), (&7.into(), &Value::Null));
    let ages: Vec<_> =
        all["sessions"].as_array().expect("a list").iter().map(|one| one["age_ms"].as_u64()).collect();
    assert!(ages.is_sorted_by(|one, next| one >= next), "the oldest first: {ages:?}");

    let mut found = Vec::new();
    let mut query = "limit=3".to_owned();
    loop {
        let page = sessions(&broker, &query).await;
        assert_eq!(page["total"], 7);
        found.push(ids(&page));
        let Some(next) = page["next"].as_str() else { break };
        query = format!("limit=3&after={next}");
    }
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 1]);
    assert_eq!(found.concat(), ids(&all));
    let second = sessions(&broker, &format!("limit=3&after={}", found[0][2])).await;
    assert_eq!(ids(&second), found[1], "an id alone will do, while its session is there");
}

#[tokio::test]
async fn the_next_page_does_not_need_the_last_session() {
    let backend = Backend::start("a", "").await;
    // The client whose session it is reads nothing, and does not answer the Close.
    let broker = Broker::over(&[&backend]).setting("timeouts", "close = \"300ms\"").start().await;
    let _clients = clients(&broker, 4).await;
    let all = ids(&sessions(&broker, "").await);
    let first = sessions(&broker, "limit=2").await;
    let next = first["next"].as_str().expect("there is more").to_owned();
    let answer = broker.post(&format!("/api/v1/sessions/{}/abort", all[1])).await;
    assert_eq!(answer.status, 200);
    broker.wait_metric("steadfast_sessions", &[], |count| count < 4.0).await;
    let second = ids(&sessions(&broker, &format!("limit=2&after={next}")).await);
    assert_eq!(second, all[2..]);
    let answer = broker.get(&format!("/api/v1/sessions?after={}", all[1])).await;
    assert!(sentence(&answer, 400, "invalid").contains("has ended"));
}

#[tokio::test]
async fn filters_find_what_fits_all_of_them() {
    let (a, b) = (Backend::start("a", "").await, Backend::start("b", "").await);
    let broker = Broker::over(&[&a]).pool("second", &[&b]).start().await;
    let mut first = Client::connect(broker.address()).await;
    first.ask("x", "a:x").await;
    let _others = [Client::connect(broker.address_of(1)).await, Client::connect(broker.address_of(1)).await];
    broker.wait_sessions(3).await;
    let all = sessions(&broker, "").await;
    let of_first = all["sessions"][0].clone();
    let client = of_first["client"].as_str().expect("an address");
    let (one, two) = (broker.address(), broker.address_of(1));
    for (query, count) in [
        ("pool=default".to_owned(), 1),
        ("pool=second".to_owned(), 2),
        ("pool=third".to_owned(), 0),
        ("backend=b".to_owned(), 2),
        ("state=relaying".to_owned(), 3),
        ("state=dialing".to_owned(), 0),
        (format!("listener={one}"), 1),
        (format!("listener={two}"), 2),
        (format!("client={client}"), 1),
        ("client=127.0.0.1".to_owned(), 3),
        ("client=127.0.0.2".to_owned(), 0),
        ("pool=second&backend=a".to_owned(), 0),
        ("pool=second&backend=b&state=relaying&client=127.0.0.1".to_owned(), 2),
    ] {
        let page = sessions(&broker, &query).await;
        assert_eq!((page["total"].as_u64(), ids(&page).len()), (Some(count), count as usize), "{query}");
    }
    let page = sessions(&broker, "pool=second&limit=1").await;
    assert_eq!((page["total"].as_u64(), ids(&page).len()), (Some(2), 1), "the total is of all that fit");
    for key in ["moves", "slowest_answer_ms"] {
        assert!(of_first[key].is_u64(), "{key}: {of_first}");
    }
}

#[tokio::test]
async fn queries_that_make_no_sense_are_refused() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::start(&[&backend]).await;
    for (query, part) in [
        ("limit=0", "1 to 10000"),
        ("limit=10001", "1 to 10000"),
        ("limit=x", "1 to 10000"),
        ("client=nobody", "client"),
        ("listener=8080", "listener"),
        ("after=xyz", "after"),
        ("colour=red", "colour"),
    ] {
        let answer = broker.get(&format!("/api/v1/sessions?{query}")).await;
        let sentence = sentence(&answer, 400, "invalid");
        assert!(sentence.contains(part), "{query}: {sentence}");
    }
}
