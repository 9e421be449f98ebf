//! What the broker knows of a service that says nothing or answers no pings, as the daemon finds it out: from the
//! connection, from what others hear of its host, and from probes.

use std::time::Duration;

use steadfast_protocol::session::{AckMode, Evidence, Judgement};

use crate::ground::Ground;
use crate::verdict::Case;

use super::Hosted;

impl Hosted {
    /// The service owes something and says nothing. True: something has changed.
    pub(super) fn judge_silence(&mut self, ground: &mut Ground) -> bool {
        let (now, Some((conn, end, host))) = (ground.now, self.served_by()) else { return false };
        let dead = ground.net.is_dead(conn, end);
        let lived = ground.hosts.last_heard(host);
        let takes = ground.dial();
        if ground.hosts.probe(host, now, takes) {
            ground.count("a probe");
        }
        let other = self.holds_successor() || ground.hosts.has_other(host, now);
        let evidence = Evidence { dead, lived, patience: Duration::ZERO, other };
        let judgement = self.machine.handle_evidence(now, &evidence);
        ground.note(&self.name, || format!("{evidence:?}: {judgement:?}"));
        let case = Case { host, dead, other, leaves: !self.machine.wants_link() };
        let truth = &mut ground.truths[Ground::number_of(self.session)];
        for what in case.check(&judgement, truth, &ground.hosts, (now, &self.config)) {
            ground.count(what);
        }
        self.judged |= matches!(judgement, Judgement::Left { .. });
        match judgement {
            Judgement::Left { blamed } if blamed || dead => ground.hosts.shun(host, now),
            Judgement::Stays => return false,
            Judgement::Left { .. } | Judgement::Follows => {}
        }
        true
    }

    /// The service talks, and has answered no ping for long.
    pub(super) fn judge_fitness(&mut self, ground: &mut Ground) {
        if ground.hosts.pongs_came {
            return self.machine.set_fit();
        }
        ground.unfit = true;
        self.machine.set_unfit(ground.now);
        if ground.ack == AckMode::Pong {
            ground.count("a service is unfit");
            ground.truth(self.session).runs_without_pongs();
        }
    }

    /// What a session knows of its pool when it has a service.
    pub(super) fn tell_fitness(&mut self, ground: &mut Ground) {
        if ground.hosts.pongs_came {
            self.machine.set_fit();
        } else if ground.hosts.pongs_missed {
            self.machine.set_unproven();
            ground.truth(self.session).link.bounded = false;
        }
    }

    /// The service has said something.
    pub(super) fn note_life(&self, ground: &mut Ground) {
        if let Some((.., host)) = self.served_by() {
            let now = ground.now;
            ground.hosts.heard(host, now);
        }
    }
}
