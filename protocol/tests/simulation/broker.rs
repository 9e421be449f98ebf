//! The broker: the real session machines, and a driver that does with them what the daemon's does, at the same
//! moments and in the same order.

use std::sync::Arc;
use std::time::Duration;

use steadfast_protocol::chain::Gather;
use steadfast_protocol::session::{
    Config, Dial, DialFailure, Failure, Note, Opening, Outcome, Session, State,
};
use steadfast_protocol::shim::SessionId;
use steadfast_protocol::shim::client_wire::{Reason, Resume};
use steadfast_protocol::time::Time;

use crate::framing::Pen;
use crate::ground::{Bounds, Ground};
use crate::network::{Conn, End, Ending, Read};
use crate::process::{Habits, Process};
use crate::truth::TOKENS_MAX;

/// Rounds of one turn before others get theirs.
const ROUNDS: usize = 16;

/// The shortest rest of a frame that the machine may want to have read straight to its place.
const DIRECT: usize = 16 * 1024;

/// Tells a client to come back: of two connections that came at once, the other was first; the session has
/// just ended.
const STALE: u16 = 4401;
const TRY_AGAIN: u16 = 1012;

/// A socket of the broker's.
#[derive(Debug)]
struct Socket {
    conn: Conn,
    end: End,
    /// It is read to its end; it is shut for writing.
    ended: bool,
    shut: bool,
}

/// A dial under way, and whether it will succeed.
#[derive(Debug, Clone, Copy)]
struct Dialing {
    at: Time,
    succeeds: bool,
}

/// The next service of a planned move.
#[derive(Debug)]
enum Target {
    Dialing(Dialing),
    Held(Socket, u64),
}

/// A client that is back, and waits for its session.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) at: Time,
    pub(crate) conn: Conn,
    pub(crate) resume: Resume,
}

/// A session and its hold on the world.
pub(crate) struct Hosted {
    pub(crate) machine: Session,
    pub(crate) session: SessionId,
    name: String,
    client: Option<Socket>,
    link: Option<Socket>,
    target: Option<Target>,
    dialing: Option<Dialing>,
    arrival: Option<Arrival>,
    epoch: u64,
    bounds: Bounds,
    habits: Habits,
    /// Another service is there to go to when one is silent.
    pub(crate) others: bool,
    /// Something was done to the machine from outside.
    pub(crate) stirred: bool,
    due: Option<Time>,
    /// The breach that is to be noted.
    breach: Option<&'static str>,
    pub(crate) over: bool,
    /// How long its client may be away, and until when it may now.
    window: Duration,
    away_until: Option<Time>,
}

impl Hosted {
    /// A session that begins, its service connected.
    pub(crate) fn new(
        ground: &mut Ground,
        config: &Arc<Config>,
        opening: Opening,
        (client, link): (Conn, Conn),
        (habits, bounds): (Habits, Bounds),
    ) -> Hosted {
        let (session, epoch) = (opening.session, opening.epoch);
        ground.truth(session).client_back(None);
        ground.truth(session).attach(link, epoch);
        Hosted {
            machine: Session::new(Arc::clone(config), ground.now, opening),
            session,
            name: format!("session {}", Ground::number_of(session)),
            client: Some(Socket::new(client, End::Far)),
            link: Some(Socket::new(link, End::Near)),
            target: None,
            dialing: None,
            arrival: None,
            epoch,
            bounds,
            habits,
            others: ground.dice.chance(70),
            stirred: true,
            due: None,
            breach: None,
            over: false,
            window: config.resume_window,
            away_until: None,
        }
    }

    /// Does what there is to do. True: something has changed.
    pub(crate) fn pump(&mut self, ground: &mut Ground, processes: &mut Vec<Process>) -> bool {
        if self.over || !self.has_work(ground) {
            return false;
        }
        let mut settled = false;
        // Whoever has had all of its rounds goes on in the next turn.
        self.stirred = true;
        for _ in 0..ROUNDS {
            let mut moved = self.take_client(ground) | self.poll_dial(ground, processes);
            moved |= self.poll_target(ground, processes);
            moved |= self.read_client(ground);
            moved |= self.read_link(ground);
            if settled && !moved {
                self.stirred = false;
                break;
            }
            let dice = &mut ground.dice;
            self.machine.advance(ground.now, &mut || dice.next());
            self.let_go_of_client(ground);
            moved |= self.write(ground);
            moved |= self.follow(ground);
            Ground::check_bounds(&self.machine, &self.bounds);
            ground.truth(self.session).over |= self.is_ending(ground.now);
            if !moved {
                self.stirred = false;
                break;
            }
            settled = self.machine.at_ease();
        }
        self.finish(ground);
        self.due = self.earliest();
        true
    }

    fn has_work(&mut self, ground: &mut Ground) -> bool {
        let target = match &self.target {
            Some(Target::Held(socket, _)) => Some(socket),
            _ => None,
        };
        let sockets = [self.client.as_ref(), self.link.as_ref(), target].into_iter().flatten();
        let news = sockets.fold(false, |news, socket| ground.net.take_news(socket.conn, socket.end) | news);
        news | std::mem::take(&mut self.stirred) | self.due.is_some_and(|due| due <= ground.now)
    }

    fn earliest(&mut self) -> Option<Time> {
        if self.over {
            return None;
        }
        let target = match &self.target {
            Some(Target::Dialing(dialing)) => Some(dialing.at),
            _ => None,
        };
        let arrival = self.arrival.as_ref().map(|arrival| arrival.at);
        let dialing = self.dialing.as_ref().map(|dialing| dialing.at);
        [self.machine.next_timeout(), target, arrival, dialing].into_iter().flatten().min()
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.due.filter(|_| !self.over)
    }

    /// The client cannot come back any more, or the session ends anyway.
    fn is_ending(&self, now: Time) -> bool {
        let lost = self.away_until.is_some_and(|until| until <= now);
        lost || self.machine.state() == State::Closing || self.machine.ended().is_some()
    }

    // ---- the client ----

    /// The client is back on another connection.
    pub(crate) fn arrive(&mut self, ground: &mut Ground, arrival: Arrival) {
        // The latest counts.
        if let Some(before) = self.arrival.replace(arrival) {
            ground.net.close(ground.now, before.conn, End::Far);
        }
        self.stirred = true;
    }

    fn let_go_of_client(&mut self, ground: &mut Ground) {
        if !self.machine.wants_client()
            && let Some(socket) = self.client.take()
        {
            ground.note(&self.name, || "lets go of its client".to_owned());
            ground.count("a client is let go by the broker");
            ground.net.reset(ground.now, socket.conn, socket.end);
            self.away_until = Some(ground.now + self.window);
        }
    }

    fn take_client(&mut self, ground: &mut Ground) -> bool {
        let now = ground.now;
        let Some(Arrival { conn, resume, .. }) = self.arrival.take_if(|arrival| arrival.at <= now) else {
            return false;
        };
        match self.machine.handle_client_back(now, Some(&resume), ground.dice.bytes()) {
            Ok(last_words) => {
                ground.note(&self.name, || format!("its client is back, with {} messages", resume.last));
                ground.count("a client is back");
                self.away_until = None;
                ground.truth(self.session).client_back(Some(&resume.token));
                if let Some(before) = self.client.replace(Socket::new(conn, End::Far)) {
                    ground.count("a client is superseded");
                    say_last(ground, &before, &last_words.unwrap_or_default());
                }
            }
            Err(reason) => {
                ground.note(&self.name, || format!("its client is late: {reason:?}"));
                ground.count("a client's resume comes too late");
                refuse(ground, conn, STALE);
            }
        }
        true
    }

    fn read_client(&mut self, ground: &mut Ground) -> bool {
        let Some(socket) = self.client.as_mut().filter(|socket| !socket.ended) else { return false };
        let limit = self.machine.client_read_limit(false);
        if limit == 0 {
            return false;
        }
        let direct = self.machine.client_direct().map(|(_, most)| most);
        let most = direct.unwrap_or(DIRECT * 4).min(limit);
        match ground.net.read(ground.now, socket.conn, socket.end, most) {
            Read::Nothing => return false,
            Read::End(ending) => {
                ground.note(&self.name, || format!("its client's connection has ended: {ending:?}"));
                ground.count("a client's connection ends at the broker");
                socket.ended = true;
                self.away_until = Some(ground.now + self.window);
                self.machine.handle_client_gone(ground.now);
            }
            Read::Bytes(bytes) => {
                ground.truths[Ground::number_of(self.session)].client_says(&bytes);
                match self.machine.client_direct() {
                    Some((tail, _)) => {
                        tail.extend_from_slice(&bytes);
                        self.machine.client_read(ground.now, bytes.len());
                    }
                    None => self.machine.handle_client(ground.now, &bytes),
                }
            }
        }
        true
    }

    // ---- the service ----

    fn read_link(&mut self, ground: &mut Ground) -> bool {
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

    // ---- writing ----

    fn write(&mut self, ground: &mut Ground) -> bool {
        let mut moved = false;
        if let Some(socket) = &self.link {
            let written = write(ground, socket, &self.machine.backend_transmit());
            self.machine.backend_written(written.len());
            moved |= !written.is_empty();
        }
        let Some(socket) = &mut self.client else { return moved };
        if self.machine.client_waits() {
            let written = write(ground, socket, &self.machine.client_transmit());
            self.machine.client_written(written.len());
            moved |= !written.is_empty();
            let open = self.machine.state() != State::Closing;
            let truth = &mut ground.truths[Ground::number_of(self.session)];
            if truth.client_told(&written) {
                let asks = truth.tokens.iter().filter_map(|issued| issued.token);
                let asks = asks.map(|token| Resume { token, last: 0 });
                let valid = asks.filter(|ask| self.machine.resumable(ask) != Err(Reason::Stale)).count();
                assert!(!open || (1..=TOKENS_MAX).contains(&valid), "{valid} tokens are valid");
            }
        }
        if self.machine.client_finished() && !socket.shut {
            socket.shut = true;
            ground.net.shut(ground.now, socket.conn, socket.end);
            moved = true;
        }
        moved
    }

    /// Drops a service that the machine has left, and begins the dial that it wants.
    fn follow(&mut self, ground: &mut Ground) -> bool {
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
            Note::Silent if self.others || matches!(self.target, Some(Target::Held(..))) => {
                ground.count("a service is silent");
                self.machine.handle_backend_lost(ground.now, Failure::Silence);
                return true;
            }
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

    fn poll_dial(&mut self, ground: &mut Ground, processes: &mut Vec<Process>) -> bool {
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

    fn poll_target(&mut self, ground: &mut Ground, processes: &mut Vec<Process>) -> bool {
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
        if !self.machine.wants_target()
            && let Some(Target::Held(socket, _)) = self.target.take()
        {
            ground.net.close(ground.now, socket.conn, socket.end);
        }
        let Some(_) = self.machine.take_target() else { return false };
        let fails = Ground::uses_up(&mut ground.luck.dials_fail);
        self.target =
            Some(Target::Dialing(Dialing { at: ground.now + ground.dial(), succeeds: !fails }));
        true
    }

    /// It is the next service's turn.
    fn cross(&mut self, ground: &mut Ground) {
        match self.target.take() {
            Some(Target::Held(socket, epoch)) => self.link_to(ground, socket, epoch),
            _ => self.machine.handle_dial_failed(ground.now, DialFailure::Unreachable),
        }
    }

    // ---- the end ----

    fn finish(&mut self, ground: &mut Ground) {
        if self.machine.ended().is_none() {
            return;
        }
        ground.note(&self.name, || format!("has ended: {:?}", self.machine.ended()));
        if let Some(arrival) = self.arrival.take() {
            refuse(ground, arrival.conn, TRY_AGAIN);
        }
        self.give_up(ground);
        assert_eq!(self.machine.next_timeout(), None, "a session that has ended wants to be woken");
    }

    /// The broker has no session any more.
    pub(crate) fn give_up(&mut self, ground: &mut Ground) {
        self.over = true;
        let truth = ground.truth(self.session);
        truth.over = true;
        truth.left();
        let target = match self.target.take() {
            Some(Target::Held(socket, _)) => Some(socket),
            _ => None,
        };
        for socket in [self.client.take(), self.link.take(), target].into_iter().flatten() {
            ground.net.close(ground.now, socket.conn, socket.end);
        }
        if let Some(arrival) = self.arrival.take() {
            ground.net.close(ground.now, arrival.conn, End::Far);
        }
    }

    /// The connections that things can be done to: the client's, and the service's.
    pub(crate) fn connections(&self) -> (Option<Conn>, Option<Conn>) {
        (self.client.as_ref().map(|socket| socket.conn), self.link.as_ref().map(|socket| socket.conn))
    }

    /// Where it stands, in a line.
    pub(crate) fn standing(&self) -> String {
        let (state, kept, due) = (self.machine.state(), self.machine.buffered(), self.due);
        format!("{}: {state:?}, {kept} bytes kept, due {due:?}, {:?}; ", self.name, self.connections())
    }

    /// That of the next service, while it waits.
    pub(crate) fn target(&self) -> Option<Conn> {
        match &self.target {
            Some(Target::Held(socket, _)) => Some(socket.conn),
            _ => None,
        }
    }
}

impl Socket {
    fn new(conn: Conn, end: End) -> Socket {
        Socket { conn, end, ended: false, shut: false }
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

/// Writes as much as the socket takes, and says what that was.
fn write(ground: &mut Ground, socket: &Socket, offered: &Gather<'_>) -> Vec<u8> {
    let room = ground.net.room(socket.conn, socket.end);
    let mut bytes = Vec::new();
    for piece in offered.pieces() {
        bytes.extend_from_slice(&piece[..piece.len().min(room - bytes.len())]);
    }
    let written = ground.net.write(ground.now, socket.conn, socket.end, &bytes);
    assert_eq!(written, bytes.len(), "there is room for all of it");
    bytes
}

/// Lets go of a connection with these words. What the peer still says is discarded.
fn say_last(ground: &mut Ground, socket: &Socket, words: &[u8]) {
    ground.net.write(ground.now, socket.conn, socket.end, words);
    ground.net.close(ground.now, socket.conn, socket.end);
}

pub(crate) fn refuse(ground: &mut Ground, conn: Conn, code: u16) {
    let mut words = Vec::new();
    Pen::plain().close(&mut ground.dice, Some((code, "try again")), &mut words);
    say_last(ground, &Socket::new(conn, End::Far), &words);
}
