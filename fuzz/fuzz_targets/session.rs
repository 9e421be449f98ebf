//! Arbitrary operations in any order, also in senseless ones: the session machine never panics or
//! spins, writes only legal frames, keeps to its bounds, and ends when its client is gone.
#![no_main]

use std::sync::Arc;
use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use steadfast_protocol::buffer::chain::Gather;
use steadfast_protocol::session::{
    AckMode, Codes, Command, Config, DialFailure, Evidence, Failure, Move, Opening, Session, SessionSide,
};
use steadfast_protocol::time::Time;
use steadfast_protocol::websocket::close_code::CloseCode;
use steadfast_protocol::websocket::frame::{CONTROL_MAX, Opcode, apply_mask, control_frame};
use steadfast_protocol::websocket::scanner::{FrameSender, Item, Scanner};

const MESSAGE: usize = 20_000;
const RING: usize = 30_000;

/// What a read may bring at once, and the headers of its frames.
const SLACK: usize = 80 * 1024;

/// What may wait for the client: see `CLIENT_BACKLOG` of the machine.
const BACKLOG: usize = 256 * 1024;

#[derive(Debug, Arbitrary)]
struct Input {
    setup: Setup,
    ops: Vec<Op>,
}

#[derive(Debug, Arbitrary)]
struct Setup {
    none: bool,
    hold: bool,
    keepalive: bool,
    close_on_failure: bool,
    no_failover: bool,
    deflate: bool,
    jitter: bool,
    break_before_make: bool,
    begins_anew: bool,
    dial_late: bool,
}

#[derive(Debug, Arbitrary)]
enum Op {
    ClientBytes(Vec<u8>),
    ClientFrame(Frame),
    ClientGone,
    BackendBytes(Vec<u8>),
    BackendFrame(Frame),
    /// Answers the latest ping.
    BackendPong,
    BackendLost(Fate),
    /// So many bytes of a write that is due are taken.
    BackendTakes(u16),
    ClientTakes(u16),
    Linked(bool),
    DialFailed(bool),
    Obey,
    Pass(u16),
    PassSeconds(u8),
    Evidence {
        dead: bool,
        lived: bool,
        other: bool,
    },
    Relocate {
        ticket: bool,
        force_in: Option<u16>,
    },
    Remain,
    FailOver,
    /// Whether another backend has room, said whether it was asked or not.
    Room(bool),
    Abort,
    TargetLinked,
    TargetFailed,
    TargetBytes(Vec<u8>),
    TargetFrame(Frame),
    TargetLost,
    TargetTakes(u16),
    ShutDown,
    Listen,
    Fit(bool),
    ClientDead,
}

#[derive(Debug, Arbitrary)]
enum Fate {
    Eof,
    Reset,
    Silence,
    Cut,
}

#[derive(Debug, Arbitrary)]
struct Frame {
    fin: bool,
    kind: Kind,
    len: u16,
    /// Only so much of it arrives.
    cut: Option<u16>,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Kind {
    Text,
    Continuation,
    Ping,
    Close(u16),
}

impl Frame {
    fn bytes(&self, mask: Option<[u8; 4]>) -> Vec<u8> {
        let mut bytes = match self.kind {
            Kind::Ping => control_frame(Opcode::Ping, &vec![7; usize::from(self.len) % CONTROL_MAX], mask),
            Kind::Close(code) => control_frame(Opcode::Close, &code.to_be_bytes(), mask),
            Kind::Text => data_frame(self.fin, 1, usize::from(self.len) % MESSAGE, mask),
            Kind::Continuation => data_frame(self.fin, 0, usize::from(self.len) % MESSAGE, mask),
        };
        bytes.truncate(self.cut.map_or(usize::MAX, usize::from));
        bytes
    }
}

fn data_frame(fin: bool, opcode: u8, len: usize, mask: Option<[u8; 4]>) -> Vec<u8> {
    let bit = if mask.is_some() { 0x80 } else { 0 };
    let mut frame = vec![u8::from(fin) << 7 | opcode];
    match len {
        0..126 => frame.push(bit | len as u8),
        _ => frame.extend([bit | 126, (len >> 8) as u8, len as u8]),
    }
    frame.extend(mask.iter().flatten());
    let start = frame.len();
    frame.resize(start + len, b'x');
    if let Some(key) = mask {
        apply_mask(&mut frame[start..], key, 0);
    }
    frame
}

fn config(setup: &Setup) -> Config {
    let secs = Duration::from_secs;
    let when = |on: bool, time: Duration| if on { time } else { Duration::ZERO };
    Config {
        ack: if setup.none { AckMode::None } else { AckMode::Pong },
        ack_hold: when(setup.hold, Duration::from_millis(200)),
        ack_timeout: secs(10),
        stall_timeout: secs(300),
        failover: !setup.close_on_failure,
        auto_wait: secs(5),
        reply_timeout: Duration::from_secs(30),
        prologue_timeout: Duration::from_secs(10),
        profile_records: MESSAGE,
        capsule_limit: MESSAGE,
        resume_window: secs(120),
        unproven_window: secs(5),
        message_limit: MESSAGE as u32,
        ring_limit: RING,
        close_timeout: secs(5),
        client_stall: secs(60),
        message_timeout: secs(120),
        keepalive: when(setup.keepalive, secs(25)),
        client_pong: secs(20),
        quiet: Duration::from_millis(500),
        quiet_max: secs(2),
        patience: secs(2),
        hold: secs(3),
        dial_ahead: !setup.dial_late,
        break_before_make: setup.break_before_make,
        deadline: secs(30),
        longest: secs(120),
        stable: secs(5),
        backoff_min: Duration::from_millis(50),
        backoff_max: secs(2),
        jitter: when(setup.jitter, Duration::from_millis(10)),
        failure_codes: [1001, 1011, 1012, 1013, 1014].map(CloseCode).to_vec(),
        poison_window: secs(60),
        poison_deaths: 2,
        poison_convictions: 3,
        codes: Codes {
            deadline: CloseCode(1013),
            longest: CloseCode(1012),
            slow_client: CloseCode(1013),
            refused: CloseCode(1012),
            poison: CloseCode(1011),
            on_failure: CloseCode(1012),
            reconnect: CloseCode(1012),
            slow_message: CloseCode(1008),
        },
    }
}

/// One end of a connection: everything that it receives must be legal.
struct Receiver {
    scanner: Scanner,
    closed: bool,
    ping: Option<Vec<u8>>,
}

impl Receiver {
    fn new(from: FrameSender, deflate: bool) -> Receiver {
        Receiver { scanner: Scanner::new(from, u32::MAX, deflate), closed: false, ping: None }
    }

    fn receive(&mut self, mut bytes: &[u8]) {
        assert!(bytes.is_empty() || !self.closed, "{bytes:?} after a Close");
        while let Some(item) =
            self.scanner.next(&mut bytes, &mut { u32::MAX }).expect("the machine writes legal frames")
        {
            let Item::Control(control) = item else { continue };
            match control.opcode {
                Opcode::Close => self.closed = true,
                Opcode::Ping => self.ping = Some(control.payload().to_vec()),
                _ => {}
            }
            assert!(!self.closed || bytes.is_empty(), "{bytes:?} after a Close");
        }
    }
}

struct Bench {
    session: Session,
    now: Time,
    seed: u64,
    deflate: bool,
    client: Receiver,
    backend: Receiver,
    target: Receiver,
}

impl Bench {
    fn new(setup: &Setup) -> Bench {
        let now = Time::after_origin(Duration::from_secs(1));
        let (deflate, no_failover) = (setup.deflate, setup.no_failover);
        let begins_anew = setup.begins_anew;
        let opening = Opening { epoch: 1, deflate, no_failover, begins_anew, ..Opening::default() };
        Bench {
            session: Session::new(Arc::new(config(setup)), now, opening),
            now,
            seed: 1,
            deflate: setup.deflate,
            client: Receiver::new(FrameSender::Backend, setup.deflate),
            backend: Receiver::new(FrameSender::Client, setup.deflate),
            target: Receiver::new(FrameSender::Client, setup.deflate),
        }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::ClientBytes(bytes) => self.hear_client(bytes),
            Op::ClientFrame(frame) => self.hear_client(&frame.bytes(Some([1, 2, 3, 4]))),
            Op::ClientGone => self.session.handle_client_gone(self.now),
            Op::BackendBytes(bytes) => self.hear_backend(bytes),
            Op::BackendFrame(frame) => self.hear_backend(&frame.bytes(None)),
            Op::BackendPong => {
                let nonce = self.backend.ping.take().unwrap_or_default();
                self.hear_backend(&control_frame(Opcode::Pong, &nonce, None));
            }
            Op::BackendLost(fate) => self.session.handle_backend_lost(self.now, failure(fate)),
            Op::BackendTakes(room) => self.backend_takes(usize::from(*room)),
            Op::ClientTakes(room) => self.client_takes(usize::from(*room)),
            Op::Linked(no_failover) => self.linked(*no_failover),
            Op::DialFailed(refused) => {
                let failure = if *refused { DialFailure::Refused } else { DialFailure::Unreachable };
                self.session.handle_dial_failed(self.now, failure);
            }
            Op::Obey => self.obey(),
            Op::Pass(millis) => self.pass(Duration::from_millis(u64::from(*millis))),
            Op::PassSeconds(secs) => self.pass(Duration::from_secs(u64::from(*secs))),
            Op::Evidence { dead, lived, other } => {
                let lived = lived.then_some(self.now);
                let evidence = Evidence { dead: *dead, lived, patience: Duration::ZERO, other: *other };
                self.session.handle_evidence(self.now, &evidence);
            }
            Op::Fit(true) => self.session.set_fit(),
            Op::Fit(false) => self.session.set_unfit(self.now),
            Op::ClientDead => self.session.handle_client_dead(self.now),
            Op::Relocate { ticket, force_in } => {
                let force_at = force_in.map(|millis| self.now + Duration::from_millis(u64::from(millis)));
                self.session.relocate(self.now, Move { ticket: u64::from(*ticket), force_at });
            }
            Op::Remain => self.session.remain(),
            Op::Room(room) => self.session.handle_room(self.now, *room),
            Op::FailOver => drop(self.session.fail_over(self.now)),
            Op::Abort => drop(self.session.abort(self.now, CloseCode::POLICY_VIOLATION, "by hand")),
            Op::TargetLinked => {
                if self.session.handle_successor_linked(self.now) {
                    self.target = Receiver::new(FrameSender::Client, self.deflate);
                }
            }
            Op::TargetFailed => self.session.handle_successor_failed(),
            Op::TargetBytes(bytes) => self.hear_target(bytes),
            Op::TargetFrame(frame) => self.hear_target(&frame.bytes(None)),
            Op::TargetLost => self.session.handle_successor_lost(),
            Op::TargetTakes(room) => self.target_takes(usize::from(*room)),
            Op::ShutDown => self.session.shut_down(self.now, CloseCode::GOING_AWAY),
            Op::Listen => while self.session.poll_event().is_some() {},
        }
    }

    /// As much as the machine allows, by the direct way where there is one.
    fn hear_client(&mut self, bytes: &[u8]) {
        let mut rest = &bytes[..bytes.len().min(self.session.client_read_limit(false))];
        if let Some((to, room)) = self.session.client_direct() {
            let (now, later) = rest.split_at(room.min(rest.len()));
            to.extend_from_slice(now);
            self.session.client_read(self.now, now.len());
            rest = later;
        }
        while !rest.is_empty() {
            let mut frames = 1 + self.seed as u32 % 5;
            rest = &rest[self.session.handle_client(self.now, rest, &mut frames)..];
        }
    }

    fn hear_backend(&mut self, bytes: &[u8]) {
        if !self.session.wants_backend() {
            return;
        }
        let mut rest = bytes;
        if let Some((to, room)) = self.session.backend_direct() {
            let (now, later) = rest.split_at(room.min(rest.len()));
            to.extend_from_slice(now);
            self.session.backend_read(self.now, now.len());
            rest = later;
        }
        let (client, mut room, most) =
            (&mut self.client, self.seed as usize % 1000, 1 + self.seed as u32 % 5);
        let mut direct = |bytes: &[u8]| {
            let taken = bytes.len().min(room);
            room -= taken;
            client.receive(&bytes[..taken]);
            taken
        };
        let mut frames = most;
        while !rest.is_empty() {
            rest = &rest[self.session.handle_backend(self.now, rest, &mut frames, &mut direct)..];
            frames = most;
        }
    }

    fn hear_target(&mut self, bytes: &[u8]) {
        if self.session.listens_to_successor() {
            self.session.handle_successor(bytes, &mut { u32::MAX });
        }
    }

    fn target_takes(&mut self, room: usize) {
        self.advance();
        let bytes = offered(&self.session.poll_transmit(SessionSide::NextBackend), room);
        self.session.handle_written(SessionSide::NextBackend, bytes.len());
        self.target.receive(&bytes);
    }

    /// Hears what the machine asks. A next backend that is connected takes its turn at once.
    fn obey(&mut self) {
        while let Some(command) = self.session.poll_command(self.now) {
            match command {
                Command::Dial(dial) if dial.held => {
                    let target = Receiver::new(FrameSender::Client, self.deflate);
                    let target = std::mem::replace(&mut self.target, target);
                    assert!(self.session.handle_linked(self.now, false, 2));
                    self.backend = target;
                }
                Command::Dial(dial) if dial.accused.is_some() => self.session.handle_convicted(self.now),
                Command::SeekRoom => self.session.handle_room(self.now, false),
                _ => {}
            }
        }
    }

    fn linked(&mut self, no_failover: bool) {
        let wanted = self.session.wants_dial();
        assert_eq!(self.session.handle_linked(self.now, no_failover, 2), wanted);
        if wanted {
            self.backend = Receiver::new(FrameSender::Client, self.deflate);
        }
    }

    /// A write follows an `advance`, as the machine demands.
    fn backend_takes(&mut self, room: usize) {
        self.advance();
        let bytes = offered(&self.session.poll_transmit(SessionSide::Backend), room);
        self.session.handle_written(SessionSide::Backend, bytes.len());
        self.backend.receive(&bytes);
    }

    fn client_takes(&mut self, room: usize) {
        self.advance();
        let bytes = offered(&self.session.poll_transmit(SessionSide::Client), room);
        self.session.handle_written(SessionSide::Client, bytes.len());
        self.client.receive(&bytes);
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.advance();
    }

    /// Advances until the machine has nothing to do at this time.
    fn advance(&mut self) {
        for _ in 0..10 {
            let seed = &mut self.seed;
            self.session.advance(self.now, &mut || {
                *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                *seed
            });
            if self.session.poll_timeout().is_none_or(|at| at > self.now) || self.dial_is_due() {
                return;
            }
        }
        panic!("it spins at {:?}: {:?}", self.now, self.session);
    }

    /// The driver is to dial, or to say whether there is room.
    fn dial_is_due(&self) -> bool {
        self.session.status().name() == "waiting" || self.session.orphaned().is_some()
    }

    fn check(&self) {
        let (all, upstream) = (self.session.buffered(), self.session.unacknowledged());
        assert!(upstream <= RING + MESSAGE + SLACK, "{upstream} bytes are not acknowledged");
        assert!(
            all - upstream <= 2 * BACKLOG + MESSAGE + 2 * SLACK,
            "{} bytes wait for the client",
            all - upstream
        );
        let ledger = self.session.ledger();
        assert!(
            ledger.upstream.acknowledged + ledger.upstream.lost <= ledger.upstream.forwarded,
            "{ledger:?}"
        );
        assert!(
            ledger.downstream.acknowledged + ledger.downstream.lost <= ledger.downstream.forwarded,
            "{ledger:?}"
        );
    }

    /// The client goes; backends come, say nothing, and are left when the machine finds them silent.
    fn finish(&mut self) {
        self.session.handle_client_gone(self.now);
        for _ in 0..1000 {
            self.advance();
            while let Some(command) = self.session.poll_command(self.now) {
                if command == Command::JudgeSilence {
                    let evidence =
                        Evidence { dead: false, lived: None, patience: Duration::ZERO, other: true };
                    self.session.handle_evidence(self.now, &evidence);
                }
            }
            while self.session.poll_event().is_some() {}
            if self.session.wants_dial() {
                self.linked(false);
            }
            self.backend_takes(usize::MAX);
            self.client_takes(usize::MAX);
            self.advance();
            if self.session.ended().is_some() {
                assert_eq!(self.session.buffered(), 0);
                return;
            }
            self.now = self.session.poll_timeout().map_or(self.now, |at| at.max(self.now));
        }
        panic!("it never ends: {:?}", self.session);
    }
}

fn failure(fate: &Fate) -> Failure {
    match fate {
        Fate::Eof => Failure::Eof,
        Fate::Reset => Failure::Reset,
        Fate::Silence => Failure::Silence,
        Fate::Cut => Failure::Cut,
    }
}

fn offered(gather: &Gather<'_>, room: usize) -> Vec<u8> {
    gather.pieces().iter().flat_map(|piece| piece.iter().copied()).take(room).collect()
}

fuzz_target!(|input: Input| {
    let mut bench = Bench::new(&input.setup);
    for op in &input.ops {
        bench.apply(op);
        bench.check();
    }
    bench.finish();
});
