//! What else is said of the cookie, and what backends say of one of the same name.

use steadfast_tests::backend::Backend;
use steadfast_tests::upgrade::Upgrade;

use crate::{backends, sticky};

/// The line that sets the cookie, without its value.
async fn attributes(request: &Upgrade) -> String {
    let client = request.connect().await;
    let lines = client.response().header_values("set-cookie");
    let [line] = lines[..] else { panic!("one line: {lines:?}") };
    let (cookie, attributes) = line.split_once("; ").expect("attributes");
    let (name, value) = cookie.split_once('=').expect("a value");
    assert!(value.len() == 55 && value.starts_with('1'), "{value}");
    format!("{name}; {attributes}")
}

#[tokio::test]
async fn it_is_secure_when_the_request_was() {
    let all = backends(["a"]).await;
    let broker = sticky(&all, "").listener_setting("trusted = \"127.0.0.1\"").start().await;
    let request = Upgrade::to(broker.address());
    assert_eq!(attributes(&request).await, "steadfast; Path=/; SameSite=Lax; HttpOnly");
    let encrypted = request.header("X-Forwarded-Proto", "https");
    assert_eq!(attributes(&encrypted).await, "steadfast; Path=/; SameSite=Lax; HttpOnly; Secure");
    // Of somebody who is not trusted that counts for nothing.
    let broker = sticky(&all, "").start().await;
    let claimed = Upgrade::to(broker.address()).header("X-Forwarded-Proto", "https");
    assert_eq!(attributes(&claimed).await, "steadfast; Path=/; SameSite=Lax; HttpOnly");
}

#[tokio::test]
async fn all_else_is_as_it_is_configured() {
    let all = backends(["a"]).await;
    let keys = "cookie = \"place\"\nsame_site = \"none\"\nsecure = \"always\"\nhttp_only = false\npartitioned = true\n\
                domain = \"example.com\"\npath = \"/chat\"";
    let broker = sticky(&all, keys).start().await;
    let expected = "place; Path=/chat; Domain=example.com; SameSite=None; Secure; Partitioned";
    assert_eq!(attributes(&Upgrade::to(broker.address())).await, expected);
}

#[tokio::test]
async fn rules_for_answers_do_not_take_it_and_cookies_of_backends_stay() {
    let backend = Backend::start("a", "--answer-header Set-Cookie:sid=7 --answer-header X-Other:1").await;
    let route = "[[route]]\npool = \"default\"\n[route.response_headers]\npass = ";
    for (pass, expected) in [("[]", vec![]), ("[\"Set-Cookie\"]", vec!["sid=7"])] {
        let broker =
            sticky(std::slice::from_ref(&backend), "").tables(&format!("{route}{pass}")).start().await;
        let client = Upgrade::to(broker.address()).connect().await;
        let lines = client.response().header_values("set-cookie");
        let (ours, theirs): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.starts_with("steadfast="));
        assert_eq!((ours.len(), theirs), (1, expected), "{pass}");
        assert_eq!(client.response().header("x-other"), None, "{pass}");
    }
}

#[tokio::test]
async fn a_backend_sets_none_of_that_name_unless_it_may() {
    let flags = "--answer-header Set-Cookie:steadfast=theirs --answer-header Set-Cookie:sid=7";
    let backend = Backend::start("a", flags).await;
    for (keys, preserved) in [("", false), ("preserve = true", true)] {
        let broker = sticky(std::slice::from_ref(&backend), keys).start().await;
        let client = Upgrade::to(broker.address()).connect().await;
        let lines = client.response().header_values("set-cookie");
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!(lines.contains(&"steadfast=theirs"), preserved, "{lines:?}");
        assert!(lines.contains(&"sid=7"), "{lines:?}");
    }
}
