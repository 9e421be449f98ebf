//! What everybody in a schedule stands on: time, the network, the dice, and what is true.

use std::time::Duration;

use steadfast_protocol::session::{AckMode, Session};
use steadfast_protocol::steadfast_v1::SessionId;
use steadfast_protocol::time::Time;

use crate::application::Sizes;
use crate::faults::outage;
use crate::hosts::Hosts;
use crate::network::{Conn, End, Network};
use crate::random::Random;
use crate::tally::Tally;
use crate::truth::{Limits, Truth};

pub(crate) struct Ground {
    pub(crate) now: Time,
    pub(crate) net: Network,
    pub(crate) hosts: Hosts,
    pub(crate) ack: AckMode,
    pub(crate) ack_timeout: Duration,
    pub(crate) dice: Random,
    /// One for each session that there was.
    pub(crate) truths: Vec<Truth>,
    pub(crate) sizes: Sizes,
    pub(crate) limits: Limits,
    pub(crate) luck: Luck,
    pub(crate) tally: Tally,
    /// A service that has answered no ping was given up.
    pub(crate) unfit: bool,
    pub(crate) trace: bool,
}

/// What goes wrong with the next attempts to connect.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Luck {
    /// So many dials of services fail.
    pub(crate) dials_fail: u64,
    /// So many clients' upgrades are refused.
    pub(crate) upgrades_fail: u64,
    /// So many upgrades are this late on their way.
    pub(crate) upgrades_late: u64,
    pub(crate) late_by: Duration,
    /// And of so many that come before them, what the client says.
    pub(crate) words_late: u64,
    /// So many connections of clients, and of services, break in their first bytes.
    pub(crate) clients_break: u64,
    pub(crate) services_break: u64,
    pub(crate) breaks_within: usize,
    /// This message of the client's kills so many of the services that it comes to.
    pub(crate) killer: u64,
    pub(crate) kills: u64,
}

impl Ground {
    /// A session's number in `truths`, as its name has it.
    pub(crate) fn number_of(session: SessionId) -> usize {
        u128::from_be_bytes(session) as usize
    }

    /// The name of the session with this number.
    pub(crate) fn name_of(number: usize) -> SessionId {
        (number as u128 | 0x5D << 120).to_be_bytes()
    }

    pub(crate) fn truth(&mut self, session: SessionId) -> &mut Truth {
        &mut self.truths[Ground::number_of(session)]
    }

    /// The session that begins next.
    pub(crate) fn begin(&mut self) -> SessionId {
        let session = Ground::name_of(self.truths.len());
        self.truths.push(Truth::new(session, self.ack, self.sizes, self.limits));
        session
    }

    /// This end lets go of a connection as one does that is killed, or whose host is gone: what was said may be lost.
    pub(crate) fn drop_hard(&mut self, conn: Conn, end: End) {
        match self.dice.below(3) {
            0 => self.net.close(self.now, conn, end),
            1 => self.net.reset(self.now, conn, end),
            _ => self.net.vanish(conn, end),
        }
    }

    /// How long it takes to reach a service, and to hear of it.
    pub(crate) fn dial(&mut self) -> Duration {
        self.net.service_delay() + self.net.service_delay()
    }

    /// A connection has been dialled: it may be one that will break soon. `stock`: of those.
    pub(crate) fn dialled(&mut self, conn: Conn, stock: fn(&mut Luck) -> &mut u64) {
        if Ground::uses_up(stock(&mut self.luck)) {
            let end = self.dice.pick(&[End::Near, End::Far]);
            // The first that a client says is short: its token is confirmed, or just not.
            let within = if end == End::Near { 12 } else { self.luck.breaks_within };
            let after = self.dice.size(1, within);
            self.net.cut(conn, end, after, outage(&mut self.dice));
        }
    }

    /// Something of which the number in store falls by one, if there is any.
    pub(crate) fn uses_up(stock: &mut u64) -> bool {
        let any = *stock > 0;
        *stock = stock.saturating_sub(1);
        any
    }

    /// Something has happened.
    pub(crate) fn count(&mut self, what: &'static str) {
        self.tally.count(what, 1);
    }

    /// A line of the trace.
    pub(crate) fn note(&self, who: &str, what: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>12.6} {who:<10} {}", self.now.since_origin().as_secs_f64(), what());
        }
    }

    /// So much may a session keep.
    pub(crate) fn check_bounds(machine: &Session, bounds: &Bounds) {
        let (upstream, all) = (machine.unacknowledged(), machine.buffered());
        assert!(
            upstream <= bounds.upstream,
            "{upstream} bytes up are kept, and the bound is {}",
            bounds.upstream
        );
        let rest = all - upstream;
        assert!(rest <= bounds.rest, "{rest} bytes down are kept, and the bound is {}", bounds.rest);
    }
}

/// Bytes that a session may keep.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) upstream: usize,
    /// Down, with the capsule and the envelope that is open.
    pub(crate) rest: usize,
}
