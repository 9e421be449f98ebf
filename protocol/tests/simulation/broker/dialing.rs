//! An attempt of the broker's to connect to a host.

use std::time::Duration;

use steadfast_protocol::time::Time;

use crate::ground::Ground;
use crate::hosts::{Host, Reply};

/// How long an attempt may take: a host that is stopped takes the connection, and never answers the upgrade.
const LONGEST: Duration = Duration::from_secs(2);

/// A dial under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dialing {
    pub(crate) at: Time,
    until: Time,
    host: Host,
    /// There is nobody who could take it, whatever the host does.
    fails: bool,
}

impl Dialing {
    /// Dials, if it can be, another host than the last one.
    pub(crate) fn new(ground: &mut Ground, last: Option<Host>) -> Dialing {
        let fails = Ground::uses_up(&mut ground.luck.dials_fail);
        let host = ground.hosts.choose(ground.now, last, &mut ground.dice);
        Dialing { at: ground.now + ground.dial(), until: ground.now + LONGEST, host, fails }
    }

    /// Whether it has ended: with a host, or without.
    pub(crate) fn poll(&mut self, ground: &mut Ground) -> Option<Result<Host, ()>> {
        if self.at > ground.now {
            return None;
        }
        if self.fails {
            ground.count("a dial that fails");
            return Some(Err(()));
        }
        match ground.hosts.answers_dial(self.host, ground.now, self.until) {
            Reply::Yes => Some(Ok(self.host)),
            Reply::No => {
                ground.note("broker", || format!("host {} answers no dial", self.host));
                ground.count("a dial to a host that does nothing");
                Some(Err(()))
            }
            Reply::Later(at) => {
                self.at = at;
                None
            }
        }
    }
}
