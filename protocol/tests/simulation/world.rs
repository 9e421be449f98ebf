//! A schedule from its first moment to its last: everybody does what there is to do, then time goes on to the
//! next moment at which something happens.

use std::time::Duration;

use steadfast_protocol::session::Status;
use steadfast_protocol::steadfast_v1::client::Fate;
use steadfast_protocol::time::Time;

use crate::acceptor::Acceptor;
use crate::application::Store;
use crate::broker::Hosted;
use crate::faults::{self, Fault};
use crate::ground::{Ground, Luck};
use crate::hosts::Hosts;
use crate::network::{End, Network};
use crate::plan::Plan;
use crate::process::Process;
use crate::random::Random;
use crate::tally::Tally;
use crate::user::User;

/// Turns that everybody may have without time going on.
const TURNS: usize = 20_000;

/// Moments of a schedule.
const MOMENTS: usize = 200_000;

/// When nothing goes wrong any more, everything is delivered within this time, with so much more for each message:
/// rings of a few bytes are full most of the time. And when the client is done, so long later nothing is left of
/// its sessions.
const REST: Duration = Duration::from_secs(200);
const EACH: Duration = Duration::from_secs(15);
const END: Duration = Duration::from_secs(180);

pub(crate) struct World {
    pub(crate) ground: Ground,
    pub(crate) user: User,
    pub(crate) acceptor: Acceptor,
    pub(crate) processes: Vec<Process>,
    store: Store,
    /// What is to go wrong yet, the next last.
    faults: Vec<(Time, Fault)>,
    calm_at: Time,
    calm: bool,
    peaceful: bool,
    moments: usize,
    /// What happens next is that time has passed.
    wakes_at: Option<Time>,
    /// How long a connection may be dead.
    patience: Duration,
    /// Messages that the client has to say.
    spoken: u32,
}

/// Runs the schedule of a seed. Panics when something is not as it must be.
pub(crate) fn run(seed: u64, trace: bool) -> Tally {
    let mut world = World::new(seed, trace);
    world.until("everything is delivered", World::rest_by, World::is_at_rest);
    world.idle();
    world.part();
    world.until("every session has ended", |world| world.ground.now.max(world.calm_at) + END, World::is_over);
    world.check();
    world.tally()
}

impl World {
    fn new(seed: u64, trace: bool) -> World {
        let mut dice = Random::new(seed);
        let mut plan = Plan::new(&mut dice);
        plan.add(faults::restarts(&mut Random::new(!seed), plan.calm));
        let now = Time::after_origin(Duration::from_secs(1000));
        let (limits, bounds, sizes) = (plan.limits(), plan.bounds(), plan.sizes);
        let ground = Ground {
            now,
            net: Network::new(plan.networks, dice.split()),
            hosts: Hosts::new(now, plan.hosts, plan.broker.ack_timeout),
            ack: plan.broker.ack,
            ack_timeout: plan.broker.ack_timeout,
            dice: dice.split(),
            truths: Vec::new(),
            sizes,
            limits,
            luck: Luck::default(),
            tally: Tally::default(),
            unfit: false,
            trace,
        };
        ground.note("plan", || format!("{:?} {:?} {:?}", plan.networks, plan.habits, plan.sizes));
        ground.note("plan", || format!("{:?}", plan.client));
        ground.note("plan", || format!("{:?}", plan.broker));
        let at = |time: Duration| now + time;
        let says = plan.says.iter().copied().map(at).collect();
        let peaceful = plan.is_peaceful();
        let patience = plan.broker.keepalive + plan.broker.ack_timeout * 3;
        let user = User::new(now, plan.client, says, plan.closes.map(at), (limits.message + 100, plan.reads));
        World {
            ground,
            user,
            acceptor: Acceptor::new(plan.broker, plan.habits, bounds, plan.protocol),
            processes: Vec::new(),
            store: Store::default(),
            faults: plan.faults.into_iter().rev().map(|(time, fault)| (at(time), fault)).collect(),
            calm_at: at(plan.calm),
            calm: false,
            peaceful,
            moments: 0,
            wakes_at: None,
            patience,
            spoken: plan.says.len() as u32,
        }
    }

    /// Lets time go on until something is so.
    fn until(&mut self, what: &str, latest: fn(&World) -> Time, done: fn(&mut World) -> bool) {
        let latest = latest(self);
        loop {
            self.settle();
            if done(self) {
                return;
            }
            let next = self.next().filter(|next| *next <= latest);
            let Some(next) = next else { panic!("{what}: not by {latest:?}; {}", self.standing()) };
            self.moments += 1;
            assert!(self.moments < MOMENTS, "{what}: not after {MOMENTS} moments; {}", self.standing());
            self.ground.now = self.ground.now.max(next);
        }
    }

    /// Everybody does what there is to do at this moment.
    fn settle(&mut self) {
        let now = self.ground.now;
        self.ground.net.arrive(now);
        self.probe();
        while let Some((_, fault)) = self.faults.pop_if(|(at, _)| *at <= now) {
            self.strike(fault);
        }
        if !self.calm && self.calm_at <= now {
            self.calm_down();
        }
        for _ in 0..TURNS {
            if !self.turn() {
                return;
            }
            self.ground.net.arrive(now);
        }
        panic!("it never comes to rest at {now:?}: {}", self.standing());
    }

    fn probe(&mut self) {
        let (answered, missed) = self.ground.hosts.pump(self.ground.now);
        self.ground.tally.count("a probe is answered", answered);
        self.ground.tally.count("a probe is not answered", missed);
    }

    fn turn(&mut self) -> bool {
        let World { ground, user, acceptor, processes, store, .. } = self;
        let a = user.pump(ground, &mut acceptor.knocks);
        let b = acceptor.pump(ground, processes, &mut user.answers);
        let mut c = false;
        for process in processes.iter_mut() {
            c |= process.pump(ground, store);
        }
        a | b | c
    }

    fn next(&self) -> Option<Time> {
        let fault = self.faults.last().map(|(at, _)| *at);
        let calm = (!self.calm).then_some(self.calm_at);
        let (now, hosts) = (self.ground.now, &self.ground.hosts);
        let processes = self.processes.iter().filter_map(|process| process.next_timeout(now, hosts)).min();
        let probes = hosts.next_timeout();
        let net = self.ground.net.next();
        let ends = [self.user.next_timeout(), self.acceptor.next_timeout()];
        [fault, calm, self.wakes_at, processes, probes, net].into_iter().chain(ends).flatten().min()
    }

    /// From now on nothing goes wrong.
    fn calm_down(&mut self) {
        self.ground.note("fault", || "no more".to_owned());
        self.calm = true;
        self.ground.luck = Luck::default();
        self.ground.net.calm();
        for process in &mut self.processes {
            process.fuse = None;
        }
        self.ground.hosts.add(self.ground.now);
    }

    /// The session that the client is in, as far as it knows.
    pub(crate) fn present(&mut self) -> Option<&mut Hosted> {
        let session = self.user.session()?;
        self.acceptor.hosted.iter_mut().find(|hosted| hosted.session == session)
    }

    fn rest_by(&self) -> Time {
        self.calm_at + REST + EACH * self.spoken
    }

    /// Nothing goes wrong any more, and all is delivered and acknowledged; or the client is done.
    fn is_at_rest(&mut self) -> bool {
        if self.user.machine.is_over() {
            return self.calm;
        }
        let (sent, got) = (self.user.sent, self.user.story.got());
        let fates = [self.user.machine.fate(sent)];
        let settled = fates.iter().flatten().all(|fate| matches!(fate, Fate::Committed | Fate::Unknown));
        if !self.calm || !self.user.has_spoken() || !self.user.machine.is_open() || !settled {
            return false;
        }
        let Some(hosted) = self.present() else { return false };
        let (buffered, open, session) =
            (hosted.machine.buffered(), hosted.machine.status() != Status::Closing, hosted.session);
        let truth = self.ground.truth(session);
        let capsule = truth.capsule.as_ref().map_or(0, Vec::len);
        let all = truth.committed == truth.received().len() as u64 && got == truth.outputs.len() as u64;
        open && all && buffered == capsule
    }

    /// Nobody says anything for so long that a connection which is dead must have been left.
    fn idle(&mut self) {
        if self.user.machine.is_over() {
            return;
        }
        let was_dead = self.is_on_dead_connection();
        let until = self.ground.now + self.patience;
        self.wakes_at = Some(until);
        self.until("time has passed", |world| world.wakes_at.unwrap_or(Time::NEVER), World::has_idled);
        assert!(!self.is_on_dead_connection(), "the session stays on a dead connection: {}", self.standing());
        if was_dead {
            self.ground.count("a dead connection is left that nobody has used");
        }
        self.until("everything is delivered again", World::rest_again_by, World::is_at_rest);
    }

    fn has_idled(&mut self) -> bool {
        self.wakes_at.take_if(|at| *at <= self.ground.now).is_some()
    }

    /// One that answers no pings is not asked for any.
    fn is_on_dead_connection(&mut self) -> bool {
        let Some(hosted) = self.present() else { return false };
        let (session, service) = (hosted.session, hosted.connections().1);
        let asked = self.ground.truth(session).link.answers_pings;
        asked && service.is_some_and(|conn| self.ground.net.is_dead(conn, End::Near))
    }

    fn rest_again_by(&self) -> Time {
        self.ground.now + REST
    }

    /// The client says goodbye, unless it has.
    fn part(&mut self) {
        self.ground.note("world", || "is at rest".to_owned());
        self.check_services();
        self.user.closes = Some(self.ground.now);
    }

    fn is_over(&mut self) -> bool {
        self.user.machine.is_over() && self.acceptor.hosted.iter().all(|hosted| hosted.over)
    }

    /// What the services hold is what the broker believes.
    fn check_services(&self) {
        for hosted in self.acceptor.hosted.iter().filter(|hosted| !hosted.over) {
            let truth = &self.ground.truths[Ground::number_of(hosted.session)];
            let mine = |process: &&Process| process.session == hosted.session && process.serves();
            let Some(process) = self.processes.iter().rfind(mine) else { continue };
            if Some(process.conn) == hosted.connections().1 && process.machine().epoch() > 0 {
                let held = process.state();
                assert!(held.seq >= truth.committed, "{held:?} is held, and {} committed", truth.committed);
                assert_eq!(held, truth.state(held.seq), "the service holds something else");
            }
            if let Some(kept) = self.store.get(hosted.session) {
                assert_eq!(kept.state, truth.state(kept.state.seq), "the store has something else");
                assert!(kept.number >= truth.applied && kept.state.seq >= truth.committed);
            }
        }
    }

    /// Where nothing goes wrong, no service is left, slow as it may be, and no message comes to two.
    fn check_peace(&mut self) {
        if !self.peaceful || self.ground.unfit {
            return;
        }
        self.ground.count("peace");
        for truth in &self.ground.truths {
            let services = truth.attached.len();
            assert_eq!((services, truth.deliveries.twice()), (1, 0), "services are left in peace");
        }
    }

    fn check(&mut self) {
        self.check_services();
        self.check_peace();
        self.user.story.check(&mut self.ground, &self.user.machine, self.user.sent);
    }

    fn tally(self) -> Tally {
        let Ground { mut tally, truths, net, .. } = self.ground;
        tally.schedules = 1;
        let commits = truths.iter().map(|truth| truth.applied).sum();
        let outputs = truths.iter().map(|truth| truth.outputs.len() as u64).sum();
        for (what, times) in [
            ("a message", self.user.sent),
            ("a commit", commits),
            ("an output", outputs),
            ("a session", truths.len() as u64),
            ("a service", self.processes.len() as u64),
            ("a connection", net.count() as u64),
            ("a moment", self.moments as u64),
        ] {
            tally.count(what, times);
        }
        tally
    }

    fn standing(&self) -> String {
        let User { machine, sent, .. } = &self.user;
        let fates: Vec<_> = (1..=*sent).filter_map(|id| machine.fate(id)).collect();
        let settled = fates.iter().filter(|fate| matches!(fate, Fate::Committed | Fate::Unknown)).count();
        let client = format!("client: open {}, {settled} of {sent} settled", machine.is_open());
        let hosted = self.acceptor.hosted.iter().filter(|hosted| !hosted.over);
        let sessions: String = hosted.map(Hosted::standing).collect();
        format!("at {:?} {client}, {} messages here; {sessions}", self.ground.now, self.user.story.got())
    }
}
