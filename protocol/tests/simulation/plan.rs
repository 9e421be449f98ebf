//! What a schedule is to be, all of it drawn from its seed: settings, habits, what is said, and what goes wrong.

use std::time::Duration;

use steadfast_protocol::session::{AckMode, Codes, Config};
use steadfast_protocol::steadfast_v1::client;
use steadfast_protocol::websocket::close_code::CloseCode;

use crate::application::Sizes;
use crate::faults::{Fault, Faults};
use crate::ground::Bounds;
use crate::network::Style;
use crate::pace::Pace;
use crate::process::Habits;
use crate::random::Random;
use crate::truth::Limits;

/// A slow network: its delays in microseconds, and what it has room for.
const SLOW: (u64, u64) = (10_000, 150_000);
const SLOW_ROOM: usize = 200;

/// Most services link the shim.
const MODES: [AckMode; 6] =
    [AckMode::Shim, AckMode::Shim, AckMode::Shim, AckMode::Pong, AckMode::Pong, AckMode::None];

/// Messages of a burst: more than a service is given at once.
const BURST: usize = 150;

/// Bytes of headers, and of the broker's own frames.
const HEADERS: usize = 200;
const FRAMES: usize = 5000;

pub(crate) struct Plan {
    pub(crate) broker: Config,
    pub(crate) client: client::Config,
    /// To clients, and to services.
    pub(crate) networks: [Style; 2],
    pub(crate) habits: Habits,
    /// Those of services.
    pub(crate) hosts: usize,
    /// How fast the client does.
    pub(crate) reads: Pace,
    pub(crate) sizes: Sizes,
    pub(crate) protocol: Option<String>,
    /// When the client says something.
    pub(crate) says: Vec<Duration>,
    /// When it says goodbye, in the midst of all; `None`: when all is done.
    pub(crate) closes: Option<Duration>,
    pub(crate) faults: Vec<(Duration, Fault)>,
    /// From then on nothing goes wrong any more.
    pub(crate) calm: Duration,
}

impl Plan {
    pub(crate) fn new(dice: &mut Random) -> Plan {
        let networks = [clients(dice), services(dice)];
        let sizes = sizes(dice, &networks[0]);
        let span = dice.between(200, 8000);
        let says = says(dice, span);
        let closes = dice.chance(10).then(|| dice.millis(0, span + 1000));
        let protocol = dice.chance(20).then(|| "chat".to_owned());
        let client = client(dice, &sizes, protocol.as_ref());
        let mut faults = Faults::new(dice, span);
        let mut plan = Plan {
            broker: broker(dice, &sizes),
            client,
            networks,
            habits: habits(dice),
            hosts: dice.pick(&[1, 2, 2, 3]),
            reads: Pace::prompt(),
            sizes,
            protocol,
            says,
            closes,
            faults: faults.draw(dice),
            calm: Duration::from_millis(span + 1000),
        };
        if dice.chance(30) {
            plan.slow_down(dice);
        }
        plan
    }

    /// More is to go wrong.
    pub(crate) fn add(&mut self, faults: Vec<(Duration, Fault)>) {
        self.faults.extend(faults);
        self.faults.sort_by_key(|(at, _)| *at);
    }

    /// Nothing goes wrong, the client says goodbye when all is done, and all services read on in time, slow as they
    /// may be.
    pub(crate) fn is_peaceful(&self) -> bool {
        self.faults.is_empty() && self.closes.is_none() && self.habits.pace.is_gentle(&self.broker)
    }

    /// Services take their time, or the client does; and there may be much to read at once.
    fn slow_down(&mut self, dice: &mut Random) {
        match dice.below(5) {
            0 => self.reads = Pace::of_client(dice),
            // They read at once, and answer late.
            1 => self.habits.work = dice.pick(&[400, 3000]),
            _ => self.habits.pace = Pace::slow(dice, &self.broker),
        }
        if dice.chance(20) {
            let at = self.says[0];
            self.says.extend([at; BURST]);
            self.says.sort_unstable();
            self.sizes.rare = dice.pick(&[self.sizes.common, 24_000]);
            self.client.message_limit = self.sizes.longest();
            self.client.buffer = 1 << 20;
            (self.broker.message_limit, self.broker.ring_limit) = (4 * self.sizes.longest() as u32, 1 << 20);
            self.networks[1].room = 1 << 20;
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits { capsule: self.broker.capsule_limit, message: self.broker.message_limit as usize }
    }

    pub(crate) fn bounds(&self) -> Bounds {
        let Config { ring_limit, capsule_limit, message_limit, .. } = self.broker;
        let message = message_limit as usize;
        let envelope = message + capsule_limit + 1024;
        // One read takes what its connection holds.
        let read = self.networks[0].room.max(self.networks[1].room);
        Bounds {
            // While acknowledgements may stand behind messages, there is room for as many again.
            upstream: 2 * ring_limit + message + read + HEADERS,
            rest: ring_limit + 2 * envelope + capsule_limit + read + FRAMES,
        }
    }
}

fn clients(dice: &mut Random) -> Style {
    Style {
        delay: dice.pick(&[(0, 0), (100, 2000), (1000, 20_000), SLOW]),
        chop: dice.pick(&[0, 10, 60]),
        room: dice.pick(&[SLOW_ROOM, 2000, 64 * 1024]),
        read: dice.pick(&[30, 500, usize::MAX, usize::MAX]),
    }
}

/// Services are near the broker.
fn services(dice: &mut Random) -> Style {
    Style {
        delay: dice.pick(&[(0, 0), (100, 2000), (1000, 20_000)]),
        chop: dice.pick(&[0, 10, 60]),
        room: dice.pick(&[2000, 64 * 1024]),
        read: dice.pick(&[30, 500, usize::MAX, usize::MAX]),
    }
}

fn sizes(dice: &mut Random, network: &Style) -> Sizes {
    let common = dice.pick(&[0, 20, 20, 100, 300]);
    // On the slowest connections a long message takes longer than a sign of life may.
    let slow = network.room == SLOW_ROOM && network.delay == SLOW;
    let (rare, one_in) = match slow {
        true => (dice.pick(&[common, 30_000]), 10),
        false => (dice.pick(&[common, common, 1000, 6000, 24_000]), 50),
    };
    Sizes { common, rare, one_in }
}

/// Alone, in bursts, or all at once.
fn says(dice: &mut Random, span: u64) -> Vec<Duration> {
    let mut says = Vec::new();
    let count = if dice.chance(1) { 500 } else { dice.pick(&[1, 5, 10, 20, 40]) };
    while says.len() < count {
        let at = dice.millis(0, span);
        says.extend((0..dice.between(1, 5)).map(|_| at));
    }
    says.sort_unstable();
    says
}

fn habits(dice: &mut Random) -> Habits {
    Habits {
        store: dice.chance(40),
        batch: dice.pick(&[1, 1, 2, 5]),
        commit_after: dice.millis(0, 200),
        work: dice.pick(&[0, 0, 5, 50]),
        prompt: dice.pick(&[0, 20, 100]),
        talks: dice.pick(&[0, 0, 20, 60]),
        hasty: dice.chance(10),
        pace: Pace::prompt(),
    }
}

fn client(dice: &mut Random, sizes: &Sizes, protocol: Option<&String>) -> client::Config {
    client::Config {
        protocols: protocol.into_iter().cloned().collect(),
        buffer: dice.pick(&[200, 5000, 1 << 20]),
        message_limit: sizes.longest(),
        connect_timeout: dice.millis(800, 2000),
        backoff_min: dice.millis(1, 100),
        backoff_max: dice.millis(200, 1000),
        stable: dice.millis(100, 2000),
        give_up: Duration::MAX,
        ack_delay: dice.millis(0, 100),
        silence: dice.millis(1000, 5000),
        answer: dice.millis(500, 2000),
        close_timeout: dice.millis(3000, 20_000),
    }
}

fn broker(dice: &mut Random, sizes: &Sizes) -> Config {
    Config {
        ack: dice.pick(&MODES),
        ack_hold: Duration::ZERO,
        ack_timeout: dice.millis(1000, 3000),
        stall_timeout: dice.pick(&[4000, 20_000]).to_millis(),
        failover: true,
        auto_wait: 5000.to_millis(),
        reply_timeout: 30_000.to_millis(),
        prologue_timeout: dice.millis(500, 3000),
        profile_records: 64 << 10,
        capsule_limit: 100,
        unproven_window: Duration::from_secs(1 << 30),
        resume_window: dice.pick(&[0, 2000, 10_000, 60_000, 60_000, 60_000]).to_millis(),
        // What a few messages are answered with has room in one envelope.
        message_limit: 4 * sizes.longest() as u32,
        ring_limit: dice.pick(&[300, 5000, 64 * 1024]),
        close_timeout: dice.millis(500, 3000),
        client_stall: dice.millis(1000, 8000),
        message_timeout: Duration::from_secs(60),
        keepalive: dice.millis(500, 6000),
        client_pong: dice.millis(500, 4000),
        quiet: dice.millis(20, 300),
        quiet_max: dice.millis(300, 1000),
        patience: dice.millis(500, 5000),
        hold: dice.millis(100, 2000),
        dial_ahead: dice.chance(70),
        break_before_make: dice.chance(30),
        deadline: dice.millis(10_000, 30_000),
        longest: dice.millis(30_000, 60_000),
        stable: dice.millis(50, 3000),
        backoff_min: dice.millis(5, 100),
        backoff_max: dice.millis(100, 1000),
        jitter: dice.millis(0, 50),
        failure_codes: [1001, 1011, 1012, 1013, 1014].map(CloseCode).to_vec(),
        poison_window: Duration::from_secs(60),
        poison_deaths: dice.pick(&[2, 4, u32::MAX, u32::MAX, u32::MAX]),
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

trait ToMillis {
    fn to_millis(self) -> Duration;
}

impl ToMillis for u64 {
    fn to_millis(self) -> Duration {
        Duration::from_millis(self)
    }
}
