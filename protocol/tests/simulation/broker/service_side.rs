//! The services of a session: the one that serves it, the dial for the next one, and one that waits for its turn.

use steadfast_protocol::session::{Command, Dial, DialFailure, Event, Failure, MoveOutcome, SessionSide};
use steadfast_protocol::steadfast_v1::SessionId;
use steadfast_protocol::time::Time;

use crate::ground::Ground;
use crate::hosts::Host;
use crate::network::{Conn, End, Ending, Read};
use crate::process::{Habits, Process};
use crate::verdict::Leaving;

use super::socket::{Socket, say_last, write};
use super::{DIRECT, Dialing, FRAMES, Hosted};

/// The next service of a planned move.
#[derive(Debug)]
pub(super) enum Target {
    Dialing(Dialing),
    Held(Held),
}

/// The next service, connected.
#[derive(Debug)]
pub(super) struct Held {
    socket: Socket,
    epoch: u64,
    host: Host,
    /// What was written to it, and what it has said.
    told: Vec<u8>,
    said: Vec<u8>,
}

impl Held {
    fn new(conn: Conn, epoch: u64, host: Host) -> Held {
        Held { socket: Socket::new(conn, End::Near), epoch, host, told: Vec::new(), said: Vec::new() }
    }
}

impl Target {
    /// Its connection, while it waits.
    pub(super) fn socket(&self) -> Option<&Socket> {
        match self {
            Target::Held(held) => Some(&held.socket),
            Target::Dialing(_) => None,
        }
    }

    /// When its dial is over.
    pub(super) fn due(&self) -> Option<Time> {
        match self {
            Target::Dialing(dialing) => Some(dialing.at),
            Target::Held(_) => None,
        }
    }
}

impl Hosted {
    pub(super) fn read_link(&mut self, ground: &mut Ground) -> bool {
        let Some(socket) = self.link.as_mut().filter(|socket| !socket.ended) else { return false };
        if !self.machine.wants_backend() {
            return false;
        }
        let direct = self.machine.backend_direct().map(|(_, most)| most);
        match ground.net.read(ground.now, socket.conn, socket.end, direct.unwrap_or(DIRECT * 4)) {
            Read::Nothing => return false,
            Read::End(ending) => {
                socket.ended = true;
                let failure = if ending == Ending::Reset { Failure::Reset } else { Failure::Eof };
                self.machine.handle_backend_lost(ground.now, failure);
            }
            Read::Bytes(bytes) => {
                let now = ground.now;
                self.breach = ground.truths[Ground::number_of(self.session)].service_says(now, &bytes);
                self.note_life(ground);
                match self.machine.backend_direct() {
                    Some((tail, _)) => {
                        tail.extend_from_slice(&bytes);
                        self.machine.backend_read(ground.now, bytes.len());
                    }
                    None => {
                        let mut rest = bytes.as_slice();
                        while !rest.is_empty() {
                            let mut frames = ground.dice.pick(&FRAMES);
                            rest = &rest[self.machine.handle_backend(now, rest, &mut frames, &mut |_| 0)..];
                        }
                    }
                }
            }
        }
        true
    }

    /// Lets go of what the machine has left, does what it asks, and hears what it tells.
    pub(super) fn follow(&mut self, ground: &mut Ground) -> bool {
        self.let_go(ground);
        let mut moved = false;
        while let Some(command) = self.machine.poll_command(ground.now) {
            ground.note(&self.name, || format!("{command:?}"));
            moved |= self.obey(ground, command);
            // What follows may be the next service's turn.
            self.let_go(ground);
        }
        moved
    }

    /// Hears what has happened, and drops what is not wanted any more.
    fn let_go(&mut self, ground: &mut Ground) {
        while let Some(event) = self.machine.poll_event() {
            self.hear(ground, event);
        }
        if let Some(breach) = self.breach.take() {
            assert!(!self.machine.wants_link(), "a service goes on after {breach}");
        }
        if !self.machine.wants_link()
            && let Some(socket) = self.link.take()
        {
            self.unlink(ground, &socket);
        }
        if !self.machine.wants_successor() {
            self.drop_target(ground);
        }
        if !self.machine.wants_dial() {
            self.dialing = None;
        }
    }

    fn obey(&mut self, ground: &mut Ground, command: Command) -> bool {
        match command {
            Command::Dial(dial) => self.dial(ground, dial),
            Command::DialAhead { .. } => {
                self.target = Some(Target::Dialing(Dialing::new(ground, Some(self.host))));
            }
            Command::JudgeSilence => return self.judge_silence(ground),
            Command::JudgeFitness => {
                self.judge_fitness(ground);
                return false;
            }
            Command::JudgeClient | Command::SeekRoom | Command::ReleaseTurn => return false,
        }
        true
    }

    fn dial(&mut self, ground: &mut Ground, dial: Dial) {
        if dial.held {
            return self.cross(ground);
        }
        // Whether others have brought it about, no machine knows.
        if dial.accused.is_some() {
            return self.machine.handle_convicted(ground.now);
        }
        self.dialing = Some(Dialing::new(ground, Some(self.host)));
    }

    fn hear(&mut self, ground: &mut Ground, event: Event) {
        ground.note(&self.name, || format!("{event:?}"));
        match event {
            Event::ClientViolation(_) | Event::BackendViolation(_) | Event::ClientBreach(_) => {
                panic!("{}: {event:?}", self.name);
            }
            Event::ServiceBreach(breach) if self.breach.is_some() => {
                ground.count("a breach");
                assert_eq!(Some(breach.name()), self.breach, "{}", self.name);
            }
            Event::Failed(failure) => self.leave(ground, failure),
            Event::Poison { .. } => ground.count("a poison message"),
            Event::MoveEnded { outcome: MoveOutcome::Moved { forced }, .. } => {
                ground.count(if forced { "a forced move" } else { "a move" });
            }
            Event::MoveEnded { .. } => ground.count("a move that fails"),
            Event::ServiceBreach(breach) => assert_eq!(breach.name(), "no_pong", "{}", self.name),
            Event::Fit => ground.hosts.pongs_came = true,
            Event::Unproven => {
                ground.hosts.pongs_missed = true;
                ground.truth(self.session).link.bounded = false;
            }
            _ => {}
        }
    }

    fn leave(&mut self, ground: &mut Ground, failure: Failure) {
        ground.count("a service is left");
        let upstream = self.machine.ledger().upstream;
        let truth = &mut ground.truths[Ground::number_of(self.session)];
        truth.service_failed(&upstream);
        let leaving = Leaving {
            ended: self.link.as_ref().is_some_and(|socket| socket.ended),
            dead: self.served_by().is_some_and(|(conn, end, _)| ground.net.is_dead(conn, end)),
            judged: self.judged,
            closed_with: truth.closed_with,
            told: truth.link.is_told_close(),
            reads_on: truth.link.reads_on(ground.now, self.config.close_timeout),
        };
        if let Some(what) = leaving.check(failure) {
            ground.count(what);
        }
    }

    fn unlink(&mut self, ground: &mut Ground, socket: &Socket) {
        ground.truth(self.session).left();
        let dice = &mut ground.dice;
        if let Some(words) = self.machine.take_last_words(&mut || dice.next()) {
            return say_last(ground, socket, &words);
        }
        match self.machine.resets_backend() {
            true => ground.net.reset(ground.now, socket.conn, socket.end),
            false => ground.net.close(ground.now, socket.conn, socket.end),
        }
    }

    // ---- dials ----

    pub(super) fn poll_dial(&mut self, ground: &mut Ground, processes: &mut Vec<Process>) -> bool {
        let Some(ended) = self.dialing.as_mut().and_then(|dialing| dialing.poll(ground)) else {
            return false;
        };
        self.dialing = None;
        self.epoch += 1;
        let Ok(host) = ended else {
            self.machine.handle_dial_failed(ground.now, DialFailure::Unreachable);
            return true;
        };
        let conn = start(ground, processes, self.habits, (self.session, self.epoch, host));
        self.link_to(ground, Held::new(conn, self.epoch, host));
        true
    }

    fn link_to(&mut self, ground: &mut Ground, next: Held) {
        let Held { socket, epoch, host, told, said } = next;
        let now = ground.now;
        if self.machine.handle_linked(now, false, epoch) {
            (self.host, self.judged) = (host, false);
            ground.truth(self.session).attach(now, socket.conn, epoch);
            ground.truth(self.session).service_told(now, &told);
            self.breach = ground.truth(self.session).service_says(now, &said);
            self.link = Some(socket);
            self.tell_fitness(ground);
        } else {
            ground.net.close(now, socket.conn, socket.end);
        }
    }

    pub(super) fn poll_successor(&mut self, ground: &mut Ground, processes: &mut Vec<Process>) -> bool {
        match &mut self.target {
            None => false,
            Some(Target::Dialing(dialing)) => {
                let Some(ended) = dialing.poll(ground) else { return false };
                self.target = None;
                self.epoch += 1;
                match ended {
                    Err(()) => self.machine.handle_successor_failed(),
                    Ok(host) if self.machine.handle_successor_linked(ground.now) => {
                        let conn = start(ground, processes, self.habits, (self.session, self.epoch, host));
                        self.target = Some(Target::Held(Held::new(conn, self.epoch, host)));
                    }
                    Ok(_) => {}
                }
                true
            }
            Some(Target::Held(Held { socket, told, said, .. })) => {
                let words = write(ground, socket, &self.machine.poll_transmit(SessionSide::NextBackend));
                let n = words.len();
                told.extend_from_slice(&words);
                self.machine.handle_written(SessionSide::NextBackend, n);
                if !self.machine.listens_to_successor() || socket.ended {
                    return n > 0;
                }
                match ground.net.read(ground.now, socket.conn, socket.end, DIRECT * 4) {
                    Read::Nothing => return n > 0,
                    Read::Bytes(bytes) => {
                        said.extend_from_slice(&bytes);
                        self.machine.handle_successor(&bytes, &mut { u32::MAX });
                    }
                    Read::End(_) => {
                        socket.ended = true;
                        self.machine.handle_successor_lost();
                    }
                }
                true
            }
        }
    }

    pub(super) fn drop_target(&mut self, ground: &mut Ground) {
        if let Some(Target::Held(held)) = self.target.take() {
            ground.net.close(ground.now, held.socket.conn, held.socket.end);
        }
    }

    /// It is the next service's turn.
    fn cross(&mut self, ground: &mut Ground) {
        match self.target.take() {
            Some(Target::Held(held)) => self.link_to(ground, held),
            _ => self.machine.handle_dial_failed(ground.now, DialFailure::Unreachable),
        }
    }
}

/// Starts a service's process on a new connection.
pub(crate) fn start(
    ground: &mut Ground,
    processes: &mut Vec<Process>,
    habits: Habits,
    (session, epoch, host): (SessionId, u64, Host),
) -> Conn {
    let conn = ground.net.connect_service();
    ground.dialled(conn, |luck| &mut luck.services_break);
    let process = Process::new(ground, habits, (conn, session, epoch), host);
    processes.push(process);
    conn
}
