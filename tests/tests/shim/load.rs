//! Clients of the library that count with a service, each message in its turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use futures::StreamExt;
use steadfast_shim::client::{Client, Event, Events, Options, Sender};
use steadfast_tests::wait::{bounded, eventually};
use tokio::task::JoinHandle;

/// Messages of one client that are under way at once.
const WINDOW: usize = 16;

/// Clients that send for as long as they are to.
pub(crate) struct Crowd {
    clients: Vec<One>,
    stop: Arc<AtomicBool>,
}

struct One {
    answers: Arc<AtomicUsize>,
    task: JoinHandle<usize>,
}

impl Crowd {
    /// Begins with so many clients of this URL.
    pub(crate) fn start(url: &str, clients: usize) -> Crowd {
        let stop = Arc::new(AtomicBool::new(false));
        let begin = |_| {
            let answers = Arc::new(AtomicUsize::new(0));
            let mut options = Options::new([url]);
            // Connections that are cut so often are not left alone for longer and longer.
            options.config.backoff_max = options.config.backoff_min;
            let client = Client::connect(options).expect("sound options");
            let task = tokio::spawn(count(client.split(), Arc::clone(&answers), Arc::clone(&stop)));
            One { answers, task }
        };
        Crowd { clients: (0..clients).map(begin).collect(), stop }
    }

    /// Waits until every client has got so many more answers.
    pub(crate) async fn wait_answers(&self, more: usize) {
        let wanted: Vec<_> = self.clients.iter().map(|one| one.answers.load(SeqCst) + more).collect();
        eventually("more answers for every client", || {
            self.clients.iter().zip(&wanted).all(|(one, wanted)| {
                assert!(!one.task.is_finished(), "a client has ended before it was told to");
                one.answers.load(SeqCst) >= *wanted
            })
        })
        .await;
    }

    /// Has them stop, and checks that every message was counted once; how many there were in all.
    pub(crate) async fn finish(self) -> usize {
        self.stop.store(true, SeqCst);
        let mut all = 0;
        for one in self.clients {
            all += bounded("a client's last answers", one.task).await.expect("no client fails");
        }
        all
    }
}

/// Sends, and checks each answer as it comes: a count that is the next one, each time. Returns the last.
async fn count(
    (sender, mut events): (Sender, Events),
    answers: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
) -> usize {
    let (mut sent, mut counted) = (0, 0);
    loop {
        while sent - counted < WINDOW && !stop.load(SeqCst) {
            sender.send(format!("message {sent}")).await.expect("the client is open");
            sent += 1;
        }
        if sent == counted && stop.load(SeqCst) {
            break;
        }
        let answer = next_answer(&mut events).await;
        counted += 1;
        assert_eq!(answer, counted.to_string(), "one message is one count");
        answers.store(counted, SeqCst);
    }
    sender.delivered().await;
    sender.begin_close(1000, "");
    while let Some(event) = bounded("the client's end", events.next()).await {
        assert!(!matches!(event, Event::Message { .. }), "an answer to nothing: {event:?}");
    }
    counted
}

async fn next_answer(events: &mut Events) -> String {
    loop {
        match bounded("an answer", events.next()).await {
            Some(Event::Message { message, .. }) => {
                return message.as_text().expect("counts are text").to_owned();
            }
            Some(Event::Fresh { unknown: None, .. } | Event::Resumed | Event::Lost { .. }) => {}
            other => panic!("the session goes on, but: {other:?}"),
        }
    }
}
