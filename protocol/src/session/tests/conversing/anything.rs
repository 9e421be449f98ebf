//! Any conversation, cut anywhere: what the next backend hears is what a fresh client would say that wants what is open.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::{TestError, TestRunner};

use super::*;
use crate::session::conversation::Fault;
use crate::session::tests::rig::ms;
use crate::session::tests::wire::{PONG, downstream, plain, upstream};
use crate::session::{Move, Status};

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    Login,
    Sub(u32),
    Unsub(usize),
    Ask,
    Told,
    /// The backend answers its pings.
    Pong,
    /// It answers one of the asks that it has heard.
    Answer(usize),
    /// It ends one of the subscriptions that it has heard of.
    Over(usize),
    /// It takes the login.
    Take,
    /// It asks the client.
    Demand(u32),
    /// The client replies to what it was asked first.
    Reply,
    Kill,
    /// The next one is linked.
    Link,
    /// It says hello.
    Greet,
    /// From now on so many bytes are read at once of what each has said.
    Portion(usize),
    Wait(u64),
    /// The session is to be moved.
    Move,
    /// What it asks for then happens: the next one is connected, or the one that it leaves answers its Close.
    Moved,
}

/// What else a world is like.
#[derive(Debug, Clone, Copy)]
struct Climate {
    /// Milliseconds for which acknowledged messages are held.
    hold: u64,
    /// Bytes of the ring.
    ring: usize,
    /// So many deaths make messages suspect.
    deaths: u32,
}

fn climate() -> impl Strategy<Value = Climate> {
    let hold = prop::sample::select(vec![0, 0, 700]);
    let ring = prop::sample::select(vec![100, 2 << 20, 2 << 20]);
    let deaths = prop::sample::select(vec![2, 100_000]);
    (hold, ring, deaths).prop_map(|(hold, ring, deaths)| Climate { hold, ring, deaths })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => Just(Step::Login),
        3 => (0..8u32).prop_map(Step::Sub),
        3 => (0..4usize).prop_map(Step::Unsub),
        4 => Just(Step::Ask),
        3 => Just(Step::Told),
        6 => Just(Step::Pong),
        4 => (0..4usize).prop_map(Step::Answer),
        1 => (0..4usize).prop_map(Step::Over),
        4 => Just(Step::Take),
        2 => (0..3u32).prop_map(Step::Demand),
        2 => Just(Step::Reply),
        2 => Just(Step::Kill),
        3 => Just(Step::Link),
        4 => Just(Step::Greet),
        2 => prop_oneof![1..60usize, Just(1 << 20)].prop_map(Step::Portion),
        1 => (1..2000u64).prop_map(Step::Wait),
        1 => Just(Step::Move),
        3 => Just(Step::Moved),
    ]
}

/// What one backend has heard, and what it makes of it.
#[derive(Debug, Default)]
struct Service {
    heard: Vec<String>,
    greeted: bool,
    /// Logins that it has not answered.
    asked_in: u32,
    /// It has answered one.
    takes: bool,
    asks: Vec<u32>,
    subs: BTreeSet<u32>,
    /// What it has asked, and is not replied to.
    demands: Vec<u32>,
    /// Asks that had been answered before it was there.
    answered_before: BTreeSet<u32>,
}

struct World {
    rig: Rig,
    service: Service,
    links: u32,
    /// Logins that the client has said, and answers that it has had.
    logins: u32,
    taken: u32,
    /// There is no backend.
    alone: bool,
    /// What the client and the backend have said that is not read, and how much is at once.
    up: Vec<u8>,
    down: Vec<u8>,
    portion: usize,
    /// What the client is asked, in order.
    owed: Vec<u32>,
    next_id: u32,
    /// What the client holds to be open.
    subs: BTreeSet<u32>,
    asks: BTreeSet<u32>,
    answered: BTreeMap<u32, u32>,
    told: BTreeSet<String>,
    told_heard: BTreeMap<String, u32>,
}

fn id_of(message: &str) -> u32 {
    message.rsplit(':').next().and_then(|end| end.trim_end_matches('}').parse().ok()).expect("an id")
}

impl World {
    fn new(climate: Climate, fault: Option<Fault>) -> World {
        let mut world = World {
            rig: rig_with(|config| {
                (config.deadline, config.longest) = (secs(100_000), secs(100_000));
                (config.poison_convictions, config.prologue_timeout) = (100_000, secs(100_000));
                (config.ack_hold, config.ring_limit) = (ms(climate.hold), climate.ring);
                config.poison_deaths = climate.deaths;
            }),
            service: Service::default(),
            links: 1,
            logins: 0,
            taken: 0,
            alone: false,
            up: Vec::new(),
            down: Vec::new(),
            portion: usize::MAX,
            owed: Vec::new(),
            next_id: 10,
            subs: BTreeSet::new(),
            asks: BTreeSet::new(),
            answered: BTreeMap::new(),
            told: BTreeSet::new(),
            told_heard: BTreeMap::new(),
        };
        world.rig.session.state.conversation.as_mut().expect("a conversation").fault = fault;
        world.take(&Step::Greet);
        world.take(&Step::Login);
        world
    }

    fn client_says(&mut self, message: &str) {
        self.up.extend(upstream(message));
    }

    fn backend_says(&mut self, message: &str) {
        self.down.extend(downstream(message));
    }

    /// A portion of what was said is read.
    fn flow(&mut self) {
        let up: Vec<u8> = self.up.drain(..self.portion.min(self.up.len())).collect();
        self.rig.client_sends(&up);
        let down: Vec<u8> = self.down.drain(..self.portion.min(self.down.len())).collect();
        if !self.alone {
            self.rig.backend_sends(&down);
        }
        self.hear();
    }

    /// The backend reads what there is, and the client too.
    fn hear(&mut self) {
        for message in messages(self.rig.upstream()) {
            if message.starts_with("<close") {
                continue;
            }
            assert!(self.service.greeted, "{message} was said to a backend that had not greeted");
            let first = self.service.heard.is_empty();
            assert!(!first || message == said("login"), "{message} came first");
            // Of two logins, one of which takes the other's place, nobody knows which was answered.
            let waits = self.links > 1 && self.logins == 1 && !first;
            assert!(
                !waits || self.service.takes,
                "{message} was said to a backend that had not taken the client"
            );
            if message.contains(r#""reply""#) {
                let id = id_of(&message);
                let asked = self.service.demands.iter().position(|demand| *demand == id);
                self.service.demands.remove(asked.expect("a reply to what this backend has asked"));
            } else if message == said("login") {
                self.service.asked_in += 1;
            } else if message.contains(r#""unsub""#) {
                let id = id_of(&message);
                let known = self.service.subs.remove(&id);
                assert!(
                    known
                        || self.links == 1
                        || self
                            .service
                            .heard
                            .iter()
                            .any(|heard| heard.contains(r#""sub""#) && id_of(heard) == id),
                    "a backend hears of the end of {id}, of which it never heard"
                );
            } else if message.contains(r#""sub""#) {
                self.service.subs.insert(id_of(&message));
            } else if message.contains(r#""ask""#) {
                let id = id_of(&message);
                assert!(!self.service.asks.contains(&id), "{message} twice");
                assert!(!self.service.answered_before.contains(&id), "{message} was answered before");
                self.service.asks.push(id);
            } else {
                *self.told_heard.entry(message.clone()).or_default() += 1;
            }
            self.service.heard.push(message);
        }
        for message in self.rig.downstream() {
            if message.contains(r#""answer""#) {
                let id = id_of(&message);
                *self.answered.entry(id).or_default() += 1;
                assert!(self.asks.remove(&id), "{message} for nothing that is open");
            } else if message.contains(r#""over""#) {
                self.subs.remove(&id_of(&message));
            } else if message.contains(r#""asks""#) {
                self.owed.push(id_of(&message));
            } else if message == said("ok") {
                self.taken += 1;
                assert!(self.logins > 1 || self.taken == 1, "a second answer to one login");
            } else if message == said("hello") {
                assert_eq!(self.links, 1, "a second greeting");
            } else {
                assert_eq!(message, said("tick"), "which nobody said");
            }
        }
    }

    fn relink(&mut self) {
        self.rig.link_next();
        self.begin_link();
        self.hear();
    }

    fn begin_link(&mut self) {
        self.links = self.rig.links.len() as u32;
        self.alone = false;
        self.down.clear();
        let answered_before = self.answered.keys().copied().collect();
        self.service = Service { answered_before, ..Service::default() };
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Login => {
                self.logins += 1;
                self.client_says(&said("login"));
            }
            Step::Sub(id) => {
                // The first four names are used again and again.
                self.next_id += 1;
                let id = if *id < 4 { *id } else { self.next_id };
                if self.subs.insert(id) {
                    self.client_says(&of("sub", id));
                }
            }
            Step::Unsub(index) => {
                if let Some(id) = self.subs.iter().copied().nth(*index) {
                    self.subs.remove(&id);
                    self.client_says(&of("unsub", id));
                }
            }
            Step::Ask => {
                self.next_id += 1;
                self.asks.insert(self.next_id);
                self.client_says(&of("ask", self.next_id));
            }
            Step::Told => {
                self.next_id += 1;
                let told = format!("told {}", self.next_id);
                self.client_says(&told);
                self.told.insert(told);
            }
            Step::Reply if !self.owed.is_empty() => {
                let id = self.owed.remove(0);
                self.client_says(&of("reply", id));
            }
            Step::Kill if !self.alone => {
                self.down.clear();
                self.rig.backend_dies();
                self.left();
            }
            Step::Link if self.alone => self.relink(),
            Step::Move => {
                self.rig.session.relocate(self.rig.now, Move { ticket: 1, force_at: None });
                self.rig.pump();
            }
            Step::Moved => self.moved(),
            Step::Portion(portion) => self.portion = *portion,
            Step::Wait(millis) => self.rig.wait(ms(*millis)),
            step if !self.alone => self.serve(step),
            _ => {}
        }
        self.hear();
        self.flow();
    }

    fn moved(&mut self) {
        if self.rig.session.wants_successor() && self.rig.successor.is_none() {
            self.rig.link_successor();
        } else if !self.alone && self.down.is_empty() && self.rig.link().reader.closed() {
            self.rig.backend_closes(1001, "");
            self.left();
        }
    }

    /// The next one was connected already, or there is none.
    fn left(&mut self) {
        self.alone = self.rig.links.len() as u32 == self.links;
        if !self.alone {
            self.begin_link();
        }
    }

    fn serve(&mut self, step: &Step) {
        match step {
            Step::Greet if !self.service.greeted => {
                self.backend_says(&said("hello"));
                self.service.greeted = true;
            }
            Step::Pong => self.pong(),
            Step::Answer(index) => {
                let open: Vec<u32> =
                    self.service.asks.iter().copied().filter(|id| self.asks.contains(id)).collect();
                if let Some(id) = open.get(*index) {
                    self.service.asks.retain(|ask| ask != id);
                    self.backend_says(&of("answer", *id));
                }
            }
            Step::Over(index) => {
                // Where a name is used again, nobody knows which of the two is over.
                let once = self.service.subs.iter().copied().filter(|id| *id >= 4).nth(*index);
                if let Some(id) = once {
                    self.service.subs.remove(&id);
                    self.backend_says(&of("over", id));
                }
            }
            Step::Take if self.service.asked_in > 0 => {
                self.service.asked_in -= 1;
                self.service.takes = true;
                self.backend_says(&said("ok"));
            }
            Step::Demand(id) if self.service.greeted => {
                self.service.demands.push(*id);
                self.backend_says(&of("asks", *id));
            }
            _ => {}
        }
    }

    fn pong(&mut self) {
        // Behind what it has said before.
        let pings = std::mem::take(&mut self.rig.link().reader.pings);
        self.down.extend(pings.iter().flat_map(|nonce| plain(true, PONG, nonce)));
    }

    /// The last backend lives and answers.
    fn conclude(&mut self) {
        self.portion = usize::MAX;
        self.take(&Step::Link);
        self.take(&Step::Greet);
        for _ in 0..200 {
            self.take(&Step::Moved);
            self.take(&Step::Link);
            self.take(&Step::Greet);
            self.take(&Step::Wait(100));
            self.take(&Step::Take);
            self.take(&Step::Pong);
            self.take(&Step::Answer(0));
            self.take(&Step::Reply);
        }
        // Asks that no ring has room for are in doubt, and said.
        let in_doubt = self.rig.session.ledger().upstream.in_doubt;
        let most = if self.rig.session.config.ring_limit < 1000 { in_doubt } else { 0 };
        assert!(self.asks.len() as u64 <= most, "asks without an answer: {:?}", self.asks);
        assert_eq!(self.service.demands, Vec::<u32>::new(), "what the last backend has asked");
        assert_eq!(
            self.service.subs, self.subs,
            "what the backend holds to be open, and what the client does"
        );
        let heard: BTreeSet<String> = self.told_heard.keys().cloned().collect();
        assert_eq!(heard, self.told, "each told message was heard");
        assert!(self.answered.values().all(|times| *times == 1), "{:?}", self.answered);
        assert_eq!(self.rig.session.open_asks(self.rig.now), Some(0));
        assert_eq!(self.rig.session.unacknowledged(), 0);
        assert!(matches!(self.rig.session.status(), Status::Relaying | Status::Settling));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn is_repeated_as_a_fresh_client_would_say_it(
        steps in proptest::collection::vec(step(), 1..120),
        climate in climate(),
    ) {
        run(&steps, climate, None);
    }
}

fn run(steps: &[Step], climate: Climate, fault: Option<Fault>) {
    let mut world = World::new(climate, fault);
    for step in steps {
        world.take(step);
    }
    world.conclude();
}

fn assert_noticed(fault: Fault) {
    let config = ProptestConfig {
        cases: 2000,
        max_shrink_iters: 0,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let steps = (proptest::collection::vec(step(), 1..120), climate());
    let result = TestRunner::new(config).run(&steps, |(steps, climate)| {
        run(&steps, climate, Some(fault));
        Ok(())
    });
    assert!(matches!(result, Err(TestError::Fail(..))), "{fault:?} is not noticed");
}

#[test]
fn a_conversation_that_waits_for_nothing_is_noticed() {
    assert_noticed(Fault::NoBarrier);
}

#[test]
fn answers_that_come_again_are_noticed() {
    assert_noticed(Fault::NoSwallowing);
}

#[test]
fn ends_of_what_a_backend_does_not_know_are_noticed() {
    assert_noticed(Fault::EndsWithoutRecord);
}

#[test]
fn replies_to_another_backend_are_noticed() {
    assert_noticed(Fault::StaleReplies);
}

#[test]
fn asks_that_were_answered_and_come_again_are_noticed() {
    assert_noticed(Fault::AnsweredAsks);
}
