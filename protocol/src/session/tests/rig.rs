//! A session on a bench: virtual time, a client and backends in memory, and a driver that keeps to
//! the order which the machine documents.

use std::sync::Arc;
use std::time::Duration;

use super::wire::{self, Reader, close_payload, masked, plain};
use crate::session::{
    AckMode, Codes, Command, Config, Dial, DialFailure, Event, Evidence, Failure, Judgement, Opening,
    Session, SessionSide, Status,
};
use crate::steadfast_v1::client_wire::{Reason, Resume};
use crate::time::Time;
use crate::websocket::close_code::CloseCode;

/// Rounds without the passing of time after which the driver is held to spin.
const ROUNDS_MAX: u32 = 20;

/// The bytes that the driver reads at once.
const READ_MAX: usize = 64 * 1024;

pub(super) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(super) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Nobody has heard the backend, and there is another.
pub(super) const MUTE: Evidence =
    Evidence { dead: false, lived: None, patience: Duration::ZERO, other: true };

/// The daemon's defaults, but small limits, no keepalive and no jitter.
pub(super) fn config() -> Config {
    Config {
        ack: AckMode::Pong,
        ack_hold: Duration::ZERO,
        ack_timeout: secs(10),
        stall_timeout: secs(300),
        failover: true,
        auto_wait: secs(5),
        reply_timeout: secs(30),
        prologue_timeout: secs(10),
        profile_records: 64 << 10,
        capsule_limit: 1000,
        resume_window: secs(120),
        unproven_window: secs(1 << 30),
        message_limit: 1 << 20,
        ring_limit: 2 << 20,
        close_timeout: secs(5),
        client_stall: secs(60),
        message_timeout: secs(120),
        keepalive: Duration::ZERO,
        client_pong: secs(20),
        quiet: ms(500),
        quiet_max: secs(2),
        patience: secs(30),
        hold: secs(3),
        dial_ahead: true,
        break_before_make: false,
        deadline: secs(30),
        longest: secs(120),
        stable: secs(5),
        backoff_min: ms(50),
        backoff_max: secs(2),
        jitter: Duration::ZERO,
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

/// How the driver let a backend's connection go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drop {
    /// The machine wants no link any more.
    Closed,
    /// The same, and it asks for a reset.
    Reset,
}

/// One connection to a backend.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) reader: Reader,
    /// Bytes that the backend has said and the driver has not read.
    unread: Vec<u8>,
    pub(super) dropped: Option<Drop>,
}

/// What the machine has said to the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Event(Event),
    Command(Command),
}

/// It has said nothing.
pub(super) const NOTHING: [Told; 0] = [];

impl PartialEq<Event> for Told {
    fn eq(&self, other: &Event) -> bool {
        matches!(self, Told::Event(event) if event == other)
    }
}

impl PartialEq<Command> for Told {
    fn eq(&self, other: &Command) -> bool {
        matches!(self, Told::Command(command) if command == other)
    }
}

pub(super) struct Rig {
    config: Arc<Config>,
    pub(super) session: Session,
    pub(super) now: Time,
    /// What the client has received.
    pub(super) client: Reader,
    client_unread: Vec<u8>,
    /// What its connections before have received.
    pub(super) clients: Vec<Reader>,
    /// All links of the session, the present one last.
    pub(super) links: Vec<Link>,
    pub(super) dials: Vec<(Time, Dial)>,
    /// Tickets of the moves for which the machine has asked for a next backend.
    pub(super) successor_dials: Vec<u64>,
    /// The next backend while it waits for its turn.
    pub(super) successor: Option<Link>,
    pub(super) notes: Vec<Told>,
    /// The machine has said that a backend has answered its first ping.
    pub(super) fit: bool,
    /// It has said that one talks and has answered none in time.
    pub(super) unproven: bool,
    /// Bytes that the sockets still take.
    pub(super) client_room: usize,
    pub(super) backend_room: usize,
    /// What the driver finds when it looks for room; `None`: the test answers for it.
    pub(super) room: Option<bool>,
    seeks_room: bool,
    /// Whoever is accused is convicted: no other session has brought it about.
    pub(super) convicts: bool,
    seed: u64,
}

impl Rig {
    pub(super) fn new() -> Rig {
        Rig::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut Config)) -> Rig {
        Rig::begin(change, false, false)
    }

    /// `deflate`, `no_failover`: as [`Opening`] has them.
    pub(super) fn begin(change: impl FnOnce(&mut Config), deflate: bool, no_failover: bool) -> Rig {
        Rig::open(change, Opening { epoch: 1, deflate, no_failover, ..Opening::default() })
    }

    pub(super) fn open(change: impl FnOnce(&mut Config), opening: Opening) -> Rig {
        let mut config = config();
        change(&mut config);
        let config = Arc::new(config);
        let now = Time::ORIGIN + secs(1000);
        Rig {
            session: Session::new(Arc::clone(&config), now, opening),
            config,
            now,
            client: Reader::default(),
            client_unread: Vec::new(),
            clients: Vec::new(),
            links: vec![Link::new()],
            dials: Vec::new(),
            successor_dials: Vec::new(),
            successor: None,
            notes: Vec::new(),
            fit: false,
            unproven: false,
            client_room: usize::MAX,
            backend_room: usize::MAX,
            room: None,
            seeks_room: false,
            convicts: true,
            seed: 1,
        }
    }

    // ---- what the client does ----

    /// Bytes arrive from the client.
    pub(super) fn client_sends(&mut self, bytes: &[u8]) {
        self.client_unread.extend_from_slice(bytes);
        self.pump();
    }

    /// A whole message arrives from it.
    pub(super) fn client_says(&mut self, text: &str) {
        self.client_sends(&wire::upstream(text));
    }

    pub(super) fn client_closes(&mut self, code: u16, reason: &str) {
        self.client_sends(&masked(true, wire::CLOSE, &close_payload(code, reason)));
    }

    /// Its socket ends, once all that it said is read.
    pub(super) fn client_goes(&mut self) {
        self.session.handle_client_gone(self.now);
        self.pump();
    }

    /// It is on another connection, with the secret of its next token. What it has said on the one before
    /// and was not read is lost.
    pub(super) fn client_back(&mut self, resume: Option<&Resume>, secret: u8) -> Result<(), Reason> {
        let last_words = self.session.handle_client_back(self.now, resume, [secret; 32])?;
        self.client.receive(&last_words.unwrap_or_default());
        self.clients.push(std::mem::take(&mut self.client));
        self.client_unread.clear();
        self.client_room = usize::MAX;
        self.pump();
        Ok(())
    }

    /// The broker's process ends, and another one restores the session, with a clock of its own.
    pub(super) fn restore(&mut self) {
        let nothing = Session::new(Arc::clone(&self.config), self.now, Opening::default());
        let state = std::mem::replace(&mut self.session, nothing).into_state();
        self.now = Time::ORIGIN + secs(5);
        self.link().dropped = Some(Drop::Reset);
        self.clients.push(std::mem::take(&mut self.client));
        self.client_unread.clear();
        self.client_room = usize::MAX;
        self.session = Session::restore(state, Arc::clone(&self.config), self.now);
        self.successor = None;
        self.pump();
    }

    /// Bytes that wait in the client's socket because they are not read.
    pub(super) fn client_pushed_back(&self) -> usize {
        self.client_unread.len()
    }

    // ---- what the backend does ----

    pub(super) fn backend_sends(&mut self, bytes: &[u8]) {
        self.link().unread.extend_from_slice(bytes);
        self.pump();
    }

    pub(super) fn backend_says(&mut self, text: &str) {
        self.backend_sends(&wire::downstream(text));
    }

    pub(super) fn backend_closes(&mut self, code: u16, reason: &str) {
        self.backend_sends(&plain(true, wire::CLOSE, &close_payload(code, reason)));
    }

    /// Answers every ping that it has got. At least one.
    pub(super) fn backend_pongs(&mut self) {
        let pings = std::mem::take(&mut self.link().reader.pings);
        assert!(!pings.is_empty(), "there is no ping to answer");
        let bytes: Vec<u8> = pings.iter().flat_map(|nonce| plain(true, wire::PONG, nonce)).collect();
        self.backend_sends(&bytes);
    }

    /// Its socket ends without a Close.
    pub(super) fn backend_dies(&mut self) {
        self.backend_fails(Failure::Eof);
    }

    pub(super) fn backend_fails(&mut self, failure: Failure) {
        self.session.handle_backend_lost(self.now, failure);
        self.pump();
    }

    /// The driver says what it knows of a backend that says nothing.
    pub(super) fn judge(&mut self, evidence: Evidence) -> Judgement {
        let judgement = self.session.handle_evidence(self.now, &evidence);
        self.pump();
        judgement
    }

    // ---- what the sockets take ----

    /// What the driver's random numbers begin with.
    pub(super) fn set_seed(&mut self, seed: u64) {
        self.seed = seed;
    }

    pub(super) fn set_client_room(&mut self, room: usize) {
        self.client_room = room;
        self.pump();
    }

    pub(super) fn set_backend_room(&mut self, room: usize) {
        self.backend_room = room;
        self.pump();
    }

    // ---- dials ----

    /// Waits until the machine dials.
    pub(super) fn dial(&mut self) {
        self.pump();
        let until = self.now + secs(60);
        while !self.session.wants_dial() {
            let at = self.session.poll_timeout().filter(|at| *at <= until).expect("a dial within a minute");
            self.now = self.now.max(at);
            self.pump();
        }
    }

    /// Waits for the dial and lets it succeed.
    pub(super) fn link_next(&mut self) {
        assert!(self.link_next_if_wanted(), "the dial was wanted");
    }

    /// The same, unless the session comes to its end instead.
    pub(super) fn link_next_if_wanted(&mut self) -> bool {
        self.pump();
        while !self.session.wants_dial() {
            if self.session.status() == Status::Closing {
                return false;
            }
            self.now = self.session.poll_timeout().expect("a dial, or the end").max(self.now);
            self.pump();
        }
        self.link_with(false)
    }

    /// The dial under way succeeds. `no_failover`: the backend asks not to be replaced.
    pub(super) fn link_with(&mut self, no_failover: bool) -> bool {
        let wanted = self.session.handle_linked(self.now, no_failover, self.links.len() as u64 + 1);
        if wanted {
            self.links.push(Link::new());
            // What the pool knows.
            if self.fit {
                self.session.set_fit();
            }
        }
        self.pump();
        wanted
    }

    /// Waits for the dial and lets it fail.
    pub(super) fn fail_dial(&mut self, failure: DialFailure) {
        self.dial();
        self.session.handle_dial_failed(self.now, failure);
        self.pump();
    }

    // ---- the next backend of a move ----

    /// The dial for the next backend succeeds. False: the machine does not want it.
    pub(super) fn link_successor(&mut self) -> bool {
        let wanted = self.session.handle_successor_linked(self.now);
        if wanted {
            self.successor = Some(Link::new());
        }
        self.pump();
        wanted
    }

    /// It fails.
    pub(super) fn fail_successor(&mut self) {
        self.session.handle_successor_failed();
        self.pump();
    }

    pub(super) fn successor_sends(&mut self, bytes: &[u8]) {
        self.successor.as_mut().expect("a next backend").unread.extend_from_slice(bytes);
        self.pump();
    }

    pub(super) fn successor_says(&mut self, text: &str) {
        self.successor_sends(&wire::downstream(text));
    }

    pub(super) fn successor_dies(&mut self) {
        self.session.handle_successor_lost();
        self.pump();
    }

    // ---- what came of it ----

    /// What the present backend has got since the last call.
    pub(super) fn upstream(&mut self) -> Vec<String> {
        self.link().reader.drain()
    }

    /// What the client has got since the last call.
    pub(super) fn downstream(&mut self) -> Vec<String> {
        self.client.drain()
    }

    pub(super) fn link(&mut self) -> &mut Link {
        self.links.last_mut().expect("a session begins linked")
    }

    /// As [`Rig::take_notes`], without what the machine has asked.
    pub(super) fn take_events(&mut self) -> Vec<Event> {
        let event = |told| if let Told::Event(event) = told { Some(event) } else { None };
        self.take_notes().into_iter().filter_map(event).collect()
    }

    pub(super) fn take_notes(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.notes)
    }

    // ---- time ----

    /// Lets time pass, and wakes the machine whenever it asked to be.
    pub(super) fn wait(&mut self, time: Duration) {
        let (end, mut spins) = (self.now + time, 0);
        while let Some(at) = self.session.poll_timeout().filter(|at| *at <= end) {
            spins = if at <= self.now { spins + 1 } else { 0 };
            assert!(spins < ROUNDS_MAX, "spins at {:?} with {:?}", self.now, self.session);
            self.now = self.now.max(at);
            self.pump();
        }
        self.now = end;
    }

    /// Runs the driver until nothing moves at this time. Like the daemon's it spares the last
    /// round when the machine is at ease.
    pub(super) fn pump(&mut self) {
        let mut settled = false;
        for _ in 0..100_000 {
            let read = self.read_client() + self.read_backend() + self.read_successor();
            if (settled && read == 0) || self.round() + read == 0 {
                return;
            }
            settled = self.session.at_ease();
        }
        panic!("the driver never comes to rest: {:?}", self.session);
    }

    /// One round of the driver's: advance, write, dial. Says how many bytes were written.
    pub(super) fn round(&mut self) -> usize {
        let seed = &mut self.seed;
        let mut entropy = || {
            *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            *seed ^ (*seed >> 29)
        };
        self.session.advance(self.now, &mut entropy);
        self.listen();
        self.drop_link();
        let mut written = self.write_backend() + self.write_client() + self.write_successor();
        self.drop_link();
        if !self.session.wants_successor() {
            self.successor = None;
        }
        while let Some(command) = self.session.poll_command(self.now) {
            written += usize::from(self.obey(command));
        }
        self.listen();
        written
    }

    /// The machine has asked, since the last call, whether there is room.
    pub(super) fn seeks_room(&mut self) -> bool {
        std::mem::take(&mut self.seeks_room)
    }

    /// Hears what has happened. What is the pool's to know is not noted.
    fn listen(&mut self) {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Fit => self.fit = true,
                Event::Unproven => self.unproven = true,
                event => self.notes.push(Told::Event(event)),
            }
        }
    }

    /// Does what the machine asks, as far as the test does not do it itself. True: more may be done at once.
    fn obey(&mut self, command: Command) -> bool {
        match command {
            Command::Dial(dial) => {
                self.dials.push((self.now, dial));
                if dial.accused.is_some() && self.convicts {
                    self.session.handle_convicted(self.now);
                    return true;
                }
                return dial.held && self.cross();
            }
            Command::DialAhead { ticket } => self.successor_dials.push(ticket),
            Command::SeekRoom => match self.room {
                Some(room) => self.session.handle_room(self.now, room),
                None => self.seeks_room = true,
            },
            command => self.notes.push(Told::Command(command)),
        }
        false
    }

    /// It is the next backend's turn.
    fn cross(&mut self) -> bool {
        let successor = self.successor.take().expect("the machine says that it is connected");
        assert!(self.session.handle_linked(self.now, false, self.links.len() as u64 + 1));
        self.links.push(successor);
        true
    }

    fn drop_link(&mut self) {
        let reset = self.session.resets_backend();
        if self.session.wants_link() || self.link().dropped.is_some() {
            return;
        }
        let last_words = self.session.take_last_words(&mut || 0x5A5A_5A5A_0000_0000);
        let link = self.link();
        link.dropped = Some(if reset { Drop::Reset } else { Drop::Closed });
        link.unread.clear();
        link.reader.receive(&last_words.unwrap_or_default());
    }

    fn write_backend(&mut self) -> usize {
        let bytes = gathered(&self.session.poll_transmit(SessionSide::Backend), self.backend_room);
        if self.link().dropped.is_some() {
            assert!(bytes.is_empty(), "there is no backend to write {bytes:?} to");
            return 0;
        }
        self.backend_room -= bytes.len();
        self.session.handle_written(SessionSide::Backend, bytes.len());
        self.link().reader.receive(&bytes);
        bytes.len()
    }

    fn write_successor(&mut self) -> usize {
        let bytes = gathered(&self.session.poll_transmit(SessionSide::NextBackend), usize::MAX);
        if let Some(successor) = &mut self.successor {
            self.session.handle_written(SessionSide::NextBackend, bytes.len());
            successor.reader.receive(&bytes);
        }
        bytes.len()
    }

    fn write_client(&mut self) -> usize {
        let bytes = gathered(&self.session.poll_transmit(SessionSide::Client), self.client_room);
        assert!(bytes.is_empty() || self.session.wants_client(), "there is no client to write {bytes:?} to");
        self.client_room -= bytes.len();
        self.session.handle_written(SessionSide::Client, bytes.len());
        self.client.receive(&bytes);
        bytes.len()
    }

    fn read_client(&mut self) -> usize {
        let n = self.client_unread.len().min(self.session.client_read_limit(false)).min(READ_MAX);
        let bytes: Vec<u8> = self.client_unread.drain(..n).collect();
        let mut rest = bytes.as_slice();
        while let (false, Some((to, room))) = (rest.is_empty(), self.session.client_direct()) {
            let (now, later) = rest.split_at(room.min(rest.len()));
            to.extend_from_slice(now);
            self.session.client_read(self.now, now.len());
            rest = later;
        }
        if !rest.is_empty() {
            let taken = self.session.handle_client(self.now, rest, &mut { u32::MAX });
            assert_eq!(taken, rest.len(), "without a bound, all is taken");
        }
        n
    }

    fn read_successor(&mut self) -> usize {
        let Some(successor) = self.successor.as_mut().filter(|_| self.session.listens_to_successor()) else {
            return 0;
        };
        let n = successor.unread.len().min(READ_MAX);
        let bytes: Vec<u8> = successor.unread.drain(..n).collect();
        if n > 0 {
            self.session.handle_successor(&bytes, &mut { u32::MAX });
        }
        n
    }

    fn read_backend(&mut self) -> usize {
        if !self.session.wants_backend() {
            return 0;
        }
        let link = self.links.last_mut().expect("a session begins linked");
        let n = link.unread.len().min(READ_MAX);
        let bytes: Vec<u8> = link.unread.drain(..n).collect();
        let mut rest = bytes.as_slice();
        while let (false, Some((to, room))) = (rest.is_empty(), self.session.backend_direct()) {
            let (now, later) = rest.split_at(room.min(rest.len()));
            to.extend_from_slice(now);
            self.session.backend_read(self.now, now.len());
            rest = later;
        }
        let (client, room) = (&mut self.client, &mut self.client_room);
        let mut direct = |bytes: &[u8]| {
            let taken = bytes.len().min(*room);
            *room -= taken;
            client.receive(&bytes[..taken]);
            taken
        };
        if !rest.is_empty() {
            self.session.handle_backend(self.now, rest, &mut { u32::MAX }, &mut direct);
        }
        n
    }
}

impl Link {
    fn new() -> Link {
        Link { reader: Reader::of_backend(), unread: Vec::new(), dropped: None }
    }
}

/// At most `room` of the offered bytes.
fn gathered(offered: &crate::buffer::chain::Gather<'_>, room: usize) -> Vec<u8> {
    offered.pieces().iter().flat_map(|piece| piece.iter().copied()).take(room).collect()
}
