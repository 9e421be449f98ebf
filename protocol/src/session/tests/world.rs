//! A world in which anything may happen at any time: streams of both ends of which a part has
//! arrived, backends that die, and the operations that move them.

use proptest::prelude::*;

use super::rig::{Rig, ms};
use super::wire::{
    BINARY, CLOSE, CONTINUATION, Commit, PING, PONG, TEXT, close_payload, masked, plain, push,
};
use crate::session::{ClientKind, Config, DialFailure, Failure, Move, Opening, Status};
use crate::steadfast_v1::client_wire::{MESSAGE as KIND, Reason, Resume, Token};
use crate::websocket::close_code::CloseCode;

const MESSAGE: usize = 40_000;
const RING: usize = 60_000;

/// What a read may bring at once, and a message's headers.
const SLACK: usize = 64 * 1024 + 1000;

/// What may wait for a slow client before its backend is not read.
const BACKLOG: usize = 256 * 1024;

/// One thing that happens.
#[derive(Debug, Clone)]
pub(super) enum Op {
    /// The client begins to send a message of about so many bytes, in so many fragments.
    Say {
        len: usize,
        parts: usize,
    },
    /// So many of the client's bytes arrive.
    Arrive(usize),
    /// The backend begins to send a message.
    Answer {
        len: usize,
        parts: usize,
    },
    /// It answers all pings.
    Pong,
    /// So many of the backend's bytes arrive.
    Flush(usize),
    ClientPing,
    BackendPing,
    Shim(ShimOp),
    /// So many bytes does the socket take until further notice.
    BackendRoom(usize),
    ClientRoom(usize),
    Die(Death),
    /// Something that belongs to a planned move.
    Move(Step),
    /// The session is to leave its backend as if that had failed.
    FailOver,
    /// The dial under way succeeds, or does not.
    Dial(bool),
    Wait(u64),
    Rude(Rude),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// It is ordered; by force from so many milliseconds on.
    Order(Option<u64>),
    CallOff,
    /// The dial for the next backend succeeds, or does not.
    Dial(bool),
    /// The next backend says something of about so many bytes before its turn.
    Says(usize),
    Pings,
    Dies,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Death {
    Eof,
    Reset,
    Close(u16),
}

/// What ends do that link the shim, or may come back; where an end is none of these, nothing.
#[derive(Debug, Clone, Copy)]
pub(super) enum ShimOp {
    /// The client says what it has got, by an acknowledgement or by pongs.
    Acknowledge,
    /// The client asks how far its messages have come.
    Query,
    /// The client has another connection.
    Back,
    /// The service pushes a message.
    Push,
    /// The service commits, and wants to hear of it at once.
    Prompt,
}

/// What ends a session, sooner or later.
#[derive(Debug, Clone)]
pub(super) enum Rude {
    ClientClose(u16),
    ClientGone,
    ClientNonsense(Vec<u8>),
    BackendNonsense(Vec<u8>),
    BackendClose(u16),
    Refused,
    ShutDown,
}

fn len() -> impl Strategy<Value = usize> {
    prop_oneof![6 => 0usize..40, 2 => 100usize..2000, 1 => 15_000..MATERIAL]
}

/// A message's text without its name.
const MATERIAL: usize = MESSAGE - 100;

fn room() -> impl Strategy<Value = usize> {
    prop_oneof![2 => 0usize..60, 1 => 1000usize..20_000, 3 => Just(usize::MAX)]
}

pub(super) fn polite() -> impl Strategy<Value = Op> {
    let death = prop_oneof![
        Just(Death::Eof),
        Just(Death::Reset),
        prop::sample::select(vec![1001, 1011, 1012, 1013, 1014]).prop_map(Death::Close)
    ];
    prop_oneof![
        6 => (len(), 1usize..4).prop_map(|(len, parts)| Op::Say { len, parts }),
        8 => prop_oneof![0usize..50, 100usize..50_000].prop_map(Op::Arrive),
        4 => (len(), 1usize..4).prop_map(|(len, parts)| Op::Answer { len, parts }),
        5 => Just(Op::Pong),
        6 => prop_oneof![0usize..50, 100usize..50_000].prop_map(Op::Flush),
        1 => Just(Op::ClientPing),
        1 => Just(Op::BackendPing),
        3 => room().prop_map(Op::BackendRoom),
        2 => room().prop_map(Op::ClientRoom),
        4 => death.prop_map(Op::Die),
        8 => step().prop_map(Op::Move),
        1 => Just(Op::FailOver),
        6 => any::<bool>().prop_map(Op::Dial),
        4 => prop_oneof![0u64..200, 1000u64..30_000].prop_map(Op::Wait),
    ]
}

/// Nothing but messages, and time in which they come.
pub(super) fn calm() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0usize..40).prop_map(|len| Op::Say { len, parts: 1 }),
        4 => Just(Op::Arrive(50_000)),
        3 => (0usize..2000).prop_map(|len| Op::Answer { len, parts: 1 }),
        3 => Just(Op::Flush(50_000)),
        4 => Just(Op::Pong),
        1 => (0u64..10_000).prop_map(Op::Wait),
    ]
}

pub(super) fn shim_op() -> impl Strategy<Value = Op> {
    let query = prop_oneof![Just(ShimOp::Query), Just(ShimOp::Back)];
    let push = prop_oneof![Just(ShimOp::Push), Just(ShimOp::Prompt)];
    prop_oneof![3 => Just(ShimOp::Acknowledge), 1 => query, 1 => push].prop_map(Op::Shim)
}

fn step() -> impl Strategy<Value = Step> {
    let force_in = prop_oneof![3 => Just(None), 1 => (0u64..10_000).prop_map(Some)];
    prop_oneof![
        6 => force_in.prop_map(Step::Order),
        1 => Just(Step::CallOff),
        6 => prop::bool::weighted(0.8).prop_map(Step::Dial),
        3 => len().prop_map(Step::Says),
        2 => Just(Step::Pings),
        1 => Just(Step::Dies),
    ]
}

pub(super) fn rude() -> impl Strategy<Value = Op> {
    let code = || prop::sample::select(vec![0u16, 1000, 1001, 1008, 1012, 3000, 4001]);
    let bytes = || prop::collection::vec(any::<u8>(), 1..40);
    prop_oneof![
        2 => code().prop_map(Rude::ClientClose),
        2 => Just(Rude::ClientGone),
        2 => bytes().prop_map(Rude::ClientNonsense),
        2 => bytes().prop_map(Rude::BackendNonsense),
        2 => code().prop_map(Rude::BackendClose),
        1 => Just(Rude::Refused),
        1 => Just(Rude::ShutDown),
    ]
    .prop_map(Op::Rude)
}

/// A rig with the streams of both ends, of which a part has arrived.
pub(super) struct World {
    pub(super) rig: Rig,
    /// Whole frames that the client has sent; the front of it has arrived.
    pub(super) client_stream: Vec<u8>,
    backend_stream: Vec<u8>,
    pub(super) said: usize,
    answered: usize,
    /// What next backends have said before their turn.
    ahead: usize,
    /// The backend whose stream this is.
    link: usize,
    client_left: bool,
    /// The secret of the client's present token, and how many messages it has got on connections before.
    secret: u8,
    heard: u64,
    /// Number of the present service's last commit, and seq of the last message before its connection.
    commits: u64,
    attached: u64,
    acknowledged: u64,
    /// Somebody has sent what is not WebSocket, so its stream means nothing any more.
    pub(super) nonsense: bool,
}

impl World {
    pub(super) fn new(change: impl FnOnce(&mut Config)) -> World {
        World::open(change, false)
    }

    /// `begins_anew`: as [`Opening`] has it.
    pub(super) fn open(change: impl FnOnce(&mut Config), begins_anew: bool) -> World {
        World::begin(change, Opening { epoch: 1, begins_anew, ..Opening::default() })
    }

    /// With a client of this kind, that has the token of secret 1.
    pub(super) fn with(client: ClientKind, change: impl FnOnce(&mut Config)) -> World {
        World::begin(change, Opening { epoch: 1, client, ..Opening::default() })
    }

    /// What a client does that links the shim.
    pub(super) fn links_shim() -> ClientKind {
        ClientKind::Shim { secret: [1; 32], reason: Reason::New }
    }

    fn begin(change: impl FnOnce(&mut Config), opening: Opening) -> World {
        let small = |config: &mut Config| {
            (config.message_limit, config.ring_limit) = (MESSAGE as u32, RING);
            change(config);
        };
        let rig = Rig::open(small, opening);
        let (client_stream, backend_stream) = (Vec::new(), Vec::new());
        World {
            rig,
            client_stream,
            backend_stream,
            said: 0,
            answered: 0,
            ahead: 0,
            link: 1,
            client_left: false,
            secret: 1,
            heard: 0,
            commits: 0,
            attached: 0,
            acknowledged: 0,
            nonsense: false,
        }
    }

    pub(super) fn apply(&mut self, op: Op) {
        match op {
            Op::Say { len, parts } => {
                let text = format!("up {}:{}", self.said, "u".repeat(len));
                self.said += 1;
                let kind = self.rig.session.adds_kind().then_some(KIND);
                let payload: Vec<u8> = kind.into_iter().chain(text.into_bytes()).collect();
                self.client_stream.extend(fragments(masked, TEXT, &payload, parts));
            }
            Op::Answer { len, parts } if self.rig.session.wants_link() => {
                self.forget_the_left();
                let text = format!("down {}:{}", self.answered, "d".repeat(len));
                self.answered += 1;
                let frames = match self.rig.session.commits() {
                    Some(_) => fragments(plain, BINARY, &self.commit(&text, false), parts),
                    None => fragments(plain, TEXT, text.as_bytes(), parts),
                };
                self.backend_stream.extend(frames);
            }
            Op::Shim(op) => self.shim(op),
            Op::ClientPing => self.client_stream.extend(masked(true, PING, b"client")),
            Op::BackendPing => {
                self.forget_the_left();
                self.backend_stream.extend(plain(true, PING, b"backend"));
            }
            Op::Arrive(n) => self.arrive(n),
            Op::Pong => self.pong(),
            Op::Flush(n) => self.flush(n),
            Op::BackendRoom(room) => self.rig.set_backend_room(room),
            Op::ClientRoom(room) => self.rig.set_client_room(room),
            Op::Die(death) => self.die(death),
            Op::Move(step) => self.move_on(step),
            Op::FailOver => {
                self.rig.session.fail_over(self.rig.now);
                self.rig.pump();
            }
            Op::Dial(succeeds) => self.dial(succeeds),
            Op::Wait(millis) => self.wait(millis),
            Op::Rude(rude) => self.rude(rude),
            Op::Answer { .. } => {}
        }
        self.check_bounds();
    }

    /// What the service's next commit says: all that it has got is consumed.
    fn commit(&mut self, output: &str, prompt: bool) -> Vec<u8> {
        self.commits += 1;
        let got = self.rig.link().reader.messages.saturating_sub(1);
        let (number, upto) = (self.commits, self.attached + got);
        Commit { number, upto, prompt, outputs: &[output], ..Commit::default() }.payload()
    }

    fn shim(&mut self, op: ShimOp) {
        let serves = self.rig.session.commits().is_some() && self.rig.session.wants_link();
        match op {
            ShimOp::Acknowledge if self.rig.session.adds_kind() => {
                let text = format!("a {}", self.heard + self.rig.client.numbered);
                self.client_stream.extend(masked(true, TEXT, text.as_bytes()));
            }
            ShimOp::Acknowledge => {
                let pings = std::mem::take(&mut self.rig.client.pings);
                self.client_stream.extend(pings.iter().flat_map(|payload| masked(true, PONG, payload)));
            }
            ShimOp::Query if self.rig.session.adds_kind() => {
                self.client_stream.extend(masked(true, TEXT, b"q"))
            }
            ShimOp::Back => self.come_back(),
            ShimOp::Push if serves => self.backend_stream.extend(push(&["pushed"])),
            ShimOp::Prompt if serves => {
                self.forget_the_left();
                let commit = self.commit("prompt", true);
                self.backend_stream.extend(plain(true, BINARY, &commit));
            }
            ShimOp::Query | ShimOp::Push | ShimOp::Prompt => {}
        }
    }

    fn come_back(&mut self) {
        let (heard, secret) = (self.heard + self.rig.client.numbered, self.secret + 1);
        let token = Token::new([0; 16], [self.secret; 32]);
        let resume = self.rig.session.adds_kind().then_some(Resume { token, last: heard });
        if self.rig.client_back(resume.as_ref(), secret).is_ok() {
            (self.heard, self.secret, self.client_left) = (heard, secret, false);
            self.client_stream.clear();
        }
    }

    fn arrive(&mut self, n: usize) {
        let n = n.min(self.client_stream.len());
        let bytes: Vec<u8> = self.client_stream.drain(..n).collect();
        if !self.client_left {
            self.rig.client_sends(&bytes);
        }
    }

    fn flush(&mut self, n: usize) {
        self.forget_the_left();
        let n = n.min(self.backend_stream.len());
        let bytes: Vec<u8> = self.backend_stream.drain(..n).collect();
        if self.rig.session.wants_link() {
            self.rig.backend_sends(&bytes);
        }
    }

    fn pong(&mut self) {
        self.forget_the_left();
        let pings = std::mem::take(&mut self.rig.link().reader.pings);
        self.backend_stream.extend(pings.iter().flat_map(|nonce| plain(true, PONG, nonce)));
    }

    fn die(&mut self, death: Death) {
        if !self.rig.session.wants_link() {
            return;
        }
        match death {
            Death::Eof => self.rig.backend_fails(Failure::Eof),
            Death::Reset => self.rig.backend_fails(Failure::Reset),
            Death::Close(code) => {
                self.flush(usize::MAX);
                self.rig.backend_sends(&plain(true, CLOSE, &close_payload(code, "")));
            }
        }
        self.forget_the_dead();
    }

    fn move_on(&mut self, step: Step) {
        let held = self.rig.successor.is_some();
        match step {
            Step::Order(force_in) => {
                let force_at = force_in.map(|millis| self.rig.now + ms(millis));
                self.rig.session.relocate(self.rig.now, Move { ticket: 1, force_at });
            }
            Step::CallOff => self.rig.session.remain(),
            Step::Dial(true) if !held => drop(self.rig.link_successor()),
            Step::Dial(false) if !held => self.rig.fail_successor(),
            Step::Says(len) if held => {
                let text = format!("next {}:{}", self.ahead, "n".repeat(len));
                self.ahead += 1;
                self.rig.successor_says(&text);
            }
            Step::Pings if held => self.rig.successor_sends(&plain(true, PING, b"next")),
            Step::Dies => self.rig.successor_dies(),
            _ => {}
        }
        self.rig.pump();
    }

    /// What a backend that was left was about to say is never said.
    fn forget_the_left(&mut self) {
        if self.link != self.rig.links.len() {
            self.link = self.rig.links.len();
            self.backend_stream.clear();
            let commits = self.rig.session.commits();
            (self.commits, self.attached) = commits.map_or((0, 0), |it| (it.applied(), it.committed()));
        }
    }

    /// What a dead backend was about to say is never said.
    fn forget_the_dead(&mut self) {
        if !self.rig.session.wants_link() {
            self.backend_stream.clear();
        }
    }

    pub(super) fn dial(&mut self, succeeds: bool) {
        if !self.rig.session.wants_dial() {
            return;
        }
        self.backend_stream.clear();
        if succeeds {
            assert!(self.rig.link_with(false));
        } else {
            self.rig.session.handle_dial_failed(self.rig.now, DialFailure::Unreachable);
            self.rig.pump();
        }
    }

    /// Time passes; the driver has no other backend to go to.
    pub(super) fn wait(&mut self, millis: u64) {
        self.rig.wait(ms(millis));
        assert!(self.rig.notes.len() < 1000, "{} notes", self.rig.notes.len());
        self.rig.notes.clear();
        self.forget_the_dead();
    }

    pub(super) fn rude(&mut self, rude: Rude) {
        match rude {
            Rude::ClientClose(code) => {
                self.client_stream.extend(masked(true, CLOSE, &close_payload(code, "")));
                self.arrive(usize::MAX);
                // A client says nothing more after its Close.
                self.client_left = true;
            }
            Rude::ClientGone => {
                self.client_left = true;
                self.rig.client_goes();
            }
            Rude::ClientNonsense(bytes) => {
                self.client_stream = bytes;
                self.arrive(usize::MAX);
                self.nonsense = true;
            }
            Rude::BackendNonsense(bytes) => {
                self.backend_stream = bytes;
                self.flush(usize::MAX);
                self.nonsense = true;
            }
            Rude::BackendClose(code) => self.die(Death::Close(code)),
            Rude::Refused if self.rig.session.wants_dial() => {
                self.rig.session.handle_dial_failed(self.rig.now, DialFailure::Refused);
                self.rig.pump();
            }
            Rude::Refused => {}
            Rude::ShutDown => {
                self.rig.session.shut_down(self.rig.now, CloseCode(1001));
                self.rig.pump();
            }
        }
        self.forget_the_dead();
    }

    fn check_bounds(&mut self) {
        let (upstream, all) = (self.rig.session.unacknowledged(), self.rig.session.buffered());
        let rings = if self.rig.session.returning().is_some() { 2 } else { 1 };
        assert!(upstream <= rings * RING + MESSAGE + SLACK, "{upstream} bytes are not acknowledged");
        assert!(
            all - upstream <= 2 * BACKLOG + MESSAGE + 2 * SLACK,
            "{} bytes wait for the client",
            all - upstream
        );
        let ledger = self.rig.session.ledger();
        assert!(
            ledger.upstream.acknowledged + ledger.upstream.lost <= ledger.upstream.forwarded,
            "{ledger:?}"
        );
        assert!(
            ledger.downstream.acknowledged + ledger.downstream.lost <= ledger.downstream.forwarded,
            "{ledger:?}"
        );
        assert!(ledger.upstream.acknowledged >= self.acknowledged, "a count went backwards: {ledger:?}");
        self.acknowledged = ledger.upstream.acknowledged;
    }

    /// Everybody reads and answers from now on, and no backend dies any more, until nothing is
    /// left to deliver.
    pub(super) fn calm_down(&mut self) {
        (self.rig.client_room, self.rig.backend_room) = (usize::MAX, usize::MAX);
        self.rig.pump();
        for _ in 0..1000 {
            let waits = matches!(self.rig.session.status(), Status::Waiting | Status::Dialing);
            if waits && self.rig.session.ended().is_none() {
                self.backend_stream.clear();
                self.rig.link_next();
            }
            self.arrive(usize::MAX);
            self.pong();
            self.answer_close();
            self.flush(usize::MAX);
            self.wait(100);
            if self.rig.client_pushed_back() + self.rig.session.buffered() == 0 {
                return;
            }
        }
        panic!("it never comes to rest: {:?}", self.rig.session);
    }

    /// A backend that was told goodbye says the same.
    fn answer_close(&mut self) {
        self.forget_the_left();
        let link = self.rig.link();
        if link.reader.closed() && link.dropped.is_none() {
            self.backend_stream.extend(plain(true, CLOSE, &close_payload(1000, "")));
        }
    }

    /// The numbers of the whole messages that each backend has got, in order of arrival.
    pub(super) fn arrivals(&mut self) -> Vec<Vec<usize>> {
        self.rig.links.iter_mut().map(|link| numbers(&link.reader.drain(), "up ")).collect()
    }
}

/// The frames of one message.
fn fragments(frame: fn(bool, u8, &[u8]) -> Vec<u8>, opcode: u8, text: &[u8], parts: usize) -> Vec<u8> {
    let size = text.len().div_ceil(parts).max(1);
    let count = text.chunks(size).count();
    let one =
        |(n, part): (usize, &[u8])| frame(n + 1 == count, if n == 0 { opcode } else { CONTINUATION }, part);
    text.chunks(size).enumerate().flat_map(one).collect()
}

/// The numbers of messages named `up 7:uuu`, each of which must be whole and unharmed.
pub(super) fn numbers(got: &[String], speaker: &str) -> Vec<usize> {
    let messages = got.iter().filter(|frame| !frame.starts_with('<')).map(|text| message(text));
    messages.filter(|(name, _)| *name == speaker).map(|(_, number)| number).collect()
}

/// Who has said it, and its number.
fn message(text: &str) -> (&str, usize) {
    let (name, filling) = text.split_once(':').expect(text);
    let (speaker, number) = name.split_at(name.find(' ').expect(text) + 1);
    assert!(["up ", "down ", "next "].contains(&speaker), "{text}");
    assert!(filling.bytes().all(|byte| byte == speaker.as_bytes()[0]), "{text}");
    (speaker, number.parse().expect(text))
}
