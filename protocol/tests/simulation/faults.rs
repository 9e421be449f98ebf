//! What goes wrong, and how it is done.

use std::time::Duration;

use steadfast_protocol::session::Move;
use steadfast_protocol::steadfast_v1::service_wire::EnvelopeWriter;
use steadfast_protocol::websocket::close_code::CloseCode;

use crate::ground::Ground;
use crate::network::{Conn, End, Outage};
use crate::process::{Death, Fuse, Point, Process};
use crate::random::Random;
use crate::world::World;

/// Which of the two connections of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Client,
    Service,
    /// That of the next service, while it waits.
    Target,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// A connection breaks now.
    Break(Way, Outage),
    /// It breaks when one end has said so many bytes more.
    Cut(Way, End, usize, Outage),
    /// Nothing arrives on it for a while.
    HoldUp(Way, Duration),
    /// One who is at its end does not read for a while.
    Stall(Way, Duration),
    /// The service's host does nothing for a while, as one that is stopped.
    Stop(Duration),
    /// It is gone for a while, with all that runs there.
    HostDies(Duration),
    Crash(Fuse),
    Die(Death),
    /// The message that the client sends next kills so many services.
    Killer(u64),
    /// The service answers no pings any more.
    Mute,
    ServiceCloses(CloseCode),
    /// It breaks the protocol, in one way of several.
    Misbehave(u64),
    /// The session is to leave its service, as if that had failed.
    FailOver,
    /// By plan; by force after a while.
    Relocate(Option<Duration>),
    Remain,
    DialsFail(u64),
    UpgradesFail(u64),
    UpgradesLate(u64, Duration),
    /// The next connections of the client, or of services, break within so many bytes.
    ClientsBreak(u64, usize),
    ServicesBreak(u64, usize),
    /// The broker ends its sessions with this code; `None`: it dies.
    BrokerEnds(Option<CloseCode>),
    /// Its process dies after so many steps, and another one goes on with the sessions.
    BrokerRestarts(u32),
}

/// Draws faults. Some schedules have many of one kind.
pub(crate) struct Faults {
    span: u64,
    favourite: u64,
}

/// Kinds of faults, the last of which are rare.
const KINDS: u64 = 23;
const RARE: u64 = 20;

impl Faults {
    pub(crate) fn new(dice: &mut Random, span: u64) -> Faults {
        Faults { span, favourite: dice.below(KINDS) }
    }

    pub(crate) fn draw(&mut self, dice: &mut Random) -> Vec<(Duration, Fault)> {
        let count = dice.pick(&[0, 1, 2, 3, 5, 8, 12]);
        let mut faults: Vec<_> =
            (0..count).map(|_| (dice.millis(0, self.span + 900), self.one(dice))).collect();
        faults.sort_by_key(|(at, _)| *at);
        faults
    }

    fn one(&self, dice: &mut Random) -> Fault {
        let way = dice.pick(&[Way::Client, Way::Client, Way::Service]);
        let some = dice.pick(&[Way::Client, Way::Service, Way::Service, Way::Target]);
        let kind = match dice.below(10) {
            0..4 => self.favourite,
            4 => dice.below(KINDS),
            _ => dice.below(RARE),
        };
        match kind {
            0 | 1 => Fault::Break(some, outage(dice)),
            2..4 => Fault::Cut(way, dice.pick(&[End::Near, End::Far]), near(dice), outage(dice)),
            4 => Fault::HoldUp(some, dice.millis(0, 3000)),
            5 => Fault::Stall(way, dice.millis(0, 4000)),
            6 | 7 => Fault::Crash(fuse(dice)),
            8 => Fault::Die(death(dice)),
            9 => Fault::FailOver,
            10 => Fault::Relocate(dice.chance(40).then(|| dice.millis(0, 3000))),
            11 => dice.pick(&[Fault::Remain, Fault::Relocate(None), Fault::Relocate(Some(Duration::ZERO))]),
            12 => Fault::DialsFail(dice.between(1, 5)),
            13 => Fault::UpgradesFail(dice.between(1, 4)),
            14 => {
                let times = dice.between(1, 4);
                Fault::UpgradesLate(times, dice.millis(500 * times, 2500 * times))
            }
            15 => dice.pick(&[
                Fault::Mute,
                Fault::ServiceCloses(CloseCode(1001)),
                Fault::ServiceCloses(CloseCode(1012)),
            ]),
            16 => Fault::ClientsBreak(dice.between(1, 8), dice.pick(&[150, 250, 500])),
            17 => Fault::ServicesBreak(dice.between(1, 4), dice.pick(&[100, 500])),
            18 => Fault::Stop(dice.millis(100, 20_000)),
            19 => Fault::HostDies(dice.millis(100, 20_000)),
            20 => Fault::Killer(dice.between(1, 8)),
            21 => dice.pick(&[
                Fault::ServiceCloses(CloseCode(1011)),
                Fault::ServiceCloses(CloseCode(4000)),
                Fault::BrokerEnds(None),
            ]),
            _ => match dice.below(4) {
                0 => Fault::BrokerEnds(Some(dice.pick(&[CloseCode::GOING_AWAY, CloseCode::SERVICE_RESTART]))),
                _ => Fault::Misbehave(dice.below(7)),
            },
        }
    }
}

/// In some schedules the broker's process ends, often enough for each step of its work. They are drawn from dice of
/// their own, so that all others stay what they are.
pub(crate) fn restarts(dice: &mut Random, span: Duration) -> Vec<(Duration, Fault)> {
    let count = if dice.chance(15) { dice.between(1, 4) } else { 0 };
    let span = span.as_millis() as u64;
    (0..count).map(|_| (dice.millis(0, span), Fault::BrokerRestarts(dice.below(40) as u32))).collect()
}

/// Both ends notice, or one, or none.
pub(crate) fn outage(dice: &mut Random) -> Outage {
    let mut notice = || dice.chance(70).then(|| dice.millis(0, 200));
    let notices = [notice(), notice()];
    Outage { notices, loses: dice.chance(60) }
}

/// Bytes until a cut: within the next frame, or some frames on.
fn near(dice: &mut Random) -> usize {
    let most = dice.pick(&[4, 30, 300]);
    dice.size(1, most)
}

fn death(dice: &mut Random) -> Death {
    dice.pick(&[Death::Exit, Death::Crash, Death::Crash, Death::PowerCut])
}

fn fuse(dice: &mut Random) -> Fuse {
    let point = dice.pick(&[Point::Heard, Point::Consumed, Point::Made, Point::Saying, Point::Said]);
    Fuse { point, skip: dice.pick(&[0, 0, 1, 4]), death: death(dice) }
}

impl World {
    /// Something goes wrong.
    pub(crate) fn strike(&mut self, fault: Fault) {
        self.ground.note("fault", || format!("{fault:?}"));
        match fault {
            Fault::Break(way, outage) => {
                if let Some(conn) = self.connection(way) {
                    self.ground.net.break_off(self.ground.now, conn, outage);
                }
            }
            Fault::Cut(way, end, after, outage) => {
                if let Some(conn) = self.connection(way) {
                    self.ground.net.cut(conn, end, after, outage);
                }
            }
            Fault::HoldUp(way, time) => {
                if let Some(conn) = self.connection(way) {
                    self.ground.net.hold_up(conn, self.ground.now + time);
                }
            }
            Fault::Stall(Way::Client, time) => self.user.stalls_until = Some(self.ground.now + time),
            Fault::DialsFail(times) => self.ground.luck.dials_fail = times,
            Fault::UpgradesFail(times) => self.ground.luck.upgrades_fail = times,
            Fault::UpgradesLate(times, by) => {
                (self.ground.luck.upgrades_late, self.ground.luck.late_by) = (times, by);
                self.ground.luck.words_late = times;
                if let Some(conn) = self.connection(Way::Client) {
                    let notices = [Some(Duration::ZERO); 2];
                    self.ground.net.break_off(self.ground.now, conn, Outage { notices, loses: true });
                }
            }
            Fault::ClientsBreak(times, within) => {
                (self.ground.luck.clients_break, self.ground.luck.breaks_within) = (times, within);
            }
            Fault::ServicesBreak(times, within) => {
                (self.ground.luck.services_break, self.ground.luck.breaks_within) = (times, within);
            }
            Fault::Killer(times) => {
                (self.ground.luck.killer, self.ground.luck.kills) = (self.user.sent + 1, times);
            }
            Fault::BrokerEnds(code) => self.end_broker(code),
            Fault::BrokerRestarts(steps) => {
                self.acceptor.hosted.iter_mut().for_each(|hosted| hosted.end_after(steps))
            }
            Fault::FailOver | Fault::Relocate(_) | Fault::Remain => self.order(fault),
            of_service => self.strike_service(of_service),
        }
    }

    fn strike_service(&mut self, fault: Fault) {
        let World { ground, processes, .. } = self;
        let Some(process) = processes.iter_mut().rfind(|process| process.serves()) else { return };
        match fault {
            Fault::Stall(_, time) => process.stalls_until = Some(ground.now + time),
            Fault::Crash(fuse) => process.fuse = Some(fuse),
            Fault::Die(death) => process.end(ground, death),
            Fault::Mute => process.mute = true,
            Fault::Stop(time) => {
                ground.count("a host is stopped");
                ground.hosts.halt(process.host, ground.now, ground.now + time);
            }
            Fault::HostDies(time) => {
                ground.count("a host dies");
                let host = process.host;
                ground.hosts.go(host, ground.now, ground.now + time);
                for process in processes.iter_mut().filter(|process| process.host == host) {
                    process.end(ground, Death::PowerCut);
                }
            }
            Fault::ServiceCloses(code) => process.closes(ground, code),
            Fault::Misbehave(way) => misbehave(ground, process, way),
            _ => {}
        }
    }

    /// What an operator orders.
    fn order(&mut self, fault: Fault) {
        let now = self.ground.now;
        let Some(hosted) = self.present() else { return };
        hosted.stirred = true;
        match fault {
            Fault::FailOver => drop(hosted.machine.fail_over(now)),
            Fault::Relocate(force_in) => {
                let order = Move { ticket: 1, force_at: force_in.map(|time| now + time) };
                hosted.machine.relocate(now, order);
            }
            _ => hosted.machine.remain(),
        }
    }

    fn end_broker(&mut self, code: Option<CloseCode>) {
        let World { ground, acceptor, .. } = self;
        for hosted in acceptor.hosted.iter_mut().filter(|hosted| !hosted.over) {
            hosted.stirred = true;
            match code {
                Some(code) => {
                    hosted.machine.shut_down(ground.now, code);
                    ground.truth(hosted.session).over = true;
                }
                None => hosted.give_up(ground),
            }
        }
    }

    /// The connection of the session that the client is in.
    fn connection(&mut self, way: Way) -> Option<Conn> {
        let conn = self.user.conn;
        let hosted = self.present();
        match way {
            Way::Client => conn,
            Way::Service => hosted.and_then(|hosted| hosted.connections().1),
            Way::Target => hosted.and_then(|hosted| hosted.target()),
        }
    }
}

fn misbehave(ground: &mut Ground, process: &mut Process, way: u64) {
    let machine = process.machine();
    let (number, upto) = (machine.number() + 1, machine.consumed());
    let commit = |number, upto, capsule| EnvelopeWriter::commit(number, upto, capsule, false).finish();
    let (text, message) = match way {
        0 => (true, b"text".to_vec()),
        1 => (false, Vec::new()),
        2 => (false, commit(number + 1, upto, None)),
        3 => (false, commit(number, upto + 1_000_000, None)),
        4 if upto > 0 => (false, commit(number, upto - 1, None)),
        5 => {
            let too_big = vec![0; ground.limits.message + 1];
            let mut push = EnvelopeWriter::push();
            push.output(false, &too_big);
            (false, push.finish())
        }
        _ => (false, commit(number, upto, Some(&vec![0; ground.limits.capsule + 1]))),
    };
    process.misbehaves(ground, (text, &message));
}
