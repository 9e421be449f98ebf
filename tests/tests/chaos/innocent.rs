//! Clients that do nothing but talk, and judge what comes back.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use steadfast_shim::client::{Client as Library, Event, Events, Options, Reason, Sender};
use steadfast_tests::client::{Client, Incoming};
use steadfast_tests::frame::Frame;
use steadfast_tests::proxy::Proxy;
use steadfast_tests::sequence::numbered;
use steadfast_tests::wait::bounded;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::judge::{Fault, Judge, Promise};

/// Messages of one client that are not answered.
pub(crate) const WINDOW: usize = 4;

/// What it waits after each answer.
const PAUSE: Duration = Duration::from_millis(10);

/// What all innocents share.
#[derive(Debug, Default)]
pub(crate) struct Common {
    /// Nobody begins another message.
    pub(crate) is_over: AtomicBool,
    /// The first fault of each, with its name.
    complaints: Mutex<Vec<String>>,
}

impl Common {
    /// What has gone wrong so far.
    pub(crate) fn complaints(&self) -> Vec<String> {
        self.complaints.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn complain(&self, who: &str, faults: &[Fault]) {
        let complaint = format!("{who}: {faults:?}");
        self.complaints.lock().unwrap_or_else(PoisonError::into_inner).push(complaint);
    }
}

/// A client that talks by itself.
#[derive(Debug)]
pub(crate) struct Innocent {
    pub(crate) name: String,
    /// Nobody else comes from there.
    pub(crate) source: Ipv4Addr,
    /// Its way to the broker, and whether that is cut now and then.
    proxy: Option<(Proxy, bool)>,
    answered: Arc<AtomicUsize>,
    talk: JoinHandle<Account>,
}

/// What a client has to say in the end.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) judge: Judge,
    /// From a message to its first answer.
    pub(crate) round_trips: Vec<Duration>,
}

impl Innocent {
    /// A client of the plainest kind.
    pub(crate) fn plain(name: String, source: Ipv4Addr, client: Client, common: &Arc<Common>) -> Self {
        Self::begin(name, source, None, common, |talk| talk.plainly(client))
    }

    /// A client of the library, whose way to the broker is cut now and then if `is_cut`.
    pub(crate) fn library(
        name: String,
        source: Ipv4Addr,
        proxy: Proxy,
        promise: Promise,
        is_cut: bool,
        common: &Arc<Common>,
    ) -> Self {
        let mut options = Options::new([format!("ws://{}/", proxy.address())]);
        // Connections that are cut so often are not left alone for longer and longer.
        options.config.backoff_max = options.config.backoff_min;
        let library = Library::connect(options).expect("sound options").split();
        Self::begin(name, source, Some((proxy, is_cut)), common, move |mut talk| {
            talk.account.judge = Judge::new(promise);
            talk.by_library(library, is_cut)
        })
    }

    fn begin<F: Future<Output = Account> + Send + 'static>(
        name: String,
        source: Ipv4Addr,
        proxy: Option<(Proxy, bool)>,
        common: &Arc<Common>,
        talk: impl FnOnce(Talk) -> F,
    ) -> Self {
        let answered = Arc::new(AtomicUsize::new(0));
        let account = Account { judge: Judge::new(Promise::AtLeastOnce), round_trips: Vec::new() };
        let begun = Talk {
            name: name.clone(),
            account,
            begun: Vec::new(),
            answered: Arc::clone(&answered),
            common: Arc::clone(common),
        };
        Self { name, source, proxy, answered, talk: tokio::spawn(talk(begun)) }
    }

    /// Messages that were answered so far.
    pub(crate) fn answered(&self) -> usize {
        self.answered.load(SeqCst)
    }

    /// What can be cut of it.
    pub(crate) fn way_to_cut(&self) -> Option<&Proxy> {
        self.proxy.as_ref().filter(|(_, is_cut)| *is_cut).map(|(proxy, _)| proxy)
    }

    /// Its last answers, once all are to hush.
    pub(crate) async fn end(self) -> Account {
        bounded("an innocent's last answers", self.talk).await.expect("a talk ends well")
    }
}

struct Talk {
    name: String,
    account: Account,
    /// When each message was sent.
    begun: Vec<Instant>,
    answered: Arc<AtomicUsize>,
    common: Arc<Common>,
}

impl Talk {
    async fn plainly(mut self, mut client: Client) -> Account {
        loop {
            while self.may_send() {
                let number = self.sends();
                client.send(&numbered(&self.name, number)).await;
            }
            if self.is_through() {
                break;
            }
            match client.next_but_pings().await {
                Incoming::Message(message) => self.hears(&message.bytes),
                Incoming::Pong(_) | Incoming::Ping(_) => {}
                other => return self.closed(format!("{other:?}")),
            }
            if !self.account.judge.faults().is_empty() {
                return self.give_up();
            }
            sleep(PAUSE).await;
        }
        client.send_frame(Frame::close(1000, "")).await;
        loop {
            match client.next_but_pings().await {
                Incoming::Message(message) => self.hears(&message.bytes),
                Incoming::Pong(_) | Incoming::Ping(_) => {}
                Incoming::Close(Some(1000), _) => return self.account,
                other => return self.closed(format!("in answer to its own Close: {other:?}")),
            }
        }
    }

    async fn by_library(mut self, (sender, mut events): (Sender, Events), is_cut: bool) -> Account {
        while !self.is_through() || self.may_send() {
            while self.may_send() {
                let number = self.sends();
                let text = numbered(&self.name, number);
                if sender.send(text).await.is_err() {
                    return self.closed("nothing can be sent".to_owned());
                }
            }
            match bounded("an answer", events.next()).await {
                Some(event) => self.notices(event, is_cut),
                None => self.account.judge.is_closed("without an event".to_owned()),
            }
            if !self.account.judge.faults().is_empty() {
                return self.give_up();
            }
            sleep(PAUSE).await;
        }
        sender.delivered().await;
        sender.begin_close(1000, "");
        while let Some(event) = bounded("the client's end", events.next()).await {
            if !matches!(event, Event::Closed(_)) {
                self.notices(event, is_cut);
            }
        }
        self.account
    }

    fn notices(&mut self, event: Event, is_cut: bool) {
        match event {
            Event::Message { message, .. } => self.hears(message.as_bytes()),
            Event::Fresh { reason: Reason::New, unknown: None } if self.answered.load(SeqCst) == 0 => {}
            Event::Resumed | Event::Lost { .. } if is_cut => {}
            other => self.account.judge.is_closed(format!("{other:?}")),
        }
    }

    fn may_send(&self) -> bool {
        self.account.judge.under_way() < WINDOW && !self.common.is_over.load(SeqCst)
    }

    fn is_through(&self) -> bool {
        self.account.judge.under_way() == 0
    }

    fn sends(&mut self) -> usize {
        self.begun.push(Instant::now());
        self.account.judge.sends()
    }

    fn hears(&mut self, answer: &[u8]) {
        let before = self.account.judge.answered();
        self.account.judge.hears(&String::from_utf8_lossy(answer));
        let after = self.account.judge.answered();
        self.account.round_trips.extend(self.begun[before..after].iter().map(Instant::elapsed));
        self.answered.store(after, SeqCst);
    }

    fn closed(mut self, how: String) -> Account {
        self.account.judge.is_closed(how);
        self.give_up()
    }

    fn give_up(self) -> Account {
        self.common.complain(&self.name, self.account.judge.faults());
        self.account
    }
}
