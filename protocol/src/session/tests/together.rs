//! Random schedules with clients that come back and services that commit: whatever breaks, each message is
//! consumed once and answered once, and both ends know how far they have come.

mod ends;

use proptest::prelude::*;

use self::ends::{Client, Service};
use super::rig::{Rig, config, ms, secs};
use super::wire::{CLOSE, close_payload, plain, upstream};
use crate::session::{AckMode, ClientKind, Config, DialFailure, Event, Failure, Move, Opening, Status};
use crate::steadfast_v1::client_wire::Reason;
use crate::websocket::close_code::CloseCode;

const MESSAGE: u32 = 40_000;
const RING: usize = 60_000;

#[derive(Debug, Clone)]
enum Op {
    /// The client's application says something of about so many bytes.
    Say(usize),
    /// So many of the client's bytes arrive.
    Arrive(usize),
    Acknowledge,
    Ask,
    /// The client's connection ends.
    Lose,
    /// It comes back, also if its connection has not ended yet.
    Return,
    ClientRoom(usize),
    /// The service handles what it has, in so many commits.
    Handle(usize),
    Push,
    Pong,
    /// So many of the service's bytes arrive.
    Flush(usize),
    BackendRoom(usize),
    Fail(Failure),
    FailOver,
    Dial(bool),
    Order(Option<u64>),
    CallOff,
    DialNext(bool),
    NextDies,
    Wait(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let len = prop_oneof![6 => 0usize..40, 2 => 100usize..2000, 1 => 15_000usize..39_000];
    let bytes = || prop_oneof![2 => 0usize..60, 1 => 100usize..50_000, 1 => Just(usize::MAX)];
    let room = || prop_oneof![2 => 0usize..200, 1 => 1000usize..20_000, 3 => Just(usize::MAX)];
    let failure = prop::sample::select(vec![
        Failure::Eof,
        Failure::Reset,
        Failure::Silence,
        Failure::Close(CloseCode(1001)),
        Failure::Close(CloseCode(1011)),
    ]);
    let force = prop_oneof![3 => Just(None), 1 => (0u64..10_000).prop_map(Some)];
    prop_oneof![
        6 => len.prop_map(Op::Say),
        8 => bytes().prop_map(Op::Arrive),
        2 => Just(Op::Acknowledge),
        1 => Just(Op::Ask),
        2 => Just(Op::Lose),
        4 => Just(Op::Return),
        3 => room().prop_map(Op::ClientRoom),
        6 => (1usize..4).prop_map(Op::Handle),
        1 => Just(Op::Push),
        4 => Just(Op::Pong),
        6 => bytes().prop_map(Op::Flush),
        2 => room().prop_map(Op::BackendRoom),
        3 => failure.prop_map(Op::Fail),
        1 => Just(Op::FailOver),
        5 => any::<bool>().prop_map(Op::Dial),
        2 => force.prop_map(Op::Order),
        1 => Just(Op::CallOff),
        2 => prop::bool::weighted(0.8).prop_map(Op::DialNext),
        1 => Just(Op::NextDies),
        4 => prop_oneof![0u64..200, 1000u64..30_000].prop_map(Op::Wait),
    ]
}

/// A session between such a client and such services.
struct World {
    rig: Rig,
    client: Client,
    service: Service,
    /// It need not last.
    mortal: bool,
}

impl World {
    fn new(stored: bool, change: impl FnOnce(&mut Config)) -> World {
        World::with(Service::new(stored), change)
    }

    /// At backends that do not link the shim.
    fn plain(change: impl FnOnce(&mut Config)) -> World {
        let mut world = World::with(Service::plain(), |config| {
            config.ack = AckMode::Pong;
            change(config);
        });
        world.client.loose = true;
        world
    }

    fn with(service: Service, change: impl FnOnce(&mut Config)) -> World {
        let client = ClientKind::Shim { secret: [0; 32], reason: Reason::New };
        let opening = Opening { session: [7; 16], epoch: 1, client, ..Opening::default() };
        let mut rig = Rig::open(
            |config| {
                (config.ack, config.capsule_limit) = (AckMode::Shim, 20);
                (config.message_limit, config.ring_limit) = (MESSAGE, RING);
                (config.deadline, config.client_stall, config.message_timeout, config.resume_window) =
                    (secs(1 << 30), secs(1 << 30), secs(1 << 30), secs(1 << 30));
                config.longest = secs(1 << 30);
                (config.ack_timeout, config.poison_deaths) = (secs(1 << 20), u32::MAX);
                change(config);
            },
            opening,
        );
        rig.pump();
        let mut world = World { rig, client: Client::default(), service, mortal: false };
        world.listen();
        world
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Say(len) => self.client.say(len),
            Op::Arrive(n) => {
                let bytes = self.client.arrive(n);
                self.rig.client_sends(&bytes);
            }
            Op::Acknowledge => self.client.acknowledge(),
            Op::Ask => self.client.ask(),
            Op::Lose if self.rig.session.wants_client() => {
                self.client.lose();
                self.rig.client_goes();
            }
            Op::Return => self.come_back(),
            Op::ClientRoom(room) => self.rig.set_client_room(room),
            Op::Handle(commits) => self.service.handle(commits),
            Op::Push => self.service.push(),
            Op::Pong => self.pong(),
            Op::Flush(n) => self.flush(n),
            Op::BackendRoom(room) => self.rig.set_backend_room(room),
            Op::Fail(failure) => self.fail(failure),
            Op::FailOver => drop(self.rig.session.fail_over(self.rig.now)),
            Op::Dial(succeeds) if self.rig.session.wants_dial() => match succeeds {
                true => assert!(self.rig.link_with(false)),
                false => self.rig.session.handle_dial_failed(self.rig.now, DialFailure::Unreachable),
            },
            Op::Order(force_in) => {
                let force_at = force_in.map(|millis| self.rig.now + ms(millis));
                self.rig.session.relocate(self.rig.now, Move { ticket: 1, force_at });
            }
            Op::CallOff => self.rig.session.remain(),
            Op::DialNext(true) if self.rig.successor.is_none() => drop(self.rig.link_successor()),
            Op::DialNext(false) if self.rig.successor.is_none() => self.rig.fail_successor(),
            Op::NextDies => self.rig.successor_dies(),
            Op::Wait(millis) => self.rig.wait(ms(millis)),
            Op::Lose | Op::Dial(_) | Op::DialNext(_) => {}
        }
        self.rig.pump();
        self.listen();
        self.check();
    }

    /// Both ends take what has come to them.
    fn listen(&mut self) {
        let (links, mut downstream, mut upstream) =
            (self.rig.links.len(), self.rig.downstream(), self.rig.upstream());
        if self.mortal {
            downstream.retain(|frame| !frame.starts_with("<close"));
            upstream.retain(|frame| !frame.starts_with("<close"));
        }
        self.client.hear(downstream);
        self.service.hear(links, upstream);
    }

    fn come_back(&mut self) {
        let Some(resume) = self.client.resume() else { return };
        self.client.lose();
        let secret = self.rig.clients.len() as u8 + 1;
        let back = self.rig.client_back(Some(&resume), secret);
        assert!(back.is_ok() || self.mortal, "{back:?}: {:?}", self.rig.session);
    }

    fn pong(&mut self) {
        let pings = std::mem::take(&mut self.rig.link().reader.pings);
        self.service.pong(pings);
    }

    fn flush(&mut self, n: usize) {
        let bytes = self.service.flush(n);
        if self.rig.session.wants_link() {
            self.rig.backend_sends(&bytes);
        }
    }

    fn fail(&mut self, failure: Failure) {
        match failure {
            _ if !self.rig.session.wants_link() => {}
            Failure::Close(CloseCode(code)) => {
                self.flush(usize::MAX);
                if self.rig.session.wants_link() {
                    self.rig.backend_sends(&plain(true, CLOSE, &close_payload(code, "")));
                }
            }
            failure => self.rig.backend_fails(failure),
        }
    }

    fn check(&mut self) {
        let breach = |note: &Event| {
            matches!(
                note,
                Event::ServiceBreach(_)
                    | Event::ClientBreach(_)
                    | Event::ClientViolation(_)
                    | Event::BackendViolation(_)
            )
        };
        let notes = self.rig.take_events();
        assert!(!notes.iter().any(breach), "{notes:?}");
        // What one read may bring besides, each way.
        let slack = 64 * 1024 + MESSAGE as usize + 10_000;
        let all = self.rig.session.buffered();
        assert!(all <= 2 * (RING + slack) + 256 * 1024, "{all} bytes are kept");
        let (upstream, downstream) =
            (self.rig.session.ledger().upstream, self.rig.session.ledger().downstream);
        assert!(
            upstream.acknowledged <= upstream.forwarded && downstream.acknowledged <= downstream.forwarded,
            "{upstream:?}, {downstream:?}"
        );
        assert!(self.mortal || upstream.lost + downstream.lost == 0, "{upstream:?}, {downstream:?}");
        assert!(self.client.loose || upstream.in_doubt == 0, "{upstream:?}");
    }

    /// Everybody reads, answers and stays from now on, until nothing is left to do.
    fn calm_down(&mut self) {
        (self.rig.client_room, self.rig.backend_room) = (usize::MAX, usize::MAX);
        self.apply(Op::CallOff);
        self.apply(Op::Return);
        for _ in 0..1000 {
            if matches!(self.rig.session.status(), Status::Waiting | Status::Dialing) {
                self.rig.link_next();
            }
            for op in [
                Op::Arrive(usize::MAX),
                Op::Pong,
                Op::Handle(1),
                Op::Flush(usize::MAX),
                Op::Acknowledge,
                Op::Wait(100),
            ] {
                self.apply(op);
            }
            let done = self.client.is_answered() || self.client.loose;
            if done && self.rig.client_pushed_back() + self.rig.session.unacknowledged() == 0 {
                break;
            }
        }
        for op in [
            Op::Acknowledge,
            Op::Arrive(usize::MAX),
            Op::Pong,
            Op::Flush(usize::MAX),
            Op::Ask,
            Op::Arrive(usize::MAX),
        ] {
            self.apply(op);
        }
    }
}

proptest! {
    #[test]
    fn each_message_is_consumed_and_answered_once(
        ops in prop::collection::vec(op(), 1..120),
        stored: bool,
        break_before_make: bool,
    ) {
        let mut world = World::new(stored, |config| config.break_before_make = break_before_make);
        ops.into_iter().for_each(|op| world.apply(op));
        world.calm_down();
        let said = world.client.said();
        prop_assert!(world.client.is_answered(), "{:?}", world.rig.session);
        prop_assert_eq!(world.client.watermarks(), (said, said));
        let ledger = world.rig.session.ledger();
        prop_assert_eq!((ledger.upstream.forwarded, ledger.upstream.acknowledged), (said, said));
        prop_assert_eq!(ledger.downstream.acknowledged, ledger.downstream.forwarded);
        prop_assert_eq!(world.rig.session.unacknowledged(), 0);
        prop_assert!(world.rig.session.buffered() <= config().capsule_limit, "but for the capsule nothing is kept");
    }

    #[test]
    fn plain_backends_get_everything_and_what_they_say_comes_once(
        ops in prop::collection::vec(op(), 1..120),
        hold in prop::sample::select(vec![0, 200]),
    ) {
        let mut world = World::plain(|config| config.ack_hold = ms(hold));
        ops.into_iter().for_each(|op| world.apply(op));
        world.calm_down();
        let said = world.client.said();
        prop_assert_eq!((world.service.got(), world.client.watermarks()), (said, (said, said)));
        let ledger = world.rig.session.ledger();
        prop_assert_eq!((ledger.upstream.forwarded, ledger.upstream.acknowledged), (said, said));
        prop_assert_eq!((ledger.downstream.forwarded, ledger.downstream.acknowledged), (world.client.last(), world.client.last()));
        prop_assert_eq!(world.rig.session.buffered(), 0);
    }

    #[test]
    fn every_session_ends_and_its_counts_add_up(
        ops in prop::collection::vec(op(), 1..80),
        end in ending(),
        after in prop::collection::vec(op(), 0..30),
        at_a_service: bool,
        failover in prop::bool::weighted(0.9),
    ) {
        let change = |config: &mut Config| {
            (config.deadline, config.resume_window, config.failover) = (secs(30), secs(100), failover);
        };
        let mut world = if at_a_service { World::new(false, change) } else { World::plain(change) };
        world.mortal = true;
        ops.into_iter().for_each(|op| world.apply(op));
        world.end(end);
        after.into_iter().filter(|op| !matches!(op, Op::Return)).for_each(|op| world.apply(op));
        // The window, the deadline, and what was dialled in between.
        for _ in 0..300 {
            world.apply(Op::Wait(1000));
            world.apply(Op::Dial(true));
        }
        let session = &mut world.rig.session;
        prop_assert!(session.ended().is_some(), "{session:?}");
        prop_assert_eq!(session.poll_timeout(), None);
        let ledger = session.ledger();
        prop_assert_eq!(ledger.upstream.acknowledged + ledger.upstream.lost, ledger.upstream.forwarded);
        prop_assert_eq!(ledger.downstream.acknowledged + ledger.downstream.lost, ledger.downstream.forwarded);
        prop_assert!(session.buffered() <= config().capsule_limit);
    }
}

/// What ends a session, now or when its time is over.
#[derive(Debug, Clone, Copy)]
enum Ending {
    ClientCloses,
    ClientStaysAway,
    ApplicationCloses(u16),
    ClientBreaks,
    Aborted,
    ShutDown,
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![
        1 => Just(Ending::ClientCloses),
        3 => Just(Ending::ClientStaysAway),
        1 => prop::sample::select(vec![1000, 1011, 4000]).prop_map(Ending::ApplicationCloses),
        1 => Just(Ending::ClientBreaks),
        1 => Just(Ending::Aborted),
        1 => Just(Ending::ShutDown),
    ]
}

impl World {
    fn end(&mut self, ending: Ending) {
        let now = self.rig.now;
        if self.rig.session.wants_client() {
            self.apply(Op::Arrive(usize::MAX));
        }
        match ending {
            Ending::ClientCloses if self.rig.session.wants_client() => self.rig.client_closes(1000, "bye"),
            Ending::ClientBreaks if self.rig.session.wants_client() => self.rig.client_sends(&upstream("")),
            Ending::ApplicationCloses(code) => self.fail(Failure::Close(CloseCode(code))),
            Ending::Aborted => drop(self.rig.session.abort(now, CloseCode(4321), "enough")),
            Ending::ShutDown => self.rig.session.shut_down(now, CloseCode(1001)),
            _ => {}
        }
        self.rig.pump();
        self.client.lose();
        self.rig.client_goes();
        self.rig.take_notes();
    }
}
