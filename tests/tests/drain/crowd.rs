//! Clients that talk while their backends come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::client::Client;
use steadfast_tests::sequence::{check_answers, check_arrivals, connections_by_tag, number, numbered};
use steadfast_tests::wait::eventually;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::scene::clients;

/// They talk until [`Crowd::hush`].
pub(crate) struct Crowd {
    shared: Arc<Shared>,
    talks: Vec<JoinHandle<Vec<String>>>,
}

#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    /// Clients that have been answered.
    heard: AtomicUsize,
    answers: AtomicUsize,
}

impl Crowd {
    /// So many clients, each with up to `window` messages that are not answered, and a `pause` behind each answer.
    /// All have been answered once when this returns.
    pub(crate) async fn gather(broker: &Broker, size: usize, window: usize, pause: Duration) -> Self {
        let shared = Arc::new(Shared::default());
        let talk = |(id, client)| tokio::spawn(talk(client, format!("c{id}"), window, pause, shared.clone()));
        let talks = clients(broker, size).await.into_iter().enumerate().map(talk).collect();
        eventually("an answer for each", || shared.heard.load(Ordering::Relaxed) == size).await;
        Self { shared, talks }
    }

    /// Waits until so many more messages have been answered.
    pub(crate) async fn goes_on(&self, messages: usize) {
        let until = self.shared.answers.load(Ordering::Relaxed) + messages;
        eventually("more answers", || self.shared.answers.load(Ordering::Relaxed) >= until).await;
    }

    /// Nobody begins another message, and all get their answers. Checks that no client was closed, that each
    /// message has arrived in order and was answered in order, and that none is missing.
    ///
    /// Returns how many messages have arrived more than once, and how many were answered more than once.
    pub(crate) async fn hush(self, backends: &[&Backend]) -> (usize, usize) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        let answers = join_all(self.talks).await;
        let connections = connections_by_tag(backends);
        assert_eq!(connections.len(), answers.len(), "sessions");
        let mut repeated = (0, 0);
        for (id, answers) in answers.into_iter().enumerate() {
            let (tag, answers) = (format!("c{id}"), answers.expect("a talk ends well"));
            let total = answers.iter().map(|text| number(text)).max().expect("an answer for each");
            repeated.0 += check_arrivals(&tag, total, &connections[&tag]);
            repeated.1 += check_answers(&tag, total, &answers, &connections[&tag]);
        }
        repeated
    }
}

async fn talk(
    mut client: Client,
    tag: String,
    window: usize,
    pause: Duration,
    shared: Arc<Shared>,
) -> Vec<String> {
    let (mut sent, mut answered, mut answers) = (0, 0, Vec::new());
    loop {
        while sent < answered + window && !shared.is_over.load(Ordering::Relaxed) {
            sent += 1;
            client.send(&numbered(&tag, sent)).await;
        }
        if answered == sent {
            return answers;
        }
        let answer = client.text().await;
        shared.heard.fetch_add(usize::from(answered == 0), Ordering::Relaxed);
        shared.answers.fetch_add(1, Ordering::Relaxed);
        // Of what is answered twice the highest number counts.
        answered = answered.max(number(&answer));
        answers.push(answer);
        sleep(pause).await;
    }
}
