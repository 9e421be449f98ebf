//! Numbered messages, and what their arrival must look like at both ends of a session that changed backends.

use std::collections::HashMap;

use crate::backend::Backend;
use crate::client::Client;
use crate::journal::Connection;
use crate::wait::eventually_some;

/// The text of the message `n` of the stream `tag`.
pub fn numbered(tag: &str, n: usize) -> String {
    format!("{tag}-{n}")
}

/// The texts of the messages `from..=to` of the stream `tag`.
pub fn range(tag: &str, from: usize, to: usize) -> Vec<String> {
    (from..=to).map(|n| numbered(tag, n)).collect()
}

/// The number at the end of `text`. Panics when there is none.
pub fn number(text: &str) -> usize {
    let digits = text.rsplit('-').next().unwrap_or_default();
    digits.parse().unwrap_or_else(|_| panic!("{text:?} has no number"))
}

/// The connections of the session `id` at all `backends`, in the order of the broker's dials.
pub fn session_connections(id: &str, backends: &[&Backend]) -> Vec<(String, Connection)> {
    let of = |backend: &&Backend| {
        let name = backend.name().to_owned();
        backend.journal().connections_of(id).into_iter().map(move |conn| (name.clone(), conn))
    };
    let mut all: Vec<_> = backends.iter().flat_map(of).collect();
    all.sort_by_key(|(_, connection)| connection.attempt());
    all
}

/// All connections of sessions at `backends` by the client's tag, each list in the order of the dials.
pub fn connections_by_tag(backends: &[&Backend]) -> HashMap<String, Vec<(String, Connection)>> {
    let all = backends.iter().flat_map(|backend| {
        let name = backend.name().to_owned();
        backend.journal().sessions().into_iter().map(move |connection| (name.clone(), connection))
    });
    let mut by_session: HashMap<String, Vec<(String, Connection)>> = HashMap::new();
    for (name, connection) in all {
        by_session.entry(connection.session().to_owned()).or_default().push((name, connection));
    }
    let mut by_tag = HashMap::new();
    for mut connections in by_session.into_values() {
        connections.sort_by_key(|(_, connection)| connection.attempt());
        let first = connections.iter().flat_map(|(_, connection)| connection.texts()).next();
        let first = first.expect("every session said something");
        let tag = first.rsplit_once('-').expect("a numbered message").0.to_owned();
        assert!(by_tag.insert(tag, connections).is_none(), "two sessions said {first}");
    }
    by_tag
}

/// Checks one session whose client sent `tag-1..=tag-total`, over all its connections: each connection got a run
/// without gaps, the first begins with 1, none begins behind the end of those before it, and the last message
/// arrived. So first arrivals are in order and complete, and only whole tails were repeated.
///
/// Returns how many messages arrived more than once.
pub fn check_arrivals(tag: &str, total: usize, connections: &[(String, Connection)]) -> usize {
    let mut end = 0;
    let mut repeated = 0;
    for (name, connection) in connections {
        let texts = connection.texts();
        assert_eq!(connection.violations(), [""; 0], "frames that backend {name} got");
        let Some(first) = texts.first().map(|text| number(text)) else { continue };
        let last = first + texts.len() - 1;
        assert_eq!(texts, range(tag, first, last), "backend {name}, attempt {}", connection.attempt());
        assert!(first <= end + 1, "messages {}..{first} never arrived before {first} did at {name}", end + 1);
        repeated += (end + 1).saturating_sub(first).min(texts.len());
        end = end.max(last);
    }
    assert_eq!(end, total, "the last message that arrived");
    repeated
}

/// Checks what the client got for `tag-1..=tag-total` from backends that answer each message at once with
/// `name:text`: the answers come in runs, one for each connection, in order; each run is the beginning of what
/// that backend got (all of it for the last one); none is missing.
///
/// Returns how many messages were answered more than once.
pub fn check_answers(
    tag: &str,
    total: usize,
    answers: &[String],
    connections: &[(String, Connection)],
) -> usize {
    let mut answered = 0;
    let mut repeated = 0;
    for run in runs(answers, connections) {
        let Some(first) = run.first().map(|text| number(text)) else { continue };
        assert!(first <= answered + 1, "{} came before an answer to {tag}-{}", run[0], answered + 1);
        repeated += (answered + 1).saturating_sub(first).min(run.len());
        answered = answered.max(first + run.len() - 1);
    }
    assert_eq!(answered, total, "the last message that was answered; all answers: {answers:?}");
    repeated
}

/// Cuts `answers` into what each connection gave. The last answer of a run tells how long the run is, so the
/// cutting goes from the end to the beginning.
fn runs<'a>(answers: &'a [String], connections: &[(String, Connection)]) -> Vec<&'a [String]> {
    let mut rest = answers;
    let mut runs = Vec::new();
    for (name, connection) in connections.iter().rev() {
        let given: Vec<String> = connection.texts().iter().map(|text| format!("{name}:{text}")).collect();
        let len =
            rest.last().and_then(|last| given.iter().position(|text| text == last)).map_or(0, |at| at + 1);
        let (before, run) =
            rest.split_at(rest.len().checked_sub(len).expect("no answer is there twice in a run"));
        assert_eq!(run, &given[..len], "the answers of {name}, attempt {}", connection.attempt());
        rest = before;
        runs.push(run);
    }
    assert_eq!(rest, [""; 0], "answers that no backend gave in this order; all answers: {answers:?}");
    runs.reverse();
    runs
}

/// Sends `tag-1..=tag-total`, at most `window` ahead of the answers, and reads until the last one is answered.
/// `on_answer` sees the number of each answered message, and who answered.
pub async fn converse(
    client: &mut Client,
    tag: &str,
    total: usize,
    window: usize,
    mut on_answer: impl AsyncFnMut(usize, &str),
) -> Vec<String> {
    let mut answers: Vec<String> = Vec::new();
    let (mut sent, mut answered) = (0, 0);
    while answered < total {
        while sent < total.min(answered + window) {
            sent += 1;
            client.send(&numbered(tag, sent)).await;
        }
        let answer = client.text().await;
        answered = answered.max(number(&answer));
        on_answer(number(&answer), answer.split(':').next().unwrap_or_default()).await;
        answers.push(answer);
    }
    answers
}

/// Sends the messages `from..=to` of the stream `tag`.
pub async fn send_range(client: &Client, tag: &str, from: usize, to: usize) {
    for n in from..=to {
        client.send(&numbered(tag, n)).await;
    }
}

/// Reads answers until one to `tag-last` has come from any backend.
pub async fn answers_to_end(client: &mut Client, tag: &str, last: usize) -> Vec<String> {
    let mut answers: Vec<String> = Vec::new();
    let end = format!(":{}", numbered(tag, last));
    while !answers.last().is_some_and(|answer| answer.ends_with(&end)) {
        answers.push(client.text().await);
    }
    answers
}

/// Where the only session of `backends` is: (home, other). Waits until one of the two has answered an upgrade.
pub async fn home_and_other(backends: [&Backend; 2]) -> (&Backend, &Backend) {
    let upgraded =
        |backend: &Backend| backend.journal().connections().iter().any(|conn| conn.status() == Some(101));
    eventually_some("a session at one of two backends", || match backends.map(upgraded) {
        [true, false] => Some((backends[0], backends[1])),
        [false, true] => Some((backends[1], backends[0])),
        _ => None,
    })
    .await
}
