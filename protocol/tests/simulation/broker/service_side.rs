//! The services of a session: the one that serves it, the dial for the next one, and one that waits for its turn.

use std::time::Duration;

use steadfast_protocol::session::{Dial, DialFailure, Evidence, Failure, Judgement, Note, Outcome};
use steadfast_protocol::steadfast_v1::SessionId;
use steadfast_protocol::time::Time;

use crate::ground::Ground;
use crate::network::{Conn, End, Ending, Read};
use crate::process::{Habits, Process};

use super::socket::{Socket, say_last};
use super::{DIRECT, Hosted};

/// A dial under way, and whether it will succeed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dialing {
    pub(super) at: Time,
    succeeds: bool,
}

/// The next service of a planned move.
#[derive(Debug)]
pub(super) enum Target {
    Dialing(Dialing),
    Held(Socket, u64),
}

impl Target {
    /// Its connection, while it waits.
    pub(super) fn socket(&self) -> Option<&Socket> {
        match self {
            Target::Held(socket, _) => Some(socket),
            Target::Dialing(_) => None,
        }
    }

    /// When its dial is over.
    pub(super) fn due(&self) -> Option<Time> {
        match self {
            Target::Dialing(dialing) => Some(dialing.at),
            Target::Held(..) => None,
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
                self.breach = ground.truths[Ground::number_of(self.session)].service_says(&bytes);
                match self.machine.backend_direct() {
                    Some((tail, _)) => {
                        tail.extend_from_slice(&bytes);
                        self.machine.backend_read(ground.now, bytes.len());
                    }
                    None => self.machine.handle_backend(ground.now, &bytes, &mut |_| 0),
                }
            }
        }
        true
    }

    /// Drops a service that the machine has left, and begins the dial that it wants.
    pub(super) fn follow(&mut self, ground: &mut Ground) -> bool {
        let mut left = false;
        for note in self.machine.take_notes() {
            left |= self.heed(ground, note);
        }
        if let Some(breach) = self.breach.take() {
            assert!(!self.machine.wants_link(), "a service goes on after {breach}");
        }
        if !self.machine.wants_link()
            && let Some(socket) = self.link.take()
        {
            self.unlink(ground, &socket);
        }
        left |= self.follow_target(ground);
        if !self.machine.wants_dial() {
            self.dialing = None;
        }
        let Some(dial) = self.machine.take_dial(ground.now) else { return left };
        ground.note(&self.name, || format!("{dial:?}"));
        self.dial(ground, dial);
        true
    }

    fn dial(&mut self, ground: &mut Ground, dial: Dial) {
        if dial.held {
            return self.cross(ground);
        }
        let fails = Ground::uses_up(&mut ground.luck.dials_fail);
        self.dialing = Some(Dialing { at: ground.now + ground.dial(), succeeds: !fails });
    }

    fn heed(&mut self, ground: &mut Ground, note: Note) -> bool {
        ground.note(&self.name, || format!("{note:?}"));
        match note {
            Note::ClientViolation(_) | Note::BackendViolation(_) | Note::ClientBreach(_) | Note::Unfit => {
                panic!("{}: {note:?}", self.name);
            }
            Note::ServiceBreach(breach) if self.breach.is_some() => {
                ground.count("a breach");
                assert_eq!(Some(breach.name()), self.breach, "{}", self.name);
            }
            Note::Failed(_) => ground.count("a service is left"),
            Note::Poison { .. } => ground.count("a poison message"),
            Note::MoveEnded { outcome: Outcome::Moved { forced }, .. } => {
                ground.count(if forced { "a forced move" } else { "a move" });
            }
            Note::MoveEnded { .. } => ground.count("a move that fails"),
            Note::ServiceBreach(breach) => assert_eq!(breach.name(), "no_pong", "{}", self.name),
            Note::Silent => {
                let other = self.others || matches!(self.target, Some(Target::Held(..)));
                let lived = ground.dice.chance(50).then_some(ground.now);
                let dead = self.link.as_ref().is_some_and(|link| ground.net.is_dead(link.conn, link.end));
                let evidence = Evidence { dead, lived, patience: Duration::ZERO, other };
                match self.machine.handle_evidence(ground.now, &evidence) {
                    Judgement::Stays => return false,
                    Judgement::Left { .. } => ground.count("a service is silent"),
                    Judgement::Follows => ground.count("silence follows a message"),
                }
                return true;
            }
            Note::NoPong => self.machine.set_unfit(ground.now),
            _ => {}
        }
        false
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
        let now = ground.now;
        let Some(dialing) = self.dialing.take_if(|dialing| dialing.at <= now) else { return false };
        self.epoch += 1;
        if !dialing.succeeds {
            ground.count("a dial that fails");
            self.machine.handle_dial_failed(now, DialFailure::Unreachable);
            return true;
        }
        let conn = start(ground, processes, self.habits, self.session, self.epoch);
        self.link_to(ground, Socket::new(conn, End::Near), self.epoch);
        true
    }

    fn link_to(&mut self, ground: &mut Ground, socket: Socket, epoch: u64) {
        if self.machine.handle_linked(ground.now, false, epoch) {
            ground.truth(self.session).attach(socket.conn, epoch);
            self.link = Some(socket);
        } else {
            ground.net.close(ground.now, socket.conn, socket.end);
        }
    }

    pub(super) fn poll_target(&mut self, ground: &mut Ground, processes: &mut Vec<Process>) -> bool {
        match &mut self.target {
            None => false,
            Some(Target::Dialing(dialing)) if dialing.at > ground.now => false,
            Some(Target::Dialing(Dialing { succeeds: false, .. })) => {
                self.target = None;
                self.epoch += 1;
                self.machine.handle_target_failed();
                true
            }
            Some(Target::Dialing(_)) => {
                self.target = None;
                self.epoch += 1;
                if self.machine.handle_target_linked(ground.now) {
                    let conn = start(ground, processes, self.habits, self.session, self.epoch);
                    self.target = Some(Target::Held(Socket::new(conn, End::Near), self.epoch));
                }
                true
            }
            Some(Target::Held(socket, _)) => {
                let n = ground.net.write(ground.now, socket.conn, socket.end, self.machine.target_transmit());
                self.machine.target_written(n);
                if !self.machine.listens_to_target() || socket.ended {
                    return n > 0;
                }
                match ground.net.read(ground.now, socket.conn, socket.end, DIRECT * 4) {
                    Read::Nothing => return n > 0,
                    Read::Bytes(bytes) => self.machine.handle_target(&bytes),
                    Read::End(_) => {
                        socket.ended = true;
                        self.machine.handle_target_lost();
                    }
                }
                true
            }
        }
    }

    fn follow_target(&mut self, ground: &mut Ground) -> bool {
        if !self.machine.wants_target() {
            self.drop_target(ground);
        }
        let Some(_) = self.machine.take_target() else { return false };
        let fails = Ground::uses_up(&mut ground.luck.dials_fail);
        self.target = Some(Target::Dialing(Dialing { at: ground.now + ground.dial(), succeeds: !fails }));
        true
    }

    pub(super) fn drop_target(&mut self, ground: &mut Ground) {
        if let Some(Target::Held(socket, _)) = self.target.take() {
            ground.net.close(ground.now, socket.conn, socket.end);
        }
    }

    /// It is the next service's turn.
    fn cross(&mut self, ground: &mut Ground) {
        match self.target.take() {
            Some(Target::Held(socket, epoch)) => self.link_to(ground, socket, epoch),
            _ => self.machine.handle_dial_failed(ground.now, DialFailure::Unreachable),
        }
    }
}

/// Starts a service's process on a new connection.
pub(crate) fn start(
    ground: &mut Ground,
    processes: &mut Vec<Process>,
    habits: Habits,
    session: SessionId,
    epoch: u64,
) -> Conn {
    let conn = ground.net.connect_service();
    ground.dialled(conn, |luck| &mut luck.services_break);
    let process = Process::new(ground, habits, (conn, session, epoch));
    processes.push(process);
    conn
}
