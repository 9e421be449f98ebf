//! The broker: the real session machines, and a driver that does with them what the daemon's does, at the same
//! moments and in the same order.

mod client_side;
mod dialing;
mod evidence;
mod restart;
mod service_side;
mod socket;

use std::sync::Arc;
use std::time::Duration;

use steadfast_protocol::session::{AckMode, Config, Opening, Session, SessionSide, Status};
use steadfast_protocol::steadfast_v1::SessionId;
use steadfast_protocol::steadfast_v1::client_wire::Resume;
use steadfast_protocol::time::Time;
use steadfast_protocol::websocket::close_code::CloseCode;

use crate::ground::{Bounds, Ground};
use crate::hosts::Host;
use crate::network::{Conn, End};
use crate::process::{Habits, Process};

pub(crate) use dialing::Dialing;
pub(crate) use service_side::start;
pub(crate) use socket::refuse;

use service_side::Target;
use socket::{Socket, write};

/// Rounds of one turn before others get theirs.
const ROUNDS: usize = 16;

/// The shortest rest of a frame that the machine may want to have read straight to its place.
const DIRECT: usize = 16 * 1024;

/// So many frames are taken over at once, one of these at a time: what is left over comes again.
const FRAMES: [u32; 4] = [1, 2, 7, u32::MAX];

/// Tells a client to come back: the session has just ended.
const TRY_AGAIN: CloseCode = CloseCode::SERVICE_RESTART;

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
    /// On which its service runs, or the last one ran.
    host: Host,
    config: Arc<Config>,
    target: Option<Target>,
    dialing: Option<Dialing>,
    arrival: Option<Arrival>,
    epoch: u64,
    bounds: Bounds,
    habits: Habits,
    /// Something was done to the machine from outside.
    pub(crate) stirred: bool,
    due: Option<Time>,
    /// The service was judged to be silent, or its connection dead.
    judged: bool,
    /// Something was written to the service.
    told: bool,
    /// The breach that is to be noted.
    breach: Option<&'static str>,
    pub(crate) over: bool,
    /// Steps until the broker's process ends, if it does.
    steps_left: Option<u32>,
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
        (client, (link, host)): (Conn, (Conn, Host)),
        (habits, bounds): (Habits, Bounds),
    ) -> Hosted {
        let (session, epoch) = (opening.session, opening.epoch);
        ground.truth(session).client_back(None);
        let now = ground.now;
        ground.truth(session).attach(now, link, epoch);
        let mut hosted = Hosted {
            machine: Session::new(Arc::clone(config), ground.now, opening),
            session,
            name: format!("session {}", Ground::number_of(session)),
            client: Some(Socket::new(client, End::Far)),
            link: Some(Socket::new(link, End::Near)),
            host,
            config: Arc::clone(config),
            target: None,
            dialing: None,
            arrival: None,
            epoch,
            bounds,
            habits,
            stirred: true,
            due: None,
            judged: false,
            told: false,
            breach: None,
            over: false,
            steps_left: None,
            window: config.resume_window,
            away_until: None,
        };
        hosted.tell_fitness(ground);
        hosted
    }

    /// Does what there is to do. True: something has changed.
    pub(crate) fn pump(&mut self, ground: &mut Ground, processes: &mut Vec<Process>) -> bool {
        if self.over || !self.has_work(ground) {
            return false;
        }
        self.note_pause(ground);
        let mut settled = false;
        // Whoever has had all of its rounds goes on in the next turn.
        self.stirred = true;
        for _ in 0..ROUNDS {
            let mut moved = self.take_client(ground) | self.poll_dial(ground, processes);
            moved |= self.poll_successor(ground, processes);
            if self.ends_here(ground) {
                return true;
            }
            moved |= self.read_client(ground);
            if self.ends_here(ground) {
                return true;
            }
            moved |= self.read_link(ground);
            if self.ends_here(ground) {
                return true;
            }
            if settled && !moved {
                self.stirred = false;
                break;
            }
            let dice = &mut ground.dice;
            let unread = !self.machine.wants_backend();
            self.machine.advance(ground.now, &mut || dice.next());
            moved |= unread && self.machine.wants_backend();
            if self.ends_here(ground) {
                return true;
            }
            self.let_go_of_client(ground);
            moved |= self.write(ground);
            if self.ends_here(ground) {
                return true;
            }
            moved |= self.follow(ground);
            self.note_pause(ground);
            Ground::check_bounds(&self.machine, &self.bounds);
            if std::mem::take(&mut self.told) {
                self.check_window(ground);
            }
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
        let target = self.target.as_ref().and_then(Target::socket);
        let sockets = [self.client.as_ref(), self.link.as_ref(), target].into_iter().flatten();
        let news = sockets.fold(false, |news, socket| ground.net.take_news(socket.conn, socket.end) | news);
        news | std::mem::take(&mut self.stirred) | self.due.is_some_and(|due| due <= ground.now)
    }

    fn earliest(&mut self) -> Option<Time> {
        if self.over {
            return None;
        }
        let target = self.target.as_ref().and_then(Target::due);
        let arrival = self.arrival.as_ref().map(|arrival| arrival.at);
        let dialing = self.dialing.as_ref().map(|dialing| dialing.at);
        [self.machine.poll_timeout(), target, arrival, dialing].into_iter().flatten().min()
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.due.filter(|_| !self.over)
    }

    /// The client cannot come back any more, or the session ends anyway.
    fn is_ending(&self, now: Time) -> bool {
        let lost = self.away_until.is_some_and(|until| until <= now);
        lost || self.machine.status() == Status::Closing || self.machine.ended().is_some()
    }

    fn write(&mut self, ground: &mut Ground) -> bool {
        let mut moved = false;
        if let Some(socket) = &self.link {
            let written = write(ground, socket, &self.machine.poll_transmit(SessionSide::Backend));
            self.machine.handle_written(SessionSide::Backend, written.len());
            let now = ground.now;
            ground.truth(self.session).service_told(now, &written);
            self.told = !written.is_empty();
            moved |= self.told;
        }
        self.write_client(ground) | moved
    }

    /// The service is not read, since the client is slow.
    fn note_pause(&self, ground: &mut Ground) {
        if !self.machine.wants_backend() {
            let now = ground.now;
            ground.truth(self.session).link.unheard(now);
        }
    }

    /// No more lies unread at the service than may.
    fn check_window(&self, ground: &mut Ground) {
        let link = &ground.truths[Ground::number_of(self.session)].link;
        link.check();
        if link.is_full() && link.bounded {
            ground.count("the window is full");
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
        self.check_ledger(ground);
        assert_eq!(self.machine.poll_timeout(), None, "a session that has ended wants to be woken");
    }

    fn check_ledger(&self, ground: &mut Ground) {
        let (upstream, truth) = (self.machine.ledger().upstream, ground.truth(self.session));
        truth.check_ledger(&upstream);
        let twice = truth.deliveries.twice();
        ground.tally.count("a message that two services have read", twice);
        let (marked, lost) = (u64::from(upstream.acknowledged > 0), u64::from(upstream.lost > 0));
        let [all, with, without] = match self.config.ack {
            AckMode::Shim => {
                ["a session with commits", "messages are committed", "messages are not committed"]
            }
            AckMode::Pong => {
                ["a session with pongs", "messages are acknowledged", "messages are lost at the end"]
            }
            AckMode::None => ["a session without", "messages are marked", "messages may be lost"],
        };
        for (what, times) in [(all, 1), (with, marked), (without, lost)] {
            ground.tally.count(what, times);
        }
    }

    /// The broker has no session any more.
    pub(crate) fn give_up(&mut self, ground: &mut Ground) {
        self.over = true;
        let truth = ground.truth(self.session);
        truth.over = true;
        truth.left();
        self.drop_target(ground);
        for socket in [self.client.take(), self.link.take()].into_iter().flatten() {
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
        let (state, kept, due) = (self.machine.status(), self.machine.buffered(), self.due);
        format!("{}: {state:?}, {kept} bytes kept, due {due:?}, {:?}; ", self.name, self.connections())
    }

    /// The connection to its service, the end of it, and its host.
    fn served_by(&self) -> Option<(Conn, End, Host)> {
        self.link.as_ref().map(|socket| (socket.conn, socket.end, self.host))
    }

    /// The next service is connected, and waits.
    fn holds_successor(&self) -> bool {
        self.target.as_ref().is_some_and(|target| target.socket().is_some())
    }

    /// That of the next service, while it waits.
    pub(crate) fn target(&self) -> Option<Conn> {
        self.target.as_ref().and_then(Target::socket).map(|socket| socket.conn)
    }
}
