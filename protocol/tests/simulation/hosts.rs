//! The hosts on which services run: what each is really like, and what the broker finds out of that by what it
//! hears, by probes and by dials.
//!
//! A host that is stopped, or whose loop works on a message, does nothing: its kernel still takes connections and
//! bytes. One that is gone takes nothing.

use std::time::Duration;

use steadfast_protocol::time::Time;

use crate::random::Random;

/// The number of a host.
pub(crate) type Host = usize;

/// How long the broker tries others first after a host has failed.
const PENALTY: Duration = Duration::from_secs(5);

/// On their way there and back, probes take no longer.
const WAY: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Hosts {
    hosts: Vec<Standing>,
    ack_timeout: Duration,
    /// Some service has answered a ping, and some has not in time.
    pub(crate) pongs_came: bool,
    pub(crate) pongs_missed: bool,
}

#[derive(Debug, Clone)]
struct Standing {
    // What it is.
    /// In the last such time it did nothing.
    unable: (Time, Time),
    /// The end of the last that was so long that a probe may have missed its answer.
    mute_until: Option<Time>,
    gone_until: Time,
    // What the broker knows.
    heard: Option<Time>,
    probe: Option<Probe>,
    probed: Option<Time>,
    shunned_until: Time,
}

/// A probe that is not answered yet.
#[derive(Debug, Clone, Copy)]
struct Probe {
    at: Time,
    until: Time,
}

/// What becomes of a probe, or of an attempt to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    Yes,
    No,
    /// It is to be asked again then.
    Later(Time),
}

impl Hosts {
    pub(crate) fn new(now: Time, count: usize, ack_timeout: Duration) -> Hosts {
        let hosts = vec![Standing::new(now); count];
        Hosts { hosts, ack_timeout, pongs_came: false, pongs_missed: false }
    }

    /// One more, on which nothing runs yet.
    pub(crate) fn add(&mut self, now: Time) {
        self.hosts.push(Standing::new(now));
    }

    // ---- what they are ----

    /// When it does something again; not before now.
    pub(crate) fn able_at(&self, host: Host) -> Time {
        self.hosts[host].unable.1
    }

    pub(crate) fn is_able(&self, host: Host, now: Time) -> bool {
        self.able_at(host) <= now
    }

    /// It does nothing until then.
    pub(crate) fn halt(&mut self, host: Host, now: Time, until: Time) {
        let long = self.ack_timeout / 2 - WAY;
        let Standing { unable, mute_until, .. } = &mut self.hosts[host];
        let since = if unable.1 > now { unable.0 } else { now };
        *unable = (since, unable.1.max(until));
        if unable.1.since(since) >= long {
            *mute_until = Some(unable.1);
        }
    }

    /// It is gone, and comes back then with nothing of what it was.
    pub(crate) fn go(&mut self, host: Host, now: Time, until: Time) {
        self.halt(host, now, until);
        let Standing { unable, mute_until, gone_until, .. } = &mut self.hosts[host];
        // Nothing of what it was comes back, however short it was gone.
        (*gone_until, *mute_until) = (until.max(*gone_until), Some(unable.1));
    }

    /// A probe may have missed its answer within `ack_timeout` before now.
    pub(crate) fn was_mute(&self, host: Host, now: Time) -> bool {
        self.hosts[host].mute_until.is_some_and(|until| until + self.ack_timeout >= now)
    }

    /// It does nothing, and has not for this long.
    pub(crate) fn unable_for(&self, host: Host, now: Time) -> Duration {
        let (since, until) = self.hosts[host].unable;
        if until > now { now.since(since) } else { Duration::ZERO }
    }

    fn reply(&self, host: Host, now: Time, until: Time) -> Reply {
        let Standing { unable, gone_until, .. } = self.hosts[host];
        match (unable.1 <= now, unable.1 <= until) {
            (true, _) => Reply::Yes,
            _ if gone_until > now => Reply::No,
            (_, true) => Reply::Later(unable.1),
            _ if until > now => Reply::Later(until),
            _ => Reply::No,
        }
    }

    // ---- what the broker finds out ----

    /// Whether it answers an attempt to connect, which is given up then.
    pub(crate) fn answers_dial(&mut self, host: Host, now: Time, until: Time) -> Reply {
        let reply = self.reply(host, now, until);
        if reply == Reply::No {
            self.shun(host, now);
        }
        reply
    }

    /// A byte of it has come.
    pub(crate) fn heard(&mut self, host: Host, now: Time) {
        self.hosts[host].heard = Some(now);
    }

    /// Its last sign of life to anybody.
    pub(crate) fn last_heard(&self, host: Host) -> Option<Time> {
        self.hosts[host].heard
    }

    /// Asks it for a sign of life, unless there was one lately. True: a probe has begun.
    pub(crate) fn probe(&mut self, host: Host, now: Time, takes: Duration) -> bool {
        let half = self.ack_timeout / 2;
        let interval = half * 3 / 4;
        let standing = &mut self.hosts[host];
        let lately = |at: Option<Time>| at.is_some_and(|at| now.since(at) < interval);
        if lately(standing.heard) || lately(standing.probed) || standing.probe.is_some() {
            return false;
        }
        (standing.probed, standing.probe) = (Some(now), Some(Probe { at: now + takes, until: now + half }));
        true
    }

    /// Probes come to their ends. Says how many were answered, and how many were not.
    pub(crate) fn pump(&mut self, now: Time) -> (u64, u64) {
        let (mut answered, mut missed) = (0, 0);
        for host in 0..self.hosts.len() {
            let Some(probe) = self.hosts[host].probe.filter(|probe| probe.at <= now) else { continue };
            let reply = self.reply(host, now, probe.until);
            let standing = &mut self.hosts[host];
            standing.probe = match reply {
                Reply::Later(at) => Some(Probe { at, ..probe }),
                Reply::Yes | Reply::No => None,
            };
            match reply {
                Reply::Yes => (standing.heard, answered) = (Some(now), answered + 1),
                Reply::No => missed += 1,
                Reply::Later(_) => {}
            }
        }
        (answered, missed)
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.hosts.iter().filter_map(|host| host.probe).map(|probe| probe.at).min()
    }

    /// It has failed: others are tried first for a while.
    pub(crate) fn shun(&mut self, host: Host, now: Time) {
        self.hosts[host].shunned_until = now + PENALTY;
    }

    fn is_shunned(&self, host: Host, now: Time) -> bool {
        self.hosts[host].shunned_until > now
    }

    /// There is another one to go to.
    pub(crate) fn has_other(&self, host: Host, now: Time) -> bool {
        (0..self.hosts.len()).any(|other| other != host && !self.is_shunned(other, now))
    }

    /// One to dial: another than the last one, if one is to be had.
    pub(crate) fn choose(&self, now: Time, last: Option<Host>, dice: &mut Random) -> Host {
        let all = || (0..self.hosts.len()).filter(|host| Some(*host) != last);
        let good: Vec<Host> = all().filter(|host| !self.is_shunned(*host, now)).collect();
        let any: Vec<Host> = all().collect();
        match (&good[..], &any[..]) {
            ([], []) => 0,
            ([], any) => dice.pick(any),
            (good, _) => dice.pick(good),
        }
    }
}

impl Standing {
    fn new(now: Time) -> Standing {
        Standing {
            unable: (now, now),
            mute_until: None,
            gone_until: now,
            heard: None,
            probe: None,
            probed: None,
            shunned_until: now,
        }
    }
}
